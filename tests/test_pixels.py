"""Models of images beyond the laws: what a pixel sees, the papers' formulas by other means, whole sampled images."""

import itertools
from typing import Any

import pytest
import torch
from examples import COLOUR, PIXELS
from laws import exact, spaces
from torch import Tensor
from torch.nn import functional as F

from seqgen.codecs import Pixels
from seqgen.inference.generate import draw_noise, sample
from seqgen.model import Context, Model
from seqgen.models import PixelCNN, PixelRNN
from seqgen.models.raster import Raster
from seqgen.nn.diagonal import DiagonalBiLSTM, diagonals
from seqgen.nn.masked import ChannelLinear
from seqgen.nn.rows import RowLSTM, row_fronts
from seqgen.nn.wavefront import Front, wavefront
from seqgen.output import Output
from seqgen.outputs import Bernoulli, Categorical, DiscretizedLogistics, Gaussians
from seqgen.pipeline import Pipeline

KINDS = pytest.mark.parametrize("kind", PIXELS)


def open_model(kind: str, **arguments: Any) -> Raster:
    """A model in which nothing saturates or cancels and no unit is dead, so that what is seen shows in a gradient."""
    model = PIXELS[kind](Gaussians(), **arguments).double()
    for parameter in model.parameters():
        torch.nn.init.uniform_(parameter, 0.01, 0.05)
    return model


def jacobian(model: Raster) -> Tensor:
    """Whether parameters of symbol t move with symbol s: (T, T)."""
    x = torch.rand(1, model.dimensions, dtype=torch.float64, requires_grad=True)
    rows = model(x).sum((0, 2))
    return torch.stack([torch.autograd.grad(row, x, retain_graph=True)[0][0] for row in rows]) != 0


# -- what a pixel sees


@pytest.mark.parametrize("kind", ["PixelCNN-gated", "PixelRNN-diagonal"])
@pytest.mark.parametrize("shape", [{"height": 7, "width": 8}, {"height": 4, "width": 3, "channels": 3}], ids=str)
def test_no_blind_spot(kind: str, shape: dict[str, int]) -> None:
    """Every earlier symbol is seen, pixel by pixel and channel by channel, and nothing else."""
    seen = jacobian(open_model(kind, depth=2 if kind == "PixelRNN-diagonal" else 7, **shape))
    assert torch.equal(seen, torch.ones_like(seen).tril(-1))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("kind", ["PixelCNN", "PixelCNN-gated", "PixelRNN-row"])
def test_a_pixel_sees_what_the_paper_says(kind: str, kernel: int) -> None:
    """Counted on the grid: the pixels whose first features reach it, and what the first convolution sees from them."""
    height, width, depth, reach = 6, 9, 2, kernel // 2
    model = open_model(kind, height=height, width=width, depth=depth, first=5, kernel=kernel)
    places = list(itertools.product(range(height), range(width)))
    expected = torch.tensor([[reaches(kind, depth, reach, *one, *other) for other in places] for one in places])
    assert torch.equal(jacobian(model), expected)


def reaches(kind: str, depth: int, reach: int, row: int, column: int, r: int, c: int) -> bool:
    """Whether a pixel sees the one at (r, c), with a first convolution that is five wide."""
    if kind == "PixelCNN-gated" and any(
        # A few layers to the left, then into the vertical stack one row up, whose first kernel is a whole one.
        0 <= row - 1 - r <= (depth - n) * reach + 2 and abs(c - column + n * reach) <= (depth - n) * reach + 2
        for n in range(depth)
    ):
        return True
    for i, j in itertools.product(range(r, r + 3), range(c - 2, c + 3)):
        up, right = row - i, j - column
        if up < 0 or (i, j) == (r, c) or (i == r and j < c):  # the first convolution's own mask
            continue
        if (
            kind == "PixelCNN"
            and up <= depth * reach
            and any(
                # Some layers lead up, and each of them to either side; the others to the left.
                up <= n * reach and -depth * reach <= right <= n * reach
                for n in range(min(depth, up) + 1)
            )
        ):
            return True
        # The recurrence reaches every row, each wider than the one below; a layer's own kernel goes to the left.
        if kind == "PixelRNN-row" and -(up + depth) * reach <= right <= up * reach:
            return True
        if kind == "PixelCNN-gated" and up == 0 and -depth * reach <= right <= 0:
            return True
    return False


def test_the_blind_spot_of_the_plain_network() -> None:
    """It is there, as the gated paper's figure 1 shows, and nowhere else: above, right of the diagonal."""
    model = open_model("PixelCNN", height=9, width=9, depth=9, first=3)
    missed = ~jacobian(model)[5 * 9 + 2].view(9, 9)
    row, column = torch.arange(9)[:, None], torch.arange(9)
    assert torch.equal(missed, (column - 2 > 5 - row) | (row > 5) | ((row == 5) & (column >= 2)))


@KINDS
def test_channels_of_features(kind: str) -> None:
    """Group c of a pixel's features moves with the symbols of its pixel below c, and with no others."""
    model = open_model(kind, **COLOUR)
    inputs = torch.rand(1, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    h = model.stack(model.first(inputs), inputs, None)[0, 1, 1].view(3, -1).sum(1)
    for channel, group in enumerate(h):
        (gradient,) = torch.autograd.grad(group, inputs, retain_graph=True)
        assert (gradient[0, 1, 1, :3] != 0).tolist() == [other < channel for other in range(3)]
        assert (gradient[0, 1, 0] != 0).all()
        assert (gradient[0, 2] == 0).all()


def test_masks() -> None:
    """A and B, for two parts, of which each has all channels; the weights themselves stay whole."""
    b, a = (ChannelLinear(1, 3, 3, 3, parts=2, strict=strict) for strict in (False, True))
    lower = torch.ones(3, 3).triu()  # (inputs, outputs)
    assert torch.equal((b.matrices[0] != 0).float(), torch.cat([lower, lower], 1))
    assert torch.equal((a.matrices[0] != 0).float(), torch.cat([lower.triu(1), lower.triu(1)], 1))
    assert (b.weight != 0).all()


# -- the papers' formulas by other means


def type_b(model: PixelCNN, layer: int) -> Tensor:
    """The whole k x k kernel of type B, as the paper masks it."""
    stack = model.stack
    reach, inner = stack.radius, stack.above.shape[1]
    kernel = torch.zeros(inner, inner, 2 * reach + 1, 2 * reach + 1, dtype=torch.float64)
    kernel[:, :, :reach] = stack.above[layer]
    for tap in range(reach):
        kernel[:, :, reach, tap] = stack.left[layer, tap * inner : (tap + 1) * inner].T
    kernel[:, :, reach, reach] = stack.own.weight[layer].T
    group = torch.arange(inner) * model.channels // inner
    kernel[:, :, reach, reach] *= group[:, None] >= group
    return kernel


def test_pixelcnn_by_masked_convolutions() -> None:
    """With padding on all sides and kernels that hold zeros where they must not see."""
    model = PIXELS["PixelCNN"](Bernoulli(), kernel=5, **COLOUR).double()
    x = torch.randint(2, (2, 18), generator=torch.Generator().manual_seed(1))
    inputs = F.pad(x.view(2, 3, 2, 3).double(), (0, 1), value=1.0)
    h = model.first(inputs).permute(0, 3, 1, 2)
    stack = model.stack

    def one(h: Tensor, product: ChannelLinear, layer: int) -> Tensor:
        out, inp = product.weight.shape[2], product.weight.shape[1]
        mask = (torch.arange(out) * 3 // out)[:, None] >= torch.arange(inp) * 3 // inp
        return F.conv2d(h, (product.weight[layer].T * mask)[..., None, None], product.bias[layer])

    for layer in range(2):
        u = one(h.relu(), stack.down, layer).relu()
        z = F.conv2d(u, type_b(model, layer), stack.bias[layer], padding=2).relu()
        h = h + one(z, stack.up, layer)
    rows = one(one(h.relu(), model.end, 0).relu(), model.readout, 0)
    torch.testing.assert_close(model(x), rows.permute(0, 2, 3, 1).reshape(2, 18, 1), rtol=0, atol=1e-12)


def cell(gates: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = gates.chunk(4, -1)
    after = f.sigmoid() * before + i.sigmoid() * g.tanh()
    return o.sigmoid() * after.tanh(), after


def test_the_diagonal_lstm_by_its_recurrence() -> None:
    """Pixel by pixel from both corners, that from the right shifted down by one row."""
    torch.manual_seed(1)
    stack = DiagonalBiLSTM(1, 1, 6, (), 2).double()
    x, inputs = torch.randn(4, 5, 6, dtype=torch.float64), torch.randn(4, 5, 2, dtype=torch.float64)
    hidden = {}
    for direction, columns in enumerate((range(5), range(4, -1, -1))):
        own, bias = (stack.own_left, stack.own_right)[direction].weight[0], stack.bias[0].view(2, -1)[direction]
        zero, cells = torch.zeros(3, dtype=torch.float64), {}
        for row in range(4):
            for number, column in enumerate(columns):
                beside = columns[number - 1] if number else None
                gates = x[row, column] @ own + bias + direction * inputs[row, column] @ stack.entry[0]
                gates = gates + hidden.get((direction, row, beside), zero) @ stack.beside[direction, 0]
                gates = gates + hidden.get((direction, row - 1, column), zero) @ stack.above[direction, 0]
                found, cells[row, column] = cell(gates, cells.get((row, beside), zero))
                hidden[direction, row, column] = found
    expected = torch.empty(4, 5, 6, dtype=torch.float64)
    for row in range(4):
        for column in range(5):
            both = hidden[0, row, column] + hidden.get((1, row - 1, column), zero)
            expected[row, column] = x[row, column] + both @ stack.up.weight[0] + stack.up.bias[0]
    got = stack(x[None], inputs[None], None)[0]
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def test_the_row_lstm_by_its_recurrence() -> None:
    torch.manual_seed(1)
    stack = RowLSTM(1, 1, 6, 3, ()).double()
    x = torch.randn(4, 5, 6, dtype=torch.float64)
    zero = torch.zeros(3, dtype=torch.float64)
    hidden, cells = {}, {}
    for row in range(4):
        for column in range(5):
            gates = x[row, column] @ stack.own.weight[0] + stack.bias[0]
            if column:
                gates = gates + x[row, column - 1] @ stack.left[0]
            for tap in range(3):
                gates = gates + stack.above[0, :, :, tap] @ hidden.get((row - 1, column + tap - 1), zero)
            hidden[row, column], cells[row, column] = cell(gates, cells.get((row - 1, column), zero))
    expected = torch.stack([hidden[row, column] for row in range(4) for column in range(5)]).view(4, 5, 3)
    expected = x + expected @ stack.up.weight[0] + stack.up.bias[0]
    torch.testing.assert_close(stack(x[None], x[None], None)[0], expected, rtol=0, atol=1e-12)


def test_diagonals() -> None:
    found = diagonals(2, 3, torch.device("cpu"))
    assert found.order.tolist() == [0, 1, 3, 2, 4, 5]
    assert found.mirror.tolist() == [3, 1, 5, 0, 4, 2]  # of pixel 0, the place of pixel 2
    assert found.above.tolist() == [6, 6, 3, 6, 1, 0]
    assert [(front.start, front.end) for front in found.fronts] == [(0, 1), (1, 3), (3, 5), (5, 6)]
    links = [{(link.weight, link.to, link.source, link.length) for link in front.links} for front in found.fronts]
    assert links == [set(), {(0, 1, 0, 1), (1, 2, 0, 1)}, {(0, 3, 1, 2), (1, 4, 1, 1)}, {(0, 5, 4, 1), (1, 5, 3, 1)}]


@pytest.mark.parametrize(
    "fronts", [row_fronts(3, 4, 1), row_fronts(2, 2, 3), diagonals(3, 4, torch.device("cpu")).fronts]
)
def test_gradients_of_a_wavefront(fronts: tuple[Front, ...]) -> None:
    torch.manual_seed(1)
    weights = 1 + max(link.weight for front in fronts for link in front.links)
    given = torch.randn(2, 8, fronts[-1].end, 2, dtype=torch.float64, requires_grad=True)
    matrices = torch.randn(weights, 2, 8, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *tensors: wavefront(*tensors, fronts), (given, matrices))


@KINDS
def test_means_move_with_earlier_channels(kind: str) -> None:
    """PixelCNN++: the mean of G has a share of R, that of B one of each; nothing else changes."""
    model = PIXELS[kind](DiscretizedLogistics(levels=256, mixtures=2), **COLOUR).double().requires_grad_(False)
    model.readout.weight.zero_()
    bias = model.readout.bias.view(3, 6 + 4)  # of R, G, B: logits, shifts and scales, then shares of R and of G
    x = torch.tensor([[0, 51, 255] * 6])
    values = torch.tensor([-1.0, -0.6, 1.0], dtype=torch.float64)
    for rows in (model(x), torch.cat([model.start(1)[0][:, None], model.step(x[:, :-1], model.start(1)[1])[0]], 1)):
        rows = rows.view(6, 3, 6)
        for channel in range(3):
            shares = bias[channel, 6:].view(2, 2).tanh()[:channel]
            moved = (shares * values[:channel, None]).sum(0)
            torch.testing.assert_close(rows[:, channel, 2:4], (bias[channel, 2:4] + moved).expand(6, -1))
            torch.testing.assert_close(rows[:, channel, [0, 1, 4, 5]], bias[channel, [0, 1, 4, 5]].expand(6, -1))


# -- images


@KINDS
@pytest.mark.parametrize(
    ("output", "shape"),
    [
        (Bernoulli(), (2, 3, 1)),
        (Bernoulli(), (3, 2, 1)),
        (Bernoulli(), (1, 2, 3)),
        (Categorical(3), (2, 3, 1)),
        (Categorical(3), (2, 1, 3)),
        (Categorical(4), (2, 2, 1)),
        (DiscretizedLogistics(levels=3, mixtures=2), (1, 2, 3)),
        (DiscretizedLogistics(levels=4, mixtures=2), (2, 2, 1)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Output) else str(value),
)
def test_all_images_have_probability_one(kind: str, output: Any, shape: tuple[int, int, int]) -> None:
    """Every image there is, to its last pixel; given any label or none."""
    height, width, channels = shape
    model = exact(PIXELS[kind](output, labels=[2], height=height, width=width, channels=channels))
    for x, context in spaces(model, height * width * channels):
        assert abs(model.log_prob(x, context).sum(1).exp().sum().item() - 1) < 1e-10


@KINDS
@pytest.mark.parametrize("output", [Gaussians(), Gaussians(3)], ids=["one", "three"])
def test_densities_of_two_pixels_integrate_to_one(kind: str, output: Any) -> None:
    """Over the plane."""
    model = exact(PIXELS[kind](output, height=1, width=2))
    for parameter in model.parameters():
        parameter.mul_(0.5)  # tails within the plane
    line, step = torch.linspace(-14, 14, 561, dtype=torch.float64), 28 / 560
    log_probs = torch.cat([model.log_prob(part).sum(1) for part in torch.cartesian_prod(line, line).split(1 << 14)])
    assert abs(log_probs.exp().sum().item() * step**2 - 1) < 1e-6


@KINDS
@pytest.mark.parametrize("shape", [{}, COLOUR], ids=["grey", "colour"])
def test_whole_images_equal_the_oracle(kind: str, shape: dict[str, int]) -> None:
    """Sampled to the last pixel, behind a prompt of any length, with labels."""
    model = PIXELS[kind](DiscretizedLogistics(levels=9, mixtures=2), labels=[2], **shape).double().requires_grad_(False)
    context = Context(torch.tensor([[1], [2], [0]]))

    class SlowImages(type(model)):  # type: ignore[misc]
        start, step = Model.start, Model.step

    slow = SlowImages(**model.init_args).double().eval()
    slow.load_state_dict(model.state_dict())
    for known in (0, 1, 4, 10):
        noise = draw_noise(3, model.dimensions - known, seed=1)
        prompt = torch.randint(9, (3, known), generator=torch.Generator().manual_seed(2))
        drawn = sample(model, noise, context=context, prompt=prompt)
        assert torch.equal(drawn, sample(slow, noise, context=context, prompt=prompt))


@KINDS
def test_a_prefix_gives_the_rows_of_the_whole(kind: str) -> None:
    model = PIXELS[kind](Categorical(3), **COLOUR).double()
    x = torch.randint(3, (2, 18), generator=torch.Generator().manual_seed(1))
    whole = model(x)
    for length in range(19):
        torch.testing.assert_close(model(x[:, :length]), whole[:, :length], rtol=0, atol=1e-12)


@KINDS
def test_labels_matter_from_the_first_pixel_on(kind: str) -> None:
    model = PIXELS[kind](Bernoulli(), labels=[3], filters=32, end=32).requires_grad_(False)
    rows = model(torch.zeros(4, 15, dtype=torch.int64), Context(torch.arange(4)[:, None]))
    assert (rows[1:] != rows[:-1]).all()


@KINDS
def test_an_image_has_so_many_symbols(kind: str) -> None:
    model = PIXELS[kind](Bernoulli())
    x = torch.zeros(1, 16, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"16 symbols, expected at most 15 \(5 x 3 x 1\)"):
        model(x)
    _, state = model.start(1)
    _, state = model.step(x[:, :14], state)
    with pytest.raises(ValueError, match="16 symbols"):
        model.step(x[:, :1], state)


@pytest.mark.parametrize(
    "arguments",
    [
        *({name: 0} for name in ("height", "width", "channels", "depth", "filters", "end")),
        {"kernel": 2},
        {"kernel": 1},
        {"first": 4},
        {"filters": 5},
        {"labels": [0]},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [PixelCNN, PixelRNN])
def test_refuses(kind: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        kind(Bernoulli(), **{"height": 4, "width": 4, **arguments})


def test_refuses_other_cells() -> None:
    with pytest.raises(ValueError, match="cell is 'column', expected row or diagonal"):
        PixelRNN(Bernoulli(), height=4, width=4, cell="column")


def test_pictures_of_as_many_pixels_in_another_shape_are_refused() -> None:
    model = PixelCNN(Bernoulli(), height=4, width=6, filters=4, depth=1, end=4)
    with pytest.raises(ValueError, match=r"height, width and channels \(6, 4, 1\) and the model's of \(4, 6, 1\)"):
        Pipeline(model, Pixels(6, 4, levels=2))
    assert Pipeline(model, Pixels(4, 6, levels=2)).sample(seed=1)[0].shape == (4, 6)


def test_rows_may_be_narrower_than_the_kernel() -> None:
    model = PIXELS["PixelRNN-row"](Categorical(3), height=5, width=1, kernel=5).double()
    x = torch.randint(3, (4, 5), generator=torch.Generator().manual_seed(1))
    first, state = model.start(4)
    rows = [first]
    for symbol in x[:, :-1].split(1, 1):
        row, state = model.step(symbol, state)
        rows.append(row[:, 0])
    torch.testing.assert_close(model(x), torch.stack(rows, 1))
