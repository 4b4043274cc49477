"""A WaveNet of 3 x 10 layers over 256 classes, beside what public PyTorch repositories do."""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.turns import drawing, repeating, steps, take_turns
from seqgen import generate
from seqgen.models import WaveNet
from seqgen.outputs import Categorical

CLASSES, RESIDUAL, GATE, SKIP, END = 256, 64, 64, 256, 256
BATCH, LENGTH = 2, 4000


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Training, in samples that carry loss, and generation, in samples a second."""
    sizes = {"kernel": 2, "residual": RESIDUAL, "gate": GATE, "skip": SKIP, "end": END}
    model = WaveNet(Categorical(CLASSES), layers=10, blocks=3, **sizes)
    model.first.data.copy_(model.input.bias)  # which is what a convolution makes of the nothing before a sound
    plain = PlainWaveNet(model)
    apart = largest_difference(model, plain)
    assert apart < 1e-4, f"the contenders' logits are {apart:.1e} apart"
    results = {}
    for mixed in (False, True) if "bf16" in Path("/proc/cpuinfo").read_text() else (False,):
        for past in (0, model.receptive_field):
            training = {
                "separate convolutions": training_of(plain, plain_loss, past, seconds, mixed),
                "seqgen model": training_of(model, own_loss, past, seconds, mixed),
            }
            precision = "bfloat16 autocast" if mixed else "float32"
            title = f"training, {precision}, batch {BATCH}, loss on {LENGTH:,} of {past + LENGTH:,}"
            results[title] = take_turns(training, rounds)
    model.eval()
    plain.load(model)
    size = sum(weight.numel() * weight.element_size() for weight in matrices(model))
    everything = torch.cat([weight.flatten() for weight in matrices(model)])
    for batch in (1, 16):
        generation = {
            "queues and Conv1d": drawing(Cached(plain, as_convolution).stream, batch, seconds),
            "queues and Linear": drawing(Cached(plain, as_linear).stream, batch, seconds),
            "seqgen stream": drawing(partial(generate.stream, model), batch, seconds),
            "bare products": repeating(products(model, batch), batch, seconds),
            "weights read once": repeating([everything.sum], batch, seconds),
        }
        results[f"generation, batch {batch}"] = take_turns(generation, rounds)
    reads = results["generation, batch 1"]["weights read once"]["median"]
    return {
        "unit": "samples/s",
        "results": results,
        "weights read per sample": f"{size / 1e6:.2f} MB, read at {reads * size / 1e9:.1f} GB/s",
        "largest difference of logits": f"{apart:.0e}",
    }


@torch.no_grad()
def largest_difference(model: WaveNet, plain: "PlainWaveNet") -> float:
    """Between the logits of all contenders; the loops go on until every queue has given back what it was given."""
    x = torch.randint(CLASSES, (2, LENGTH))
    expected = model(x)
    behind = x[:, : max(model.lags) + 1]
    differences = [plain(x) - expected]
    for first, step in (own_steps(model), *(Cached(plain, one).steps() for one in (as_convolution, as_linear))):
        rows = [first(len(x)), *(step(column) for column in behind.unbind(1))]
        differences.append(torch.stack(rows, 1) - expected[:, : len(rows)])
    return max(difference.abs().max().item() for difference in differences)
