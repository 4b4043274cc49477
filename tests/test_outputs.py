"""The laws of every registered output, those of outputs of classes, and `Sampling` against a slow plain oracle.

What only mixtures have is in tests/test_mixtures.py.
"""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from examples import OUTPUTS, classes_of
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from scipy import special
from torch import Tensor, distributions

from seqgen.config import build, describe
from seqgen.output import PLAIN, Output, Sampling
from seqgen.outputs import Bernoulli, Categorical, DiscretizedLogistics, Gaussians
from seqgen.outputs.categorical import inverse_cdf

INF = math.inf
EXTREMES = [
    [0.0, 0.0, 0.0, 0.0, 0.0],
    [1e4, -1e4, 0.0, 1.0, -1.0],
    [-INF, 0.0, -INF, -1e4, -INF],
    [-INF, -INF, -INF, -INF, 3.0],
    [2.0, 2.0, -INF, 2.0, 1e4],
    [-1e4, -1e4, -1e4, -1e4 - 1, -INF],
]
every_output = pytest.mark.parametrize("make", OUTPUTS.values(), ids=OUTPUTS)
CLASSES = {name: make for name, make in OUTPUTS.items() if isinstance(make(), Bernoulli | Categorical)}
every_output_of_classes = pytest.mark.parametrize("make", CLASSES.values(), ids=CLASSES)
samplings = [PLAIN, Sampling(0.5), Sampling(0), Sampling(2.0, top_p=0.8), Sampling(top_k=1), Sampling(1.5, 3, 0.9)]


def parameters(output: Output, batch: int, scale: float = 3.0, seed: int = 0) -> Tensor:
    return scale * torch.randn(batch, output.size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def numpy_inverse_cdf(probs: np.ndarray, noise: float) -> int:
    """NumPy's own search; the last possible class where round-off reaches beyond it."""
    cdf = np.cumsum(probs)
    return int(min(np.searchsorted(cdf, noise * cdf[-1], side="right"), np.flatnonzero(probs)[-1]))


def symbols(output: Output, count: int) -> Tensor:
    """Symbols (count,) that span what the output can be."""
    if output.classes is not None:
        return torch.linspace(0, classes_of(output) - 1, count).round().to(output.dtype)
    return torch.linspace(-5, 5, count, dtype=output.dtype)


def mass(output: Output, row: Tensor, sampling: Sampling) -> float:
    """The probability of everything: a sum, or Gauss-Legendre integrals between many quantiles."""
    distribution = output(row, sampling)
    if output.classes is not None:
        return distribution.log_prob(distribution.enumerate_support()).double().exp().sum().item()
    noise = torch.linspace(-30, 30, 20_000, dtype=torch.float64).sigmoid()
    ends = distribution.icdf(noise).numpy()
    points, weights = np.polynomial.legendre.leggauss(20)
    width = np.diff(ends)[:, None] / 2
    x = torch.from_numpy(ends[:-1, None] + width * (points + 1))
    return float((distribution.log_prob(x).exp().numpy() * weights * width).sum())


@every_output
@pytest.mark.parametrize("sampling", [PLAIN, Sampling(0.5), Sampling(2.0)], ids=str)
def test_everything_has_probability_one(make: Callable[[], Output], sampling: Sampling) -> None:
    output = make()
    for row in parameters(output, 4):
        assert abs(mass(output, row, sampling) - 1) < 1e-7


@every_output
@pytest.mark.parametrize("sampling", [PLAIN, Sampling(0.5), Sampling(0)], ids=str)
def test_draws_grow_with_the_noise(make: Callable[[], Output], sampling: Sampling) -> None:
    output, noise = make(), torch.rand(7, 90, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    noise[:, 0], noise[:, 1] = 0, math.nextafter(1, 0)
    noise = noise.sort().values
    o = parameters(output, 7).unsqueeze(1).expand(-1, 90, -1)
    drawn = output.draw(o, noise, sampling)
    assert drawn.dtype == output.dtype
    assert drawn.shape == (7, 90)
    assert (drawn.diff(dim=1) >= 0).all()
    if output.dtype == torch.int64:
        assert output(o, sampling).log_prob(drawn).exp().min() > 0
    assert torch.equal(drawn[3:5, 8], output.draw(o[3:5, 8], noise[3:5, 8], sampling))


@every_output
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_log_prob_has_the_dtype_and_the_shape_of_the_parameters(make: Callable[[], Output], dtype: torch.dtype) -> None:
    output = make()
    o = parameters(output, 12).to(dtype).reshape(3, 4, -1).requires_grad_(True)
    log_prob = output(o).log_prob(symbols(output, 12).reshape(3, 4))
    assert log_prob.dtype == dtype
    assert log_prob.shape == (3, 4)
    log_prob.sum().backward()
    assert o.grad is not None
    assert o.grad.isfinite().all()


@every_output
def test_describe_then_build_is_the_identity(make: Callable[[], Output]) -> None:
    output = make()
    built = build(describe(output), Output)
    assert type(built) is type(output)
    assert describe(built) == describe(output)
    o, x = parameters(output, 5), symbols(output, 5)
    assert torch.equal(built(o).log_prob(x), output(o).log_prob(x))


@every_output
def test_the_declared_classes_are_those_of_the_distribution(make: Callable[[], Output]) -> None:
    """`classes` is the size of the distribution's support, and None where that cannot be enumerated."""
    output = make()
    distribution = output(parameters(output, 3))
    assert (output.classes is None) == (not distribution.has_enumerate_support)
    assert (output.classes is None) == output.dtype.is_floating_point
    if output.classes is not None:
        support = distribution.enumerate_support(expand=False)
        assert support.flatten().tolist() == list(range(output.classes))
        assert output(torch.zeros(output.size)).log_prob(torch.tensor([0, output.classes - 1])).isfinite().all()


def test_half_precision_is_declared_where_bfloat16_tells_neighbouring_levels_apart() -> None:
    for levels in (2, 4, 256, 65536):
        output = DiscretizedLogistics(levels)
        places = output.embed(torch.arange(levels)).bfloat16().unique()
        assert output.half_precision == (len(places) == levels)
    assert Categorical(300).half_precision
    assert Bernoulli().half_precision
    assert not Gaussians().half_precision


@every_output_of_classes
@pytest.mark.parametrize("sampling", samplings, ids=str)
def test_probabilities_sum_to_one(make: Callable[[], Output], sampling: Sampling) -> None:
    output = make()
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        distribution = output(parameters(output, 20).to(dtype), sampling)
        support = distribution.enumerate_support(expand=False)
        total = distribution.log_prob(support).exp().sum(0)
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=tolerance)


@every_output_of_classes
@pytest.mark.parametrize("sampling", samplings, ids=str)
def test_draw_is_the_inverse_of_the_cdf(make: Callable[[], Output], sampling: Sampling) -> None:
    """Inside the classes, on their boundaries, at 0 and just below 1."""
    output = make()
    for row in parameters(output, 5):
        distribution = output(row, sampling)
        probs = distribution.probs.numpy()
        cdf = probs.cumsum()
        noise = [0.0, np.nextafter(1, 0), *np.random.default_rng(0).random(50), *cdf[cdf < 1], *np.nextafter(cdf, 0)]
        expected = [numpy_inverse_cdf(probs, one) for one in noise]
        inverted = inverse_cdf(distribution.probs.expand(len(noise), -1), torch.tensor(noise))
        assert inverted.tolist() == expected
        # The output may take its probabilities by another road, and so differ from these in the last bits.
        drawn = output.draw(row.expand(len(noise), -1), torch.tensor(noise), sampling)
        boundary = np.abs(np.subtract.outer(noise, cdf)).min(1) < 1e-14
        assert (drawn == inverted).numpy()[~boundary].all()
        assert (np.abs(cdf[drawn] - cdf[expected]) <= probs[drawn] + probs[expected])[boundary].all()  # neighbours
        assert drawn.dtype == output.dtype
        assert (probs[drawn] > 0).all()


@pytest.mark.parametrize("row", EXTREMES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("sampling", [*samplings, Sampling(1e-3), Sampling(1e-40), Sampling(5e-324)], ids=str)
def test_extremes_never_give_a_class_of_probability_zero(
    row: list[float], dtype: torch.dtype, sampling: Sampling
) -> None:
    logits = torch.tensor(row, dtype=dtype)
    noise = torch.tensor([0.0, 1e-300, 0.25, 0.5, 0.999999, math.nextafter(1, 0)], dtype=torch.float64)
    output = Categorical(5)
    probs = output(logits, sampling).probs
    assert probs.isfinite().all()
    assert (probs[output.draw(logits.expand(6, -1), noise, sampling)] > 0).all()


@pytest.mark.parametrize("row", EXTREMES, ids=str)
def test_log_prob_agrees_with_scipy(row: list[float]) -> None:
    got = Categorical(5)(torch.tensor(row, dtype=torch.float64)).log_prob(torch.arange(5))
    expected = special.log_softmax(row)
    # torch keeps -inf finite where scipy does, to the last bit of float64
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("logit", [-1e4, -700.0, -1.5, 0.0, 0.3, 40.0, 1e4])
def test_bernoulli_agrees_with_scipy(logit: float) -> None:
    got = Bernoulli()(torch.tensor([logit], dtype=torch.float64)).log_prob(torch.arange(2))
    np.testing.assert_allclose(got.numpy(), special.log_expit([-logit, logit]), rtol=1e-12, atol=1e-15)


@every_output_of_classes
def test_plain_agrees_with_torch_distributions(make: Callable[[], Output]) -> None:
    output = make()
    o, x = parameters(output, 300), torch.arange(300) % classes_of(output)
    theirs = (
        distributions.Bernoulli(logits=o[:, 0]) if isinstance(output, Bernoulli) else distributions.Categorical(None, o)
    )
    torch.testing.assert_close(output(o).log_prob(x), theirs.log_prob(x.double()), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(output(o).entropy(), theirs.entropy(), rtol=1e-12, atol=1e-12)


@every_output_of_classes
def test_single_precision_loses_little(make: Callable[[], Output]) -> None:
    output = make()
    o, x = parameters(output, 50, scale=10), torch.arange(50) % classes_of(output)
    assert (output(o.float()).log_prob(x) - output(o).log_prob(x)).abs().max() < 2e-5


@every_output_of_classes
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_temperature_to_zero_is_the_mode(make: Callable[[], Output], dtype: torch.dtype) -> None:
    """p(mode) grows to 1 while the temperature falls; at 0, and below what the logits can tell, it is exactly 1."""
    output = make()
    o = parameters(output, 8).to(dtype)
    mode = output(o).probs.argmax(-1)
    held = [output(o, Sampling(t)).probs.gather(-1, mode.unsqueeze(-1)) for t in (3.0, 1.0, 0.3, 0.1, 1e-6, 1e-300, 0)]
    assert all((hotter <= colder + 1e-6).all() for hotter, colder in itertools.pairwise(held))
    assert (held[-1] == 1).all()
    assert (held[-2] == 1).all()
    for noise in (0.0, 0.5, math.nextafter(1, 0)):
        drawn = output.draw(o, torch.full((8,), noise, dtype=torch.float64), Sampling(0))
        assert torch.equal(drawn, mode)


@every_output
def test_project_is_the_product_with_the_embedding(make: Callable[[], Output]) -> None:
    """A look-up of columns equals the product with a one-hot vector, exactly."""
    output = make()
    weight = torch.randn(7, output.width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = symbols(output, 300).repeat(2, 1)
    assert output.embed(x).shape == (*x.shape, output.width)
    assert torch.equal(output.project(x, weight), output.embed(x).double() @ weight.T)


def slow(logits: list[float], sampling: Sampling) -> list[float]:
    """The definition, one class at a time."""
    kept = {k: o for k, o in enumerate(logits) if k not in sampling.exclude}
    ranked = sorted(kept, key=lambda k: (-kept[k], k))
    if sampling.temperature == 0:
        return [float(k == ranked[0]) for k in range(len(logits))]
    weights = {k: math.exp((kept[k] - kept[ranked[0]]) / sampling.temperature) for k in ranked}
    chosen, before = [], 0.0
    ranked = ranked[: sampling.top_k or None]
    mass = math.fsum(weights[k] for k in ranked)
    for k in ranked:
        if sampling.top_p < 1 and abs(before - sampling.top_p) < 1e-9:
            reject()  # round-off decides
        if chosen and sampling.top_p < 1 and before >= sampling.top_p:
            break
        chosen.append(k)
        before += weights[k] / mass
    total = math.fsum(weights[k] for k in chosen)
    return [weights[k] / total if k in chosen else 0.0 for k in range(len(logits))]


quarters = st.integers(-20, 20).map(lambda quarter: quarter / 4)  # ties are common
fine = st.integers(-30_000, 30_000).map(lambda count: count / 1000)  # and no two so close that round-off ties them


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    st.lists(st.one_of(quarters, fine), min_size=2, max_size=9),
    st.one_of(st.just(0.0), st.floats(0.05, 5)),
    st.integers(0, 10),
    st.one_of(st.just(1.0), st.floats(1e-6, 1)),
    st.sets(st.integers(0, 8), max_size=3),
)
def test_sampling_equals_the_slow_definition(
    logits: list[float], temperature: float, top_k: int, top_p: float, exclude: set[int]
) -> None:
    banned = tuple(k for k in exclude if k < len(logits))
    assume(len(banned) < len(logits))
    sampling = Sampling(temperature, top_k, top_p, banned)
    got = Categorical(len(logits))(torch.tensor(logits, dtype=torch.float64), sampling).probs
    np.testing.assert_allclose(got.numpy(), slow(logits, sampling), rtol=1e-9, atol=1e-12)
    if len(logits) == 2:
        got = Bernoulli()(torch.tensor([logits[1] - logits[0]], dtype=torch.float64), sampling).probs
        np.testing.assert_allclose(got.numpy(), slow([0.0, logits[1] - logits[0]], sampling), rtol=1e-9, atol=1e-12)


TINY = [3.0, 1e-12, 4e-13, 1e-20, 1e-25]


@pytest.mark.parametrize("top_k", [0, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("temperature", [1.0, 0.999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("weights", [TINY, TINY[::-1], [1.0, 1e-17, 2e-20, 1e-20, 1e-30]], ids=str)
def test_top_p_of_one_keeps_classes_however_improbable(
    top_k: int, temperature: float, dtype: torch.dtype, weights: list[float]
) -> None:
    """The cumulative probability of the likelier classes rounds to 1; that must not end the nucleus."""
    x, sampling = torch.tensor(weights, dtype=torch.float64), Sampling(temperature, top_k, 1.0)
    kept = sorted(range(5), key=lambda k: -weights[k])[: top_k or 5]
    probs = Categorical(5)(x.log().to(dtype), sampling).probs
    assert torch.where(probs > 0)[0].tolist() == sorted(kept)
    powers = x[kept] ** (1 / temperature)
    torch.testing.assert_close(probs[kept], (powers / powers.sum()).to(dtype), rtol=2e-5, atol=0)


@pytest.mark.parametrize("sampling", [PLAIN, Sampling(top_k=3), Sampling(top_k=4), Sampling(exclude=(4,))], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_noise_near_one_draws_a_class_of_tiny_probability(sampling: Sampling, dtype: torch.dtype) -> None:
    """The classes of 1e-12 and 4e-13 own the noise from 1 - 1.4e-12 and from 1 - 4e-13 on."""
    noise = 1 - torch.tensor([1e-11, 1.3e-12, 5e-13, 3e-13, 2**-53], dtype=torch.float64)
    logits = torch.tensor([1.0, *TINY[1:]], dtype=torch.float64).log().to(dtype).expand(5, -1)
    assert Categorical(5).draw(logits, noise, sampling).tolist() == [0, 1, 1, 2, 2]


def test_of_many_classes_the_last_are_kept() -> None:
    """The rounding of a cumulative sum over 10,000 classes is above 1e-13, more than the last ones have."""
    weights = torch.rand(8, 10_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights[:, -3:] = torch.tensor([3e-12, 2e-12, 1e-12])
    probs = Categorical(10_000)(weights.log(), Sampling(top_k=9_999)).probs
    assert (probs > 0).sum(1).tolist() == [9_999] * 8


def test_rows_of_a_batch_are_cut_each_for_itself() -> None:
    o, sampling = parameters(Categorical(6), 12).reshape(3, 4, 6), Sampling(0.8, 4, 0.7, (2,))
    got = Categorical(6)(o, sampling).probs
    for row, probs in zip(o.reshape(-1, 6).tolist(), got.reshape(-1, 6).tolist(), strict=True):
        np.testing.assert_allclose(probs, slow(row, sampling), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("exclude", [(0, 1, 2), (3,), (0, 1, 2, 2)])
def test_what_cannot_be_excluded_raises(exclude: tuple[int, ...]) -> None:
    with pytest.raises((ValueError, IndexError)):
        Categorical(3).draw(torch.zeros(3), torch.tensor(0.5), Sampling(exclude=exclude))


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        *(("temperature", value, ValueError) for value in (-1, -1e-9, math.nan, INF, -INF)),
        *(("temperature", value, TypeError) for value in ("1", None, True, [1])),
        *(("top_k", value, TypeError) for value in (1.0, "1", None, True, math.nan)),
        ("top_k", -1, ValueError),
        *(("top_p", value, ValueError) for value in (0, -0.1, 1.0001, math.nan, INF)),
        *(("top_p", value, TypeError) for value in ("1", None, True)),
        *(("exclude", value, (TypeError, ValueError)) for value in (3, ("a",), (1.5,), (-1,), (True,))),
    ],
)
def test_sampling_refuses(field: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Sampling(**{field: value})


@pytest.mark.parametrize("classes", [0, -1, 2.0, "3", True, None])
def test_categorical_refuses(classes: Any) -> None:
    with pytest.raises(ValueError, match="classes is"):
        Categorical(classes)


@every_output
def test_parameters_that_are_no_numbers_draw_nothing(make: Callable[[], Output]) -> None:
    output = make()
    with pytest.raises(ValueError, match="is NaN, expected a number: the model has diverged"):
        output.draw(torch.full((2, output.size), math.nan), torch.full((2,), 0.5, dtype=torch.float64))
