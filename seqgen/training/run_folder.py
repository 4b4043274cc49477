"""The run folder: checkpoints, metrics, samples and the best model so far, written while a model trains."""

import csv
import io
import json
import math
import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.plugins.io import CheckpointIO
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from seqgen import sounds
from seqgen.checkpoints.folder import CheckpointError, read, write_atomically
from seqgen.codecs import Pixels, Table
from seqgen.codecs.sound import Sound
from seqgen.data.module import DataModule
from seqgen.media import audio, figure
from seqgen.media.grid import grid, png
from seqgen.pipeline import Pipeline
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

    def __init__(self, folder: Path, samples: int = 10, length: int = 400, clips: int = 2) -> None:
        self.folder = folder
        self.config = ""  # config.yaml
        self.samples = samples
        self.length = length
        self.clips = clips
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
        self.train = (0.0, 0)  # nats since the last validation, steps

    # -- time and signals

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Begin the folder, start the clock, take over the signals, drop rows that a resumed run will write again."""
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
        self.train = (self.train[0] + float(trainer.callback_metrics["nats"]), self.train[1] + 1)
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
        train = self.train[0] / max(1, self.train[1])
        rates = [group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups]
        numbers = (train, train / math.log(2), nats, nats / math.log(2))
        start = (trainer.global_step, trainer.current_epoch, f"{self.seconds:.1f}", f"{max(rates, default=0):.3g}")
        row = dict(zip(COLUMNS, (*start, *(f"{number:.5f}" for number in numbers)), strict=True))
        earlier = [row for row in _rows(self.folder / "metrics.csv") if int(row["step"]) < trainer.global_step]
        _write_rows(self.folder / "metrics.csv", [*earlier, row])
        if nats < self.best:
            self.best = nats
            self._export(trainer, _training(module), nats)
        self._sample(trainer, _training(module))
        self.train = (0.0, 0)
        self.clock = time.monotonic()
        if trainer.state.fn == TrainerFn.FITTING:  # and not a validation of its own, which has no place in the data
            self.due = self.between
            if not self.due:
                trainer.save_checkpoint(self.folder / LAST)

    def _export(self, trainer: Trainer, module: Training, nats: float | None) -> None:
        found = {"val_nats": nats, "val_bits": None if nats is None else nats / math.log(2)}
        recipe = {"recipe": self.folder.name, "seconds": round(self.seconds, 1)}
        module.pipeline(**recipe, **found).save_pretrained(self.folder / "model")

    def _sample(self, trainer: Trainer, module: Training) -> None:
        pipeline, step = module.pipeline(), trainer.global_step
        (self.folder / "samples").mkdir(exist_ok=True)
        path = self.folder / "samples" / f"step-{step:07d}"
        if isinstance(pipeline.codec, Sound):
            self._sound(trainer, pipeline, module.data, path)
            return
        if isinstance(pipeline.codec, Pixels):
            pictures = pipeline.sample(self.samples, seed=step)
            write_atomically(path.with_suffix(".png"), png(grid(pictures), 2))
            return
        if isinstance(pipeline.codec, Table):
            rows = [pipeline.codec.line(row) for row in pipeline.sample(self.samples, seed=step)]
            path.with_suffix(".csv").write_text("\n".join([pipeline.codec.header, *rows]) + "\n", encoding="utf-8")
            return
        texts = pipeline.sample(self.samples, length=self.length, seed=step)
        separator = "\n" if all("\n" not in text for text in texts) else "\n" + "-" * 40 + "\n"
        path.with_suffix(".txt").write_text(separator.join(texts) + "\n", encoding="utf-8", errors="backslashreplace")

    def _sound(self, trainer: Trainer, pipeline: Pipeline, data: DataModule, path: Path) -> None:
        """A clip of each of some classes, others at every step; or, of a vocoder, held-out clips made anew."""
        step, labels = trainer.global_step, pipeline.labels
        examples: list[tuple[Any, dict[str, str]]] = [
            (None, {name: classes[(step + number) % len(classes)] for name, classes in labels.items() if classes})
            for number in range(self.clips)
        ]
        if pipeline.features is not None:
            examples = data.examples(self.clips)
        for number, (condition, label) in enumerate(examples):
            try:
                (clip,) = pipeline.sample(label=label, condition=condition, seed=step + number)
            except ValueError as error:  # numbers that feed on themselves may grow beyond all bounds: no end of a run
                print(f"no sample {number + 1} at step {step}: {error}", file=sys.stderr)
                continue
            if not len(clip.samples):  # the end may come at once
                continue
            name = re.sub(r"[^\w.-]", "_", "-".join([f"{path.name}-{number + 1}", *label.values()]))
            audio.write(path.with_name(f"{name}.wav"), clip)
            if condition is not None:
                audio.write(path.with_name(f"original-{number + 1}.wav"), condition)
            drawn = figure.figure(clip, sounds.surprise(pipeline, clip, label, condition), name)
            write_atomically(path.with_name(f"{name}.png"), figure.png(drawn))
            if isinstance(trainer.logger, TensorBoardLogger):
                events = trainer.logger.experiment
                events.add_audio(f"sample {number + 1}", clip.samples[None], step, clip.rate)
                events.add_image(f"sample {number + 1}", figure.pixels(drawn), step, dataformats="HWC")

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


class Events(TensorBoardLogger):
    """TensorBoard's events in the run folder, and none of Lightning's other files."""

    def save(self) -> None:
        """Flush the events."""
        self.experiment.flush()


class Progress(TQDMProgressBar):
    """A progress bar with nats and bits per symbol, and plain lines where the output is no terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = not sys.stderr.isatty()
        if self.plain:
            self.disable()

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Close the validation's bar, or print one line."""
        if not self.plain:
            super().on_validation_end(trainer, module)
            return
        shown = " ".join(f"{name} {float(value):.4f}" for name, value in trainer.callback_metrics.items())
        print(f"step {trainer.global_step} epoch {trainer.current_epoch} {shown}", file=sys.stderr, flush=True)

    def get_metrics(self, trainer: Trainer, module: LightningModule) -> dict[str, Any]:
        """Without the version number."""
        metrics = super().get_metrics(trainer, module)
        metrics.pop("v_num", None)
        return dict(metrics)


class SafeCheckpointIO(CheckpointIO):
    """Lightning's checkpoints as safetensors with the rest as JSON in the header: nothing on disk is ever unpickled."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write the file, whole or not at all. Raises TypeError for state that is neither tensors nor plain values."""
        tensors: dict[str, Tensor] = {}
        header = json.dumps(_pack(checkpoint, tensors))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(Path(path), safetensors.torch.save(tensors, {"tree": header}))

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read the file. Raises CheckpointError when it is damaged or of another kind."""
        try:
            with safetensors.safe_open(path, "pt") as file:
                header = (file.metadata() or {}).get("tree", "null")
                # Copies, since torch aligns its own memory: products of unaligned operands may round differently.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
            tree = _unpack(json.loads(header), tensors)
        except (OSError, safetensors.SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise CheckpointError(f"{path} is no training checkpoint: {error}") from None
        if not isinstance(tree, dict):
            raise CheckpointError(f"{path} is no training checkpoint: it holds no state")
        return tree

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the file if it is there."""
        Path(path).unlink(missing_ok=True)


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """A tree of dicts, lists, tuples, plain values and tensors as JSON; the tensors go into `tensors`."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"dict": [[_pack(key, tensors), _pack(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_pack(item, tensors) for item in value]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"cannot save {value!r} of type {type(value).__name__} in a training checkpoint")


def _unpack(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, inside),) = value.items()
    if kind == "tensor":
        return tensors[inside]
    if kind == "dict":
        return {_unpack(key, tensors): _unpack(item, tensors) for key, item in inside}
    items = [_unpack(item, tensors) for item in inside]
    return items if kind == "list" else tuple(items)
