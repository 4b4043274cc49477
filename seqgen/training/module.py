"""Training by maximum likelihood: loss = -log_prob."""

import functools
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import seqgen
from seqgen.checkpoints.training_texts import TrainingTexts
from seqgen.config import SeqgenError, describe
from seqgen.data.module import DataModule
from seqgen.inference.conditioning import check_fit
from seqgen.inference.score import score_batch
from seqgen.model import Batch, Carry, Context, Model, arranged
from seqgen.output import Output
from seqgen.outputs import Categorical
from seqgen.pipeline import Pipeline


class Training(LightningModule):
    """Minimises the nats per symbol of any model; the data module says how many symbols and which labels there are.

    AdamW, a linear warm-up, then a cosine to `final_lr` of the peak over all steps of the trainer. Before each batch
    torch's generator is seeded with (seed, epoch, place), so a resumed run is the run that was never interrupted. A
    model that was made for several orders gets one of them drawn for every batch; it is validated in the first.

    The loss of a batch is the sum of its nats, each times the weight of its item, over the mean weighted number of
    symbols of a batch, so that every symbol of the corpus counts alike however items are batched.

    Args:
        model: The model's class and its arguments, but for the output and the labels, which come from the data.
        output: None is a Categorical over the codec's symbols.
        lr: Peak learning rate.
        weight_decay: Decoupled, on matrices only; biases have none, also where they are a matrix.
        betas: AdamW's.
        warmup: Steps until the peak.
        final_lr: The last learning rate as a fraction of the peak.
        ema: Decay of an exponential moving average of the weights, which is then what is validated and saved; it
            starts as a plain average, (1 + n) / (10 + n) after n steps, and None does without.
        label_dropout: Probability that the model is not told a label of a training sequence, so that it learns
            p(x | label) and p(x) both (Ho & Salimans 2022, arXiv:2207.12598, do this to diffusion models).
        seed: Of the first weights and of dropout.
    """

    def __init__(
        self,
        model: Callable[[Output, list[int]], Model],
        output: Output | None = None,
        lr: float = 2e-3,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.99),
        warmup: int = 100,
        final_lr: float = 0.0,
        ema: float | None = None,
        label_dropout: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 < lr < math.inf or (ema is not None and not 0 <= ema < 1):
            raise SeqgenError(f"lr is {lr} and ema {ema}; expected a positive lr and an ema from 0 to below 1")
        if not 0 <= label_dropout <= 1:
            raise SeqgenError(f"label_dropout is {label_dropout}, expected a number from 0 to 1")
        self.make = model
        self.output = output
        self.lr, self.weight_decay, self.betas = lr, weight_decay, betas
        self.warmup, self.final_lr = warmup, final_lr
        self.ema = ema
        self.label_dropout = label_dropout
        self.seed = seed
        self.model: Model | None = None
        self.average: AveragedModel | None = None
        self.report: str | None = None
        self.carry: dict[str, Carry] = {}
        self.sums = (0.0, 0.0)
        self.last_batch = (0.0, 0.0)  # weighted nats and weighted symbols
        self.normaliser = 1.0

    # -- the model

    def connect(self, data: DataModule) -> None:
        """Build the model for data that are set up, and tell the data what depends on the model.

        Raises SeqgenError where model and data do not fit together.
        """
        self.data = data
        torch.manual_seed(self.seed)
        output = self.output or Categorical(data.symbols_known)
        self.model = self.make(output, [len(classes) for classes in data.labels.values()])
        check_fit(self.model, data.codec, data.features)
        data.connect(self.model.receptive_field, self.model.feature_reach)
        self.normaliser = data.symbols_per_batch
        if (rows := data.marginals()) is not None:
            self.model.init_from_marginals(rows)
        if self.ema is not None and any(True for _ in self.model.parameters()):  # else it learns by counting
            self.average = AveragedModel(self.model, multi_avg_fn=_average(self.ema))

    def check_precision(self, precision: str) -> str | None:
        """What is to be said of a precision: that it is slower on this processor than float32.

        Raises SeqgenError for 16 bits where the output's parameters need more.
        """
        assert self.model is not None
        if not self.model.output.half_precision and "16" in precision:
            raise SeqgenError(
                f"precision is {precision}, whose numbers have three digits, and the parameters of "
                f"{type(self.model.output).__name__} need more, expected precision 32-true"
            )
        if "bf16" not in precision or torch.cuda.is_available():
            return None
        self._try_bfloat16(precision)
        if (slower := bfloat16_slowdown()) < 1:
            return None
        return f"products in bfloat16 take {slower:.1f} times as long as in float32 on this processor"

    def _try_bfloat16(self, precision: str) -> None:
        """Raise SeqgenError where a kernel of the model does not exist for this processor."""
        assert self.model is not None
        x = torch.zeros(1, min(2, self.model.dimensions or 2), dtype=self.model.output.dtype)
        labels = torch.zeros(1, len(self.model.label_sizes), dtype=torch.int64)
        features = torch.zeros(1, 2, self.model.feature_size) if self.model.feature_size else None
        try:
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                self.model(x, Context(labels if len(labels[0]) else None, features))
        except RuntimeError as error:
            raise SeqgenError(
                f"precision {precision} cannot be used on this processor, expected precision 32-true: {error}"
            ) from error

    @property
    def best(self) -> Model:
        """The weights to judge and to keep: the average, where there is one."""
        chosen = self.model if self.average is None else self.average.module
        assert isinstance(chosen, Model)  # built by configure_model, before any hook that asks
        return chosen

    def pipeline(self, **provenance: Any) -> Pipeline:
        """The model as it stands, with its codec and where it comes from."""
        data = self.data
        provenance = {**self.provenance(), **provenance}
        return Pipeline(
            self.best, data.codec, data.labels, provenance, data.features, training_texts=self.training_texts
        )

    @functools.cached_property
    def training_texts(self) -> TrainingTexts | None:
        """Hashes of the texts of the training part; None for data of another kind."""
        texts = self.data.training_texts()
        return None if texts is None else TrainingTexts.of(texts)

    def provenance(self) -> dict[str, Any]:
        """How the model came about, as plain JSON."""
        data = self.data
        return {
            "seqgen": seqgen.__version__,
            "torch": torch.__version__,
            "seed": self.seed,
            "step": self.global_step,
            "epoch": self.current_epoch,
            "parameters": sum(parameter.numel() for parameter in self.best.parameters()),
            "data": Path(data.source).name if isinstance(data.source, str) else type(data.source).__name__,
            "data_sha256": data.sha256,
            "licence": data.licence,
            "report": self.report,
        }

    # -- training

    def on_train_start(self) -> None:
        """Report on the data; current lr, betas and weight decay override the checkpoint's."""
        self.report = self.data.report
        if self.report:
            print(self.report, file=sys.stderr)
        for scheduler in self.trainer.lr_scheduler_configs:
            schedule, optimizer = scheduler.scheduler, scheduler.scheduler.optimizer
            schedule.base_lrs = [self.lr] * len(optimizer.param_groups)
            lr = self.lr * self._schedule(self._steps())(schedule.last_epoch)
            for group in optimizer.param_groups:
                decay = self.weight_decay if group["decays"] else 0.0
                group.update(lr=lr, initial_lr=self.lr, betas=self.betas, weight_decay=decay)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make this batch's randomness a function of (seed, epoch, place in the epoch)."""
        torch.manual_seed(hash((self.seed, self.current_epoch, batch_idx)) % 2**63)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Mean nats per symbol of a batch; None from models that only count."""
        assert self.model is not None
        carry = self.carry["train"] if batch.window else None
        if self.current_epoch == 0:  # once through the data is all there is to count
            self.model.count(batch, carry)
        number = 0 if self.model.orders == 1 else int(torch.randint(2**31, ()))
        nats, symbols = self._nats(self._drop_labels(batch), carry, number)
        loss = nats / self.normaliser
        self.last_batch = (nats.item(), symbols.item())
        if not math.isfinite(self.last_batch[0]):
            raise SeqgenError(
                f"the loss is {self.last_batch[0]} at step {self.global_step}; try a lower learning rate than {self.lr}"
            )
        mean = self.last_batch[0] / max(self.last_batch[1], 1e-9)
        self.log_dict({"nats": mean, "bits": mean / math.log(2)}, batch_size=1)
        return loss if loss.requires_grad else None

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Let the average follow, before anybody saves the step."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            assert self.model is not None
            self.average.update_parameters(self.model)

    def on_validation_epoch_start(self) -> None:
        """Forget the sums of the last validation."""
        self.sums = (0.0, 0.0)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add up nats and symbols: the mean is over symbols, not over batches."""
        scored = score_batch(self.best, batch, self.carry.get("val"))
        if scored.carry is not None:
            self.carry["val"] = scored.carry
        total = scored.total(self.data.codec, log_jacobian=0.0)
        self.sums = (self.sums[0] + total.nats, self.sums[1] + total.symbols)

    def on_validation_epoch_end(self) -> None:
        """Log nats and bits per symbol."""
        nats, symbols = self.sums
        self.log_dict({"val_nats": nats / symbols, "val_bits": nats / symbols / math.log(2)}, prog_bar=True)

    def _drop_labels(self, batch: Batch) -> Batch:
        """The batch with some labels left out, at random."""
        if batch.context is None or batch.context.labels is None:
            return batch
        labels = batch.context.labels
        kept = torch.rand(labels.shape) >= self.label_dropout
        return batch._replace(context=batch.context._replace(labels=labels * kept.to(labels.device)))

    def _nats(self, batch: Batch, carry: Carry | None, number: int) -> tuple[Tensor, Tensor]:
        """Weighted nats and weighted symbols of a training batch, in a factorisation."""
        assert self.model is not None
        order = self.model.order_number(number)
        x, context = arranged(batch.x, batch.context, order)
        mask, _ = arranged(batch.mask, None, order)
        if batch.window is None:
            rows = self.model(x, context)
        else:
            rows, after = self.model.advance(x, carry, context)
            self.carry["train"] = after.detach()
        # Mixed precision ends here: bfloat16 holds log-probabilities to two digits.
        log_prob = self.model.output(rows.to(torch.promote_types(rows.dtype, torch.float32))).log_prob(x)
        if batch.weight is not None:
            mask = mask & (batch.weight > 0).unsqueeze(1)
        nats = -log_prob.masked_fill(~mask, 0)
        weights = mask if batch.weight is None else mask * batch.weight.unsqueeze(1)
        return (nats if batch.weight is None else nats * batch.weight.unsqueeze(1)).sum(), weights.sum()

    # -- optimisation

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine; nothing for a model without parameters."""
        assert self.model is not None
        parameters: dict[bool, list[Tensor]] = {True: [], False: []}
        for name, parameter in self.model.named_parameters():
            bias = "bias" in name.rpartition(".")[2]
            parameters[parameter.ndim >= 2 and not bias].append(parameter)
        groups = [
            {"params": some, "weight_decay": self.weight_decay * decays, "decays": decays}
            for decays, some in parameters.items()
        ]
        if not any(parameters.values()):
            return None
        optimizer = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=self.lr, betas=self.betas, fused=True
        )
        optimizer._step_supports_amp_scaling = False  # gradients are clipped, which comes behind the scaler's work
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._schedule(self._steps()))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _steps(self) -> float:
        return self.trainer.estimated_stepping_batches

    def _schedule(self, steps: float) -> Callable[[int], float]:
        def factor(step: int) -> float:
            if step < self.warmup:
                return (step + 1) / self.warmup
            done = min(1.0, (step - self.warmup) / max(1.0, steps - self.warmup)) if math.isfinite(steps) else 0.0
            return self.final_lr + (1 - self.final_lr) * (1 + math.cos(math.pi * done)) / 2

        return factor

    # -- resuming

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know of: the carried state, and which data and codec the run was begun on."""
        checkpoint["carry"] = {part: tuple(carry) for part, carry in self.carry.items() if part == "train"}
        checkpoint["begun_on"] = self._begun_on()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the carried state up again. Raises SeqgenError if data or codec are not those of the run."""
        for what, now in self._begun_on().items():
            before = checkpoint["begun_on"].get(what)
            if before != now:
                raise SeqgenError(
                    f"cannot resume: {what} changed since the run was begun, from {_short(before)} to {_short(now)}; "
                    "a run goes on with the data, codec and batches that it was begun on"
                )
        self.carry = {part: Carry(*carry) for part, carry in checkpoint["carry"].items()}

    def _begun_on(self) -> dict[str, Any]:
        data = self.data
        return {"the data": data.sha256, "the codec": describe(data.codec), **data.plan}


def _average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    def average(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        now = min(decay, (1 + int(count)) / (10 + int(count)))
        get_ema_multi_avg_fn(now)(averaged, current, count)  # type: ignore[no-untyped-call]

    return average


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def bfloat16_slowdown(size: int = 256) -> float:
    """How many times as long as in float32 a product of matrices takes; below 1 on processors made for it."""
    seconds = []
    for dtype in (torch.float32, torch.bfloat16):
        matrix = torch.ones(size, size, dtype=dtype)
        times = []
        for _ in range(4):  # the first one prepares
            began = time.perf_counter()
            matrix @ matrix
            times.append(time.perf_counter() - began)
        seconds.append(min(times))
    return seconds[1] / seconds[0]
