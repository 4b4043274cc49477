"""WaveNet beyond the laws: its formula, what it sees, its queues over long times, and what it refuses."""

import itertools
from typing import Any

import pytest
import torch
from examples import wavenet
from laws import close, gradients, rows_by_steps
from torch import Tensor

from seqgen.codecs import Waveform
from seqgen.config import ConfigError, build, describe
from seqgen.inference.conditioning import check_fit
from seqgen.inference.generate import draw_noise, sample
from seqgen.media.mel import LogMel
from seqgen.model import Context, Model
from seqgen.models import WaveNet
from seqgen.models.wavenet import AHEAD, RECENT
from seqgen.nn.upsample import Upsample
from seqgen.outputs import Categorical, DiscretizedLogistics, Gaussians


def by_the_formula(model: WaveNet, x: Tensor) -> Tensor:
    """Parameters (T, P) of one sequence (T,), symbol by symbol and tap by tap, straight from the paper."""
    columns = [model.first, *(model.input.weight[:, symbol] + model.input.bias for symbol in x[:-1])]
    passed = []
    for layer, dilation in enumerate(model.dilations):
        taps = model.taps[layer].view(model.kernel, model.residual_size, 2 * model.gate)
        after, outputs = [], []
        for t, h in enumerate(columns):
            gates = model.bias[layer].clone()
            for tap in range(model.kernel):
                ago = (model.kernel - 1 - tap) * dilation
                if t >= ago:
                    gates = gates + columns[t - ago] @ taps[tap]
            z = gates[: model.gate].tanh() * gates[model.gate :].sigmoid()
            outputs.append(z)
            after.append(h if layer + 1 == len(model.dilations) else h + z @ model.residual[layer])
        passed.append(torch.stack(outputs))
        columns = after
    skips = model.skip.weight.view(-1, len(passed), model.gate)
    total = model.skip.bias + sum(z @ skips[:, layer].T for layer, z in enumerate(passed))
    return model.readout(model.end(total.relu()).relu())


@pytest.mark.parametrize("kernel", [2, 3, 5])
def test_the_formula(kernel: int) -> None:
    model = wavenet(Categorical(4), kernel=kernel, layers=3, blocks=2).double()
    x = torch.randint(4, (60,), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(model(x[None])[0], by_the_formula(model, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kernel", "layers", "blocks"), [(2, 3, 2), (3, 2, 3), (4, 2, 1), (2, 10, 3)])
def test_a_row_sees_the_receptive_field_and_not_a_symbol_more(kernel: int, layers: int, blocks: int) -> None:
    sizes = {"residual": 2, "gate": 2, "skip": 2, "end": 2}
    model = wavenet(Gaussians(), kernel=kernel, layers=layers, blocks=blocks, **sizes).double()
    reach = model.receptive_field
    assert reach == (kernel - 1) * blocks * (2**layers - 1) + 1
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, 0.02, 0.1)  # nothing saturates or cancels, no unit is dead
    x = torch.rand(1, reach + 5, dtype=torch.float64, requires_grad=True)
    model(x)[0, -1].sum().backward()
    assert x.grad is not None
    assert (x.grad[0, 4 : reach + 4] != 0).all()
    assert (x.grad[0, :4] == 0).all()
    assert x.grad[0, -1] == 0


def test_context_of_the_receptive_field_gives_the_rows_of_the_whole() -> None:
    """Which is what training on windows rests on."""
    model = wavenet(Categorical(3), kernel=3).double()
    x = torch.randint(3, (2, 80), generator=torch.Generator().manual_seed(1))
    reach = model.receptive_field
    window = model(x[:, 50 - reach :])
    torch.testing.assert_close(window[:, reach:], model(x)[:, 50:], rtol=0, atol=1e-12)
    assert (window[:, reach - 1] - model(x)[:, 49]).abs().max() > 1e-9


@pytest.mark.parametrize("options", [{}, {"kernel": 3}, {"features": 2, "hop": 5}, {"features": 2, "hop": 200}])
def test_single_steps_over_a_long_time(options: dict[str, Any]) -> None:
    """Rows and gradients past the tidying of the queues and the look-ahead, and with chunks in between."""
    length = 3 * RECENT + AHEAD + 40
    model = wavenet(Categorical(3), layers=3, **options).double()
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(3, (2, length), generator=generator)
    frames = torch.randn(2, -(-length // model.feature_hop), 2, generator=generator, dtype=torch.float64)
    context = Context(features=frames) if options.get("features") else None
    expected = model(x, context)
    slopes = gradients(model, expected)
    for sizes in ([1] * (length - 1), [7, *[1] * 30, 25, *[1] * (length - 63)]):
        rows = rows_by_steps(model, x[:, :-1], sizes, context)
        close(rows, expected)
        for name, gradient in gradients(model, rows).items():
            close(gradient, slopes[name])


@pytest.mark.parametrize("output", [DiscretizedLogistics(256, 3), Gaussians(1), Gaussians(3)])
def test_sampling_numbers_equals_the_oracle(output: Any) -> None:
    model = wavenet(output).double().requires_grad_(False)
    noise = draw_noise(3, 30, seed=1)
    drawn = sample(model, noise)

    class Slow(WaveNet):
        start, step = Model.start, Model.step

    slow = Slow(**model.init_args).double().eval()
    slow.load_state_dict(model.state_dict())
    torch.testing.assert_close(drawn, sample(slow, noise), rtol=0, atol=1e-6)


def test_dropout_is_for_training_alone() -> None:
    model, x = wavenet(Categorical(3), dropout=0.5), torch.zeros(1, 9, dtype=torch.int64)
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))


def test_a_class_as_one_number() -> None:
    """The first class enters as -1, the last as 1."""
    model = wavenet(Categorical(5), scalar=True).double()
    inputs = model._embed(torch.tensor([[0, 2, 4]]))[0]
    weight, bias = model.input.weight[:, 0], model.input.bias
    torch.testing.assert_close(inputs, torch.stack([bias - weight, bias, bias + weight]))


# -- local conditioning


def test_learnt_upsampling_begins_as_a_straight_line() -> None:
    up = Upsample(1, 4, 1).double()
    torch.nn.init.ones_(up.project.weight)
    torch.nn.init.zeros_(up.project.bias)
    frames = torch.tensor([0.0, 8.0, 8.0], dtype=torch.float64).view(1, 3, 1)
    expected = [0, 0, 1, 3, 5, 7, 8, 8, 8, 8, 8, 8]
    torch.testing.assert_close(up(Context(features=frames), 0, 12)[0, :, 0], torch.tensor(expected).double())


def test_repeated_upsampling() -> None:
    up = Upsample(1, 3, 1, "repeat")
    frames = torch.tensor([1.0, 2.0]).view(1, 2, 1)
    each = up.project(frames)[0, :, 0]
    torch.testing.assert_close(up(Context(features=frames), 0, 6)[0, :, 0], each.repeat_interleave(3))


@pytest.mark.parametrize("layers", [0, 2])
@pytest.mark.parametrize("kind", ["repeat", "learnt"])
def test_a_part_of_the_conditioning_is_a_part_of_the_whole(kind: Any, layers: int) -> None:
    up = Upsample(2, 5, 3, kind, layers, ignored=1)
    context = Context(features=torch.randn(2, 7, 3))
    whole = up(context, 0, 35)
    for first, count in itertools.product((0, 3, 5, 14), (1, 5, 17)):
        torch.testing.assert_close(up(context, first, count), whole[:, first : first + count])


def test_the_conditioning_matters_where_it_stands() -> None:
    model = wavenet(Categorical(3), features=1, hop=4).double()
    x, frames = torch.zeros(1, 24, dtype=torch.int64), torch.zeros(1, 6, 1, dtype=torch.float64)
    changed = frames.clone()
    changed[0, 3] = 1.0
    rows = (model(x, Context(features=frames)) != model(x, Context(features=changed))).any(-1)[0]
    assert not rows[:8].any()
    assert rows[8:20].all()


def test_a_model_from_before_linear_prediction_is_built() -> None:
    """Descriptions of classes that have gained arguments since lack these, and no others."""
    for made, gained in ((WaveNet(Categorical(3), layers=2), "prediction"), (LogMel(), "mean")):
        described = describe(made)
        for name in type(made).added:
            described["init_args"].pop(name)
        assert describe(build(described, type(made))) == describe(made)
        assert gained in type(made).added
        described["init_args"].popitem()
        with pytest.raises(ConfigError, match="misses its argument"):
            build(described, type(made))


def test_features_with_another_predictor_are_refused() -> None:
    model = WaveNet(DiscretizedLogistics(16), layers=2, features=5, hop=256, prediction=4)
    check_fit(model, Waveform(16000, bits=4), LogMel(mels=5, prediction=4))
    with pytest.raises(ValueError, match="5 features, and a predictor of order 4, for every 256 symbols, got 10 "):
        check_fit(model, Waveform(16000, bits=4), LogMel(mels=10))


def test_an_encoder_reaches_as_many_frames_as_it_says() -> None:
    model = wavenet(Categorical(3), features=1, hop=4, encoder=2).double()
    x, frames = torch.zeros(1, 60, dtype=torch.int64), torch.zeros(1, 15, 1, dtype=torch.float64)
    changed = frames.clone()
    changed[0, 7] = 1.0
    rows = (model(x, Context(features=frames)) != model(x, Context(features=changed))).any(-1)[0]
    assert model.feature_reach == 3
    assert int(rows.nonzero()[0]) == 4 * (7 - 3)
    assert rows[16 : 4 * (7 + 4)].all()


@pytest.mark.parametrize("output", [DiscretizedLogistics(256, 2), Gaussians()], ids=["logistics", "gaussian"])
def test_linear_prediction_moves_the_distribution(output: Any) -> None:
    """The rows with a predictor are those of the same network without, at x - p in units of the gain."""
    torch.manual_seed(0)
    model = wavenet(output, features=1, hop=4, prediction=3).double()
    x = output.draw(torch.zeros(1, 20, output.size), draw_noise(1, 20, seed=0))
    features = 0.3 * torch.randn(1, 5, 5, dtype=torch.float64)
    y = output.embed(x)[0, :, 0].double()
    past = torch.cat([torch.zeros(3, dtype=torch.float64), y])
    a, gain = (features[0].repeat_interleave(4, 0)[:, part] for part in (slice(1, 4), 4))
    p = torch.stack([sum(a[t, k] * past[t + 2 - k] for k in range(3)) for t in range(20)])
    g = gain.exp()
    seen = torch.stack([4 * y[:-1], 4 * p[1:], (3 * (y - p) / g)[:-1].clamp(-8, 8) / 2], 1)
    h = torch.cat([model.first[None], model.input(seen)])[None]
    context = Context(features=features)
    rows = model._rows(h, None, model._gate_biases(None, 1), context, 0)[0]
    torch.testing.assert_close(model(x, context), output.moved(rows, p[None], g[None]))


def test_features_are_refused() -> None:
    model, x = wavenet(Categorical(3), features=2, hop=4), torch.zeros(1, 9, dtype=torch.int64)
    for features, expected in (
        (None, "got no features, expected frames of 2 numbers"),
        (torch.zeros(1, 3, 5), r"features are \(1, 3, 5\), expected \(batch, frames, 2\)"),
        (torch.zeros(1, 0, 2), "one frame or more"),
        (torch.zeros(1, 2, 2), "2 frames of 4 symbols condition 8 symbols, expected 9"),
    ):
        with pytest.raises(ValueError, match=expected):
            model(x, Context(features=features))


@pytest.mark.parametrize(
    "arguments",
    [
        *({name: 0} for name in ("layers", "blocks", "residual", "gate", "skip", "end")),
        {"kernel": 1},
        {"features": -1},
        {"dropout": 1.5},
        {"features": 2, "hop": 0},
        {"features": 2, "condition": 0},
        {"features": 2, "upsampling": "cubic"},
        {"labels": [0]},
        {"prediction": 2, "features": 1},
        {"prediction": -1},
        {"features": 2, "encoder": -1},
    ],
    ids=str,
)
def test_refuses(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        WaveNet(Categorical(3), **arguments)
