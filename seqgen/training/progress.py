"""How a training reports its progress: a bar on a terminal, else plain lines; and TensorBoard's events."""

import math
import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loggers import TensorBoardLogger

from seqgen.training.module import Training

FIRST, EVERY = 4.0, 10.0
"""Seconds until the first line, and between lines."""


class Events(TensorBoardLogger):
    """TensorBoard's events in the run folder, and none of Lightning's other files."""

    def save(self) -> None:
        """Flush the events."""
        self.experiment.flush()


class Progress(TQDMProgressBar):
    """Step, running mean of the nats, symbols a second and time left: in a bar, or in a line every ten seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.plain = not sys.stderr.isatty()
        self.sums = (0.0, 0.0)
        self.mean = math.nan
        self.rate = 0.0
        self.began = self.last = 0.0
        self.steps = 0  # at the last line
        self.wait = FIRST
        if self.plain:
            self.disable()

    def on_train_start(self, *arguments: Any) -> None:
        """Start the clock."""
        super().on_train_start(*arguments)
        self.began = self.last = time.monotonic()
        self.steps = arguments[0].global_step

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add up the batch; print a line when it is time."""
        assert isinstance(module, Training)
        self.sums = (self.sums[0] + module.last_batch[0], self.sums[1] + module.last_batch[1])
        now = time.monotonic()
        if now - self.last >= self.wait:
            self._measure(trainer, now)
            if self.plain:
                print(self._line(trainer), file=sys.stderr, flush=True)
        if not self.plain:
            super().on_train_batch_end(trainer, module, outputs, batch, batch_idx)

    def _measure(self, trainer: Trainer, now: float) -> None:
        """The running mean and the rates since the last time."""
        nats, symbols = self.sums
        passed = max(1e-9, now - self.last)
        self.mean, self.rate = nats / max(1e-9, symbols), symbols / passed
        steps = trainer.global_step - self.steps
        self.step_rate = steps / passed
        self.sums, self.last, self.steps, self.wait = (0.0, 0.0), now, trainer.global_step, EVERY

    def _line(self, trainer: Trainer) -> str:
        left = (trainer.max_steps - trainer.global_step) / self.step_rate if self.step_rate else math.inf
        ending = f", {_duration(left)} left" if trainer.max_steps > 0 and math.isfinite(left) else ""
        return f"step {trainer.global_step} nats {self.mean:.4f} {self.rate:,.0f} symbols/s{ending}"

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Close the validation's bar, or print one line; validation is no time of training."""
        if not self.plain:
            super().on_validation_end(trainer, module)
        else:
            nats, symbols = self.sums
            mean = f" nats {nats / symbols:.4f}" if symbols else ""
            shown = " ".join(f"{name} {float(trainer.callback_metrics[name]):.4f}" for name in ("val_nats", "val_bits"))
            print(
                f"step {trainer.global_step} epoch {trainer.current_epoch}{mean} {shown}", file=sys.stderr, flush=True
            )
        self.sums, self.last, self.steps = (0.0, 0.0), time.monotonic(), trainer.global_step

    def get_metrics(self, trainer: Trainer, module: LightningModule) -> dict[str, Any]:
        """The running mean and the rate beside the validation's numbers; no version number."""
        metrics = dict(super().get_metrics(trainer, module))
        metrics.pop("v_num", None)
        if math.isfinite(self.mean):
            metrics |= {"nats": f"{self.mean:.4f}", "symbols/s": f"{self.rate:,.0f}"}
        return metrics


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"
