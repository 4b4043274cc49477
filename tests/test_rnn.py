"""The recurrent network is the textbook's: it equals torch's own layers, whose weights it takes."""

import itertools
from typing import Any

import pytest
import torch
from laws import tensors_of
from torch import Tensor, nn
from torch.nn import functional as F

from seqgen.inference.generate import draw_noise, sample
from seqgen.model import Carry, Context
from seqgen.models import RNN
from seqgen.outputs import Bernoulli, Categorical

LAYERS = {"tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
every_cell = pytest.mark.parametrize("cell", LAYERS)


class Plain(nn.Module):
    """What a character model is in any tutorial: two layers over one-hot characters and a linear readout."""

    def __init__(self, cell: str, classes: int, hidden: int) -> None:
        super().__init__()
        self.layers = LAYERS[cell](classes, hidden, num_layers=2, batch_first=True)
        self.readout = nn.Linear(hidden, classes)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        h, state = self.layers(F.one_hot(x, self.readout.out_features).to(self.readout.weight.dtype), state)
        return self.readout(h), state


def pair(cell: str, classes: int = 11, hidden: int = 128) -> tuple[RNN, Plain]:
    """The model and the plain network with the same weights, in float64."""
    torch.manual_seed(0)
    plain = Plain(cell, classes, hidden).double()
    model = RNN(Categorical(classes), cell=cell, layers=2, hidden=hidden, forget_bias=0.0).double()
    for index, layer in enumerate(model.layers):
        for name, parameter in layer.named_parameters():
            parameter.data.copy_(getattr(plain.layers, name.replace("_l0", f"_l{index}")))
    model.readout.load_state_dict(plain.readout.state_dict())
    return model, plain


def windows(lanes: int = 3, classes: int = 11) -> tuple[Tensor, ...]:
    """Three windows of long texts in lanes, (B, 8) each."""
    return torch.randint(classes, (lanes, 24), generator=torch.Generator().manual_seed(1)).split(8, 1)


@every_cell
def test_equals_the_plain_network_across_windows(cell: str) -> None:
    """Row t + 1 is the plain network's output after x_t, with the state carried from window to window."""
    model, plain = pair(cell)
    carry, state, rows, expected = None, None, [], []
    for x in windows():
        parameters, carry = model.advance(x, carry)
        outputs, state = plain(x, state)
        rows.append(parameters)
        expected.append(outputs)
    torch.testing.assert_close(torch.cat(rows, 1)[:, 1:], torch.cat(expected, 1)[:, :-1], rtol=0, atol=1e-12)
    first = model.readout.bias.expand(3, -1)  # h_0 = 0
    torch.testing.assert_close(rows[0][:, 0], first, rtol=0, atol=1e-12)


@every_cell
def test_gradient_of_one_window_equals_the_plain_network(cell: str) -> None:
    """Truncated back-propagation: the state comes in by value, and no gradient leaves the window."""
    model, plain = pair(cell)
    before, x, _ = windows()
    _, carry = model.advance(before)
    _, state = plain(before[:, :-1])
    log_probs = model.output(model.advance(x, carry.detach())[0]).log_prob(x)
    log_probs.sum().backward()
    state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
    logits, _ = plain(torch.cat([before[:, -1:], x[:, :-1]], 1), state)
    (-F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="sum")).backward()
    for index, layer in enumerate(model.layers):
        for name, parameter in layer.named_parameters():
            expected = getattr(plain.layers, name.replace("_l0", f"_l{index}")).grad
            torch.testing.assert_close(parameter.grad, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(model.readout.weight.grad, plain.readout.weight.grad, rtol=0, atol=1e-11)
    assert model.initial.grad is None  # cut off by detach


def test_detach_cuts_the_history_and_keeps_the_values() -> None:
    model, _ = pair("lstm", hidden=4)
    _, carry = model.advance(windows()[0])
    cut = carry.detach()
    assert isinstance(cut, Carry)
    assert not any(part.requires_grad for part in tensors_of(cut.state))
    assert all(map(torch.equal, tensors_of(cut.state), tensors_of(carry.state)))


@every_cell
def test_single_steps_equal_torchs_fused_layers(cell: str) -> None:
    """seqgen/nn/cells.py writes the equations out; they are torch's."""
    model, plain = pair(cell, hidden=16)
    x = torch.cat(windows(), 1)
    _, state = model.start(3)
    rows = []
    for column in x.split(1, 1):
        parameters, state = model.step(column, state)
        rows.append(parameters)
    torch.testing.assert_close(torch.cat(rows, 1), plain(x)[0], rtol=0, atol=1e-12)


def test_the_lectures_toy_example() -> None:
    """'hello' over h, e, l, o: three hidden units learn to give every next letter, which depends on more than one."""
    torch.manual_seed(3)
    model = RNN(Categorical(4), cell="tanh", hidden=3)
    x = torch.tensor([[0, 1, 2, 2, 3]])  # h e l l o: behind the first l comes l, behind the second o
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        loss = -model.log_prob(x).sum()
        loss.backward()
        optimizer.step()
    assert model.layers[0].weight_ih_l0.shape == (3, 4)  # W_xh, one column a letter
    assert loss.item() < 0.2
    assert sample(model, draw_noise(1, 5, seed=0)).tolist() == x.tolist()


def test_the_toy_example_by_hand() -> None:
    """h_t = tanh(W_xh x_t + W_hh h_t-1 + b), o_t = W_hy h_t + b_y."""
    torch.manual_seed(4)
    model = RNN(Categorical(4), cell="tanh", hidden=3).double()
    layer, x = model.layers[0], [0, 1, 2, 2]
    h, expected = model.initial[0, 0, 0], []
    for symbol in x:
        h = (layer.weight_ih_l0[:, symbol] + layer.bias_ih_l0 + layer.weight_hh_l0 @ h + layer.bias_hh_l0).tanh()
        expected.append(model.readout.weight @ h + model.readout.bias)
    rows = model(torch.tensor([[*x, 3]]))[0, 1:]
    torch.testing.assert_close(rows, torch.stack(expected), rtol=0, atol=1e-12)


def test_the_forget_bias_is_set_on_the_forget_gate_alone() -> None:
    torch.manual_seed(0)
    plain = RNN(Categorical(3), hidden=6, layers=2, forget_bias=0.0)
    torch.manual_seed(0)
    model = RNN(Categorical(3), hidden=6, layers=2, forget_bias=1.5)
    for layer, other in zip(model.layers, plain.layers, strict=True):
        assert (layer.bias_ih_l0[6:12] == 1.5).all()
        same = [place for place in range(24) if not 6 <= place < 12]
        assert torch.equal(layer.bias_ih_l0[same], other.bias_ih_l0[same])


def test_tied_weights_are_one_matrix() -> None:
    model = RNN(Categorical(7), cell="gru", hidden=5, embedding=5, tied=True)
    assert "readout.weight" not in model.state_dict()
    h = torch.randn(2, 5)
    expected = h @ model.embedding.weight + model.readout.bias
    torch.testing.assert_close(model._read(h), expected)


def test_labels_matter_and_a_label_that_is_not_said_has_a_vector_of_its_own() -> None:
    torch.manual_seed(0)
    model, x = RNN(Categorical(3), labels=[2]).eval(), torch.tensor([[0, 1, 2]])
    rows = [model(x, Context(torch.tensor([[label]]))) for label in range(3)]
    assert torch.equal(rows[0], model(x))
    assert torch.equal(rows[0], model(x, Context()))
    for one, other in itertools.combinations(rows, 2):
        assert (one != other).all()


@pytest.mark.parametrize(
    "arguments",
    [
        {"cell": "LSTM"},
        {"layers": 0},
        {"hidden": 0},
        {"embedding": 0},
        {"tied": True},
        {"tied": True, "embedding": 64},
        {"dropout": 1.5},
        {"output": Bernoulli(), "tied": True, "embedding": 128, "layers": 0},
    ],
    ids=" ".join,
)
def test_refuses(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|need|between"):
        RNN(**{"output": Categorical(3), **arguments})
