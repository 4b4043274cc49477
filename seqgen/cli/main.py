"""The command line: seqgen fit | sample | score | evaluate | calibrate | round | app | info."""

import argparse
import contextlib
import ctypes
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seqgen.cli.evaluate import calibrate, evaluate
from seqgen.cli.info import info
from seqgen.cli.round import round_weights
from seqgen.cli.sample import sample
from seqgen.cli.score import score
from seqgen.config import SeqgenError, nearest

M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
"""Options of glibc's `mallopt`: the bytes from which a block is mapped on its own, and given back when freed."""

# torch and what is built on it are imported by the commands that need them: --help answers at once.


def main(arguments: list[str] | None = None) -> int:
    """Run one command. The exit status: 0; 1 with one line on standard error; 2 for wrong usage; 130 for Ctrl-C."""
    spin_briefly()
    return plainly(lambda: _run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["fit"]:
        from seqgen.cli.fit import fit

        keep_freed_memory()
        return fit(arguments[1:])
    options = _parser().parse_args(arguments)
    import_modules(options.imports)
    command: Callable[[argparse.Namespace], None] = options.command
    command(options)
    return 0


def import_modules(names: list[str]) -> None:
    """Import modules that define classes of the user's own. Raises SeqgenError for one that is not found."""
    if names:
        sys.path.insert(0, os.getcwd())
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise SeqgenError(f"--import {name}: {error}; expected a module here or an installed one") from None


def plainly(program: Callable[[], int | None]) -> int:
    """The exit status of a program, as of `main`: what goes wrong is one line, unless SEQGEN_DEBUG is set."""
    try:
        status = program()
        sys.stdout.flush()
        return status or 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as head, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (SeqgenError, OSError) as error:
        if os.environ.get("SEQGEN_DEBUG"):
            raise
        print(f"seqgen: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def keep_freed_memory() -> None:
    """Let glibc keep large blocks that are freed, instead of giving them back to the system; to be called for training.

    Every step frees and asks for the same ones, and touching them anew costs a tenth of the time of a step.
    """
    with contextlib.suppress(AttributeError, OSError):  # of another libc
        libc = ctypes.CDLL(None)
        for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
            libc.mallopt(option, 1 << 30)


def spin_briefly() -> None:
    """Set how long OpenMP's threads spin before they sleep, unless the user did; to be called before torch is imported.

    Spinning for long makes training on a busy machine 10 times slower; sleeping at once costs 40 % on an idle one.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


class Parser(argparse.ArgumentParser):
    """A parser, also of each command, that names the option nearest to an unknown one."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The options. Exits with status 2 if one is unknown."""
        options, unknown = super().parse_known_args(args, namespace)
        if unknown:
            known = [option.lstrip("-") for action in self._actions for option in action.option_strings]
            near = nearest(unknown[0].partition("=")[0].lstrip("-"), known) if unknown[0].startswith("--") else None
            self.error(f"unrecognized arguments: {' '.join(unknown)}" + f"; did you mean --{near}?" * bool(near))
        return options, unknown


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="seqgen", description="Train, sample and score autoregressive models.", allow_abbrev=False)
    parser.add_argument("--version", action=_Version, help="show the version and leave")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("fit", help="train a model: seqgen fit --config trainer.yaml --config names/gru.yaml")
    for add in (_add_sample, _add_score, _add_evaluate, _add_calibrate, _add_round, _add_app, _add_info):
        add(commands)
    return parser


def _add_sample(commands: Any) -> None:
    parser = _command(commands, "sample", sample, "draw new texts, clips, images or rows")
    parser.add_argument("-n", type=int, default=1, help="how many (default: %(default)s)")
    parser.add_argument(
        "--prompt",
        default=None,
        help="what to continue: a text, a sound file, the upper rows or opaque pixels of an image, or a row with gaps "
        "(--prompt=-1,,2)",
    )
    parser.add_argument("--length", type=int, default=None, help="most symbols (default: 500, or a second)")
    parser.add_argument("--seconds", type=float, default=None, help="maximum duration of sound, in place of --length")
    parser.add_argument("--condition", default=None, help="a sound file whose mel spectrogram conditions a vocoder")
    parser.add_argument("--label", action="append", default=[], help="a class to condition on, such as F or sex=F")
    parser.add_argument("--temperature", type=float, default=1.0, help="0 is greedy (default: %(default)s)")
    parser.add_argument(
        "--top-k", type=int, default=0, help="keep the k likeliest symbols; 0: all (default: %(default)s)"
    )
    parser.add_argument(
        "--engine",
        choices=("auto", "plain", "compiled"),
        default="auto",
        help="which loop draws: compiled where there is one (auto), never (plain), or always; the symbols are the same",
    )
    parser.add_argument("--top-p", type=float, default=1.0, help="keep the nucleus of this mass (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="the same seed gives the same samples")
    parser.add_argument("--out", type=Path, default=None, help="write to a file: .txt, .wav, .png, .csv, .json")
    parser.add_argument("--png", type=Path, default=None, help="a figure of the clip: waveform, spectrogram, surprise")
    parser.add_argument("--probabilities", action="store_true", help="E[x_i | x_<i] of each pixel beside the images")
    parser.add_argument("--stream", action="store_true", help="write a sample as it is drawn; sound as raw PCM")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def _add_score(commands: Any) -> None:
    parser = _command(commands, "score", score, "log-probabilities of texts, sound files, images or rows")
    parser.add_argument(
        "items",
        nargs="*",
        metavar="ITEM",
        help="texts, sound files, images or rows, depending on the model; behind -- if one begins with a minus",
    )
    parser.add_argument("--file", help="score the items of a file, or of standard input (-): each line, or one text")
    parser.add_argument("--encoding", default=None, help="of a file of text (default: utf-8)")
    parser.add_argument("--prefix", default=None, help="score the continuation of this text or sound file")
    parser.add_argument("--label", action="append", default=[], help="a class to condition on, such as F or sex=F")
    parser.add_argument("--no-end", action="store_true", help="leave the end symbol out: the item may go on")
    parser.add_argument("--p-value", action="store_true", help="the rank among held-out items; low ones are anomalous")
    parser.add_argument("--two-sided", action="store_true", help="p-value of items that are too unlikely or too likely")
    _add_unknown(parser)
    parser.add_argument("--background", default=None, metavar="RUN", help="likelihood ratio against this model")
    parser.add_argument("--json", action="store_true", help="one JSON document, with every symbol's log-probability")


def _add_unknown(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--unknown",
        choices=["error", "skip", "count"],
        default=None,
        help="what has no symbol: an error, left out and counted, or scored with the model's unknown symbol "
        "(default: the unknown symbol where there is one, else an error)",
    )


def _add_evaluate(commands: Any) -> None:
    parser = _command(commands, "evaluate", evaluate, "nats and bits per symbol on held-out data")
    parser.add_argument("--data.path", dest="path", help="score all of this file instead of the run's held-out data")
    parser.add_argument(
        "--data.encoding", dest="encoding", help="of that file of text (default: that of the run's data)"
    )
    _add_unknown(parser)
    parser.add_argument(
        "--orders", type=int, default=1, help="mixture of this many factorisations (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")


def _add_calibrate(commands: Any) -> None:
    parser = _command(commands, "calibrate", calibrate, "keep held-out scores with a run for p-values")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def _add_round(commands: Any) -> None:
    parser = _command(commands, "round", round_weights, "a model with weights of fewer bits, which samples faster")
    parser.add_argument("out", type=Path, metavar="OUT", help="the model folder to write")
    parser.add_argument(
        "--to", choices=("bfloat16", "float16", "int8"), default="int8", help="type of weights (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")


def _add_app(commands: Any) -> None:
    parser = commands.add_parser("app", help="sample and score in the browser", allow_abbrev=False)
    parser.set_defaults(command=_app)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="runs to offer besides the models that come with seqgen")
    parser.add_argument("--host", default="127.0.0.1", help="the address to serve at (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="(default: %(default)s)")
    parser.add_argument("--auth", metavar="NAME:PASSWORD", help="ask for this name and password")
    parser.add_argument("--insecure", action="store_true", help="serve beyond this machine without a password")
    _add_common(parser)


def _add_info(commands: Any) -> None:
    parser = _command(commands, "info", info, "what a model is and where it comes from")
    parser.add_argument("--json", action="store_true", help="one JSON document")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: %(default)s)")
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module that defines classes of your own",
    )


class _Version(argparse.Action):
    def __init__(self, option_strings: list[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *rest: Any) -> None:
        import seqgen

        print(f"seqgen {seqgen.__version__}")
        parser.exit()


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], None], help: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help, allow_abbrev=False)
    parser.set_defaults(command=run)
    parser.add_argument("run", metavar="RUN", help="a run folder, its model/ folder, or the name of a bundled model")
    _add_common(parser)
    return parser


def _app(options: argparse.Namespace) -> None:
    from seqgen_app import serve

    serve.run(options.runs, options.host, options.port, options.auth, options.insecure, options.device)
