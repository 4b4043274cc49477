"""What `seqgen fit` does: configuration, data and model joined in a run folder."""

import contextlib
import importlib
import importlib.util
import itertools
import logging
import math
import sys
import textwrap
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer, seed_everything

# Imported so that YAML can name the classes without their modules.
import seqgen.codecs
import seqgen.data.audio
import seqgen.data.corpora
import seqgen.data.images
import seqgen.data.lines
import seqgen.data.table
import seqgen.data.text
import seqgen.models
import seqgen.outputs  # noqa: F401
from seqgen.config import SeqgenError
from seqgen.data.module import DataModule
from seqgen.data.runs import construct
from seqgen.pipeline import load
from seqgen.training.mistakes import UsageError, explain
from seqgen.training.module import Training
from seqgen.training.progress import Events, Progress
from seqgen.training.run_folder import LAST, RunFolder, Stopped
from seqgen.training.training_checkpoints import SafeCheckpointIO

SHARED = "trainer.yaml"
"""The configuration that recipes share, which is none itself."""
EVENTS = "events.out.tfevents.*"
OWN = ("checkpoints", "model", ".model-old", "samples", "config.yaml", "metrics.csv", EVENTS)
"""What a run writes into its folder, and --overwrite deletes."""
FLAGS: dict[str, Any] = {
    "config": str,
    "run": str,
    "recipe": str | None,
    "seed_everything": int,
    "data": DataModule,
    **dict.fromkeys(("help", "print_config", "resume", "overwrite")),  # switches
}
"""The flags of the parser below, for messages about mistakes."""
GROUPS = {"trainer": Trainer, "model": Training}
"""Classes whose arguments are flags."""
WIDTH = 200
"""Most characters of a message of the parser's that is printed."""


def main(arguments: list[str]) -> int:
    """Run `seqgen fit ARGUMENTS`; 130 when it was interrupted. Raises SeqgenError for what cannot be trained."""
    _quiet()
    try:
        return _fit(*_parsed(arguments))
    except MisconfigurationException as error:
        raise SeqgenError(str(error)) from error


def resolved(arguments: list[str]) -> str:
    """The YAML that `seqgen fit ARGUMENTS` would write into its run folder: read, checked, with every default."""
    _quiet()
    return _dump(*_parsed(arguments))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="seqgen fit",
        usage="seqgen fit --config trainer.yaml --config names/gru.yaml [--any.key value ...]",
        description="Train a model by YAML and flags. `--data.help Text`, `--data.help Lines` and "
        "`--model.model.help RNN` list the arguments of a class.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="a file of configuration, or an installed recipe")
    parser.add_argument("--run", type=str, default="runs/default", help="the run folder")
    parser.add_argument("--recipe", type=str | None, default=None, help="name in the provenance (default: --config)")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run folder")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in the run folder")
    parser.add_argument("--seed_everything", type=int, default=0, help="seed of weights, dropout and data augmentation")
    parser.add_class_arguments(Trainer, "trainer", skip={"default_root_dir"}, fail_untyped=False, sub_configs=True)
    parser.add_class_arguments(Training, "model", skip={"seed"}, fail_untyped=False, sub_configs=True)
    parser.add_subclass_arguments(DataModule, "data", fail_untyped=False, required=True)
    return parser


def _parsed(arguments: list[str]) -> tuple[ArgumentParser, Namespace]:
    """The parser and the configuration. Raises UsageError."""
    parser = _parser()
    given = _recipes(_resumed(arguments))
    try:
        config = parser.parse_args(given)
    except (ArgumentError, UnicodeDecodeError) as error:
        explain(given, FLAGS, GROUPS)
        raise UsageError(textwrap.shorten(str(error), WIDTH)) from None
    if config["recipe"] is None:
        config["recipe"] = _recipe_name(arguments)
    return parser, config


def _dump(parser: ArgumentParser, config: Namespace) -> str:
    # With the nulls: for check_val_every_n_epoch null is not the default.
    text: str = parser.dump(config, skip_unset=False)
    return text


def _training(config: Namespace) -> Training:
    """The LightningModule; the model's class gets output and labels once the data are known."""
    arguments = dict(config["model"].__dict__)
    model = arguments.pop("model")
    module, _, name = model["class_path"].rpartition(".")
    make = partial(getattr(importlib.import_module(module), name), **construct(model.get("init_args") or {}))
    return Training(model=make, seed=config["seed_everything"], **construct(arguments))


def _trainer(config: Namespace, watch: RunFolder) -> Trainer:
    """The trainer with what every run folder has; a logger of the user's own stays."""
    arguments = construct(config["trainer"])
    if arguments["logger"] in (None, True):
        arguments["logger"] = Events(watch.folder, name="", version="")
    if arguments["accelerator"] == "auto":  # never MPS, which has no float64 to sample and score with
        arguments["accelerator"] = "cuda" if torch.cuda.is_available() else "cpu"
    progress = [] if arguments["enable_progress_bar"] is False else [Progress()]
    arguments["callbacks"] = [*_listed(arguments["callbacks"]), watch, *progress]
    arguments["plugins"] = [*_listed(arguments["plugins"]), SafeCheckpointIO()]
    return Trainer(default_root_dir=watch.folder, **arguments)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _fit(parser: ArgumentParser, config: Namespace) -> int:
    folder, resume, overwrite = Path(config["run"]), config["resume"], config["overwrite"]
    last, events = folder / LAST, set(folder.glob(EVENTS))
    if resume and overwrite:
        raise SeqgenError("got resume and overwrite, expected one: a run is continued or replaced")
    if resume and not last.is_file():
        raise SeqgenError(f"nothing to resume: {last} is not there")
    if not (resume or overwrite) and (last.exists() or (folder / "model").exists()):
        raise SeqgenError(f"{folder} holds a run already; --resume continues it, --overwrite replaces it")
    seed_everything(config["seed_everything"], workers=True)
    watch = RunFolder(folder, config["recipe"] or "")
    trainer, module, data = _trainer(config, watch), _training(config), construct(config["data"])
    if 0 in (trainer.max_steps, trainer.max_epochs):
        raise SeqgenError(f"nothing to train: max_steps {trainer.max_steps}, max_epochs {trainer.max_epochs}")
    if trainer.world_size > 1:
        raise SeqgenError(f"got {trainer.world_size} devices; seqgen trains on one: devices=1")
    if resume and (done := _done(last, trainer)):
        print(f"{folder}: nothing left to do, {done}; a larger max_steps continues", file=sys.stderr)
        return 0
    watch.config = _dump(parser, _kept(config))
    data.setup()
    module.connect(data)
    if (slow := module.check_precision(str(trainer.precision))) is not None:
        print(f"note: {slow}", file=sys.stderr)
    loaders = data.train_dataloader(), data.val_dataloader()
    interval = trainer.val_check_interval
    if trainer.check_val_every_n_epoch is not None and isinstance(interval, int) and interval > len(loaders[0]):
        raise SeqgenError(
            f"val_check_interval is {interval} steps and an epoch has {len(loaders[0])}, expected at most as many, a "
            "fraction of an epoch, or check_val_every_n_epoch null"
        )
    if overwrite:
        watch.replaced = [path for pattern in OWN for path in folder.glob(pattern)]
    try:
        trainer.fit(module, *loaders, ckpt_path=str(last) if resume else None)
    except SystemExit:  # which is what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from None
    except Stopped:
        where = f"stopped at step {trainer.global_step}"
        print(f"{where}; go on with: seqgen fit --run {folder} --resume", file=sys.stderr)
        return 130
    except Exception:
        if not watch.begun:
            for file in set(folder.glob(EVENTS)) - events:
                file.unlink()
            with contextlib.suppress(OSError):  # the user's own files are in it
                folder.rmdir()
        raise
    if watch.validated < trainer.global_step:  # the steps after the last regular validation
        trainer.validate(module, data.val_dataloader(), verbose=False)
    pipeline = load(folder, trainer.strategy.root_device)
    pipeline.calibration = data.calibration(pipeline.model)
    pipeline.save_pretrained(folder / "model")
    bits = watch.best / math.log(2)
    print(f"{folder}: best {watch.best:.4f} nats, {bits:.4f} bits a symbol on held-out data", file=sys.stderr)
    return 0


def _kept(config: Namespace) -> Namespace:
    """The configuration of the run: without what was said to this call alone, and with paths that hold anywhere."""
    kept = config.clone()
    kept["resume"], kept["overwrite"] = False, False
    arguments = kept["data"]["init_args"]
    if arguments["path"] is not None:
        arguments["path"] = str(Path(arguments["path"]).absolute())
    return kept


def _done(last: Path, trainer: Trainer) -> str | None:
    """How far a finished run went; None when there are steps left."""
    state = SafeCheckpointIO().load_checkpoint(last)
    steps, epochs = state["global_step"], state["epoch"] + 1
    if 0 <= trainer.max_steps <= steps:
        return f"it has trained for {steps} steps"
    ended = state["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"]
    return f"it has trained for {epochs} epochs" if ended and 0 <= (trainer.max_epochs or -1) <= epochs else None


# -- arguments


def _named(arguments: list[str], option: str) -> list[str]:
    """The values of an option, given as `--option value` or `--option=value`."""
    found = [after for name, after in itertools.pairwise(arguments) if name == option]
    return found + [one.removeprefix(f"{option}=") for one in arguments if one.startswith(f"{option}=")]


def _resumed(arguments: list[str]) -> list[str]:
    """With --resume the run folder's own config comes first."""
    named = _named(arguments, "--run")
    if "--resume" not in arguments or any(one.startswith("--config") for one in arguments) or not named:
        return arguments
    folder = Path(named[-1])
    if not (folder / "config.yaml").is_file():
        raise SeqgenError(f"nothing to resume: {folder / 'config.yaml'} is not there")
    return ["--config", str(folder / "config.yaml"), *arguments]


def _recipe_name(arguments: list[str]) -> str | None:
    """What a recipe is called: "names/gru.yaml" for an installed one, the file's name for another."""
    named = [name for name in _named(arguments, "--config") if Path(name).name != SHARED]
    if not named:
        return None
    path = Path(named[-1])
    installed = any((root / path.parent.name / path.name).is_file() for root in _recipe_roots())
    return f"{path.parent.name}/{path.name}" if installed and path.parent.name else path.name


def _recipes(arguments: list[str]) -> list[str]:
    """`--config names/gru.yaml` is a file of the user's, or else one of the installed recipes."""
    found = list(arguments)
    for place, argument in enumerate(arguments):
        before = arguments[place - 1] if place else ""
        if before == "--config":
            found[place] = str(recipe(argument))
        elif argument.startswith("--config="):
            found[place] = f"--config={recipe(argument.removeprefix('--config='))}"
    return found


def recipe(name: str) -> Path:
    """The file of a configuration. Raises SeqgenError where there is none."""
    if Path(name).is_file():
        return Path(name)
    for root in _recipe_roots():
        for path in (root / name, root / name.removeprefix("recipes/")):
            if path.is_file():
                return path
    raise SeqgenError(f"no config {name!r}: neither a file nor an installed recipe such as names/gru.yaml")


def _recipe_roots() -> list[Path]:
    spec = importlib.util.find_spec("seqgen_recipes")
    return [Path(root) for root in (spec and spec.submodule_search_locations) or ()]


def _quiet() -> None:
    """Lightning's advice about data loaders and hardware does not concern a user of seqgen."""
    for name in ("lightning.pytorch", "lightning.fabric"):  # the latter reports the seed
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
