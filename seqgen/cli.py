"""The command line: seqgen fit | sample | score | evaluate | calibrate | app | info."""

import argparse
import contextlib
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqgen.pipeline import Label, Pipeline
    from seqgen.score import Rank, Scores, Total

# torch and what is built on it are imported by the commands that need them: --help answers at once.


def main(arguments: list[str] | None = None) -> int:
    """Run one command. The exit status: 0; 1 with one line on standard error; 2 for wrong usage; 130 for Ctrl-C."""
    spin_briefly()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        if arguments[:1] == ["fit"]:
            from seqgen.fit import main as fit

            return fit(arguments[1:])
        options = _parser().parse_args(arguments)
        command: Callable[[argparse.Namespace], None] = options.command
        command(options)
        sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as head, has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        if os.environ.get("SEQGEN_DEBUG"):
            raise
        print(f"seqgen: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def spin_briefly() -> None:
    """Set how long OpenMP's threads spin before they sleep, unless the user did; to be called before torch is imported.

    Spinning for long makes training on a busy machine 10 times slower; sleeping at once costs 40 % on an idle one.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="seqgen", description="Train, sample and score autoregressive models.", allow_abbrev=False
    )
    parser.add_argument("--version", action=_Version, help="show the version and leave")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("fit", help="train a model: seqgen fit --config trainer.yaml --config names/gru.yaml")

    sample = _command(commands, "sample", _sample, "draw new texts or clips")
    sample.add_argument("-n", type=int, default=1, help="how many (default: %(default)s)")
    sample.add_argument("--prompt", default=None, help="what they begin with: a text, or a sound file")
    sample.add_argument("--length", type=int, default=None, help="symbols at most (default: 500, or a second)")
    sample.add_argument("--seconds", type=float, default=None, help="of sound at most, in place of --length")
    sample.add_argument("--context", default=None, help="a sound file, whose features the clip is to have (vocoders)")
    sample.add_argument("--label", action="append", default=[], help="a class to condition on, such as F or sex=F")
    sample.add_argument("--temperature", type=float, default=1.0, help="0: always the likeliest (default: %(default)s)")
    sample.add_argument(
        "--top-k", type=int, default=0, help="the k likeliest symbols only; 0: all (default: %(default)s)"
    )
    sample.add_argument("--top-p", type=float, default=1.0, help="the likeliest with this mass (default: %(default)s)")
    sample.add_argument("--seed", type=int, default=None, help="the same seed gives the same texts")
    sample.add_argument("--out", type=Path, default=None, help="write to a file, whole or not at all: .wav, .flac ...")
    sample.add_argument("--png", type=Path, default=None, help="draw waveform, spectrogram and surprise of a clip")
    sample.add_argument("--probabilities", action="store_true", help="beside pictures, what was expected of each pixel")
    sample.add_argument("--stream", action="store_true", help="raw PCM on standard output, as it is made")
    sample.add_argument("--json", action="store_true", help="one JSON document")

    score = _command(commands, "score", _score, "log-probabilities of given texts or sound files")
    score.add_argument("texts", nargs="*", metavar="TEXT", help="texts to score; sound files for a model of sound")
    score.add_argument("--file", type=Path, help="score a file of any size: each line, or the whole as one long text")
    score.add_argument("--encoding", default=None, help="of a file of text (default: utf-8)")
    score.add_argument("--prefix", default=None, help="score what follows this text or sound file, given it")
    score.add_argument("--label", action="append", default=[], help="a class to condition on, such as F or sex=F")
    score.add_argument("--no-end", action="store_true", help="leave the end symbol out: the text may go on")
    score.add_argument("--p-value", action="store_true", help="the rank among held-out items: low ones are strange")
    score.add_argument("--two-sided", action="store_true", help="count items that are too likely as strange, too")
    score.add_argument("--background", default=None, metavar="RUN", help="likelihood ratio against this model")
    score.add_argument("--json", action="store_true", help="one JSON document, with every symbol's log-probability")

    evaluate = _command(commands, "evaluate", _evaluate, "nats and bits per symbol on held-out data")
    evaluate.add_argument(
        "--data.path", dest="path", help="score this file, all of it, in place of the run's held-out data"
    )
    evaluate.add_argument(
        "--data.encoding", dest="encoding", help="of that file of text (default: that of the run's data)"
    )
    evaluate.add_argument(
        "--orders", type=int, default=1, help="average over so many orders and masks (default: %(default)s)"
    )
    evaluate.add_argument("--json", action="store_true", help="one JSON document")

    calibrate = _command(commands, "calibrate", _calibrate, "keep the held-out scores of a run for p-values")
    calibrate.add_argument("--json", action="store_true", help="one JSON document")

    app = commands.add_parser("app", help="a page in the browser to sample and score", allow_abbrev=False)
    app.set_defaults(command=_app)
    app.add_argument("runs", nargs="*", metavar="RUN", help="runs to offer besides the models that come with seqgen")
    app.add_argument("--host", default="127.0.0.1", help="the address to serve at (default: %(default)s)")
    app.add_argument("--port", type=int, default=7860, help="(default: %(default)s)")
    app.add_argument("--auth", metavar="NAME:PASSWORD", help="ask for this name and password")
    app.add_argument("--insecure", action="store_true", help="let others in through --host without a password")
    app.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: %(default)s)")

    info = _command(commands, "info", _info, "what a model is and where it comes from")
    info.add_argument("--json", action="store_true", help="one JSON document")
    return parser


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
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 ... (default: %(default)s)")
    return parser


def _load(options: argparse.Namespace) -> "Pipeline":
    from seqgen.pipeline import load

    return load(options.run, options.device)


def _label(said: list[str]) -> dict[str, str] | str | None:
    if len(said) == 1 and "=" not in said[0]:
        return said[0]
    if bare := [label for label in said if "=" not in label]:
        raise ValueError(f"--label is {bare[0]!r}; among several labels expected name=class")
    return dict(label.split("=", 1) for label in said) or None


# -- sample


def _sample(options: argparse.Namespace) -> None:
    pipeline = _load(options)
    if options.seed is None:
        options.seed = random.SystemRandom().getrandbits(31)  # here, so that --json can tell it
    names = ("prompt", "length", "temperature", "top_k", "top_p", "seed")
    choices = {name: getattr(options, name) for name in names}
    label = _label(options.label)
    if options.probabilities and pipeline.codec.unit != "image":
        raise ValueError(f"--probabilities is for models of pictures; this is one of {type(pipeline.codec).__name__}")
    if pipeline.codec.unit == "second":
        _sample_sounds(pipeline, options, label, choices)
        return
    sound = {name: getattr(options, name) for name in ("seconds", "context", "png", "stream")}
    if wrong := [f"--{name}" for name, value in sound.items() if value is not None and value is not False]:
        raise ValueError(f"{wrong[0]} is for models of sound; this is one of {type(pipeline.codec).__name__}")
    if pipeline.codec.length is not None:
        _sample_vectors(pipeline, options, label, choices)
        return
    if options.n == 1 and not options.json and options.out is None:
        for piece in pipeline.stream(label=label, **choices):
            print(_printable(piece), end="", flush=True)
        print()
        return
    texts = pipeline.sample(options.n, label=label, **choices)
    separator = "\n" if all("\n" not in text for text in texts) else "\n" + "-" * 40 + "\n"
    document = (
        json.dumps({**choices, "label": label, "samples": texts}, indent=2) if options.json else separator.join(texts)
    )
    if options.out is None:
        print(_printable(document))
    else:
        from seqgen.checkpoint import write_atomically

        write_atomically(options.out, (document + "\n").encode("utf-8", "surrogatepass"))


def _sample_vectors(pipeline: "Pipeline", options: argparse.Namespace, label: "Label", choices: dict[str, Any]) -> None:
    """Rows as lines of comma-separated text, pictures side by side in one PNG file."""
    from seqgen.checkpoint import write_atomically
    from seqgen.codecs import Table

    codec = pipeline.codec
    if not isinstance(codec, Table) and (options.out is None or options.out.suffix != ".png" or options.json):
        raise ValueError("expected --out pictures.png, and no --json, for a model of pictures")
    items = pipeline.sample(options.n, label=label, **choices)
    if not isinstance(codec, Table):
        from seqgen.grid import grid, png
        from seqgen.sheet import expected, sheet

        drawn = sheet(items, expected(pipeline, items, label)) if options.probabilities else grid(items)
        write_atomically(options.out, png(drawn, 4))
        print(options.out)
        return
    lines = "\n".join([codec.header, *map(codec.line, items)])
    text = json.dumps({**choices, "label": label, "samples": items}, indent=2) if options.json else lines
    if options.out is None:
        print(text)
    else:
        write_atomically(options.out, (text + "\n").encode())


def _sample_sounds(pipeline: "Pipeline", options: argparse.Namespace, label: "Label", choices: dict[str, Any]) -> None:
    from seqgen import sounds

    if options.seconds is not None:
        if options.length is not None:
            raise ValueError(f"got --seconds {options.seconds} and --length {options.length}, expected one of them")
        if not 0 <= options.seconds < 1e6:
            raise ValueError(f"--seconds is {options.seconds}, expected a number from 0 to below 1,000,000")
        choices["length"] = round(options.seconds * sounds.codec(pipeline).rate)
    if options.stream:
        if options.n != 1 or options.out is not None or options.json or options.png is not None:
            raise ValueError("--stream writes one clip to standard output, without -n, --out, --png and --json")
        sounds.pour(pipeline, options.context, label, choices)
        return
    if options.out is None:
        raise ValueError("expected --out clip.wav, or --stream for raw PCM on standard output")
    files = sounds.save(pipeline, options.n, options.out, options.png, options.context, label, choices)
    if options.json:
        asked = {**choices, "label": label, "context": options.context}
        print(json.dumps({**asked, "files": [str(file) for file in files]}, indent=2))
    else:
        print("\n".join(map(str, files)))


def _printable(text: str) -> str:
    """Text that standard output can encode; a lone surrogate is shown as its number."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


# -- score


def _score(options: argparse.Namespace) -> None:
    if bool(options.texts) == bool(options.file):
        raise ValueError("expected texts to score, or --file FILE, and not both")
    if options.prefix and options.file:
        raise ValueError("--prefix goes with texts, not with --file")
    if (options.p_value or options.two_sided or options.background) and (options.prefix or options.no_end):
        raise ValueError(
            "--p-value, --two-sided and --background score items as a whole, without --prefix and --no-end"
        )
    pipeline = _load(options)
    end = not options.no_end
    if pipeline.codec.unit == "second":
        _score_sounds(pipeline, options, end)
        return
    if options.texts:
        scores = pipeline.score(options.texts, prefix=options.prefix, label=_label(options.label), end=end)
        rows: Iterable[tuple[str | None, Scores]] = zip(options.texts, scores, strict=True)
    else:
        from seqgen.evaluate import file_scores

        rows = file_scores(pipeline, options.file, options.encoding or "utf-8", _label(options.label), end)
    rank = _rank(pipeline, options)
    (_score_json if options.json else _score_lines)(rows, options.file is None, rank)


def _rank(pipeline: "Pipeline", options: argparse.Namespace) -> "Rank":
    """What says how usual an item is among others, by name."""
    from seqgen.detect import Side, likelihood_ratio
    from seqgen.pipeline import load

    side: Side | None = "both" if options.two_sided else "low" if options.p_value else None
    background = None if options.background is None else load(options.background, options.device)
    if side is not None and options.file is not None and pipeline.codec.end is None:
        raise ValueError("a file that is one long text has no p-value; expected items")

    def rank(item: str, total: "Total") -> dict[str, float]:
        found = {}
        if side is not None:
            found["p_value"] = pipeline.p_value(total, bool(options.label), side)
        if background is not None:
            found["ratio"] = likelihood_ratio(-total.nats, background.score(item).log_prob, total.symbols)
        return found

    return rank


def _score_sounds(pipeline: "Pipeline", options: argparse.Namespace, end: bool) -> None:
    from seqgen import sounds

    if options.encoding is not None:
        raise ValueError(f"--encoding is for texts; the model is one of {type(pipeline.codec).__name__}")
    files = options.texts or [str(options.file)]
    rank = _rank(pipeline, options)
    scores = sounds.score(pipeline, files, options.prefix, _label(options.label), end)
    if options.json:
        with _document() as document:
            sounds.write_scores(pipeline, scores, document, options.prefix, rank)
    else:
        sounds.print_scores(pipeline, scores, options.prefix, rank)


@contextlib.contextmanager
def _document() -> Iterator[IO[str]]:
    """A file that goes to standard output once it is whole, so that what fails prints nothing there."""
    with tempfile.TemporaryFile("w+") as document:
        yield document
        document.seek(0)
        shutil.copyfileobj(document, sys.stdout)


def _score_lines(rows: Iterable[tuple[str | None, "Scores"]], per_symbol: bool, rank: "Rank") -> None:
    from seqgen.score import Total, shown

    total, ended = Total(), False
    for text, score in rows:
        total, ended = total + score.total, ended or score.end_counted
        if text is not None:
            print(f"{_brief(score.total)}{shown(rank(text, score.total))}  {_printable(text)}")
    print(f"{_brief(total)}  total of {total.symbols} symbols, the end symbol {'counted' if ended else 'not counted'}")


def _brief(total: "Total") -> str:
    return (
        f"{total.nats:12.3f} nats {total.nats_per_symbol:7.4f} nats/symbol {total.bits_per_symbol:7.4f} bits/symbol "
        f"{total.bits_per_unit:7.4f} bits/{total.unit} perplexity {total.perplexity:8.3f}"
    )


def _score_json(rows: Iterable[tuple[str | None, "Scores"]], per_symbol: bool, rank: "Rank") -> None:
    """One document, on disk until it is whole, so that a file of any size passes and one that fails prints nothing."""
    from seqgen.score import Total

    total, ended, before = Total(), False, "\n"
    with _document() as document:
        document.write('{"items": [')
        for text, score in rows:
            total, ended = total + score.total, ended or score.end_counted
            if text is None:
                continue
            item = {
                "text": text,
                **rank(text, score.total),
                **(score.as_dict() if per_symbol else score.total.as_dict()),
            }
            document.write(before + json.dumps(item))
            before = ",\n"
        document.write(f'\n], "total": {json.dumps({**total.as_dict(), "end_counted": ended})}}}\n')


# -- evaluate


def _evaluate(options: argparse.Namespace) -> None:
    from seqgen.evaluate import evaluate

    totals = evaluate(options.run, options.path, options.device, options.encoding, options.orders)
    if options.json:
        print(json.dumps({part: total.as_dict() for part, total in totals.items()}, indent=2))
        return
    for part, total in totals.items():
        whole = "" if total.unit in ("character", "second") else f", {total.nats_per_unit:.3f} nats/{total.unit}"
        print(f"{_brief(total)}  {part}, {total.symbols:.0f} symbols{whole}")


# -- calibrate


def _calibrate(options: argparse.Namespace) -> None:
    from seqgen.evaluate import calibrate

    calibration = calibrate(options.run, options.device)
    scores = calibration.scores[-1]
    low, middle, high = (float(scores.quantile(place)) for place in (0.05, 0.5, 0.95))
    numbers = {"items": len(scores), "nats_per_symbol": {"5 %": -high, "50 %": -middle, "95 %": -low}}
    if options.json:
        print(json.dumps(numbers))
        return
    print(f"{len(scores)} held-out items; nats/symbol {-high:.4f} at 5 %, {-middle:.4f} at 50 %, {-low:.4f} at 95 %")


# -- app


def _app(options: argparse.Namespace) -> None:
    from seqgen_app import serve

    serve.run(options.runs, options.host, options.port, options.auth, options.insecure, options.device)


# -- info


def _info(options: argparse.Namespace) -> None:
    from seqgen.config import describe

    pipeline = _load(options)
    facts = {
        "model": describe(pipeline.model),
        "codec": describe(pipeline.codec),
        "labels": pipeline.labels,
        **({} if pipeline.features is None else {"features": describe(pipeline.features)}),
        "provenance": pipeline.provenance,
    }
    if options.json:
        print(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        print(f"{name}: {value.get('class_path', '')}".rstrip())
        for key, item in (value.get("init_args", value)).items():
            print(f"  {key}: {_short(item)}")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
