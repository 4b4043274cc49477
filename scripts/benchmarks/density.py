"""FVSBN, NADE and MADE of 784 variables and 500 hidden units, compared with the usual implementations in PyTorch."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.turns import Contender, steps, streamed, take_turns, timed
from seqgen.inference import generate
from seqgen.model import Model
from seqgen.models import FVSBN, MADE, NADE
from seqgen.outputs import Bernoulli

VARIABLES, HIDDEN, BATCH = 784, 500, 100


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Rows per second: log_prob, training, and sampling in batches of 1 and 64."""
    pairs = {
        "FVSBN": (FVSBN(Bernoulli(), dimensions=VARIABLES), PlainFVSBN),
        "NADE": (NADE(Bernoulli(), dimensions=VARIABLES, hidden=HIDDEN), PlainNADE),
        "MADE": (MADE(Bernoulli(), dimensions=VARIABLES, hidden=[HIDDEN]), PlainMADE),
    }
    results, difference = {}, 0.0
    for name, (model, make) in pairs.items():
        plain = make(model)
        difference = max(difference, largest_difference(model, plain))
        results[f"{name}, log_prob, batch {BATCH}"] = take_turns(
            {"plain PyTorch": scoring(plain, seconds), "seqgen": scoring(model, seconds)}, rounds
        )
        results[f"{name}, training, batch {BATCH}"] = take_turns(
            {
                "plain PyTorch": training(make(model), seconds),
                "seqgen": training(type(model)(**model.init_args), seconds),
            },
            rounds,
        )
        model.eval()
        for batch in (1, 64):
            results[f"{name}, sampling, batch {batch}"] = take_turns(
                {
                    "plain PyTorch": sampling(plain.stream, batch, seconds),
                    "seqgen, re-running forward": sampling(streamed(Slow(model)), batch, seconds),
                    "seqgen": sampling(partial(whole, model), batch, seconds),
                },
                rounds,
            )
    assert difference < 1e-4, f"the contenders' log-probabilities differ by {difference:.1e}"
    return {"unit": "rows/s", "results": results, "largest difference of log p": f"{difference:.0e}"}


@torch.no_grad()
def largest_difference(model: Model, plain: nn.Module) -> float:
    """Largest difference between log-probabilities of single variables."""
    x = torch.randint(2, (20, VARIABLES))
    nats = F.binary_cross_entropy_with_logits(plain(x.float()), x.float(), reduction="none")
    return (model.log_prob(x) + nats).abs().max().item()


# -- contenders


def scoring(model: nn.Module, seconds: float) -> Contender:
    """Repeated log p of one batch of rows."""
    x = torch.randint(2, (BATCH, VARIABLES))

    @torch.inference_mode()
    def work() -> Iterator[int]:
        while True:
            nats(model, x)
            yield BATCH

    return lambda: timed(work(), seconds)


def training(model: nn.Module, seconds: float) -> Contender:
    """Training steps on random rows."""
    draw = partial(torch.randint, 2, (BATCH, VARIABLES))
    return steps(model, lambda x: nats(model, x).sum(1).mean(), draw, BATCH, seconds)


def nats(model: nn.Module, x: Tensor) -> Tensor:
    """Nats (B, D) of each variable, by seqgen's log_prob or by PyTorch's loss."""
    if isinstance(model, Model):
        return -model.log_prob(x)
    return F.binary_cross_entropy_with_logits(model(x.float()), x.float(), reduction="none")


def sampling(stream: Callable[[Tensor], Iterator[Tensor]], batch: int, seconds: float) -> Contender:
    """Sampling of rows, counted variable by variable, so that a run can end within a row."""

    def work() -> Iterator[float]:
        while True:
            for symbols in stream(generate.draw_noise(batch, VARIABLES, 0)):
                yield symbols.numel() / VARIABLES

    return lambda: timed(work(), seconds)


def whole(model: Model, noise: Tensor) -> Iterator[Tensor]:
    """Rows (B, D) in one piece."""
    yield generate.sample(model, noise)


class Slow(Model):
    """A model with Model's default `step`, which runs `forward` on the whole prefix for every symbol."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model, self.output = model, model.output

    def forward(self, x: Tensor, context: Any = None) -> Tensor:
        """Parameters (B, T, P)."""
        return self.model(x, context)


class Plain(nn.Module):
    """The usual sampler, which runs the whole network for every variable."""

    @torch.inference_mode()
    def stream(self, noise: Tensor) -> Iterator[Tensor]:
        """Variables (B,) drawn by torch.bernoulli; of `noise`, only the shape is used."""
        x = torch.zeros(len(noise), VARIABLES)
        for place in range(VARIABLES):
            x[:, place] = torch.bernoulli(self(x)[:, place].sigmoid())
            yield x[:, place]


class PlainFVSBN(Plain):
    """A separate logistic regression for every variable."""

    def __init__(self, model: FVSBN) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(place, 1) for place in range(1, VARIABLES))
        self.first = nn.Parameter(model.bias.detach()[0].clone())
        for place, layer in enumerate(self.layers, 1):
            layer.weight.data.copy_(model.weight.detach()[place, :, :place, 0])
            layer.bias.data.copy_(model.bias.detach()[place])

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, D)."""
        rest = [layer(x[:, :place]) for place, layer in enumerate(self.layers, 1)]
        return torch.cat([self.first.expand(len(x), 1), *rest], 1)


class PlainNADE(Plain):
    """The recurrence of the paper as a Python loop over variables."""

    def __init__(self, model: NADE) -> None:
        super().__init__()
        self.weight = nn.Parameter(model.weight.detach()[:, 0].clone())
        self.bias = nn.Parameter(model.bias.detach().clone())
        self.readout = nn.Parameter(model.readout.detach()[:, 0].clone())
        self.readout_bias = nn.Parameter(model.readout_bias.detach()[:, 0].clone())

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, D)."""
        total, logits = self.bias.expand(len(x), -1), []
        for place in range(VARIABLES):
            logits.append(total.sigmoid() @ self.readout[place] + self.readout_bias[place])
            total = total + x[:, place : place + 1] * self.weight[place]
        return torch.stack(logits, 1)

    @torch.inference_mode()
    def stream(self, noise: Tensor) -> Iterator[Tensor]:
        """Variables (B,), with the cached pre-activation of the hidden units."""
        total = self.bias.expand(len(noise), -1)
        for place in range(VARIABLES):
            logit = total.sigmoid() @ self.readout[place] + self.readout_bias[place]
            x = torch.bernoulli(logit.sigmoid())
            yield x
            total = total + x.unsqueeze(1) * self.weight[place]


class PlainMADE(Plain):
    """Two masked linear layers."""

    def __init__(self, model: MADE) -> None:
        super().__init__()
        (degrees,) = model.degrees(0)
        positions = torch.arange(1, VARIABLES + 1)
        self.hidden, self.readout = nn.Linear(VARIABLES, HIDDEN), nn.Linear(HIDDEN, VARIABLES)
        self.hidden.load_state_dict(model.hidden[0].state_dict())
        self.readout.weight.data.copy_(model.readout.detach()[:, 0])
        self.readout.bias.data.copy_(model.bias.detach()[:, 0])
        self.register_buffer("first", (degrees.unsqueeze(1) >= positions).float())
        self.register_buffer("second", (positions.unsqueeze(1) > degrees).float())

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, D)."""
        units = F.relu(F.linear(x, self.hidden.weight * self.first, self.hidden.bias))
        return F.linear(units, self.readout.weight * self.second, self.readout.bias)
