"""Tiny instances of every registered class, for the laws."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch

import seqgen.codecs
import seqgen.models
import seqgen.outputs  # noqa: F401
from seqgen.codec import Codec
from seqgen.codecs import Chars, MelFrames, MuLaw, Pixels, SentencePiece, Table, Waveform
from seqgen.config import registered as known
from seqgen.media.mel import LogMel
from seqgen.model import Batch, Context, Model, Order
from seqgen.models import FVSBN, MADE, NADE, RNN, RNNNADE, NGram, PixelCNN, PixelRNN, WaveNet
from seqgen.output import Output
from seqgen.outputs import Bernoulli, Categorical, DiscretizedLogistics, Gaussians


def registered(kind: type) -> list[type]:
    """The concrete classes of seqgen that a checkpoint may name, without those that tests define."""
    found = (cls for cls in known(kind).values() if cls.__module__.startswith("seqgen."))
    return sorted(found, key=lambda cls: cls.__name__)


# -- contexts and symbols for a model


def labels_of(model: Model) -> list[int]:
    """The number of classes of each label of a model."""
    return list(model.label_sizes)


def order_of(model: Model) -> Order | None:
    """The order in which the laws test a model of several orders or masks, its fourth; None for all other models."""
    return None if model.orders == 1 else model.order_number(3)


def conditioning(model: Model) -> frozenset[str]:
    """The parts of a context that the laws give to a model, out of labels, features and order."""
    given = {"labels": labels_of(model), "features": model.feature_size, "order": model.orders != 1}
    return frozenset(part for part, some in given.items() if some)


def draw_context(model: Model, batch: int, generator: torch.Generator) -> Context | None:
    """Random labels (0, "not given", among them) and features, as the model takes them; its order; None for nothing."""
    columns = [torch.randint(count + 1, (batch,), generator=generator) for count in labels_of(model)]
    return with_labels(model, torch.stack(columns, 1) if columns else None, batch, generator)


def with_labels(
    model: Model, labels: torch.Tensor | None, batch: int, generator: torch.Generator | None = None
) -> Context | None:
    """A context of these labels (B, L), the model's order, and features for 60 symbols if the model takes features.

    The features are random with a generator, else the same in every row. None if there is nothing to give.
    """
    order, count = order_of(model), model.feature_size
    if not count:
        return None if labels is None and order is None else Context(labels, order=order)
    frames = -(-60 // model.feature_hop)
    one = torch.randn(1, frames, count, generator=torch.Generator().manual_seed(3)).expand(batch, -1, -1)
    features = one if generator is None else torch.randn(batch, frames, count, generator=generator)
    return Context(labels, 0.4 * features.double(), order)  # predictors of large coefficients would be unstable


def rows_of(context: Context | None, rows: slice) -> Context | None:
    """The context of some rows of a batch."""
    if context is None:
        return None
    labels, features = (None if part is None else part[rows] for part in context[:2])
    return Context(labels, features, context.order)


def classes_of(output: Output) -> int:
    """K, for outputs of classes."""
    assert output.classes is not None
    return output.classes


def countable(output: Output) -> bool:
    """Whether symbols are classes (int64); otherwise they are real numbers."""
    return not output.dtype.is_floating_point


def draw_symbols(model: Model, batch: int, length: int, generator: torch.Generator) -> torch.Tensor:
    """Random symbols (B, T)."""
    if not countable(model.output):
        return torch.randn(batch, length, generator=generator, dtype=torch.float64)
    return torch.randint(classes_of(model.output), (batch, length), generator=generator)


# -- small models, with weights far larger than at the start of training so that every weight has a visible effect


def rnn(output: Output, **arguments: Any) -> RNN:
    """A recurrent network of 5 hidden units."""
    torch.manual_seed(1)
    model = RNN(output, hidden=5, **arguments).eval()
    for parameter in model.parameters():  # larger weights would make densities too narrow for the grid of is_a_density
        torch.nn.init.normal_(parameter, std=0.7 if countable(output) else 0.4)
    return model


def rnnnade(output: Output, **arguments: Any) -> RNNNADE:
    """Frames of two or three symbols."""
    torch.manual_seed(1)
    model = RNNNADE(output, **{"width": 2, "hidden": 5, "units": 12, **arguments}).eval()
    for parameter in model.parameters():  # larger weights would move densities out of the range of is_a_density
        torch.nn.init.normal_(parameter, std=0.6 if countable(output) else 0.2)
    return model


def wavenet(output: Output, **arguments: Any) -> WaveNet:
    """A WaveNet of two blocks of two layers."""
    torch.manual_seed(1)
    sizes = {"layers": 2, "blocks": 2, "residual": 4, "gate": 5, "skip": 6, "end": 7, "condition": 3}
    model = WaveNet(output, **{**sizes, **arguments}).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


VARIABLES = 13
"""Dimensions of the small densities of vectors: longer than any sequence in the laws."""


def vectors(kind: type[FVSBN] | type[MADE] | type[NADE], output: Output, **arguments: Any) -> Model:
    """A small density of vectors."""
    torch.manual_seed(1)
    sizes: dict[type, dict[str, Any]] = {NADE: {"hidden": 5}, MADE: {"hidden": [4 * VARIABLES + 3]}}
    model = kind(output, **{"dimensions": VARIABLES, **sizes.get(kind, {}), **arguments}).eval()
    for parameter in model.parameters():  # larger weights would move densities out of the range of is_a_density
        torch.nn.init.normal_(parameter, std=0.5 if countable(output) else 0.2)
    return model


fvsbn, made, nade = (functools.partial(vectors, kind) for kind in (FVSBN, MADE, NADE))


GREY, COLOUR = {"height": 5, "width": 3}, {"height": 3, "width": 2, "channels": 3}
"""Sizes of small images with more symbols than any sequence in the laws."""


def pixels(kind: type[PixelCNN] | type[PixelRNN], output: Output, **arguments: Any) -> Model:
    """A small model of images."""
    torch.manual_seed(1)
    model = kind(output, **{"depth": 2, "filters": 4, "first": 3, "end": 6, **GREY, **arguments}).eval()
    for parameter in model.parameters():  # larger weights would move densities out of the range of is_a_density
        torch.nn.init.normal_(parameter, std=0.5 if countable(output) else 0.2)
    for bias in (model.first.bias, model.end.bias):  # with so few units, keep some relu active
        torch.nn.init.constant_(bias, 1.0)
    return model


PIXELS: dict[str, Callable[..., Model]] = {
    "PixelCNN": functools.partial(pixels, PixelCNN),
    "PixelCNN-gated": functools.partial(pixels, PixelCNN, gated=True),
    "PixelRNN-row": functools.partial(pixels, PixelRNN, cell="row"),
    "PixelRNN-diagonal": functools.partial(pixels, PixelRNN, cell="diagonal"),
}


def half_blind(model: Model) -> bool:
    """Whether a model of images has a blind spot above the pixel; tests/test_pixels.py tests which pixels it sees."""
    return (isinstance(model, PixelCNN) and not model.init_args["gated"]) or (
        isinstance(model, PixelRNN) and model.init_args["cell"] == "row"
    )


def ngram(output: Output, **arguments: Any) -> NGram:
    """Tables that have counted ten random sequences, weighted."""
    model, generator = NGram(output, **arguments).eval(), torch.Generator().manual_seed(2)
    x = draw_symbols(model, 10, 7, generator)
    mask = torch.arange(7) < torch.randint(1, 8, (10, 1), generator=generator)
    weight = torch.rand(10, generator=generator)
    model.count(Batch(x, mask, draw_context(model, 10, generator), weight))
    return model


LOGISTICS = DiscretizedLogistics(levels=4, mixtures=2)
WIDE = {"first": 7, "height": 3, "width": 5}

MODELS: dict[str, Callable[[], Model]] = {
    "RNN-tanh": functools.partial(rnn, Categorical(3), cell="tanh", embedding=4),
    "RNN-tanh-2-labels": functools.partial(rnn, Bernoulli(), cell="tanh", layers=2, labels=[2, 3]),
    "RNN-gru-labels": functools.partial(rnn, LOGISTICS, cell="gru", labels=[2], embedding=4),
    "RNN-gru-2": functools.partial(rnn, Gaussians(), cell="gru", layers=2),
    "RNN-lstm": functools.partial(rnn, Gaussians(mixtures=3), cell="lstm", forget_bias=0.0),
    "RNN-lstm-2-labels": functools.partial(rnn, Categorical(3), cell="lstm", layers=2, labels=[2, 3]),
    "RNN-norm": functools.partial(rnn, Categorical(3), layers=2, layer_norm=True, dropout=0.5),
    "RNN-tied": functools.partial(rnn, Categorical(3), cell="gru", embedding=5, tied=True),
    "RNNNADE": functools.partial(rnnnade, Categorical(3), dropout=0.5),
    "RNNNADE-one-hot-labels": functools.partial(rnnnade, Categorical(3), width=3, scalar=False, labels=[2, 3]),
    "RNNNADE-bernoulli": functools.partial(rnnnade, Bernoulli(), width=3, cell="lstm", labels=[2]),
    "RNNNADE-logistics": functools.partial(rnnnade, LOGISTICS, cell="lstm", layers=2),
    "RNNNADE-numbers-labels": functools.partial(rnnnade, Gaussians(mixtures=3), layers=2, labels=[2]),
    "NGram-1": functools.partial(ngram, Categorical(3), order=1),
    "NGram-2-labels": functools.partial(ngram, Categorical(3), order=2, labels=[2, 3]),
    "NGram-3": functools.partial(ngram, Categorical(3), order=3),
    "NGram-3-label": functools.partial(ngram, Categorical(3), order=3, labels=[2]),
    "NGram-empty": functools.partial(NGram, Categorical(3)),
    "WaveNet": functools.partial(wavenet, Categorical(3)),
    "WaveNet-labels": functools.partial(wavenet, LOGISTICS, kernel=4, labels=[2, 3]),
    "WaveNet-scalar": functools.partial(wavenet, Categorical(3), scalar=True, dropout=0.5, kernel=3),
    "WaveNet-features": functools.partial(wavenet, Categorical(3), features=2, hop=3, upsampling="repeat", kernel=3),
    "WaveNet-bernoulli-features": functools.partial(wavenet, Bernoulli(), features=2, hop=3),
    "WaveNet-logistics-features": functools.partial(wavenet, LOGISTICS, features=1, hop=4, kernel=3),
    "WaveNet-gaussian-features": functools.partial(wavenet, Gaussians(), features=2, hop=3, kernel=4),
    "WaveNet-both": functools.partial(wavenet, Categorical(3), labels=[2], features=2, hop=2, scalar=True),
    "WaveNet-bernoulli-both": functools.partial(wavenet, Bernoulli(), labels=[2, 3], features=2, hop=1, kernel=3),
    "WaveNet-logistics-both": functools.partial(wavenet, LOGISTICS, labels=[2], features=2, hop=2, upsampling="repeat"),
    "WaveNet-prediction": functools.partial(wavenet, LOGISTICS, features=2, hop=3, encoder=1, prediction=2),
    "WaveNet-gaussian-prediction": functools.partial(
        wavenet, Gaussians(), labels=[2], features=1, hop=2, kernel=3, prediction=3
    ),
    "WaveNet-gaussians-both": functools.partial(wavenet, Gaussians(mixtures=3), labels=[2], features=2, hop=2),
    "FVSBN": functools.partial(fvsbn, Bernoulli(), order="random"),
    "FVSBN-labels": functools.partial(fvsbn, LOGISTICS, labels=[2, 3]),
    "FVSBN-orders": functools.partial(fvsbn, Categorical(3), orders=4),
    "FVSBN-orders-labels": functools.partial(fvsbn, Gaussians(), orders=0, labels=[2]),
    "NADE-labels": functools.partial(nade, Categorical(3), labels=[2, 3]),
    "NADE-relu": functools.partial(nade, Bernoulli(), activation="relu", hidden=20),
    "NADE-orders": functools.partial(nade, Bernoulli(), orders=0, order="random"),
    "NADE-orders-labels": functools.partial(nade, LOGISTICS, orders=4, labels=[2]),
    "RNADE": functools.partial(nade, Gaussians(mixtures=3), activation="relu", scaled=True, hidden=20),
    "RNADE-orders": functools.partial(nade, Gaussians(mixtures=3), orders=0, activation="relu", scaled=True, hidden=9),
    "MADE": functools.partial(made, LOGISTICS),
    "MADE-narrow": functools.partial(made, Bernoulli(), hidden=[6], direct=True),
    "MADE-labels": functools.partial(made, Categorical(3), hidden=[30, 25, 30], direct=True, labels=[2]),
    "MADE-random-labels": functools.partial(
        made, Gaussians(), order="random", hidden=[30, 30], direct=True, labels=[2, 3]
    ),
    "MADE-orders": functools.partial(made, LOGISTICS, orders=0, masks=0, hidden=[30, 30], direct=True),
    "MADE-masks": functools.partial(made, Categorical(3), masks=8, labels=[2]),
    "MADE-orders-masks": functools.partial(made, Bernoulli(), orders=3, masks=0, labels=[2], direct=True),
    "MADE-numbers": functools.partial(made, Gaussians(mixtures=3), orders=3, direct=True),
    "PixelCNN-colour": functools.partial(PIXELS["PixelCNN"], LOGISTICS, **COLOUR, labels=[2, 3]),
    "PixelCNN-5": functools.partial(PIXELS["PixelCNN"], Bernoulli(), kernel=5, height=4, width=4),
    "PixelCNN-wide": functools.partial(PIXELS["PixelCNN"], Gaussians(mixtures=3), **WIDE, labels=[2]),
    "PixelCNN-gated-colour": functools.partial(PIXELS["PixelCNN-gated"], Categorical(3), scalar=False, **COLOUR),
    "PixelCNN-gated-numbers": functools.partial(PIXELS["PixelCNN-gated"], Gaussians(), **COLOUR, labels=[2, 3]),
    "PixelCNN-gated-grey": functools.partial(PIXELS["PixelCNN-gated"], Categorical(3)),
    "PixelCNN-gated-wide": functools.partial(PIXELS["PixelCNN-gated"], Bernoulli(), kernel=5, **WIDE, labels=[2]),
    "PixelRNN-row-colour": functools.partial(PIXELS["PixelRNN-row"], Categorical(3), **COLOUR, labels=[2, 3]),
    "PixelRNN-row-5": functools.partial(PIXELS["PixelRNN-row"], Bernoulli(), kernel=5, height=4, width=4),
    "PixelRNN-row-wide": functools.partial(PIXELS["PixelRNN-row"], Gaussians(mixtures=3), **WIDE, labels=[2]),
    "PixelRNN-diagonal-colour": functools.partial(PIXELS["PixelRNN-diagonal"], LOGISTICS, **COLOUR, labels=[2, 3]),
    "PixelRNN-diagonal-grey": functools.partial(PIXELS["PixelRNN-diagonal"], Categorical(3), scalar=False),
    "PixelRNN-diagonal-numbers": functools.partial(PIXELS["PixelRNN-diagonal"], Gaussians(), **COLOUR),
    "PixelRNN-diagonal-wide": functools.partial(PIXELS["PixelRNN-diagonal"], Bernoulli(), **WIDE, labels=[2]),
}
"""Small models that cover pairwise what a model is combined with; tests/pairwise.py says how."""

OUTPUTS: dict[str, Callable[[], Output]] = {
    "Bernoulli": Bernoulli,
    "Categorical-1": lambda: Categorical(1),
    "Categorical-2": lambda: Categorical(2),
    "Categorical-5": lambda: Categorical(5),
    "Categorical-300": lambda: Categorical(300),
    "DiscretizedLogistics-4": lambda: DiscretizedLogistics(levels=4, mixtures=2),
    "DiscretizedLogistics-65536": DiscretizedLogistics,
    "Gaussian": Gaussians,
    "Gaussians-3": lambda: Gaussians(mixtures=3),
}

TEXT = "O Romeo, Romeo! wherefore art thou Romeo?\n\nDeny thy father; and refuse thy name…\r\né\u0301 " * 3


@functools.cache
def sentencepiece(end: bool, algorithm: str) -> Codec:
    """A codec trained on a few lines; kept, since training takes a moment."""
    return SentencePiece(vocabulary=290, algorithm=algorithm, end=end).fit([TEXT])


TEXT_CODECS: dict[str, Callable[[], Codec]] = {
    "Chars": lambda: Chars(alphabet()),
    "Chars-end": lambda: Chars(alphabet(), end=True),
    "Chars-unknown": lambda: Chars(alphabet(), end=True, unknown=True),
    "SentencePiece-unigram": lambda: sentencepiece(False, "unigram"),
    "SentencePiece-bpe-end": lambda: sentencepiece(True, "bpe"),
}

SOUND_CODECS: dict[str, Callable[[], Codec]] = {
    "MuLaw": MuLaw,
    "MuLaw-end": lambda: MuLaw(8000, end=True),
    "MuLaw-10": lambda: MuLaw(bits=10),
    "Waveform": Waveform,
    "Waveform-16": lambda: Waveform(22050, bits=16),
}

FRAME_CODECS: dict[str, Callable[[], Codec]] = {
    "MelFrames": lambda: MelFrames(LogMel(8000, mels=20, hop=80, window=320), levels=32),
    "MelFrames-end": lambda: MelFrames(LogMel(16000, mels=40, hop=256, window=1024, low=60), end=True),
}

VECTOR_CODECS: dict[str, Callable[[], Codec]] = {
    "Table": lambda: Table(["a", "b", "c"], [1.0, -2.0, 0.0], [2.0, 0.5, 1.0]),
    "Pixels": lambda: Pixels(4, 5, 3),
    "Pixels-2": lambda: Pixels(4, 5, levels=2),
}

CODECS = {**TEXT_CODECS, **SOUND_CODECS, **FRAME_CODECS, **VECTOR_CODECS}


@functools.cache
def alphabet() -> tuple[str, ...]:
    """The first 3,000 code points, marks and spaces, both kinds of surrogates, and some from beyond them."""
    points = [*range(3000), *range(0x2000, 0x2030), *range(0x2580, 0x2590), *range(0xD7F0, 0xE010), 0xFEFF, 0xFFFD]
    return tuple(map(chr, [*points, *range(0x1F600, 0x1F650), 0x10FFFF]))


def uncovered(kind: type, examples: dict[str, Callable[[], Any]]) -> Iterator[str]:
    """The registered classes that have no example."""
    covered = {type(make()) for make in examples.values()}
    return (cls.__name__ for cls in registered(kind) if cls not in covered)
