"""Sampling is a pure function of (model, context, sampling, noise)."""

import gc
import math
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from examples import MODELS, draw_context, ngram, rnn, rows_of, wavenet, with_labels
from torch import Tensor

from seqgen.engine import CHOICES, Choice
from seqgen.inference import generate
from seqgen.inference.generate import Noise, chunks, columns, draw_noise, sample
from seqgen.model import Context, Model
from seqgen.output import PLAIN, Sampling
from seqgen.outputs import Categorical

every_model = pytest.mark.parametrize("name", MODELS)


def test_noise_of_a_row_does_not_depend_on_the_rows_behind_it() -> None:
    noise = draw_noise(20, 37, seed=5)
    assert torch.equal(noise[:5], draw_noise(5, 37, seed=5))
    assert noise.dtype == torch.float64
    assert 0 <= float(noise.min()) < 0.01
    assert 0.99 < float(noise.max()) < 1
    assert not torch.equal(noise, draw_noise(20, 37, seed=6))


def test_noise_is_a_function_of_seed_row_and_position() -> None:
    """Whatever the length, the blocks, and which rows are drawn here: numpy's Philox with the key (seed, row)."""
    noise = draw_noise(20, 300, seed=5)
    assert torch.equal(noise[:, :37], draw_noise(20, 37, seed=5))
    rows = Noise(3, 300, 5, first=7)
    assert torch.equal(torch.cat([rows.take(columns) for columns in (1, 64, 500)], 1), noise[7:10])
    assert rows.take(10).shape == (3, 0)
    philox = np.random.Generator(np.random.Philox(key=np.array([5, 11], np.uint64)))
    assert torch.equal(noise[11], torch.from_numpy(philox.random(300)))


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    model = rnn(Categorical(3), dropout=0.5)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    drawn = sample(model, draw_noise(4, 9, seed=0))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(sample(model, draw_noise(4, 9, seed=0)), drawn)


@every_model
def test_the_first_rows_of_twenty_are_the_five(name: str) -> None:
    """Classes exactly, numbers up to the rounding of products of another size."""
    model, sampling = MODELS[name]().double(), Sampling(0.8)
    context = with_labels(model, None, 20)
    five = sample(model, draw_noise(5, 12, seed=3), sampling, rows_of(context, slice(5)))
    twenty = sample(model, draw_noise(20, 12, seed=3), sampling, context)
    torch.testing.assert_close(twenty[:5], five, rtol=1e-5 * five.is_floating_point(), atol=0)


@every_model
def test_stream_joined_is_sample(name: str) -> None:
    model, noise = MODELS[name](), draw_noise(3, 8, seed=1)
    context, prompt = draw_context(model, 3, torch.Generator().manual_seed(1)), torch.tensor([[1, 0]]).expand(3, -1)
    streamed = list(columns(chunks(model, noise, PLAIN, context, prompt)))
    assert torch.equal(torch.stack(streamed, 1), sample(model, noise, PLAIN, context, prompt))


@every_model
@pytest.mark.parametrize("length", [0, 1, 2, 7])
def test_a_prompt_of_any_length_gives_the_same_as_teacher_forcing(name: str, length: int) -> None:
    """Each symbol is the one that `forward` of all before it gives at its noise."""
    model, noise = MODELS[name]().double(), draw_noise(4, 6, seed=2)
    generator = torch.Generator().manual_seed(length)
    context = draw_context(model, 4, generator)
    known = torch.randint(2, (4, length), generator=generator)
    drawn = sample(model, noise, PLAIN, context, known)
    for place in range(6):
        rows = model(torch.cat([known, known.new_zeros(4, 1)], 1), context)
        known = torch.cat([known, model.output.draw(rows[:, -1], noise[:, place]).unsqueeze(1)], 1)
    assert torch.equal(known[:, length:], drawn)


class Counted:
    """Counts how a model is asked, and how many symbols it takes in at each step."""

    def __init__(self, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started, self.steps = 0, []
        start, step = model.start, model.step

        def counted_start(batch: int, context: Context | None = None) -> object:
            self.started += 1
            return start(batch, context)

        def counted_step(x: Tensor, state: object, context: Context | None = None) -> object:
            self.steps.append(x.shape[1])
            return step(x, state, context)

        monkeypatch.setattr(model, "start", counted_start)
        monkeypatch.setattr(model, "step", counted_step)
        monkeypatch.setattr(model, "forward", None)


@pytest.mark.parametrize(("prompt", "steps"), [(None, [1, 1]), (0, [1, 1]), (1, [1, 1, 1]), (50, [50, 1, 1])])
def test_a_prompt_is_taken_in_by_one_step(
    prompt: int | None, steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call for the prompt, one for each symbol but the last, and never `forward`."""
    model = ngram(Categorical(3))
    counted = Counted(model, monkeypatch)
    symbols = None if prompt is None else torch.zeros(2, prompt, dtype=torch.int64)
    assert sample(model, draw_noise(2, 3, seed=0), prompt=symbols).shape == (2, 3)
    assert (counted.started, counted.steps) == (1, steps)


def test_a_streamed_symbol_comes_before_the_next_is_worked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ngram(Categorical(3))
    counted = Counted(model, monkeypatch)
    drawn = chunks(model, draw_noise(1, 5, seed=0))
    for place in range(3):
        next(drawn)
        assert len(counted.steps) == place
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("end", [0, 1, 2])
def test_it_stops_once_every_row_has_ended(end: int) -> None:
    """Up to a row's end the symbols are those of the whole; no column more than the slowest row has."""
    model, noise = rnn(Categorical(3)), draw_noise(4, 200, seed=4)
    whole = sample(model, noise)
    ends = (whole == end).long().argmax(1)
    assert int(ends.max()) < 199
    for loop in CHOICES:
        ended = sample(model, noise, end=end, loop=loop)
        assert ended.shape == (4, int(ends.max()) + 1)
        for row, (drawn, last) in enumerate(zip(ended, ends, strict=True)):
            assert torch.equal(drawn[: last + 1], whole[row, : last + 1])


def test_no_noise_gives_no_symbols() -> None:
    model = rnn(Categorical(3))
    for length in (0, 3):
        drawn = sample(model, draw_noise(2, 0, seed=0), prompt=torch.zeros(2, length, dtype=torch.int64))
        assert drawn.shape == (2, 0)
        assert drawn.dtype == torch.int64


def test_temperature_zero_needs_no_noise() -> None:
    model = rnn(Categorical(3))
    drawn = [sample(model, draw_noise(2, 9, seed=seed), Sampling(0)) for seed in (1, 2)]
    assert torch.equal(*drawn)
    assert torch.equal(drawn[0], model(drawn[0]).argmax(-1))


def drawn_with(how: str, model: Model, noise: Noise, loop: Choice, watch: Callable[[int], None]) -> None:
    """Draw by `sample` or by `stream`, and tell after each symbol or chunk how many there are."""
    if how == "sample":
        sample(model, noise, watch=lambda drawn, _: watch(drawn), loop=loop)
    else:
        for place, _ in enumerate(columns(chunks(model, noise, loop=loop)), 1):
            watch(place)


def tensors_alive() -> int:
    """How many there are in this process that are not frozen."""
    return sum(issubclass(type(one), Tensor) for one in gc.get_objects())


@pytest.mark.parametrize("loop", ["plain", "compiled"])
@pytest.mark.parametrize("how", ["sample", "stream"])
@pytest.mark.parametrize("make", [rnn, wavenet])
def test_memory_does_not_grow_with_the_symbols_drawn(
    how: str, make: Callable[..., Model], loop: Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tensor a symbol, and a block of Python's memory (512 bytes at most) for 20 symbols or more: below 26 bytes.

    Noise is drawn in blocks, and the result is one tensor. What is cached once may grow in the first of three draws.
    """
    model = make(Categorical(3))
    tensors: list[int] = []

    def draw(blocks: list[int]) -> int:
        """The blocks that 600 symbols have left."""

        def watch(drawn: int) -> None:
            if drawn >= (1, 100, 700, math.inf)[len(blocks)]:
                gc.collect()
                tensors.append(tensors_alive())
                blocks.append(sys.getallocatedblocks())

        drawn_with(how, model, Noise(1, 705, 0), loop, watch)
        return blocks[2] - blocks[1]

    monkeypatch.setattr(generate, "LARGEST", 5)
    gc.collect()
    gc.freeze()  # so that only what comes is counted
    growths = [draw([]) for _ in range(3)]
    assert max(tensors) < 100  # those of the state and of one symbol
    assert min(growths) < 600 / 20, growths
