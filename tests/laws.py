"""The laws of models, each stated once as a check of one model; those of outputs and codecs are in their own tests.

tests/test_laws.py runs them on every example of tests/examples.py. A model of several orders is tested in the order
that its contexts give (`examples.order_of`).
"""

import copy
import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from examples import (
    VARIABLES,
    classes_of,
    countable,
    draw_context,
    draw_symbols,
    half_blind,
    labels_of,
    rows_of,
    with_labels,
)
from scipy import stats
from torch import Tensor
from torch.distributions import Distribution

import seqgen
import seqgen.codecs
from seqgen.codecs import Chars
from seqgen.config import build, describe
from seqgen.inference.generate import draw_noise, sample
from seqgen.media.mel import LogMel
from seqgen.model import Context, Model, Order, State
from seqgen.models import NGram
from seqgen.models.raster import Raster
from seqgen.output import PLAIN, Output, Sampling
from seqgen.outputs import Bernoulli, Categorical
from seqgen.pipeline import Pipeline

POINTS = 8001
"""Number of points of the grid that densities are integrated on."""


def exact(model: Model) -> Model:
    """A copy in float64 (round-off near 1e-16), in evaluation mode, whose parameters need no gradient."""
    return copy.deepcopy(model).double().eval().requires_grad_(False)


def cuts(length: int, generator: torch.Generator) -> Iterator[list[int]]:
    """Ways to cut a sequence into chunks: all at once, one by one, the first alone, and at random."""
    yield from ([length], [1] * length, [1, length - 1], [length - 1, 1])
    for _ in range(4):
        places = torch.randperm(length - 1, generator=generator)[: length // 3].sort().values + 1
        yield torch.cat([places, torch.tensor([length])]).diff(prepend=torch.tensor([0])).tolist()


def close(got: Tensor, expected: Tensor, tolerance: float = 1e-10, message: str = "") -> None:
    """Equal up to an absolute difference."""
    torch.testing.assert_close(
        got, expected, rtol=0, atol=tolerance, check_dtype=False, msg=lambda text: f"{message}\n{text}"
    )


def spaces(model: Model, length: int) -> Iterator[tuple[Tensor, Context | None]]:
    """All sequences (K^T, T) of one length with a context: without labels, then with each choice of labels.

    For real numbers, sequences (POINTS, T) of which only the last number varies, from -40 to 40.
    """
    if countable(model.output):
        x = torch.tensor(list(itertools.product(range(classes_of(model.output)), repeat=length)))
    else:
        x = torch.linspace(-40, 40, POINTS, dtype=torch.float64).unsqueeze(1)
        x = torch.cat([torch.linspace(-1, 2, length, dtype=torch.float64)[:-1].expand(POINTS, -1), x], 1)
    yield x, with_labels(model, None, len(x))
    for row in itertools.product(*(range(count + 1) for count in labels_of(model))):
        if row:
            yield x, with_labels(model, torch.tensor(row).expand(len(x), -1), len(x))


def is_causal(model: Model) -> None:
    """Changing x_t changes no row <= t (exactly 0)."""
    model, generator = exact(model), torch.Generator().manual_seed(1)
    x, context = draw_symbols(model, 2, 6, generator), draw_context(model, 2, generator)
    rows = model(x, context)
    for t in range(6):
        changed = x.clone()
        changed[:, t] = (x[:, t] + 1) % (classes_of(model.output) if countable(model.output) else 7.0)
        assert torch.equal(model(changed, context)[:, : t + 1], rows[:, : t + 1])


class Opened(Output):
    """An output whose embedded symbols are given, so that a gradient with respect to them can be taken."""

    def __init__(self, output: Output, values: Tensor) -> None:
        self.output, self.values = output, values
        self.size, self.width, self.dtype, self.classes = output.size, output.width, output.dtype, output.classes

    def __call__(self, parameters: Tensor, sampling: Sampling = PLAIN) -> Distribution:
        return self.output(parameters, sampling)

    def embed(self, x: Tensor) -> Tensor:
        return self.values[:, : x.shape[1]]

    def draw(self, parameters: Tensor, noise: Tensor, sampling: Sampling = PLAIN) -> Tensor:
        return self.output.draw(parameters, noise, sampling)

    def moved(self, parameters: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        return self.output.moved(parameters, shift, scale)


def jacobian_is_triangular(model: Model) -> None:
    """The gradient of row t for the embedded symbol s is exactly 0 if s >= t, and not 0 if row t sees s."""
    if isinstance(model, NGram) or model.scalar_input:
        return
    model, generator = exact(model), torch.Generator().manual_seed(10)
    x, context = draw_symbols(model, 40, 7, generator), draw_context(model, 40, generator)
    values = model.output.embed(x).double().requires_grad_(True)
    model.output = Opened(model.output, values)
    rows = model(x, context)
    weights = torch.randn(rows.shape[-1], generator=generator, dtype=torch.float64)
    for t in range(7):
        (slope,) = torch.autograd.grad((rows[:, t] @ weights).sum(), values, retain_graph=True, allow_unused=True)
        seen = torch.zeros(7, dtype=torch.bool) if slope is None else slope.abs().amax((0, 2)) > 0
        assert not seen[t:].any()
        if not half_blind(model):
            assert seen[max(0, t - (model.receptive_field or t)) : t].all()


def sees_the_past(model: Model) -> None:
    """Changing x_0 changes row 1, except for an n-gram of order 1 and one that has counted nothing."""
    if isinstance(model, NGram) and (model.order == 1 or not len(model.counts_1)):
        return
    x, context, model = torch.zeros(1, 3, dtype=model.output.dtype), with_labels(model, None, 1), exact(model)
    assert not torch.equal(model(x, context)[:, 1], model(x + torch.tensor([1, 0, 0]), context)[:, 1])


def rows_by_steps(model: Model, x: Tensor, sizes: list[int], context: Context | None) -> Tensor:
    """Rows (B, T + 1, P) of `start`, and of `step` for x (B, T) in chunks of these sizes."""
    first, state = model.start(len(x), context)
    rows = [first.unsqueeze(1)]
    for chunk in x.split(sizes, 1):
        parameters, state = model.step(chunk, state, context)
        rows.append(parameters)
    return torch.cat(rows, 1)


def steps_equal_forward(model: Model) -> None:
    """`start` and `step` give the rows of `forward`, for any chunking."""
    model, generator = exact(model), torch.Generator().manual_seed(2)
    x, context = draw_symbols(model, 3, 9, generator), draw_context(model, 3, generator)
    expected = model(torch.cat([x, x[:, :1]], 1), context)
    for sizes in cuts(9, generator):
        close(rows_by_steps(model, x, sizes, context), expected)


def gradients(model: Model, rows: Tensor) -> dict[str, Tensor]:
    """The gradient, for each parameter by name, of a sum of rows (B, T, P) with random weights."""
    parameters, generator = dict(model.named_parameters()), torch.Generator().manual_seed(12)
    total = (rows * torch.randn(rows.shape, generator=generator, dtype=rows.dtype)).sum()
    found = torch.autograd.grad(total, [*parameters.values()], materialize_grads=True)
    return dict(zip(parameters, found, strict=True))


def gradients_through_steps_equal_forward(model: Model) -> None:
    """For any chunking, every parameter has the same gradient through `start` and `step` as through `forward`.

    An n-gram has no such parameters.
    """
    model, generator = exact(model).requires_grad_(True), torch.Generator().manual_seed(11)
    if not list(model.parameters()):
        return
    x, context = draw_symbols(model, 3, 9, generator), draw_context(model, 3, generator)
    expected = gradients(model, model(torch.cat([x, x[:, :1]], 1), context))
    for sizes in cuts(9, generator):
        for name, gradient in gradients(model, rows_by_steps(model, x, sizes, context)).items():
            close(gradient, expected[name], message=f"the gradient of {name}, for chunks of {sizes} symbols")


def override_equals_oracle(model: Model) -> None:
    """A model's own `start` and `step` equal the slow default, which runs `forward` on the whole prefix."""
    model, generator = exact(model), torch.Generator().manual_seed(3)
    x, context = draw_symbols(model, 2, 7, generator), draw_context(model, 2, generator)
    first, state = model.start(2, context)
    expected, oracle = Model.start(model, 2, context)
    close(first, expected)
    for chunk in x.split([1, 3, 1, 2], 1):
        rows, state = model.step(chunk, state, context)
        expected, oracle = Model.step(model, chunk, oracle, context)
        close(rows, expected)


def pieces_equal_forward(model: Model) -> None:
    """`advance` over consecutive pieces, each with the carry of the one before, equals `forward` of the whole."""
    model, generator = exact(model), torch.Generator().manual_seed(4)
    x, context = draw_symbols(model, 3, 9, generator), draw_context(model, 3, generator)
    for sizes in cuts(9, generator):
        rows, carry = [], None
        for piece in x.split(sizes, 1):
            parameters, carry = model.advance(piece, carry, context)
            rows.append(parameters)
        close(torch.cat(rows, 1), model(x, context))


def is_a_density(model: Model) -> None:
    """For every choice of labels, the probabilities of all sequences of one length sum to 1.

    For real numbers, p(x_t | x_<t) integrates to 1 over the last number.
    """
    for length in (1, 4):
        for x, context in spaces(model, length):
            with torch.no_grad():
                log_probs = (model if countable(model.output) else exact(model)).log_prob(x, context).double()
            if countable(model.output):
                total = log_probs.sum(1).exp().sum()
            else:
                total = log_probs[:, -1].exp().sum() * 80 / (POINTS - 1)
            assert abs(total.item() - 1) < 1e-6


def every_parameter_learns(model: Model) -> None:
    """Every parameter receives a gradient that is not zero."""
    model, generator = exact(model).requires_grad_(True), torch.Generator().manual_seed(5)
    x, context = draw_symbols(model, 8, model.dimensions or 5, generator), draw_context(model, 8, generator)
    if len(list(model.parameters())):
        model.log_prob(x, context).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def builds_the_same(model: Model) -> None:
    """`describe` then `build` is the identity."""
    description = describe(model)
    built = build(description, Model)
    assert type(built) is type(model)
    assert describe(built) == description
    built.load_state_dict(model.state_dict())
    x, context = next(spaces(model, 3))
    assert torch.equal(built.eval()(x, context), model(x, context))


def saved_is_loaded(model: Model, folder: Path) -> None:
    """A loaded model has the description of the saved one and bit-identical outputs."""
    names = [[f"{label}" for label in range(count)] for count in labels_of(model)]
    labels = {f"label {place}": classes for place, classes in enumerate(names)}
    codec = Chars("abcdefgh"[: classes_of(model.output)]) if countable(model.output) else seqgen.codecs.Waveform()
    hop, order = model.feature_hop, model.prediction
    mels = model.feature_size - (order + 1 if order else 0)
    features = LogMel(8000, mels, hop, 4 * hop, prediction=order) if mels else None
    Pipeline(model, codec, labels, {"step": 3}, features).save_pretrained(folder)
    loaded = seqgen.load(folder)
    assert describe(loaded.model) == describe(model)
    assert (loaded.features is None) == (features is None) or describe(loaded.features) == describe(features)
    assert (loaded.labels, loaded.provenance) == (labels, {"step": 3})
    for x, context in spaces(model, 3):
        few = rows_of(context, slice(100))
        assert torch.equal(loaded.model(x[:100], few), model(x[:100], few))


def padding_changes_nothing(model: Model) -> None:
    """Scores of a padded batch equal those of each sequence alone, whatever symbols the padding holds."""
    model, generator = exact(model), torch.Generator().manual_seed(6)
    x, context = draw_symbols(model, 5, 8, generator), draw_context(model, 5, generator)
    for row, length in enumerate((1, 8, 3, 5, 7)):
        alone = model.log_prob(x[row : row + 1, :length], rows_of(context, slice(row, row + 1)))
        close(alone[0], model.log_prob(x, context)[row, :length])


def samples_follow_log_prob(model: Model) -> None:
    """Frequencies of 6,000 samples match `log_prob`: chi-square at a fixed seed, rare sequences in one bin."""
    labels = torch.ones(6000, len(labels_of(model)), dtype=torch.int64) if labels_of(model) else None
    context = with_labels(model, labels, 6000)
    if not countable(model.output):
        draws_invert_the_cdf(model, context)
        return
    x, _ = next(spaces(model, 3))
    drawn = sample(model, draw_noise(6000, 3, seed=7), context=context)
    places = (drawn * classes_of(model.output) ** torch.tensor([2, 1, 0])).sum(1)
    counts = torch.bincount(places, minlength=len(x)).double()
    expected = 6000 * model.log_prob(x, rows_of(context, slice(len(x)))).double().sum(1).exp().detach()
    common = expected >= 8
    bins = [torch.cat([part[common], part[~common].sum(0, keepdim=True)]) for part in (counts, expected)]
    bins = [part[bins[1] > 0] for part in bins]
    assert len(bins[0]) > 3
    assert stats.chisquare(bins[0].numpy(), (bins[1] * 6000 / bins[1].sum()).numpy()).pvalue > 1e-3


def draws_invert_the_cdf(model: Model, context: Context | None) -> None:
    """For real numbers: the conditional CDF at each drawn number is the noise it was drawn with."""
    model, noise = exact(model), draw_noise(6000, 3, seed=7)
    drawn = sample(model, noise, context=context)
    close(model.output(model(drawn, context)).cdf(drawn), noise, 1e-5)


def tensors_of(state: State) -> list[Tensor]:
    """The tensors in a state: a nest of tuples, integers and None."""
    if state is None or isinstance(state, int):
        return []
    return [state] if isinstance(state, Tensor) else [tensor for part in state for tensor in tensors_of(part)]


def state_is_a_value(model: Model) -> None:
    """`step` returns the same for the same state, alters neither the state nor the module, and stores nothing on it."""
    model, generator = exact(model), torch.Generator().manual_seed(8)
    x, context = draw_symbols(model, 2, 3, generator), draw_context(model, 2, generator)
    before = {name: list(module.__dict__) for name, module in model.named_modules()}
    tensors = copy.deepcopy(model.state_dict())
    _, state = model.start(2, context)
    for length in (3, 1):
        kept = copy.deepcopy(state)
        rows, after = model.step(x[:, :length], state, context)
        again, after_again = model.step(x[:, :length], state, context)
        assert torch.equal(rows, again)
        assert all(map(torch.equal, tensors_of(after), tensors_of(after_again)))
        assert all(map(torch.equal, tensors_of(state), tensors_of(kept)))
        state = after
    assert {name: list(module.__dict__) for name, module in model.named_modules()} == before
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in tensors.items())


def bad_contexts_raise(model: Model) -> None:
    """Too many labels, too few, and classes out of range are refused."""
    counts = labels_of(model)
    bad = [[1] * (len(counts) + 1)]
    if counts:
        bad += [[1] * (len(counts) - 1), [*counts[:-1], counts[-1] + 1], [-1, *counts[1:]]]
    for row in bad:
        x = torch.zeros(2, 3, dtype=model.output.dtype)
        for call in (functools.partial(model, x), functools.partial(model.start, 2)):
            with pytest.raises(ValueError, match="label"):
                call(with_labels(model, torch.tensor([row, row], dtype=torch.int64).reshape(2, -1), 2))


def an_order_is_refused_or_known(model: Model) -> None:
    """A model of sequences or images refuses any order; one of vectors refuses an order of other variables.

    The order of a model of vectors, if none is given, is that of number 0.
    """
    x, context = torch.zeros(2, 3, dtype=model.output.dtype), with_labels(model, None, 2) or Context()
    first = model.order_number(0)
    assert (first is None) == (model.dimensions is None or isinstance(model, Raster))
    wrong = [torch.arange(VARIABLES + 1), torch.zeros(VARIABLES, dtype=torch.int64), torch.arange(VARIABLES) / 1]
    for permutation in [torch.arange(3)] if first is None else wrong:
        for call in (functools.partial(model, x), functools.partial(model.start, 2)):
            with pytest.raises(ValueError, match="order"):
                call(context._replace(order=Order(permutation)))
    unordered = context._replace(order=None)
    assert torch.equal(model(x, unordered), model(x, context._replace(order=first)))
    assert torch.equal(model.start(2, unordered)[0], model.start(2, context._replace(order=first))[0])
    if model.dimensions is not None:
        with pytest.raises(ValueError, match=f"expected at most {model.dimensions}"):
            model(torch.zeros(2, model.dimensions + 1, dtype=model.output.dtype))


def empty_sequences_have_no_rows(model: Model) -> None:
    """`forward` of sequences of length 0 gives (B, 0, P)."""
    rows = model(torch.zeros(2, 0, dtype=model.output.dtype), with_labels(model, None, 2))
    assert rows.shape == (2, 0, model.output.size)


def sampling_is_pure(model: Model) -> None:
    """The same noise gives the same symbols, and no row depends on the other rows of its batch."""
    noise, sampling = draw_noise(6, 5, seed=9), Sampling(temperature=0.7, top_p=0.9)
    sampling = sampling if isinstance(model.output, Categorical | Bernoulli) else Sampling(temperature=0.7)
    context = with_labels(model, None, 6)
    drawn = sample(model, noise, sampling, context)
    assert torch.equal(drawn, sample(model, noise, sampling, context))
    few = sample(model, noise[2:4], sampling, rows_of(context, slice(2, 4)))
    # Matrix products with another number of rows round differently, which shows in real numbers.
    close(few, drawn[2:4], 0 if countable(model.output) else 1e-4)
    if countable(model.output):
        assert int(drawn.min()) >= 0
        assert int(drawn.max()) < classes_of(model.output)
    assert np.isfinite(model.log_prob(drawn, context).detach().numpy()).all()


MODEL_LAWS: list[Callable[[Model], None]] = [
    is_causal,
    sees_the_past,
    steps_equal_forward,
    gradients_through_steps_equal_forward,
    override_equals_oracle,
    pieces_equal_forward,
    is_a_density,
    every_parameter_learns,
    builds_the_same,
    padding_changes_nothing,
    samples_follow_log_prob,
    state_is_a_value,
    bad_contexts_raise,
    empty_sequences_have_no_rows,
    sampling_is_pure,
    jacobian_is_triangular,
    an_order_is_refused_or_known,
]
