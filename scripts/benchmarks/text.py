"""An LSTM of 3 x 512 over 65 one-hot characters, compared with torch.nn.LSTM."""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.turns import Contender, drawing, repeating, steps, streamed, take_turns
from seqgen.inference import generate
from seqgen.model import Carry, Model
from seqgen.models import RNN
from seqgen.outputs import Categorical
from seqgen.outputs.categorical import inverse_cdf

SYMBOLS, LAYERS, HIDDEN = 65, 3, 512
BATCH, LENGTH = 50, 50


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Training and sampling in characters per second."""
    model = RNN(Categorical(SYMBOLS), cell="lstm", layers=LAYERS, hidden=HIDDEN)
    plain = Plain(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        path.write_text(random_text(), encoding="utf-8")
        training = {
            "torch.nn.LSTM": steps(plain, plain.loss, windows, BATCH * LENGTH, seconds),
            "seqgen model": steps(model, own_loss(model), windows, BATCH * LENGTH, seconds),
            "seqgen fit": fitting(path, seconds),
        }
        results = {f"training, batch {BATCH}, length {LENGTH}": take_turns(training, rounds)}
    model.eval()
    plain.load(model)
    for batch in (1, 64):
        sampling = {
            "torch.nn.LSTM": drawing(plain.stream, batch, seconds),
            "seqgen stream": drawing(streamed(model), batch, seconds),
            "matrix products alone": repeating(products(model, batch), batch, seconds),
        }
        results[f"sampling, batch {batch}"] = take_turns(sampling, rounds)
    bare = results["sampling, batch 1"]["matrix products alone"]["median"]
    size = sum(weight.numel() * weight.element_size() for weight in matrices(model))
    noise = generate.draw_noise(64, 50, seed=1)
    same = torch.stack(list(streamed(model)(noise))) == torch.stack(list(plain.stream(noise)))
    return {
        "unit": "characters/s",
        "results": results,
        "weights read per character": f"{size / 1e6:.1f} MB; the products alone read {bare * size / 1e9:.1f} GB/s",
        "same symbols from the same noise": f"{same.double().mean():.4f}",
    }


class Plain(nn.Module):
    """The usual implementation: torch.nn.LSTM over one-hot vectors, and a linear layer."""

    def __init__(self, model: RNN) -> None:
        super().__init__()
        self.lstm = nn.LSTM(SYMBOLS, HIDDEN, LAYERS, batch_first=True)
        self.readout = nn.Linear(HIDDEN, SYMBOLS)
        self.state: tuple[Tensor, Tensor] | None = None
        self.load(model)

    def load(self, model: RNN) -> None:
        """Copy the weights of a seqgen model."""
        for number, layer in enumerate(model.layers):
            for name, weight in layer.named_parameters():
                own = self.lstm.get_parameter(name.replace("_l0", f"_l{number}"))
                own.data.copy_(weight.data)
        self.readout.load_state_dict(model.readout.state_dict())
        self.first = model.initial.detach()

    def loss(self, x: Tensor) -> Tensor:
        """Mean nats of the next symbols; the hidden state is carried from call to call."""
        hidden, state = self.lstm(F.one_hot(x[:, :-1], SYMBOLS).float(), self.state)
        self.state = tuple(part.detach() for part in state)
        return F.cross_entropy(self.readout(hidden).flatten(0, 1), x[:, 1:].flatten())

    @torch.inference_mode()
    def stream(self, noise: Tensor) -> Iterator[Tensor]:
        """Symbols (B,), by calls for single steps and seqgen's inverse transform sampling."""
        state = tuple(part.expand(-1, len(noise), -1).contiguous() for part in self.first)
        logits = self.readout(state[0][-1])
        for column in noise.unbind(1):
            x = inverse_cdf(logits.softmax(-1), column)
            yield x
            hidden, state = self.lstm(F.one_hot(x.unsqueeze(1), SYMBOLS).float(), state)
            logits = self.readout(hidden[:, 0])


def own_loss(model: Model) -> Callable[[Tensor], Tensor]:
    """Mean nats of a window; the hidden state is carried from call to call."""
    carry: Carry | None = None

    def loss(x: Tensor) -> Tensor:
        nonlocal carry
        rows, after = model.advance(x[:, 1:], carry)
        carry = after.detach()
        return -model.output(rows).log_prob(x[:, 1:]).mean()

    return loss


def windows() -> Tensor:
    """Random symbols (BATCH, LENGTH + 1); LENGTH of each row are predicted."""
    return torch.randint(SYMBOLS, (BATCH, LENGTH + 1))


def random_text() -> str:
    """400,000 random characters; the content does not affect speed."""
    symbols = torch.randint(SYMBOLS, (400_000,), generator=torch.Generator().manual_seed(0))
    return "".join(chr(ord("0") + symbol) for symbol in symbols.tolist())


def fitting(path: Path, seconds: float) -> Contender:
    """Training with Lightning, data module and schedule, as `seqgen fit` does, without validation."""
    import logging
    import warnings

    from lightning.pytorch import Callback, Trainer

    from seqgen.data.text import Text
    from seqgen.training.module import Training

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")

    class Clock(Callback):
        """Records the time of the end of each step, and stops when `seconds` have passed."""

        def __init__(self) -> None:
            self.ends: list[float] = []

        def on_train_batch_end(self, trainer: Trainer, *rest: Any) -> None:
            self.ends.append(time.perf_counter())
            trainer.should_stop = len(self.ends) > 1 and self.ends[-1] - self.ends[0] >= seconds

    def run() -> float:
        def make(output: Categorical, labels: list[int]) -> RNN:
            return RNN(output, labels, cell="lstm", layers=LAYERS, hidden=HIDDEN)

        clock = Clock()
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = Trainer(
            accelerator="cpu",
            max_steps=10**6,
            limit_val_batches=0,
            enable_model_summary=False,
            callbacks=[clock],
            **quiet,
        )
        module, data = Training(make), Text(str(path), batch_size=BATCH, length=LENGTH)
        data.setup()
        module.connect(data)
        trainer.fit(module, data.train_dataloader())
        return (len(clock.ends) - 1) * BATCH * LENGTH / (clock.ends[-1] - clock.ends[0])

    return run


def matrices(model: RNN) -> list[Tensor]:
    """All matrices multiplied to sample one symbol; the first layer's input is a look-up."""
    inner = [layer.weight_ih_l0 for layer in model.layers[1:]]
    return [
        weight.detach() for weight in (*(layer.weight_hh_l0 for layer in model.layers), *inner, model.readout.weight)
    ]


def products(model: RNN, batch: int) -> list[Callable[[], Tensor]]:
    """The matrix products of one symbol, an upper bound on the speed of eager PyTorch in float32."""
    column = torch.randn(HIDDEN) if batch == 1 else torch.randn(HIDDEN, batch)
    multiply = torch.mv if batch == 1 else torch.mm
    return [partial(multiply, weight, column) for weight in matrices(model)]
