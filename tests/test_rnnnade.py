"""RNN-NADE: its formula, its frames and its errors; the laws are in test_laws.py."""

from typing import Any

import pytest
import torch
from examples import rnnnade

from seqgen.config import SeqgenError
from seqgen.models import RNNNADE
from seqgen.outputs import Bernoulli, Categorical


@torch.no_grad()
def test_the_formula_of_the_docstring() -> None:
    """Symbol by symbol, in plain words."""
    model = rnnnade(Categorical(5), width=3).double()
    x = torch.randint(5, (1, 11), generator=torch.Generator().manual_seed(0))
    embedded, h, expected = 2 * x[0].double() / 4 - 1, model.initial[0, 0], []
    for frame in range(4):
        if frame:
            before = embedded[3 * frame - 3 : 3 * frame]
            h = model.layers[0](model.embedding(before).relu().view(1, 1, -1), h[None])[0][0]
        a = model.first(h[0])
        for place in range(min(3, 11 - 3 * frame)):
            expected.append(model.readout_bias[place] + model.readout[place] @ a.relu())
            if place < 2:
                a = a + model.weight[place, 0] * embedded[3 * frame + place]
    torch.testing.assert_close(model(x)[0], torch.stack(expected))


def test_a_frame_is_one_recurrent_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """However symbols are stepped through."""
    model, steps = rnnnade(Bernoulli(), width=4), 0
    cell = model.cell

    def counted(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        return cell(*arguments)

    model.cell = counted
    _, state = model.start(2)
    for _ in range(13):
        _, state = model.step(torch.ones(2, 1, dtype=torch.int64), state)
    assert steps == 3
    assert state.symbols.shape == (2, 1)


@pytest.mark.parametrize(
    "arguments", [{"width": 1}, {"layers": 0}, {"hidden": 0}, {"units": 0}, {"cell": "elman"}, {"dropout": 1.5}]
)
def test_arguments_that_make_no_model(arguments: dict[str, Any]) -> None:
    with pytest.raises(SeqgenError, match="expected"):
        RNNNADE(Bernoulli(), **{"width": 2, **arguments})
