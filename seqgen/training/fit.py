"""The command `seqgen fit`."""

import contextlib
import importlib.util
import itertools
import logging
import math
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

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
from seqgen.pipeline import load
from seqgen.training.module import Training
from seqgen.training.run_folder import LAST, Events, Progress, RunFolder, SafeCheckpointIO, Stopped


class Fit(LightningCLI):
    """Trainer, model and data from YAML and flags, joined in a run folder."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Our own arguments, and which follow from which."""
        parser.add_argument("--run", type=str, default="runs/default", help="the run folder")
        parser.add_argument("--resume", action="store_true", help="go on with an interrupted run folder")
        parser.link_arguments("run", "trainer.default_root_dir")
        parser.link_arguments("seed_everything", "model.seed", compute_fn=lambda seed: int(seed or 0))

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """The trainer with what every run folder has; a logger of the user's own stays."""
        folder = Path(self.config["run"])
        if self.config["trainer"]["logger"] in (None, True):
            kwargs["logger"] = Events(folder, name="", version="")
        if self.config["trainer"]["accelerator"] == "auto":  # never MPS, which has no float64 to sample and score with
            kwargs["accelerator"] = "cuda" if torch.cuda.is_available() else "cpu"
        self.watch = RunFolder(folder)
        kwargs["callbacks"] = [*(self.config_init["trainer"]["callbacks"] or ()), self.watch]
        if self.config["trainer"]["enable_progress_bar"] is not False:
            kwargs["callbacks"].append(Progress())
        return super().instantiate_trainer(plugins=[SafeCheckpointIO()], **kwargs)


def main(arguments: list[str]) -> int:
    """Run `seqgen fit ARGUMENTS`; 130 when it was interrupted. Raises SeqgenError for what cannot be trained."""
    _quiet()
    try:
        try:
            cli = _cli(Fit, arguments)
        except ValueError as error:  # of a constructor, which jsonargparse wraps in how it came to call it
            cause = re.search(r"Errors:\s+- (.*?)\s+- Expected a <class 'NoneType'>", str(error), re.DOTALL)
            raise error if cause is None else SeqgenError(cause[1]) from None
        return _fit(cli, Path(cli.config["run"]))
    except MisconfigurationException as error:
        raise SeqgenError(str(error)) from error


def _cli(kind: type[Fit], arguments: list[str]) -> Fit:
    return kind(
        Training,
        DataModule,
        subclass_mode_data=True,
        run=False,
        args=_resumed(_recipes(arguments)),
        save_config_callback=None,
        seed_everything_default=0,
        auto_configure_optimizers=False,
        parser_kwargs={
            "prog": "seqgen fit",
            "usage": "seqgen fit --config trainer.yaml --config names/gru.yaml [--any.key value ...]",
            "description": "Train a model, as YAML and flags say. `--data.help Text`, `--data.help Lines` and "
            "`--model.model.help RNN` tell what a class takes.",
        },
    )


def _fit(cli: Fit, folder: Path) -> int:
    last, watch, trainer = folder / LAST, cli.watch, cli.trainer
    resume = bool(cli.config["resume"])
    if resume and not last.is_file():
        raise SeqgenError(f"nothing to resume: {last} is not there")
    if not resume and (last.exists() or (folder / "model").exists()):
        raise SeqgenError(f"{folder} holds a run already; go on with --resume, or name another folder with --run")
    if 0 in (trainer.max_steps, trainer.max_epochs):
        raise SeqgenError(f"nothing to train: max_steps {trainer.max_steps}, max_epochs {trainer.max_epochs}")
    if trainer.world_size > 1:
        raise SeqgenError(f"got {trainer.world_size} devices; seqgen trains on one, --trainer.devices 1")
    if resume and (done := _done(last, trainer)):
        print(f"{folder}: nothing left to do, {done}; --trainer.max_steps says more", file=sys.stderr)
        return 0
    cli.config["resume"] = False  # of this call, not of the run
    if (data := cli.config["data"]["init_args"])["path"] is not None:
        data["path"] = str(Path(data["path"]).absolute())  # the run can be evaluated from anywhere
    # With the nulls: for check_val_every_n_epoch null is not the default.
    config = cli.parser.dump(cli.config, skip_link_targets=True, skip_none=False)
    watch.config = config
    try:
        trainer.fit(cli.model, cli.datamodule, ckpt_path=str(last) if resume else None)
    except SystemExit:  # which is what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from None
    except Stopped:
        where = f"stopped at step {trainer.global_step}"
        print(f"{where}; go on with: seqgen fit --run {folder} --resume", file=sys.stderr)
        return 130
    except Exception:
        if not (folder / "config.yaml").exists():  # it never began
            for file in folder.glob("events.out.tfevents.*"):
                file.unlink()
            with contextlib.suppress(OSError):  # the user's own files are in it
                folder.rmdir()
        raise
    if watch.validated < trainer.global_step:  # the steps behind the last regular validation
        trainer.validate(cli.model, cli.datamodule, verbose=False)
    pipeline = load(folder, trainer.strategy.root_device)
    pipeline.calibration = cli.datamodule.calibration(pipeline.model)
    pipeline.save_pretrained(folder / "model")
    bits = watch.best / math.log(2)
    print(f"{folder}: best {watch.best:.4f} nats, {bits:.4f} bits a symbol on held-out data", file=sys.stderr)
    return 0


def _done(last: Path, trainer: Trainer) -> str | None:
    """How far a finished run went; None when there are steps left."""
    state = SafeCheckpointIO().load_checkpoint(last)
    steps, epochs = state["global_step"], state["epoch"] + 1
    if 0 <= trainer.max_steps <= steps:
        return f"it has trained for {steps} steps"
    ended = state["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"]
    return f"it has trained for {epochs} epochs" if ended and 0 <= (trainer.max_epochs or -1) <= epochs else None


class Resolved(Fit):
    """A configuration that is read, checked and completed with every default, and nothing is built from it."""

    def instantiate_classes(self) -> None:
        """Build nothing."""


def resolved(arguments: list[str]) -> str:
    """The YAML that `seqgen fit ARGUMENTS` would write into its run folder."""
    _quiet()
    cli = _cli(Resolved, arguments)
    text: str = cli.parser.dump(cli.config, skip_link_targets=True, skip_none=False)
    return text


def data_module(description: dict[str, Any]) -> DataModule:
    """The data module that a run's config.yaml describes."""
    parser = LightningArgumentParser()
    parser.add_subclass_arguments(DataModule, "data")
    data: DataModule = parser.instantiate_classes(parser.parse_object({"data": description})).data
    return data


def _resumed(arguments: list[str]) -> list[str]:
    """With --resume the run folder's own config comes first."""
    named = [after for name, after in itertools.pairwise(arguments) if name == "--run"]
    named += [argument.removeprefix("--run=") for argument in arguments if argument.startswith("--run=")]
    if "--resume" not in arguments or any(argument.startswith("--config") for argument in arguments) or not named:
        return arguments
    folder = Path(named[-1])
    if not (folder / "config.yaml").is_file():
        raise SeqgenError(f"nothing to resume: {folder / 'config.yaml'} is not there")
    return ["--config", str(folder / "config.yaml"), *arguments]


def _recipes(arguments: list[str]) -> list[str]:
    """`--config names/gru.yaml` is a file of the user's, or else one of the installed recipes."""
    found = list(arguments)
    for place, argument in enumerate(arguments):
        before = arguments[place - 1] if place else ""
        if before == "--config":
            found[place] = str(_recipe(argument))
        elif argument.startswith("--config="):
            found[place] = f"--config={_recipe(argument.removeprefix('--config='))}"
    return found


def _recipe(name: str) -> Path:
    if Path(name).is_file():
        return Path(name)
    spec = importlib.util.find_spec("seqgen_recipes")
    for root in (spec and spec.submodule_search_locations) or ():
        for path in (Path(root) / name, Path(root) / name.removeprefix("recipes/")):
            if path.is_file():
                return path
    raise SeqgenError(f"no config {name!r}: neither a file nor an installed recipe such as names/gru.yaml")


def _quiet() -> None:
    """Lightning's advice about data loaders and hardware does not concern a user of ours."""
    for name in ("lightning.pytorch", "lightning.fabric"):  # the latter says which seed was set
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
