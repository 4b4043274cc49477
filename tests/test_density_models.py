"""FVSBN, NADE and MADE beyond the laws: their formulas, what goes wrong in others, memory, and what they refuse."""

import gc
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from examples import VARIABLES, fvsbn, made, nade
from torch import Tensor

import seqgen.nn.degrees
import seqgen.nn.running as running
from seqgen.inference.generate import draw_noise, sample
from seqgen.model import Context, Model, Order
from seqgen.models import FVSBN, MADE, NADE
from seqgen.nn.running import running_units
from seqgen.outputs import Bernoulli, Categorical, DiscretizedLogistics, Gaussians


def bits(count: int, dimensions: int = VARIABLES, seed: int = 1) -> Tensor:
    return torch.randint(2, (count, dimensions), generator=torch.Generator().manual_seed(seed))


def normal(*shape: int, seed: int = 0) -> Tensor:
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.requires_grad_(True)


# -- FVSBN


def test_fvsbn_is_logistic_regression_of_each_on_those_before() -> None:
    model, x = fvsbn(Bernoulli()).double(), bits(5)
    rows, order = [], model.order_number(0).permutation.tolist()
    for place, variable in enumerate(order):
        weight = model.weight[variable, 0, order[:place], 0]
        rows.append(model.bias[variable, 0] + x[:, :place].double() @ weight)
    torch.testing.assert_close(model(x)[..., 0], torch.stack(rows, 1), rtol=0, atol=1e-12)


# -- NADE


@pytest.mark.parametrize("arguments", [{}, {"activation": "relu"}, {"scaled": True}, {"order": "random"}], ids=str)
def test_nade_by_the_formula(arguments: dict[str, Any]) -> None:
    model, x = nade(Categorical(3), **arguments).double(), bits(4) + bits(4, seed=2)
    activation = torch.relu if arguments.get("activation") else torch.sigmoid
    sums, rows = model.bias.expand(4, -1), []
    for place, variable in enumerate(model.order_number(0).permutation.tolist()):
        units = activation(sums * (1 if model.scale is None else model.scale[variable]))
        rows.append(model.readout_bias[variable] + units @ model.readout[variable].T)
        sums = sums + model.weight[variable][x[:, place]]
    torch.testing.assert_close(model(x), torch.stack(rows, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("block", [1, 4, 8])
def test_gradients_of_running_units(
    rectified: bool, scaled: bool, width: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of inputs, whatever the blocks, and of a sum that goes on."""
    monkeypatch.setattr(running, "BLOCK", block)
    scale = normal(6, 1, 1, seed=1) if scaled else None
    arguments = normal(2, 4), normal(5, 2, width), normal(5, width, 4), normal(6, 2, 4), scale
    assert torch.autograd.gradcheck(lambda *a: running_units(*a, rectified), arguments)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = nade(Bernoulli()).double(), bits(7)
    expected = model(x)
    for block in (1, 3, 13, 50):
        monkeypatch.setattr(running, "BLOCK", block)
        torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-13)


def test_training_memory_is_bounded() -> None:
    """All hidden units of 100 rows of 784 variables are 157 MB; a training step may not hold them once.

    Peak resident memory of the step beyond what there was before, in a fresh process.
    """
    import subprocess
    import sys

    program = """
import resource, torch
from seqgen.models import NADE
from seqgen.outputs import Bernoulli
torch.set_num_threads(1)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = NADE(Bernoulli(), dimensions=784, hidden=500)
(-model.log_prob(torch.zeros(2, 784, dtype=torch.int64)).sum()).backward()
before = peak()
(-model.log_prob(torch.zeros(100, 784, dtype=torch.int64)).sum()).backward()
print(peak() - before)
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert int(found.stdout) < 100_000  # kB


def test_conditionals_are_sure_where_the_data_are() -> None:
    """Probabilities that went through a second sigmoid would be stuck in [0.5, 0.73]; clamped ones are no density."""
    for kind in (fvsbn, nade, made):
        model = kind(Bernoulli(), dimensions=4)
        with torch.no_grad():
            model.readout_bias.fill_(50) if isinstance(model, NADE) else model.bias.fill_(50)
        log_prob = model.log_prob(torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]])).detach()
        assert (log_prob[0] > -1e-10).all()
        assert (log_prob[1] < -40).all()
    x, optimized = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 1]]).repeat(20, 1), nade(Bernoulli(), dimensions=4)
    optimizer = torch.optim.Adam(optimized.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        nats = -optimized.log_prob(x).sum(1).mean()
        nats.backward()
        optimizer.step()
    assert nats.item() == pytest.approx(math.log(2), abs=0.02)


@pytest.mark.parametrize("make", [fvsbn, made], ids=["FVSBN", "MADE"])
def test_masks_are_applied_again_only_where_something_changed(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The masks of a parameter are kept, and go with it; changed weights are seen."""
    model, x, applied = make(Bernoulli(), orders=0), bits(3), []
    computed = seqgen.nn.degrees._mask
    monkeypatch.setattr(seqgen.nn.degrees, "_mask", lambda *arguments: applied.append(0) or computed(*arguments))
    contexts = [None, Context(order=model.order_number(1))]
    for _ in range(2):
        for context in contexts:
            applied.clear()
            expected = model(x, context)  # with gradients
            assert applied
            applied.clear()
            assert torch.equal(model(x, context), expected)
            gradients = torch.autograd.grad(expected.sum(), list(model.parameters()))
            for one, parameter in zip(gradients, model.parameters(), strict=True):
                assert one.shape == parameter.shape
            with torch.no_grad():
                first, again = (model(x, context) for _ in range(2))
                assert torch.equal(first, expected)
                assert torch.equal(again, expected)
            assert not applied
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.mul_(1.5)
                assert not torch.equal(model(x, context), expected)
            assert not applied
    kept = len(seqgen.nn.degrees._KEPT)
    del model, parameter, expected, gradients
    gc.collect()
    assert len(seqgen.nn.degrees._KEPT) < kept


def test_one_draw_costs_as_much_as_one_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """O(D H): every row of W enters once, and `forward` is never asked."""
    model = nade(Bernoulli())
    monkeypatch.setattr(model, "forward", None)
    asked: list[tuple[int, ...]] = []
    add = model.output.add

    def counted(total: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        asked.append(tuple(weight.shape))
        return add(total, x, weight)

    monkeypatch.setattr(model.output, "add", counted)
    sample(model, draw_noise(1, VARIABLES, seed=1), loop="plain")
    assert asked == [(1, 5)] * (VARIABLES - 1)


@pytest.mark.parametrize(
    "output", [Bernoulli(), Categorical(3), DiscretizedLogistics(levels=4, mixtures=2), Gaussians(2)]
)
@pytest.mark.parametrize("kind", [fvsbn, nade, made])
def test_sampling_equals_the_oracle(kind: Any, output: Any) -> None:
    """Symbol by symbol at the same noise, in a random order, labelled; all variables, so up to the very last."""
    model = kind(output, orders=0, labels=[2]).double().requires_grad_(False)

    class ByForward(type(model)):
        start, step = Model.start, Model.step

    slow = ByForward(**model.init_args).double().eval()
    slow.load_state_dict(model.state_dict())
    for number in range(3):
        context = Context(torch.tensor([[0], [1], [2]]), order=model.order_number(number))
        noise = draw_noise(3, VARIABLES, seed=number)
        tolerance = 1e-5 * output.dtype.is_floating_point
        torch.testing.assert_close(
            sample(model, noise, context=context), sample(slow, noise, context=context), rtol=0, atol=tolerance
        )


def test_rnade_samples_with_the_scale_of_its_density() -> None:
    """A histogram of the first number against the density at its middle, and the spread against sigma itself."""
    model = nade(Gaussians(), dimensions=2, activation="relu", scaled=True).double().requires_grad_(False)
    drawn = sample(model, draw_noise(20_000, 2, seed=3))
    mean, log_scale = model(drawn[:1])[0, 0].tolist()
    assert drawn[:, 0].double().std().item() == pytest.approx(1e-3 + math.exp(log_scale), rel=0.02)
    assert drawn[:, 0].double().mean().item() == pytest.approx(mean, abs=0.03)
    cold = torch.full((1,), 0.975, dtype=torch.float64)
    first, _ = model.start(1)
    assert model.output.draw(first, cold).item() == pytest.approx(mean + 1.96 * (1e-3 + math.exp(log_scale)), abs=1e-3)


def test_a_value_that_repeats_does_not_collapse_rnade() -> None:
    """The floor bounds the density, however long it is trained on the same number."""
    model = NADE(Gaussians(2, floor=0.01), dimensions=2, hidden=4, activation="relu", scaled=True)
    optimizer, x = torch.optim.Adam(model.parameters(), lr=0.05), torch.tensor([[0.5, -1.0]]).repeat(8, 1)
    for _ in range(400):
        optimizer.zero_grad()
        log_prob = model.log_prob(x).sum(1).mean()
        (-log_prob).backward()
        optimizer.step()
    bound = -2 * math.log(0.01 * math.sqrt(2 * math.pi))
    assert bound - 1 < log_prob.item() <= bound + 1e-4


# -- MADE


def test_made_by_its_masks() -> None:
    """W, V and A with masks from the degrees, as the paper writes them, in an order and a connectivity."""
    model = made(Bernoulli(), hidden=[20, 15], direct=True, orders=0, masks=0).double()
    order, x = model.order_number(3), bits(6)
    position = order.ranks + 1
    first, second = model.degrees(order.connectivity)
    inputs = torch.zeros(6, VARIABLES).double()
    inputs[:, order.permutation] = x.double()
    weights = [layer.weight for layer in model.hidden]
    biases = [layer.bias for layer in model.hidden]
    units = (inputs @ (weights[0] * (first[:, None] >= position)).T + biases[0]).relu()
    units = (units @ (weights[1] * (second[:, None] >= first)).T + biases[1]).relu()
    rows = units @ (model.readout[:, 0] * (position[:, None] > second)).T + model.bias[:, 0]
    rows = rows + inputs @ (model.direct[:, 0] * (position[:, None] > position)).T
    torch.testing.assert_close(model(x, Context(order=order))[..., 0], rows[:, order.permutation], rtol=0, atol=1e-12)


def test_masks_never_touch_the_weights() -> None:
    """Eight factorisations used in turn, in training, in scoring and in sampling: every weight is what it was."""
    model, x = made(Bernoulli(), orders=0, masks=0), bits(5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for number in range(8):
        context = Context(order=model.order_number(number))
        model.log_prob(x, context).sum().backward()
        sample(model, draw_noise(2, 5, seed=1), context=context)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert set(before) == {"readout", "bias", "hidden.0.weight", "hidden.0.bias"}  # and no mask is saved
    assert (model.hidden[0].weight.grad != 0).double().mean() > 0.8  # over many factorisations nearly all learn


@pytest.mark.parametrize("hidden", [[12], [13], [40], [100], [12, 30, 12], [500, 784]])
@pytest.mark.parametrize("connectivity", [0, 1, 7])
def test_degrees_are_spread_evenly(hidden: list[int], connectivity: int) -> None:
    """Each degree of 1 ... D - 1 equally often, give or take one; so none is missing where there are units enough."""
    for degrees in MADE(Bernoulli(), dimensions=VARIABLES, hidden=hidden, masks=0).degrees(connectivity):
        counts = torch.bincount(degrees, minlength=VARIABLES)
        assert counts[0] == 0
        assert len(counts) == VARIABLES
        assert counts[1:].max() - counts[1:].min() <= 1


@pytest.mark.parametrize("hidden", [[VARIABLES - 1], [VARIABLES, VARIABLES + 4], [60, 30, 60]])
def test_every_parameter_sees_every_earlier_variable(hidden: list[int]) -> None:
    """No output is disconnected, whatever the connectivity: by a network in which nothing is dead or cancels."""
    model = made(Gaussians(), hidden=hidden, masks=0, orders=0).double()
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, 0.05, 0.1)
    for number in range(4):
        x = torch.rand(1, VARIABLES, dtype=torch.float64)
        context = Context(order=model.order_number(number))
        slopes = torch.autograd.functional.jacobian(lambda x, context=context: model(x, context)[0, :, 0], x)[:, 0]
        assert torch.equal(slopes != 0, torch.ones_like(slopes).tril(-1).bool())


def test_few_units_still_see_with_direct_connections() -> None:
    model = made(Gaussians(), hidden=[2], direct=True).double()
    x = torch.rand(1, VARIABLES, dtype=torch.float64)
    slopes = torch.autograd.functional.jacobian(lambda x: model(x)[0, :, 0], x)[:, 0]
    assert torch.equal(slopes != 0, torch.ones_like(slopes).tril(-1).bool())


@pytest.mark.parametrize("kind", [fvsbn, nade, made])
@pytest.mark.parametrize("output", [Bernoulli(), Categorical(3), Gaussians(2)])
def test_the_first_conditional_knows_the_label(kind: Any, output: Any) -> None:
    model, x = kind(output, labels=[3]), torch.zeros(1, 2, dtype=output.dtype)
    rows = [model(x, Context(torch.tensor([[label]]))) for label in range(4)]
    for one, other in itertools.combinations(rows, 2):
        assert (one[:, 0] != other[:, 0]).any()
        assert (one[:, 1] != other[:, 1]).any()
    assert torch.equal(rows[0], model(x))
    assert torch.equal(rows[0], model(x, Context()))


@pytest.mark.parametrize("kind", [fvsbn, made])
def test_half_precision_sees_no_further(kind: Any) -> None:
    """bfloat16 does not tell 257 from 256, but places must be told apart."""
    model, x = kind(Bernoulli(), dimensions=600).bfloat16().requires_grad_(False), bits(1, 600)
    changed, rows = x.clone(), model(x)
    changed[0, 400] = 1 - x[0, 400]
    assert torch.equal(model(changed)[0, :401], rows[0, :401])


def test_connectivities_differ_and_are_kept() -> None:
    """The same number is the same connectivity in a model that was built again; degrees alone say it."""
    model = made(Bernoulli(), masks=0, hidden=[60])
    again = MADE(**model.init_args)
    assert torch.equal(model.degrees(3)[0], again.degrees(3)[0])
    assert not torch.equal(model.degrees(3)[0], model.degrees(4)[0])
    x, natural = bits(4), torch.arange(VARIABLES)
    rows = [model(x, Context(order=Order(natural, connectivity))) for connectivity in (0, 3, 4)]
    assert all((one != other).any() for one, other in itertools.combinations(rows, 2))
    assert torch.equal(rows[0], model(x))


def test_a_unit_is_computed_once_a_sample() -> None:
    """Single steps compute no more than one pass: of each layer as many columns as there are units."""
    model = made(Categorical(3), hidden=[30, 20]).double().requires_grad_(False)
    _, state = model.start(1)
    sizes = []
    for _ in range(VARIABLES - 1):
        _, state = model.step(torch.zeros(1, 1, dtype=torch.int64), state)
        sizes.append([len(units[0]) for units in state.units])
    assert sizes[-1] == [30, 20]
    assert (np.diff(np.array(sizes), axis=0) >= 0).all()


BEGUN = [[0, 0, 1, 2], [0, 1, 1, 0], [0, 2, 1, 0]]


@pytest.mark.parametrize("kind", [FVSBN, NADE, MADE])
@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (Categorical(3), [[7 / 9, 1 / 9, 1 / 9], [1 / 3, 1 / 3, 1 / 3], [1 / 9, 7 / 9, 1 / 9], [5 / 9, 1 / 9, 1 / 3]]),
        (Bernoulli(), [[7 / 8, 1 / 8], [3 / 8, 5 / 8], [1 / 8, 7 / 8], [5 / 8, 3 / 8]]),
    ],
)
def test_models_begin_with_what_each_variable_is_by_itself(kind: Any, output: Any, expected: list[list[float]]) -> None:
    """As if half a symbol of each kind had been there besides."""
    model = kind(output, dimensions=4)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    model.init_from_marginals(torch.tensor(BEGUN).clamp(max=output.width))
    (name,) = (name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name]))
    found = dict(model.named_parameters())[name]
    if isinstance(model, NADE):  # whose units are at one half without any symbol
        found = found + model.readout @ model.bias.sigmoid()
    torch.testing.assert_close(output(found).probs, torch.tensor(expected))


@pytest.mark.parametrize("kind", [FVSBN, NADE, MADE])
def test_mixtures_begin_as_they_are(kind: Any) -> None:
    model = kind(Gaussians(2), dimensions=4)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    model.init_from_marginals(torch.tensor(BEGUN).double())
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (nade, {"hidden": 0}),
        (nade, {"activation": "tanh"}),
        (made, {"hidden": []}),
        (made, {"hidden": [3, 0]}),
        (made, {"masks": -1}),
    ],
)
def test_refuses(kind: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        kind(Bernoulli(), **arguments)
