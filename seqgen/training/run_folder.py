"""The run folder: checkpoints, metrics, samples and the best model so far, written while a model trains."""

import csv
import io
import math
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn

from seqgen.checkpoints.folder import CheckpointError, read
from seqgen.media.files import write_atomically
from seqgen.modality import Preview
from seqgen.training.module import Training

LAST = Path("checkpoints") / "last.ckpt"
COLUMNS = ("step", "epoch", "seconds", "learning_rate", "train_nats", "train_bits", "val_nats", "val_bits")


class Stopped(Exception):
    """A signal has stopped a run, which is saved."""


class RunFolder(Checkpoint):  # Lightning calls checkpoints last: what is saved holds the other callbacks' state
    """Writes, at every validation, a row of metrics.csv, a file of samples, last.ckpt and, if the best yet, model/.

    Ctrl-C (or SIGTERM) lets the current step finish, saves `checkpoints/last.ckpt` and, if there is none yet, model/,
    and raises Stopped; a second one stops at once. `seconds` counts training alone, over all resumptions.
    """

    def __init__(self, folder: Path, recipe: str = "", samples: int = 10, length: int = 400) -> None:
        self.folder = folder
        self.recipe = recipe
        self.config = ""  # config.yaml
        self.replaced: list[Path] = []  # an earlier run's, which go when training starts
        self.begun = False
        self.samples = samples
        self.length = length
        self.best = math.inf
        self.validated = 0  # the last step that was
        self.seconds = 0.0
        self.clock: float | None = None
        self.signal: int | None = None
        self.saved = False  # since the signal
        self.steps = 0  # taken by now
        self.between = False  # steps: gradients are being summed
        self.due = False  # a checkpoint
        self.handlers: dict[int, Any] = {}
        self.train = (0.0, 0.0)  # weighted nats and symbols since the last validation

    # -- time and signals

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin the folder (an earlier run goes), start the clock, take the signals, drop rows to be written again."""
        self.begun = True
        for path in self.replaced:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomically(self.folder / "config.yaml", self.config.encode())
        self.clock, self.steps = time.monotonic(), trainer.global_step
        for number in (signal.SIGINT, signal.SIGTERM):
            self.handlers[number] = signal.signal(number, self._stop)
        rows = [row for row in _rows(self.folder / "metrics.csv") if int(row["step"]) <= trainer.global_step]
        _write_rows(self.folder / "metrics.csv", rows)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Give the signals back."""
        self._restore()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self._restore()

    def _restore(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.handlers.clear()

    def _stop(self, number: int, frame: Any) -> None:
        if self.signal is not None:
            self._restore()
            raise KeyboardInterrupt
        self.signal = number
        print("\nstopping after this step; once more stops at once", file=sys.stderr)

    def _pause(self) -> None:
        now = time.monotonic()
        self.seconds += now - (self.clock or now)
        self.clock = None

    # -- at every step and validation

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Sum the loss; save at the last step and on a signal, while weights and the data's place belong together.

        Gradients that batches have summed for a step to come are not saved, so that waits for the step.
        """
        nats, symbols = _training(module).last_batch
        self.train = (self.train[0] + nats, self.train[1] + symbols)
        self.between = trainer.accumulate_grad_batches > 1 and trainer.global_step == self.steps
        self.steps = trainer.global_step
        if self.between:
            return
        if trainer.global_step == trainer.max_steps or self.signal is not None or self.due:
            trainer.save_checkpoint(self.folder / LAST)
            self.due = False
        if self.signal is not None:
            self.saved = True
            if not (self.folder / "model").exists():
                self._export(trainer, _training(module), None)

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Stop, if the last step was saved for it; a validation that was due behind that step is over by now."""
        if self.saved:
            raise Stopped

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Stop the clock."""
        self._pause()

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Write the row, the samples, the checkpoint and, when it is the best yet, the model."""
        if trainer.sanity_checking:
            return
        nats = float(trainer.callback_metrics["val_nats"])
        self.validated = trainer.global_step
        train = self.train[0] / max(1e-9, self.train[1])
        rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
        numbers = (train, train / math.log(2), nats, nats / math.log(2))
        start = (trainer.global_step, trainer.current_epoch, f"{self.seconds:.1f}", f"{max(rates, default=0):.3g}")
        row = dict(zip(COLUMNS, (*start, *(f"{number:.5f}" for number in numbers)), strict=True))
        earlier = [row for row in _rows(self.folder / "metrics.csv") if int(row["step"]) < trainer.global_step]
        _write_rows(self.folder / "metrics.csv", [*earlier, row])
        if nats < self.best:
            self.best = nats
            self._export(trainer, _training(module), nats)
        self.train = (0.0, 0.0)
        if trainer.state.fn == TrainerFn.FITTING:  # and not a validation of its own, which has no place in the data
            self.due = self.between
            if not self.due:
                trainer.save_checkpoint(self.folder / LAST)
        self._sample(trainer, _training(module))
        self.clock = time.monotonic()

    def _export(self, trainer: Trainer, module: Training, nats: float | None) -> None:
        found = {"val_nats": nats, "val_bits": None if nats is None else nats / math.log(2)}
        recipe = {"recipe": self.recipe or self.folder.name, "seconds": round(self.seconds, 1)}
        module.pipeline(**recipe, **found).save_pretrained(self.folder / "model")

    def _sample(self, trainer: Trainer, module: Training) -> None:
        """Samples, which may fail (numbers that feed on themselves may overflow) without an end to the run."""
        step = trainer.global_step
        try:
            pipeline = module.pipeline()
            (self.folder / "samples").mkdir(exist_ok=True)
            path = self.folder / "samples" / f"step-{step:07d}"
            examples = module.data.examples(self.samples) if pipeline.features is not None else ()
            previews = pipeline.modality.preview(pipeline, path, step, self.samples, self.length, examples)
            for number, preview in enumerate(previews, 1):
                if isinstance(trainer.logger, TensorBoardLogger):
                    _show(trainer.logger.experiment, preview, number, step)
        except Exception as error:
            print(f"no samples at step {step}: {type(error).__name__}: {error}", file=sys.stderr)

    def state_dict(self) -> dict[str, Any]:
        """The best score, the seconds and the running mean, for a resumed run."""
        running = 0.0 if self.clock is None else time.monotonic() - self.clock
        seconds = self.seconds + running
        return {"best": self.best, "seconds": seconds, "train": self.train, "validated": self.validated}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` left, and what the last validation of a finished run has found since."""
        self.best, self.seconds = min(state["best"], self._kept()), state["seconds"]
        self.train, self.validated = state["train"], state["validated"]

    def _kept(self) -> float:
        """The score of model/, infinite when it has none."""
        try:
            nats = read(self.folder / "model").config["provenance"]["val_nats"]
        except (CheckpointError, KeyError):
            return math.inf
        return math.inf if nats is None else float(nats)


def _training(module: LightningModule) -> Training:
    if not isinstance(module, Training):
        raise TypeError(f"a run folder belongs to a Training, got {type(module).__name__}")
    return module


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def _show(events: Any, preview: Preview, number: int, step: int) -> None:
    """A sample on TensorBoard."""
    if preview.text is not None:
        events.add_text(f"sample {number}", f"```\n{preview.text}\n```", step)
    if preview.samples is not None:
        events.add_audio(f"sample {number}", preview.samples[None], step, preview.rate)
    if preview.picture is not None:
        events.add_image(f"sample {number}", preview.picture, step, dataformats="HWC")
