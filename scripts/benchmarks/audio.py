"""A WaveNet of 3 x 10 layers over 256 classes, compared with the usual implementation in PyTorch."""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.turns import Contender, drawing, repeating, steps, streamed, take_turns
from seqgen.models import WaveNet
from seqgen.outputs import Categorical

CLASSES, RESIDUAL, GATE, SKIP, END = 256, 64, 64, 256, 256
BATCH, LENGTH = 2, 4000


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Training and generation in samples per second; in training, samples of left context do not count."""
    sizes = {"kernel": 2, "residual": RESIDUAL, "gate": GATE, "skip": SKIP, "end": END}
    model = WaveNet(Categorical(CLASSES), layers=10, blocks=3, **sizes)
    model.first.data.copy_(model.input.bias)  # equal to the output of a zero-padded input convolution
    plain = PlainWaveNet(model)
    difference = largest_difference(model, plain)
    assert difference < 1e-4, f"the contenders' logits differ by {difference:.1e}"
    results = {}
    for mixed in (False, True) if "bf16" in Path("/proc/cpuinfo").read_text() else (False,):
        for context in (0, model.receptive_field):
            training = {
                "separate convolutions": training_of(plain, plain_loss, context, seconds, mixed),
                "seqgen model": training_of(model, own_loss, context, seconds, mixed),
            }
            precision = "bfloat16 autocast" if mixed else "float32"
            title = f"training, {precision}, batch {BATCH}, loss on {LENGTH:,} of {context + LENGTH:,}"
            results[title] = take_turns(training, rounds)
    model.eval()
    plain.load(model)
    size = sum(weight.numel() * weight.element_size() for weight in matrices(model))
    weights = torch.cat([weight.flatten() for weight in matrices(model)])
    for batch in (1, 16):
        generation = {
            "queues and Conv1d": drawing(Cached(plain, as_convolution).stream, batch, seconds),
            "queues and Linear": drawing(Cached(plain, as_linear).stream, batch, seconds),
            "seqgen stream": drawing(streamed(model), batch, seconds),
            "matrix products alone": repeating(products(model, batch), batch, seconds),
            "weights read once": repeating([weights.sum], batch, seconds),
        }
        results[f"generation, batch {batch}"] = take_turns(generation, rounds)
    reads = results["generation, batch 1"]["weights read once"]["median"]
    return {
        "unit": "samples/s",
        "results": results,
        "weights read per sample": f"{size / 1e6:.2f} MB, read at {reads * size / 1e9:.1f} GB/s",
        "largest difference of logits": f"{difference:.0e}",
    }


@torch.no_grad()
def largest_difference(model: WaveNet, plain: "PlainWaveNet") -> float:
    """Largest difference between the logits of all contenders; loops run longer than their longest queue."""
    x = torch.randint(CLASSES, (BATCH, LENGTH))
    expected = model(x)
    differences = [plain(x) - expected]
    first, state = model.start(BATCH)
    loops = [[first]]
    caches = [Cached(plain, as_convolution), Cached(plain, as_linear)]
    loops += [[cache.start(BATCH)] for cache in caches]
    for column in x[:, : max(model.lags) + 1].unbind(1):
        rows, state = model.step(column.unsqueeze(1), state)
        for loop, row in zip(loops, [rows[:, 0], *(cache.take(column) for cache in caches)], strict=True):
            loop.append(row)
    differences += [torch.stack(loop, 1) - expected[:, : len(loop)] for loop in loops]
    return max(difference.abs().max().item() for difference in differences)


# -- training


def training_of(
    model: nn.Module, loss: Callable[[nn.Module, Tensor], Tensor], context: int, seconds: float, mixed: bool
) -> Contender:
    """Training steps on crops of `context` samples of left context, without loss, and LENGTH samples with loss."""

    def mean(x: Tensor) -> Tensor:
        return loss(model, x)[:, context:].mean()

    return steps(model, mean, lambda: torch.randint(CLASSES, (BATCH, context + LENGTH)), BATCH * LENGTH, seconds, mixed)


def own_loss(model: WaveNet, x: Tensor) -> Tensor:
    """Nats (B, T) of each sample, as in seqgen.training.module."""
    return -model.output(model(x).float()).log_prob(x)


def plain_loss(model: nn.Module, x: Tensor) -> Tensor:
    """Nats (B, T) of each sample."""
    return F.cross_entropy(model(x).float().mT, x, reduction="none")


class PlainWaveNet(nn.Module):
    """The usual implementation: one-hot input and separate padded convolutions for filter, gate, residual and skip."""

    def __init__(self, model: WaveNet) -> None:
        super().__init__()
        depth = len(model.dilations)
        dilated = [{"kernel_size": 2, "dilation": dilation, "padding": dilation} for dilation in model.dilations]
        self.input = nn.Conv1d(CLASSES, RESIDUAL, 1)
        self.filters = nn.ModuleList(nn.Conv1d(RESIDUAL, GATE, **options) for options in dilated)
        self.gates = nn.ModuleList(nn.Conv1d(RESIDUAL, GATE, **options) for options in dilated)
        self.residuals = nn.ModuleList(nn.Conv1d(GATE, RESIDUAL, 1, bias=False) for _ in range(depth - 1))
        self.skips = nn.ModuleList(nn.Conv1d(GATE, SKIP, 1, bias=layer == 0) for layer in range(depth))
        self.end = nn.Conv1d(SKIP, END, 1)
        self.readout = nn.Conv1d(END, CLASSES, 1)
        self.load(model)

    @torch.no_grad()
    def load(self, model: WaveNet) -> None:
        """Copy the weights of a seqgen model."""
        for own, other in ((self.input, model.input), (self.end, model.end), (self.readout, model.readout)):
            own.weight.copy_(other.weight.unsqueeze(2))
            own.bias.copy_(other.bias)
        taps = model.taps.unflatten(1, (2, RESIDUAL)).permute(0, 3, 2, 1)  # (layer, filters and gates, residual, tap)
        for layer, (filters, gates) in enumerate(zip(self.filters, self.gates, strict=True)):
            for half, own in enumerate((filters, gates)):
                own.weight.copy_(taps[layer].chunk(2)[half])
                own.bias.copy_(model.bias[layer].chunk(2)[half])
        for own, weight in zip(self.residuals, model.residual, strict=True):
            own.weight.copy_(weight.t().unsqueeze(2))
        for own, weight in zip(self.skips, model.skip.weight.split(GATE, 1), strict=True):
            own.weight.copy_(weight.unsqueeze(2))
        self.skips[0].bias.copy_(model.skip.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, T, K) for every sample of x (B, T)."""
        h = self.input(F.pad(F.one_hot(x[:, :-1], CLASSES).float().mT, (1, 0)))
        total = 0
        for filters, gates, skip, residual in zip(*self.layers(), strict=True):
            z = filters(h)[..., : x.shape[1]].tanh() * gates(h)[..., : x.shape[1]].sigmoid()
            total = total + skip(z)
            if residual is not None:
                h = h + residual(z)
        return self.readout(self.end(total.relu()).relu()).mT

    def layers(self) -> list[list[nn.Conv1d | None]]:
        """Filters, gates, skips and residuals of all layers; the last layer has no residual (None)."""
        return [[*self.filters], [*self.gates], [*self.skips], [*self.residuals, None]]


# -- generation


class Cached:
    """The usual cached generation: a Python queue of earlier inputs for every layer, one sample at a time."""

    def __init__(self, plain: PlainWaveNet, one: Callable[[nn.Conv1d], nn.Module]) -> None:
        self.input, self.end, self.readout = one(plain.input), one(plain.end), one(plain.readout)
        self.layers = [[layer and one(layer) for layer in kind] for kind in plain.layers()]
        self.dilations = [layer.dilation[0] for layer in plain.filters]
        self.trailing = self.input.weight.shape[2:]  # dimensions after the channels: (1,) for Conv1d, () for Linear

    def start(self, batch: int) -> Tensor:
        """Reset the queues. Logits (B, K) of the first sample."""
        empty = torch.zeros(batch, RESIDUAL, *self.trailing)
        self.queues = [deque([empty] * dilation, dilation) for dilation in self.dilations]
        return self._logits(torch.zeros(batch, CLASSES))

    def take(self, x: Tensor) -> Tensor:
        """Logits (B, K) after the sample x (B,)."""
        return self._logits(F.one_hot(x, CLASSES).float())

    def _logits(self, x: Tensor) -> Tensor:
        h, total = self.input(x.view(*x.shape, *self.trailing)), 0
        for queue, filters, gates, skip, residual in zip(self.queues, *self.layers, strict=True):
            taps = torch.cat([queue[0], h], -1)
            queue.append(h)
            z = filters(taps).tanh() * gates(taps).sigmoid()
            total = total + skip(z)
            if residual is not None:
                h = h + residual(z)
        return self.readout(self.end(total.relu()).relu()).flatten(1)

    @torch.inference_mode()
    def stream(self, noise: Tensor) -> Iterator[Tensor]:
        """Samples (B,) drawn by torch.multinomial; of `noise`, only the shape is used."""
        logits = self.start(len(noise))
        for _ in range(noise.shape[1]):
            x = logits.softmax(-1).multinomial(1)[:, 0]
            yield x
            logits = self.take(x)


def as_convolution(layer: nn.Conv1d) -> nn.Conv1d:
    """The layer for one output sample, without dilation: inputs (B, C, taps)."""
    own = nn.Conv1d(layer.in_channels, layer.out_channels, layer.kernel_size[0], bias=layer.bias is not None)
    own.load_state_dict(layer.state_dict())
    return own


def as_linear(layer: nn.Conv1d) -> nn.Linear:
    """The layer for one output sample as a linear layer: inputs (B, taps C)."""
    weight = layer.weight.mT.flatten(1)
    own = nn.Linear(*weight.t().shape, bias=layer.bias is not None)
    own.load_state_dict({**layer.state_dict(), "weight": weight})
    return own


def matrices(model: WaveNet) -> list[Tensor]:
    """All matrices multiplied for one sample; the earlier taps of all layers are one product. Input is a look-up."""
    past, now = model.taps.detach().split(RESIDUAL, 1)
    linear = [layer.weight.detach().t() for layer in (model.skip, model.end, model.readout)]
    weights = [past, *now.unbind(), *model.residual.detach().unbind(), *linear]
    return [weight.contiguous() for weight in weights]


def products(model: WaveNet, batch: int) -> list[Callable[[], Tensor]]:
    """The matrix products of one sample, an upper bound on the speed of eager PyTorch in float32."""
    multiply = {2: torch.mm, 3: torch.bmm}
    rows = [torch.randn(*weight.shape[:-2], batch, weight.shape[-2]) for weight in matrices(model)]
    return [partial(multiply[weight.ndim], row, weight) for row, weight in zip(rows, matrices(model), strict=True)]
