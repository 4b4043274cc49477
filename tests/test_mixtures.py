"""Mixtures of discretized logistics and of Gaussians, against slow plain definitions and SciPy, at extremes too."""

import itertools
import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, special, stats
from torch import Tensor, distributions
from torch.nn import functional as F

from seqgen.output import PLAIN, Output, Sampling
from seqgen.outputs import DiscretizedLogistics, Gaussians

LEVELS = [2, 3, 256, 65536]
LOG_SCALES = [-1e4, -90.0, -12.0, -5.0, 0.0, 6.0, 60.0, 1e4]
MIXTURES: dict[str, Callable[[], Output]] = {
    "logistic": lambda: DiscretizedLogistics(256, 1),
    "logistics": lambda: DiscretizedLogistics(256, 3),
    "Gaussian": Gaussians,
    "Gaussians": lambda: Gaussians(3),
}
every_mixture = pytest.mark.parametrize("make", MIXTURES.values(), ids=MIXTURES)
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@every_mixture
@every_dtype
def test_moved_parameters_are_those_of_a_shifted_and_scaled_variable(make: Callable[[], Output], dtype: Any) -> None:
    output = make()
    assert isinstance(output, DiscretizedLogistics | Gaussians)
    output.floor = 1e-12
    o, shift, scale = normal(50, output.size).to(dtype), normal(50, seed=1), normal(50, seed=2).exp()
    moved = output.moved(o, shift.to(dtype), scale.to(dtype))
    assert moved.dtype == torch.float64
    before, after = parts(output, o), parts(output, moved)
    shift, scale = (part.to(dtype).double().unsqueeze(-1).numpy() for part in (shift, scale))
    np.testing.assert_allclose(after[0], before[0], rtol=1e-6)
    np.testing.assert_allclose(after[1], shift + scale * before[1], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(after[2], scale * before[2], rtol=1e-9)


def extremes(mixtures: int) -> Tensor:
    """Parameters (N, 3K), each component with scales and places far out, all exact in float32."""
    rows = []
    for place, (log_scale, shift) in enumerate(itertools.product(LOG_SCALES, (0.0, -0.7, 1.0, 3.0, -1e4))):
        o = 30 * normal(3, mixtures, seed=place)
        o[1] = shift + 0.01 * o[1]
        o[2] = torch.tensor(log_scale) + 0.1 * o[2]
        rows.append(o.flatten().float().double())
    return torch.stack(rows)


def parts(output: Output, o: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, means and scales (N, K) of parameters (N, P) or (P,), as the docstrings define them."""
    assert isinstance(output, DiscretizedLogistics | Gaussians)
    count = output.mixtures
    rows = F.pad(o, (1, 0)) if o.shape[-1] == 2 else o
    logits, shifts, log_scales = np.moveaxis(rows.double().numpy().reshape(-1, 3, count), 1, 0)
    places = (np.arange(count) * 2 + 1) / (2 * count)
    if isinstance(output, DiscretizedLogistics):
        floor, unit, centres = output.floor / (output.levels - 1), 0.5 / count, 2 * places - 1
    else:
        floor, unit, centres = output.floor, 1, stats.norm.ppf(places)
    return special.softmax(logits, 1), centres + shifts, floor + unit * np.exp(log_scales)


def exact(output: DiscretizedLogistics, o: Tensor, level: int) -> float:
    """log p in 700 digits: the difference of sigmoids as it stands."""
    with localcontext() as context:
        context.prec = 700

        def sigmoid(edge: Decimal, mean: float, scale: float) -> Decimal:
            return 1 / (1 + ((Decimal(mean) - edge) / Decimal(scale)).exp())

        total = Decimal(0)
        for weight, mean, scale in zip(*(part[0].tolist() for part in parts(output, o)), strict=True):
            place, half = Decimal(2 * level) / (output.levels - 1) - 1, Decimal(1) / (output.levels - 1)
            upper = Decimal(1) if level == output.levels - 1 else sigmoid(place + half, mean, scale)
            lower = Decimal(0) if level == 0 else sigmoid(place - half, mean, scale)
            total += Decimal(weight) * (upper - lower)
        return float(total.ln())


# Discretized logistics


@every_dtype
@pytest.mark.parametrize("levels", LEVELS)
def test_levels_have_probability_one(levels: int, dtype: torch.dtype) -> None:
    output = DiscretizedLogistics(levels, 3)
    for row in extremes(3).to(dtype):
        log_probs = output(row).log_prob(torch.arange(levels))
        assert log_probs.dtype == dtype
        assert not log_probs.isnan().any()
        assert abs(log_probs.double().exp().sum().item() - 1) < (1e-5 if dtype == torch.float32 else 1e-11)


@pytest.mark.parametrize("levels", LEVELS)
def test_log_prob_agrees_with_scipy(levels: int) -> None:
    output, k = DiscretizedLogistics(levels, 4), np.arange(levels)[:, None]
    for row in normal(5, 12):
        weights, means, scales = (part[0] for part in parts(output, row))
        upper = np.where(k == levels - 1, np.inf, (2 * k + 1) / (levels - 1) - 1)
        lower = np.where(k == 0, -np.inf, (2 * k - 1) / (levels - 1) - 1)
        probs = stats.logistic.cdf(upper, means, scales) - stats.logistic.cdf(lower, means, scales)
        got = output(row).log_prob(torch.arange(levels)).exp().numpy()
        np.testing.assert_allclose(got, (weights * probs).sum(1), rtol=1e-8, atol=1e-14)
        cdf = output(row).cdf(torch.arange(levels)).numpy()
        np.testing.assert_allclose(cdf, (weights * stats.logistic.cdf(upper, means, scales)).sum(1), rtol=1e-12)


@every_dtype
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(
    ("logits", "shifts", "log_scales"),
    [
        ((0, 0), (0, 0), (0, 0)),
        ((3, -2), (0.25, -0.125), (-3, -4)),
        ((-9, 30), (0.5, -0.5), (-4.5, -4.5)),  # both in the middle
        ((0, -300), (-0.25, 0.5), (-4.75, 2)),
        ((0, 0), (40, -300), (0, 0)),  # beyond the edges
        ((5, 5), (0, 0), (50, 12)),
    ],
)
def test_log_prob_agrees_with_seven_hundred_digits(
    levels: int,
    dtype: torch.dtype,
    logits: tuple[float, float],
    shifts: tuple[float, float],
    log_scales: tuple[float, float],
) -> None:
    output = DiscretizedLogistics(levels, 2)
    o = torch.tensor([*logits, *shifts, *log_scales], dtype=dtype)
    levels_seen = sorted({0, 1, levels // 3, levels // 2, levels - 2, levels - 1} & set(range(levels)))
    for level in levels_seen:
        expected = exact(output, o, level)
        got = output(o).log_prob(torch.tensor(level)).item()
        assert abs(got - expected) < (1e-4 if dtype == torch.float32 else 1e-9) * max(1, abs(expected) / 1000)


def test_nothing_is_linear_beyond_a_threshold() -> None:
    """As F.softplus is beyond 20, where it is off by 2e-9: all along a tail that passes there."""
    output, o = DiscretizedLogistics(1024, 1), torch.tensor([0, 0.1, -3.2], dtype=torch.float64)
    log_prob = output(o).log_prob(torch.arange(1024))
    levels = [k for k in range(1024) if -33 < log_prob[k].item() < -22]
    assert len(levels) > 50
    assert max(abs(log_prob[k].item() - exact(output, o, k)) for k in levels) < 1e-11


def test_the_usual_threshold_is_off_by_two_nats_where_this_is_exact() -> None:
    """The paper's code takes the density at the middle of a bin for probabilities below 1e-5."""
    output, half = DiscretizedLogistics(256, 1, floor=1e-6), 1 / 255
    o = torch.tensor([0, 0.1, -6.3], dtype=torch.float64)
    _, means, scales = (part.item() for part in parts(output, o))
    errors, ours = [], []
    for level in range(100, 180):
        z = (2 * level * half - 1 - means) / scales
        probability = special.expit(z + half / scales) - special.expit(z - half / scales)
        density = z - 2 * np.logaddexp(0, z) - math.log(scales)
        usual = math.log(probability) if probability > 1e-5 else density + math.log(2 * half)
        expected = exact(output, o, level)
        errors.append(abs(usual - expected))
        ours.append(abs(output(o).log_prob(torch.tensor(level)).item() - expected))
    assert 1.9 < max(errors) < 2.5
    assert max(ours) < 1e-10


@pytest.mark.parametrize("levels", LEVELS)
def test_single_precision_loses_little_at_extremes(levels: int) -> None:
    """Of the same parameters, for probabilities down to exp(-1000)."""
    output, k = DiscretizedLogistics(levels, 3), torch.linspace(0, levels - 1, 500).long().unsqueeze(1)
    o = torch.cat([extremes(3), (3 * normal(50, 9)).float().double()])
    o = torch.cat([o, o * torch.tensor([1.0] * 3 + [0.01] * 3 + [1.0] * 3)]).float()
    double, single = output(o.double()).log_prob(k), output(o).log_prob(k)
    assert single.dtype == torch.float32
    seen = double > -1000
    assert seen.sum() > 10_000 or levels < 256
    assert (double[seen] < -300).any() or levels < 256
    assert (single - double)[seen].abs().max() < 1e-4


@pytest.mark.parametrize("levels", LEVELS)
def test_other_levels_have_probability_zero(levels: int) -> None:
    distribution = DiscretizedLogistics(levels, 2)(normal(6))
    assert (distribution.log_prob(torch.tensor([-5, -1, levels, 10 * levels])) == -math.inf).all()
    assert distribution.cdf(torch.tensor([-2, -1, levels - 1, levels + 3])).tolist() == pytest.approx([0, 0, 1, 1])


def test_a_fresh_network_knows_little() -> None:
    """Zeros mean a distribution near the uniform one, in every part of the range."""
    for levels in (256, 65536):
        log_prob = DiscretizedLogistics(levels)(torch.zeros(30, dtype=torch.float64)).log_prob(torch.arange(levels))
        assert (log_prob[levels // 50 : -levels // 50] + math.log(levels)).abs().max() < 0.4
        assert -log_prob.mean() < math.log(levels) + 0.05


def test_moments_and_entropy_are_sums_over_all_levels() -> None:
    output, o = DiscretizedLogistics(300, 3), normal(2, 5, 9)
    distribution = output(o)
    log_probs = distribution.log_prob(distribution.enumerate_support())
    assert distribution.has_enumerate_support
    assert log_probs.shape == (300, 2, 5)
    torch.testing.assert_close(distribution.entropy(), -(log_probs.exp() * log_probs).sum(0))
    expected = (log_probs.exp() * torch.arange(300.0).double().view(-1, 1, 1)).sum(0)
    torch.testing.assert_close(distribution.mean, expected)
    torch.testing.assert_close(output(o.float()).mean, expected.float())
    fine = DiscretizedLogistics(10_000, 3)(o)
    torch.testing.assert_close(fine.mean, (9_999 * (expected + 0.5) / 299 - 0.5), rtol=0.02, atol=0)
    with pytest.raises(NotImplementedError, match="10000 levels"):
        fine.entropy()


@every_dtype
@pytest.mark.parametrize("levels", [2, 3, 256, 4097])
@pytest.mark.parametrize("sampling", [PLAIN, Sampling(0.5), Sampling(3.0), Sampling(1e-300), Sampling(0)], ids=str)
def test_draw_is_the_inverse_of_the_cdf(levels: int, dtype: torch.dtype, sampling: Sampling) -> None:
    """The first level with CDF > noise, found by search through all levels; inside, on boundaries, at 0, below 1."""
    output = DiscretizedLogistics(levels, 3)
    for row in (*normal(4, 9).to(dtype), *extremes(3)[::7].to(dtype)):
        cdf = output(row.double(), sampling).cdf(torch.arange(levels)).numpy()
        edges = cdf[:: max(1, levels // 40)]
        noise = np.array([0, math.nextafter(1, 0), *uniform(30).tolist(), *edges[edges < 1], *np.nextafter(edges, 0)])
        o = row.expand(len(noise), -1)
        drawn = output.draw(o, torch.from_numpy(noise), sampling).numpy()
        near = np.abs(noise[:, None] - cdf).min(1) < 1e-14  # round-off decides
        assert (drawn == np.searchsorted(cdf, noise * cdf[-1], side="right"))[~near].all()
        assert (cdf[drawn] > noise - 1e-14).all()
        assert (np.where(drawn > 0, cdf[drawn - 1], 0) < noise + 1e-14).all()
        assert (output(row.double(), sampling).log_prob(torch.from_numpy(drawn)).exp() > 0).all()


@pytest.mark.parametrize(("far", "wide"), [(1.0, 10.0), (0.05, 1.0)])
def test_draws_never_have_probability_zero(far: float, wide: float) -> None:
    """Not between two spikes, not beyond them, not where round-off keeps the CDF below 1."""
    output = DiscretizedLogistics(65536, 10)
    parts = 4 * normal(500, 10), far * normal(500, 10, seed=1), -8 + wide * normal(500, 10, seed=2)
    o = torch.cat(parts, 1)
    for noise in (0.0, 2**-53, 0.5, 1 - 2**-40, math.nextafter(1, 0), 1.0):
        drawn = output.draw(o, torch.full((500,), noise, dtype=torch.float64))
        assert ((drawn >= 0) & (drawn < 65536)).all()
        assert (output(o).log_prob(drawn).exp() > 0).all()


@pytest.mark.parametrize("sampling", [PLAIN, Sampling(0.5), Sampling(2.0)], ids=str)
def test_frequencies_match_probabilities(sampling: Sampling) -> None:
    output, o = DiscretizedLogistics(64, 3), normal(9, seed=4)
    drawn = output.draw(o.expand(20_000, -1), uniform(20_000, seed=5), sampling)
    expected = 20_000 * output(o, sampling).log_prob(torch.arange(64)).exp().numpy()
    counts, common = np.bincount(drawn.numpy(), minlength=64), expected >= 8
    bins = [np.append(part[common], part[~common].sum()) for part in (counts, expected)]
    assert common.sum() > 20
    bins = [part[bins[1] > 0] for part in bins]
    assert stats.chisquare(bins[0], bins[1] * bins[0].sum() / bins[1].sum()).pvalue > 1e-3


def test_temperature_zero_is_the_level_nearest_to_the_heaviest_mean() -> None:
    output, o = DiscretizedLogistics(1000, 4), normal(200, 12)
    weights, means, _ = parts(output, o)
    heaviest = np.take_along_axis(means, weights.argmax(1)[:, None], 1)[:, 0]
    expected = torch.from_numpy(((heaviest + 1) * 999 / 2).round().clip(0, 999)).long()
    for noise in (0.0, 0.5, math.nextafter(1, 0)):
        column = torch.full((200,), noise, dtype=torch.float64)
        assert torch.equal(output.draw(o, column, Sampling(0)), expected)
        assert torch.equal(output.draw(o, column.clamp(0.001, 0.999), Sampling(1e-7)), expected)
    held = [output(o, Sampling(t)).log_prob(expected).exp() for t in (1, 0.1, 0.01, 1e-3, 1e-4, 1e-7, 0)]
    assert (held[-1] == 1).all()
    assert (held[-2] > 1 - 1e-3).all()
    assert held[0].mean() < held[1].mean() < held[2].mean() < held[3].mean() < held[4].mean()
    others = output(o, Sampling(0)).log_prob((expected + 1) % 1000)
    assert (others.exp() == 0).all()


def test_of_equally_heavy_components_the_first_is_the_mode() -> None:
    assert DiscretizedLogistics(9, 4).draw(torch.zeros(12), torch.tensor(0.9).double(), Sampling(0)).item() == 1
    assert Gaussians(2).draw(torch.zeros(6), torch.tensor(0.9).double(), Sampling(0)).item() < 0


# Gaussians


@pytest.mark.parametrize("mixtures", [1, 2, 5])
def test_log_density_agrees_with_torch(mixtures: int) -> None:
    output = Gaussians(mixtures)
    o, x = 2 * normal(300, output.size), 3 * normal(300, seed=1)
    weights, means, scales = map(torch.from_numpy, parts(output, o))
    theirs = distributions.MixtureSameFamily(distributions.Categorical(weights), distributions.Normal(means, scales))
    torch.testing.assert_close(output(o).log_prob(x), theirs.log_prob(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(output(o).cdf(x), theirs.cdf(x), rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(output(o).mean, theirs.mean, rtol=1e-12, atol=1e-12)


def test_one_gaussian_agrees_with_torch_and_scipy() -> None:
    output, o, noise = Gaussians(), normal(50, 2), uniform(50)
    _, means, scales = (torch.from_numpy(part[:, 0]) for part in parts(output, o))
    one = distributions.Normal(means, scales)
    torch.testing.assert_close(output(o).entropy(), one.entropy(), rtol=1e-12, atol=1e-12)
    expected = torch.from_numpy(stats.norm.ppf(noise, means, scales))
    torch.testing.assert_close(output(o).icdf(noise), expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(output.draw(o, noise), output(o).icdf(noise).float())
    with pytest.raises(NotImplementedError, match="closed form"):
        Gaussians(2)(torch.zeros(6)).entropy()


@pytest.mark.parametrize("mixtures", [1, 3])
@pytest.mark.parametrize("sampling", [PLAIN, Sampling(0.3), Sampling(3.0)], ids=str)
def test_density_integrates_to_one_and_the_cdf_is_its_integral(mixtures: int, sampling: Sampling) -> None:
    output = Gaussians(mixtures)
    for row in normal(4, output.size, seed=2):
        distribution = output(row, sampling)

        def density(x: float, distribution: Any = distribution) -> float:
            return float(distribution.log_prob(torch.tensor(x, dtype=torch.float64)).exp())

        ends = [-40.0, *distribution.icdf(torch.tensor([1e-6, 0.1, 0.5, 0.9, 1 - 1e-6]).double()).tolist(), 40.0]
        pieces = [integrate.quad(density, *pair, limit=200)[0] for pair in itertools.pairwise(ends)]
        cdf = distribution.cdf(torch.tensor(ends, dtype=torch.float64)).numpy()
        np.testing.assert_allclose(np.cumsum(pieces), cdf[1:] - cdf[0], atol=1e-7)
        assert abs(sum(pieces) - 1) < 1e-6


@pytest.mark.parametrize("sampling", [PLAIN, Sampling(0.5), Sampling(2.0)], ids=str)
def test_draw_inverts_the_cdf_of_a_mixture(sampling: Sampling) -> None:
    """Against SciPy's root finder, to 1e-10 of the spread; both tails as well as the middle."""

    def above(x: float, u: float, weights: np.ndarray, means: np.ndarray, scales: np.ndarray) -> float:
        z = (x - means) / scales
        return float(weights @ stats.norm.cdf(z) - u if u < 0.5 else 1 - u - weights @ stats.norm.sf(z))

    output = Gaussians(3)
    noise = torch.tensor([1e-15, 1e-6, 0.01, 0.3, 0.5, 0.7, 0.99, 1 - 1e-6, 1 - 1e-15], dtype=torch.float64)
    for row in 1.5 * normal(12, 9, seed=3):
        distribution = output(row, sampling)
        log_weights, means, scales = (part.numpy() for part in distribution.parts)
        got = distribution.icdf(noise).numpy()
        span, terms = 20 * scales.max() + np.abs(means).max(), (np.exp(log_weights), means, scales)
        expected = [optimize.brentq(above, -span, span, (u, *terms), xtol=1e-14, rtol=1e-14) for u in noise.tolist()]
        density = distribution.log_prob(torch.tensor(expected, dtype=torch.float64)).exp().numpy()
        # Not in a gap between components, where any x will do.
        seen = density * scales.max() > 1e-3 * torch.minimum(noise, 1 - noise).numpy()
        assert seen.sum() >= 6
        np.testing.assert_allclose(got[seen], np.array(expected)[seen], rtol=0, atol=1e-10 * scales.max())
        torch.testing.assert_close(distribution.cdf(torch.from_numpy(got)), noise, rtol=1e-9, atol=1e-15)


def test_extreme_mixtures_draw_finite_numbers() -> None:
    output = Gaussians(3)
    o = extremes(3)
    for noise in (0.0, 1e-300, 0.5, math.nextafter(1, 0), 1.0):
        for sampling in (PLAIN, Sampling(0), Sampling(1e-300)):
            drawn = output.draw(o, torch.full((len(o),), noise, dtype=torch.float64), sampling)
            assert drawn.isfinite().all()
    lowest = Gaussians().draw(torch.tensor([0.0, -200.0]), torch.tensor(0.0).double())
    assert lowest.item() == pytest.approx(1e-3 * stats.norm.ppf(2**-54), rel=1e-6)


def test_draws_of_a_mixture_follow_its_cdf() -> None:
    output, o = Gaussians(3), normal(9, seed=6)
    drawn = output.draw(o.expand(5000, -1), uniform(5000, seed=7))
    assert stats.kstest(drawn.numpy(), lambda x: output(o).cdf(torch.from_numpy(np.asarray(x))).numpy()).pvalue > 1e-3


def test_temperature_zero_is_the_heaviest_mean() -> None:
    output, o = Gaussians(4), normal(100, 12)
    weights, means, _ = parts(output, o)
    expected = torch.from_numpy(np.take_along_axis(means, weights.argmax(1)[:, None], 1)[:, 0]).float()
    for noise in (0.0, 0.5, math.nextafter(1, 0)):
        column = torch.full((100,), noise, dtype=torch.float64)
        assert torch.equal(output.draw(o, column, Sampling(0)), expected)
        cold = output.draw(o, column.clamp(0.001, 0.999), Sampling(1e-6))
        torch.testing.assert_close(cold, expected, rtol=0, atol=1e-3)


def test_the_floor_bounds_the_density_of_a_value_that_repeats() -> None:
    """And a scale below the floor still has a gradient that leads out."""
    for output in (Gaussians(floor=0.01), Gaussians(3, floor=0.01)):
        o = torch.full((output.size,), -30.0)
        assert output(o).log_prob(output(o).mean) <= -math.log(0.01 * math.sqrt(2 * math.pi)) + 1e-6
    o = torch.tensor([0.0, -20.0], requires_grad=True)
    Gaussians(floor=0.01)(o).log_prob(torch.tensor(1.0)).backward()
    assert o.grad is not None
    assert o.grad[1] > 0


# Both


@every_mixture
@pytest.mark.parametrize("temperature", [0.2, 0.9, 4.0])
def test_temperature_scales_logits_and_scales(make: Callable[[], Output], temperature: float) -> None:
    output = make()
    o = normal(20, output.size)
    weights, means, scales = parts(output, o)
    got = output(o, Sampling(temperature)).parts
    np.testing.assert_allclose(got.log_weights.exp(), special.softmax(np.log(weights) / temperature, 1), rtol=1e-10)
    np.testing.assert_allclose(got.means, means, rtol=1e-12)
    np.testing.assert_allclose(got.scales, scales * temperature, rtol=1e-12)


@every_mixture
@every_dtype
def test_gradients_are_finite_at_extremes(make: Callable[[], Output], dtype: torch.dtype) -> None:
    output = make()
    count = output.init_args["mixtures"]
    rows = extremes(count)[:, -output.size :].to(dtype)  # one Gaussian has no logit
    for x in (0, 1, 100, 255):
        o = rows.clone().requires_grad_(True)
        log_prob = output(o).log_prob(torch.tensor(x, dtype=output.dtype))
        log_prob.sum().backward()
        assert log_prob.isfinite().all()
        assert o.grad is not None
        assert o.grad.isfinite().all()


@every_mixture
def test_gradients_are_those_of_the_density(make: Callable[[], Output]) -> None:
    output = make()
    o = normal(6, output.size, seed=8).requires_grad_(True)
    x = torch.tensor([0, 1, 100, 150, 254, 255]).to(output.dtype)
    assert torch.autograd.gradcheck(lambda o: output(o).log_prob(x), o)


@every_mixture
def test_half_precision_gives_single_precision(make: Callable[[], Output]) -> None:
    """Eleven nats in bfloat16 would be known to 0.03 of a nat."""
    output = make()
    o = normal(5, output.size).bfloat16()
    got = output(o).log_prob(torch.ones(5, dtype=output.dtype))
    assert got.dtype == torch.float32
    assert torch.equal(got, output(o.float()).log_prob(torch.ones(5, dtype=output.dtype)))


@every_mixture
@pytest.mark.parametrize("place", [0, -1])
def test_one_parameter_that_is_no_number_draws_nothing(make: Callable[[], Output], place: int) -> None:
    output = make()
    o = torch.zeros(3, output.size)
    o[1, place] = math.nan
    for sampling in (PLAIN, Sampling(0), Sampling(0.5)):
        with pytest.raises(ValueError, match="is NaN, expected a number: the model has diverged"):
            output.draw(o, torch.full((3,), 0.5, dtype=torch.float64), sampling)


@every_mixture
@pytest.mark.parametrize("sampling", [Sampling(top_k=1), Sampling(top_p=0.9), Sampling(exclude=(0,))], ids=str)
def test_what_a_mixture_cannot_honour_raises(make: Callable[[], Output], sampling: Sampling) -> None:
    output = make()
    with pytest.raises(ValueError, match=r"top_k is 1|top_p is 0\.9|exclude is \(0,\)"):
        output(torch.zeros(output.size), sampling)
    with pytest.raises(ValueError, match="expected"):
        output.draw(torch.zeros(output.size), torch.tensor(0.5).double(), sampling)


@every_mixture
def test_embedding_is_the_place_of_the_symbol(make: Callable[[], Output]) -> None:
    output = make()
    x = torch.tensor([[0, 51, 255]]).to(output.dtype)
    expected = [[-1.0], [-0.6], [1.0]] if output.dtype == torch.int64 else [[0.0], [51.0], [255.0]]
    torch.testing.assert_close(output.embed(x).double(), torch.tensor([expected], dtype=torch.float64))


@pytest.mark.parametrize(
    ("make", "field", "value"),
    [
        *((DiscretizedLogistics, "levels", value) for value in (1, 0, -3, 2.0, "9", True, None, 2**25)),
        *((DiscretizedLogistics, "mixtures", value) for value in (0, -1, 1.5, "2", True)),
        *((DiscretizedLogistics, "floor", value) for value in (0, -1, 1e-13, math.nan, None)),
        *((Gaussians, "mixtures", value) for value in (0, -1, 1.5, "2", True, None)),
        *((Gaussians, "floor", value) for value in (0, -1e-3, math.nan, math.inf, "1", True)),
    ],
)
def test_constructors_refuse(make: type[Output], field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{field} is"):
        make(**{field: value})
