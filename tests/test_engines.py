"""Compiled samplers draw the symbols of the plain loop.

SEQGEN_LAW_SYMBOLS is how many symbols each model is held to the law on (default: 2,000); NUMBA_CPU_NAME and
NUMBA_CPU_FEATURES choose another processor to compile for.
"""

import gc
import itertools
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from examples import MODELS, draw_context, rows_of, wavenet, with_labels
from numba import njit
from torch import Tensor, nn

import seqgen
import seqgen.engines
from seqgen import SeqgenError
from seqgen.codecs import Chars
from seqgen.engine import OFFERS, Choice, Request, Unsupported, sampler
from seqgen.engines import cache, offer
from seqgen.inference.generate import Noise, chunks, draw_noise, sample
from seqgen.media.mel import LogMel
from seqgen.model import Context, Model
from seqgen.models import FVSBN, MADE, NADE, RNN, NGram, PixelCNN, WaveNet
from seqgen.nn.rounding import KINDS, rounded
from seqgen.output import PLAIN, Output, Sampling
from seqgen.outputs import Bernoulli, Categorical, DiscretizedLogistics, Gaussians
from seqgen.pipeline import Pipeline

SYMBOLS = int(os.environ.get("SEQGEN_LAW_SYMBOLS", "2000"))
NEAR = 1e-5
"""How near to the boundary between two symbols noise may lie to fall either way."""
COMPILED = [name for name, make in MODELS.items() if type(make()) in OFFERS]
OUTPUTS = {
    "few": Categorical(7),
    "many": Categorical(300),
    "Bernoulli": Bernoulli(),
    "logistics": DiscretizedLogistics(300, 3),
    "Gaussian": Gaussians(1),
    "Gaussians": Gaussians(3),
}
every_output = pytest.mark.parametrize("output", OUTPUTS.values(), ids=list(OUTPUTS))


def perturbed(model: Model) -> Model:
    """Weights of which none is zero by initialisation, and by which real numbers do not grow from one to the next."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
            parameter.mul_(0.3 if model.output.dtype.is_floating_point else 1)
    return model.float().eval()


def differences(
    model: Model,
    noise: Tensor,
    sampling: Sampling = PLAIN,
    context: Context | None = None,
    prompt: Tensor | None = None,
) -> int:
    """Symbols in which the compiled sampler differs from the plain loop, apart from those near a boundary.

    The history is forced: after a difference the compiled sampler goes on behind the plain loop's symbols.
    """
    plain = sample(model, noise, sampling, context, prompt, loop="plain")
    start = torch.zeros(len(noise), 0, dtype=plain.dtype) if prompt is None else prompt
    done = found = 0
    while done < plain.shape[1]:
        before = torch.cat([start, plain[:, :done]], 1)
        drawn = sample(model, noise[:, done:], sampling, context, before, loop="compiled")
        differs = ~same(drawn, plain[:, done:])
        if not bool(differs.any()):
            break
        done += int(differs.any(0).long().argmax())
        before = torch.cat([start, plain[:, :done]], 1)
        drawn = sample(model, noise[:, done : done + 1], sampling, context, before, loop="compiled")[:, 0]
        parameters = next_parameters(model, before, context)
        low, high = (
            model.output.draw(parameters, (noise[:, done] + nudge).clamp(0, 1 - 2**-53), sampling).double()
            for nudge in (-NEAR, NEAR)
        )
        slack = NEAR * (1 + drawn.abs()) if drawn.is_floating_point() else 0
        found += int(((drawn < low - slack) | (drawn > high + slack)).sum())
        done += 1
    return found


def same(one: Tensor, other: Tensor) -> Tensor:
    """Classes exactly, numbers to a few units of float32, which a history that is not forced soon exceeds."""
    return one == other if not one.is_floating_point() else (one - other).abs() <= NEAR * (1 + other.abs())


def next_parameters(model: Model, symbols: Tensor, context: Context | None) -> Tensor:
    with torch.inference_mode():
        parameters, state = model.start(len(symbols), context)
        return model.step(symbols, state, context)[0][:, -1] if symbols.shape[1] else parameters


def lengths(model: Model) -> tuple[int, int]:
    """Sequences and their length, `SYMBOLS` in all."""
    length = model.dimensions or (60 if model.output.dtype.is_floating_point else 250)
    length = min(length, 12) if model.feature_size else length
    return max(3, -(-SYMBOLS // length)), length


# -- the law


@pytest.mark.parametrize("name", COMPILED)
def test_the_same_noise_gives_the_same_symbols(name: str) -> None:
    model = perturbed(MODELS[name]())
    batch, length = lengths(model)
    context = draw_context(model, batch, torch.Generator().manual_seed(3))
    assert differences(model, draw_noise(batch, length, seed=1), context=context) == 0
    assert differences(model, draw_noise(batch, length, seed=2), Sampling(0.7), context=context) == 0


@pytest.mark.parametrize("output", [DiscretizedLogistics(65536, 3), Gaussians(2)], ids=["levels", "numbers"])
def test_linear_prediction(output: Output) -> None:
    """Of 16-bit sound, by frames of a sound: means are close to one another and scales are small."""
    mel = LogMel(8000, mels=20, hop=50, window=200, mean=-5, deviation=2.5, prediction=24)
    random = np.random.default_rng(0)
    sound = 0.1 * np.sin(2 * np.pi * 0.03 * np.arange(600)) + random.normal(0, 0.01, 600)
    sound[300:] *= 1e-3
    context = Context(features=mel(sound.astype(np.float32)).expand(2, -1, -1))
    sizes = {"features": 20, "hop": 50, "condition": 16, "encoder": 1, "prediction": 24}
    model = perturbed(WaveNet(output, layers=4, blocks=1, residual=16, gate=16, skip=32, end=16, **sizes))
    noise = draw_noise(2, 600, seed=1)
    assert differences(model, noise, context=context) == 0
    drawn = sample(model, noise, context=context, loop="plain")
    assert drawn.double().var() > 0
    assert differences(model, noise[:, 130:], context=context, prompt=drawn[:, :130]) == 0  # in the middle of a frame


@every_output
@pytest.mark.parametrize("kind", [*KINDS, "float32"])
def test_of_every_precision(kind: str, output: Output) -> None:
    """Weights are kept in the narrowest type that holds them."""
    model = perturbed(WaveNet(output, layers=4, blocks=2, residual=20, gate=24, skip=30, end=17, kernel=3))
    if kind != "float32":
        model = rounded(model, kind)
    batch, length = lengths(model)
    assert differences(model, draw_noise(batch, length, seed=1)) == 0
    (layout,) = offer._LAYOUTS[model][1].values()
    assert layout is not None
    kept = {"bfloat16": np.uint16, "int8": np.int8}.get(kind, np.float32)
    assert layout.code.weights.dtype == kept


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(0),
        Sampling(1e-30),
        Sampling(1.7, top_k=4),
        Sampling(top_k=1),
        Sampling(top_p=0.6),
        Sampling(top_p=1e-9),
        Sampling(0.9, top_k=5, top_p=0.8, exclude=(0, 3)),
        Sampling(exclude=(1, 2)),
    ],
)
@pytest.mark.parametrize("output", list(OUTPUTS.values())[:3], ids=list(OUTPUTS)[:3])
def test_every_sampling_of_classes(output: Output, sampling: Sampling) -> None:
    if output.size == 1:
        sampling = Sampling(sampling.temperature, sampling.top_k, sampling.top_p)
    model = perturbed(RNN(output, hidden=20))
    assert differences(model, draw_noise(20, 40, seed=1), sampling) == 0


@pytest.mark.parametrize("temperature", [0, 1e-30, 0.5, 2.0])
@pytest.mark.parametrize("output", list(OUTPUTS.values())[3:], ids=list(OUTPUTS)[3:])
def test_temperatures_of_mixtures(output: Output, temperature: float) -> None:
    model = perturbed(NADE(output, dimensions=20, hidden=20))
    assert differences(model, draw_noise(20, 20, seed=1), Sampling(temperature)) == 0


@pytest.mark.parametrize("loop", ["plain", "compiled", "auto"])
def test_what_an_output_refuses_is_refused(loop: Choice) -> None:
    """At once, and by a sampler that has drawn before."""
    numbers, classes = RNN(Gaussians()), RNN(Categorical(3))
    for _ in range(2):
        with pytest.raises(SeqgenError, match="top_k is 3, expected 0: a mixture has a temperature only"):
            sample(numbers, draw_noise(1, 3, seed=1), Sampling(top_k=3), loop=loop)
        with pytest.raises(SeqgenError, match="exclude lists all 3 classes"):
            sample(classes, draw_noise(1, 3, 1), Sampling(exclude=(0, 1, 2)), loop=loop)
        with pytest.raises(IndexError):
            sample(classes, draw_noise(1, 3, 1), Sampling(exclude=(7,)), loop=loop)
        for model in (numbers, classes):
            sample(model, draw_noise(1, 3, 1), loop=loop)


@pytest.mark.parametrize("loop", ["plain", "compiled"])
def test_no_more_symbols_than_a_model_has_variables(loop: Choice) -> None:
    model = NADE(Bernoulli(), dimensions=10, hidden=8)
    sample(model, draw_noise(1, 10, seed=1), loop=loop)
    with pytest.raises(SeqgenError, match=r"a sequence .*11 symbols.*, expected at most 10"):
        sample(model, draw_noise(1, 11, seed=1), loop=loop)


def test_an_output_of_one_class() -> None:
    for model in (RNN(Categorical(1)), WaveNet(Categorical(1), layers=2), NADE(Categorical(1), dimensions=5)):
        assert differences(model, draw_noise(2, 5, seed=1)) == 0


def test_no_number_is_the_end_of_a_sequence_without_one() -> None:
    """Such as -1, which is drawn here for certain and stands in a prompt."""
    for kind in (NADE, FVSBN):
        model = kind(Gaussians(), dimensions=6)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
            (model.readout_bias if kind is NADE else model.bias)[:, 0] = -1.0
        assert sample(model, draw_noise(2, 6, seed=1), Sampling(0), loop="compiled").tolist() == [[-1.0] * 6] * 2
    picture = perturbed(PixelCNN(Gaussians(), height=3, width=4, filters=4))
    assert differences(picture, draw_noise(2, 6, seed=1), prompt=torch.full((2, 6), -1.0)) == 0


@pytest.mark.parametrize("known", [1, 2, 16, 17, 40])
@pytest.mark.parametrize("name", COMPILED)
def test_behind_a_prompt(name: str, known: int) -> None:
    model = perturbed(MODELS[name]())
    rest = 12 if model.dimensions is None else model.dimensions - known
    if rest < 1 or (model.feature_size and known > 3):
        pytest.skip("longer than the model's items")
    context = draw_context(model, 3, torch.Generator().manual_seed(3))
    prompt = sample(model, draw_noise(3, known, seed=4), context=context, loop="plain")
    assert differences(model, draw_noise(3, min(rest, 6), seed=5), context=context, prompt=prompt) == 0


@pytest.mark.parametrize("name", COMPILED)
def test_chunks_of_any_size_joined_are_the_whole(name: str) -> None:
    model = perturbed(MODELS[name]())
    length = min(model.dimensions or 150, 12 if model.feature_size else 150)
    context, noise = draw_context(model, 2, torch.Generator().manual_seed(3)), draw_noise(2, length, seed=1)
    with torch.inference_mode():
        parameters, state = model.start(2, context)
        request = Request(PLAIN, context, parameters, state, 0, length)
        whole, one, uneven = (sampler(model, request) for _ in range(3))
        expected = whole.draw(noise)
        assert torch.equal(torch.cat([one.draw(column.unsqueeze(1)) for column in noise.unbind(1)], 1), expected)
        sizes = [1, 2, 3, 5, 40, 100, length]
        edges = np.minimum(np.cumsum([0, *sizes]), length).tolist()
        parts = [noise[:, first:last] for first, last in itertools.pairwise(edges) if last > first]
        assert torch.equal(torch.cat([uneven.draw(part) for part in parts], 1), expected)


@pytest.mark.parametrize("rows", range(1, 15))
def test_a_row_does_not_depend_on_how_many_there_are(rows: int) -> None:
    """Products take 6, 4, 2 rows or 1 together."""
    for model in (perturbed(wavenet(Categorical(5), residual=20)), perturbed(RNN(Categorical(5), hidden=40))):
        noise = draw_noise(rows, 30, seed=3)
        context = with_labels(model, None, rows)
        assert differences(model, noise, context=context) == 0
        whole = sample(model, noise, context=context, loop="compiled")
        last = sample(model, noise[-1:], context=rows_of(context, slice(rows - 1, rows)), loop="compiled")
        assert torch.equal(whole[-1:], last)


def test_rows_that_have_ended_are_left_alone() -> None:
    model, noise = perturbed(RNN(Categorical(5), hidden=20)), draw_noise(40, 100, seed=1)
    whole = sample(model, noise, loop="plain")
    ended = sample(model, noise, end=2, loop="compiled")
    ends = (whole == 2).long().argmax(1)
    assert ended.shape[1] == int(ends.max()) + 1
    for row, end in enumerate(ends.tolist()):
        assert torch.equal(ended[row, : end + 1], whole[row, : end + 1])
        assert bool((ended[row, end:] == 2).all())


def test_any_order_of_the_variables() -> None:
    model = perturbed(MADE(Bernoulli(), dimensions=30, hidden=[40, 50, 60], orders=0, masks=0, direct=True))
    for number in range(7):  # more than are kept
        context = Context(order=model.order_number(number))
        assert differences(model, draw_noise(10, 30, seed=number), context=context) == 0


# -- which loop


def told(model: Model, **arguments: Any) -> str:
    said: list[str] = []
    sample(model, draw_noise(9, 4, seed=1), report=said.append, **arguments)
    (one,) = said
    return one


def test_the_report_says_which_loop_and_why() -> None:
    class Own(RNN):
        """One whose step may be another."""

    assert told(RNN(Categorical(3))) == "compiled"
    assert told(RNN(Categorical(3)), loop="plain") == "plain loop, as asked for"
    assert told(NGram(Categorical(3))) == "plain loop: there is none for NGram"
    assert told(Own(Categorical(3))) == "plain loop: there is none for Own"
    assert told(RNN(Categorical(3)).double()) == "plain loop: the weights are float64 on cpu, expected float32 on cpu"
    for loop, expected in (("compiled", "engine is 'compiled', expected auto or plain: there is none for NGram"),
                           ("fast", "engine is 'fast', expected one of auto, plain, compiled")):  # fmt: skip
        with pytest.raises(SeqgenError, match=expected):
            told(NGram(Categorical(3)), loop=loop)


def test_an_output_of_ones_own_has_the_plain_loop() -> None:
    class Another(Categorical):
        """Another draw, perhaps."""

    assert told(RNN(Another(3))) == "plain loop: there is no compiled draw of Another"


def test_a_sampler_that_disagrees_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model = perturbed(RNN(Categorical(50), hidden=20))
    fill = seqgen.engines.rnn.RNNLayout.fill

    def wrong(self: Any, memory: Any, request: Any) -> None:
        fill(self, memory, request)
        memory.set(self.bias, torch.arange(80) % 7 - 3.0)

    monkeypatch.setattr(seqgen.engines.rnn.RNNLayout, "fill", wrong)
    assert told(model) == "plain loop: that for RNN does not agree with the plain loop on this machine"
    expected = sample(model, draw_noise(1, 9, seed=1), loop="plain")
    assert torch.equal(sample(model, draw_noise(1, 9, seed=1)), expected)


def test_changed_weights_are_seen() -> None:
    model = perturbed(RNN(Categorical(50), hidden=20))
    sample(model, draw_noise(1, 9, seed=1))
    with torch.no_grad():
        model.readout.bias.add_(torch.randn(50))
    assert differences(model, draw_noise(5, 9, seed=1)) == 0
    sample(model, draw_noise(1, 9, seed=1))
    model.load_state_dict(perturbed(RNN(Categorical(50), hidden=20)).state_dict())
    assert differences(model, draw_noise(5, 9, seed=1)) == 0


def test_rows_of_weights_that_trade_places_are_seen() -> None:
    """Their sum is the same, and a change behind `data` gives no new version."""
    model = perturbed(RNN(Categorical(50), hidden=20))
    before = offer.fingerprint(model)
    assert offer.fingerprint(model) == before
    sample(model, draw_noise(1, 9, seed=1))
    weight = model.readout.weight.data
    weight[[0, 7, 3]] = weight[[7, 3, 0]].clone()
    assert offer.fingerprint(model) != before
    assert differences(model, draw_noise(5, 9, seed=1)) == 0


@pytest.mark.parametrize("count", [0, 1, 2, 3, 64, 1001])
def test_a_hash_sees_every_bit_and_its_place(count: int) -> None:
    model = nn.Module()
    model.weight = nn.Parameter(torch.randn(count))
    weight = model.weight.data.view(torch.int32)
    seen = {str(offer.fingerprint(model))}  # type: ignore[arg-type]
    for place in range(count):
        for bit in (0, 23, 31):
            weight[place] ^= 1 << bit if bit < 31 else -(1 << 31)
            seen.add(str(offer.fingerprint(model)))  # type: ignore[arg-type]
    assert len(seen) == 1 + 3 * count


@pytest.mark.parametrize("name", COMPILED)
def test_a_fused_optimizer_changes_weights(name: str) -> None:
    """It gives them no new version."""
    model = perturbed(MODELS[name]())
    batch, length = 3, lengths(model)[1]
    context = draw_context(model, batch, torch.Generator().manual_seed(3))
    noise = draw_noise(batch, min(length, 12), seed=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, fused=True)
    for _ in range(3):
        x = sample(model, noise, context=context, loop="compiled").clone()
        assert differences(model, noise, context=context) == 0
        optimizer.zero_grad()
        nats = model.log_prob(x, context)
        with torch.no_grad():
            torch.testing.assert_close(model.log_prob(x, context), nats, rtol=1e-4, atol=1e-5)
        nats.sum().backward()
        optimizer.step()


def test_a_model_that_is_no_more_needs_no_memory() -> None:
    known = {}
    for name in COMPILED:
        model = perturbed(MODELS[name]())
        context = draw_context(model, 1, torch.Generator().manual_seed(3))
        sample(model, draw_noise(1, 4, seed=1), context=context, loop="compiled")
        known[name] = weakref.ref(model)
        del model
    gc.collect()
    assert [name for name, model in known.items() if model() is not None] == []


@pytest.mark.parametrize("kind", [RNN, NADE, MADE, FVSBN, WaveNet, PixelCNN])
def test_a_model_elsewhere_has_the_plain_loop(kind: Any) -> None:
    sizes = {WaveNet: {"layers": 2}, PixelCNN: {"height": 2, "width": 2}, RNN: {}}.get(kind, {"dimensions": 4})
    model = kind(Bernoulli(), **sizes).to("meta")
    request = Request(PLAIN, None, torch.zeros(1, 1, device="meta"), None, 0, 4)
    with pytest.raises(Unsupported, match="the weights are float32 on meta, expected float32 on cpu"):
        sampler(model, request)


@pytest.mark.parametrize("wrong", [[torch.nan] * 3, [0, torch.nan, 0], [torch.inf, 0, 0], [-torch.inf] * 3])
@pytest.mark.parametrize("sampling", [PLAIN, Sampling(0), Sampling(0.5), Sampling(top_k=2)])
def test_parameters_that_are_not_numbers(wrong: list[float], sampling: Sampling) -> None:
    """In the compiled draw itself, of a sampler that has been checked before."""
    model = RNN(Categorical(3), hidden=20)
    sample(model, draw_noise(1, 3, seed=1), loop="compiled")
    _, state = model.start(1)
    drawing = sampler(model, Request(sampling, None, torch.tensor([wrong]), state, 0, 3))
    with pytest.raises(SeqgenError, match="NaN, expected a number: the model has diverged"):
        drawing.draw(draw_noise(1, 3, seed=1))


@every_output
@pytest.mark.parametrize("where", ["initial", "weight_hh", "readout", "norm"])
def test_states_that_are_not_numbers(output: Output, where: str) -> None:
    """NaN in the middle of a program reaches the draw."""
    model = perturbed(RNN(output, cell="gru", hidden=20, layer_norm=True))
    with torch.inference_mode():
        parameters, state = model.start(2)
        drawing = sampler(model, Request(PLAIN, None, parameters, state, 0, 30))
        drawing.draw(draw_noise(2, 3, seed=1))
        layout = offer._LAYOUTS[model][1][b""]
        assert layout is not None
        place = {"initial": layout.states[0][0], "weight_hh": layout.bias}.get(where)  # type: ignore[attr-defined]
        if place is not None:
            drawing.set(place, torch.full((2, 16), torch.nan))  # type: ignore[attr-defined]
        else:
            layout.code.constants[:] = np.nan if where == "norm" else layout.code.constants
            layout.code.weights[-300:] = np.nan
    with pytest.raises(SeqgenError, match="NaN, expected a number: the model has diverged"):
        drawing.draw(draw_noise(2, 3, seed=1))


def test_a_model_in_training_is_sampled_as_it_is() -> None:
    """Chunks come from the weights of the moment the sampler was made."""
    model = perturbed(RNN(Categorical(5), hidden=20))
    noise = draw_noise(2, 100, seed=1)
    expected = sample(model, noise)
    drawn = chunks(model, noise)
    parts = [next(drawn)]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    parts += drawn
    assert torch.equal(torch.cat(parts, 1), expected)


def test_threads_do_not_disturb_one_another() -> None:
    model = perturbed(WaveNet(Categorical(20), layers=5, blocks=2, residual=16, gate=16, skip=32, end=32))
    noises = [draw_noise(2, 500, seed=seed) for seed in range(6)]
    expected = [sample(model, noise) for noise in noises]
    found: dict[int, Tensor] = {}

    def work(number: int) -> None:
        found[number] = sample(model, noises[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[number], one) for number, one in enumerate(expected))


def test_a_pipeline_samples_and_streams_alike_by_every_engine() -> None:
    pipeline = Pipeline(perturbed(RNN(Categorical(4), hidden=20)), Chars("abc", end=True))
    plain, compiled = (pipeline.sample(30, seed=5, length=40, engine=engine) for engine in ("plain", "compiled"))
    assert plain == compiled
    streamed = ["".join(pipeline.stream(seed=5, length=40, engine=engine)) for engine in ("plain", "compiled", "auto")]
    assert streamed == plain[:1] * 3
    with pytest.raises(SeqgenError, match="engine is 'quick', expected one of auto, plain, compiled"):
        pipeline.sample(engine="quick")  # type: ignore[arg-type]


# -- rounded weights


@pytest.mark.parametrize("kind", KINDS)
def test_rounded_weights_are_kept_by_a_checkpoint(kind: str, tmp_path: Path) -> None:
    pipeline = Pipeline(perturbed(RNN(Categorical(4), hidden=90)), Chars("abc", end=True))
    before = {name: one.clone() for name, one in pipeline.model.state_dict().items()}
    less = pipeline.rounded(kind)
    less.save_pretrained(tmp_path / "model", kind)
    again = seqgen.load(tmp_path)
    for name, one in less.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], one, rtol=2e-7, atol=0)
        error = (one - before[name]).abs().max()
        assert error <= before[name].abs().max() / (250 if kind == "int8" and one.ndim > 1 else 256)
        assert torch.equal(pipeline.model.state_dict()[name], before[name])
    assert again.sample(5, seed=1, length=30) == less.sample(5, seed=1, length=30, engine="plain")
    assert again.score("abca").log_prob == pytest.approx(less.score("abca").log_prob, rel=1e-6)
    small, large = (tmp_path / name for name in ("model", "float32"))
    pipeline.save_pretrained(large)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (small, large)]
    assert sizes[0] < (0.45 if kind == "int8" else 0.65) * sizes[1]


def test_int8_has_a_scale_for_every_output_channel() -> None:
    model = rounded(perturbed(WaveNet(Categorical(9), layers=3, blocks=1)), "int8")
    for weight, axis in ((model.taps, 1), (model.residual, 1), (model.skip.weight, 1), (model.readout.weight, 1)):
        scale = weight.detach().abs().amax(axis, keepdim=True) / 127
        ratio = weight.detach() / scale
        torch.testing.assert_close(ratio, ratio.round(), atol=1e-4, rtol=0)
        assert float(scale.max()) > 1.01 * float(scale.min())
    bias = perturbed(WaveNet(Categorical(9), layers=3, blocks=1)).bias
    assert torch.equal(model.bias, bias)


def test_there_is_no_int8_where_nothing_would_be_rounded() -> None:
    with pytest.raises(SeqgenError, match="NGram has no weights for int8"):
        rounded(NGram(Categorical(3)), "int8")


@pytest.mark.parametrize("name", COMPILED)
def test_int8_keeps_biases_and_embeddings_of_labels(name: str) -> None:
    model = MODELS[name]().float()
    changed = {
        key
        for key, one in rounded(model, "int8").state_dict().items()
        if not torch.allclose(one, model.state_dict()[key], rtol=1e-6)
    }
    assert changed
    assert not [key for key in changed if "bias" in key or "label" in key or "initial" in key or "norm" in key]


def test_no_other_kind_of_weights(tmp_path: Path) -> None:
    pipeline = Pipeline(RNN(Categorical(3)), Chars("abc"))
    with pytest.raises(SeqgenError, match="got weights of 'int4', expected one of bfloat16, float16, int8"):
        pipeline.rounded("int4")
    with pytest.raises(SeqgenError, match="got weights of 'int4', expected float32 or one of"):
        pipeline.save_pretrained(tmp_path / "model", "int4")
    assert not list(tmp_path.iterdir())


# -- what is compiled


def compiled_again(caplog: pytest.LogCaptureFixture) -> bool:
    """Call a function that is cached on disk, as a new process would; whether it was compiled."""
    caplog.clear()
    assert cache.cached(njit(plus_one))(1) == 2
    return caplog.messages == [
        "note: compiling the sampler for this processor and type of weights, once; it takes about 10 s"
    ]


def plus_one(x: Any) -> Any:
    return x + 1


def test_it_is_compiled_once_and_a_damaged_file_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path))
    assert compiled_again(caplog)
    assert not compiled_again(caplog)
    for damage in (lambda data: data[:100], lambda data: b"", lambda data: b"\0" * len(data)):
        for suffix in ("*.nbi", "*.nbc"):
            (file,) = tmp_path.rglob(suffix)
            file.write_bytes(damage(file.read_bytes()))
            assert compiled_again(caplog), suffix
            assert not compiled_again(caplog)


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("SEQGEN_CACHE", str(tmp_path / "cache"))
    assert compiled_again(caplog)
    assert compiled_again(caplog)
    assert (tmp_path / "cache").read_text() == "a file"


PROCESS = """
from numba import njit
from seqgen.engines.cache import cached

def plus_one(x):
    return x + 1

for _ in range(20):
    assert cached(njit(plus_one))(1) == 2
"""


def test_processes_at_once_do_not_disturb_one_another(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(PROCESS)
    env = {**os.environ, "SEQGEN_CACHE": str(tmp_path / "cache")}
    several = [subprocess.Popen([sys.executable, tmp_path / "script.py"], env=env) for _ in range(2)]
    assert [process.wait() for process in several] == [0, 0]


def test_other_sources_are_another_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache.stamp()
    assert cache.stamp() == before
    monkeypatch.setattr(cache.numba, "__version__", "0.1")
    assert cache.stamp() != before


def test_all_sources_of_compiled_functions_are_stamped() -> None:
    sources = {path.stem for path in Path(cache.__file__).parent.glob("*.py") if "from numba" in path.read_text()}
    assert sources == set(cache.COMPILED)


def test_the_law_without_fused_multiplication() -> None:
    """Compiled for the least processor of this kind, where vectors are of 4 floats."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        pytest.skip("the name of the least processor is that of x86-64")
    env = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "SEQGEN_LAW_SYMBOLS": "500"}
    tests = ["test_the_same_noise_gives_the_same_symbols", "test_a_row_does_not_depend_on_how_many_there_are"]
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", *(f"{__file__}::{test}" for test in tests)]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-3000:]


def test_no_engine_no_sampler() -> None:
    request = Request(PLAIN, None, torch.zeros(1, 3), None, 0, 5)
    with pytest.raises(Unsupported, match="there is none for NGram"):
        sampler(NGram(Categorical(3)), request)


def test_noise_of_rows_elsewhere() -> None:
    """Rows may be drawn on different machines: row 7 is row 7."""
    model = perturbed(RNN(Categorical(5), hidden=20))
    ten = sample(model, Noise(10, 50, seed=3))
    assert torch.equal(sample(model, Noise(2, 50, seed=3, first=7)), ten[7:9])
