"""Tiny instances of every registered class, for the laws."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch

import seqgen.codecs
import seqgen.models
import seqgen.outputs  # noqa: F401
from seqgen.codec import Codec
from seqgen.codecs import Chars, MuLaw, Pixels, SentencePiece, Table, Waveform
from seqgen.config import _REGISTRY
from seqgen.model import Batch, Context, Model, State
from seqgen.models import FVSBN, MADE, NADE, RNN, NGram, PixelCNN, PixelRNN, WaveNet
from seqgen.output import Output
from seqgen.outputs import Bernoulli, Categorical, DiscretizedLogistics, Gaussians


def registered(kind: type) -> list[type]:
    """The concrete classes of seqgen that a checkpoint may name (tests register classes of their own)."""
    known = (cls for cls in _REGISTRY.values() if issubclass(cls, kind) and not inspect.isabstract(cls))
    return sorted((cls for cls in known if cls.__module__.startswith("seqgen.")), key=lambda cls: cls.__name__)


def labels_of(model: Model) -> list[int]:
    """The number of classes of each label of a model."""
    return list(model.label_sizes)


def draw_context(model: Model, batch: int, generator: torch.Generator) -> Context | None:
    """Random labels, not said ones among them, and features, for as far as the model takes some; None for neither."""
    columns = [torch.randint(count + 1, (batch,), generator=generator) for count in labels_of(model)]
    return with_labels(model, torch.stack(columns, 1) if columns else None, batch, generator)


def with_labels(
    model: Model, labels: torch.Tensor | None, batch: int, generator: torch.Generator | None = None
) -> Context | None:
    """These labels (B, L), and features for 60 symbols if the model takes any: random ones, or always the same ones."""
    count = model.feature_size
    if not count:
        return None if labels is None else Context(labels)
    frames = -(-60 // model.feature_hop)
    one = torch.randn(1, frames, count, generator=torch.Generator().manual_seed(3)).expand(batch, -1, -1)
    features = one if generator is None else torch.randn(batch, frames, count, generator=generator)
    return Context(labels, features.double())


def classes_of(output: Output) -> int:
    """K, for outputs of classes."""
    assert output.classes is not None
    return output.classes


def countable(output: Output) -> bool:
    """Whether symbols are classes; else they are numbers."""
    return output.classes is not None


def draw_symbols(model: Model, batch: int, length: int, generator: torch.Generator) -> torch.Tensor:
    """Random symbols (B, T)."""
    if not countable(model.output):
        return torch.randn(batch, length, generator=generator, dtype=torch.float64)
    return torch.randint(classes_of(model.output), (batch, length), generator=generator)


def rnn(output: Output, **arguments: Any) -> RNN:
    """A network with weights that are far from all symmetries of a fresh one."""
    torch.manual_seed(1)
    model = RNN(output, hidden=5, **arguments).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return model


def wavenet(output: Output, **arguments: Any) -> WaveNet:
    """A small network with weights that are far from all symmetries of a fresh one."""
    torch.manual_seed(1)
    sizes = {"layers": 2, "blocks": 2, "residual": 4, "gate": 5, "skip": 6, "end": 7, "condition": 3}
    model = WaveNet(output, **{**sizes, **arguments}).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


VARIABLES = 13
"""Of the small densities of vectors: more than any law's sequences have symbols."""


def vectors(kind: type[FVSBN] | type[MADE] | type[NADE], output: Output, **arguments: Any) -> Model:
    """A small density of vectors with weights that are far from all symmetries of a fresh one."""
    torch.manual_seed(1)
    sizes: dict[type, dict[str, Any]] = {NADE: {"hidden": 5}, MADE: {"hidden": [4 * VARIABLES + 3]}}
    model = kind(output, **{"dimensions": VARIABLES, **sizes.get(kind, {}), **arguments}).eval()
    for parameter in model.parameters():  # what is linear in numbers may leave the range of the laws' integrals
        torch.nn.init.normal_(parameter, std=0.5 if countable(output) else 0.2)
    return model


fvsbn, made, nade = (functools.partial(vectors, kind) for kind in (FVSBN, MADE, NADE))


GREY, COLOUR = {"height": 5, "width": 3}, {"height": 3, "width": 2, "channels": 3}
"""Small images of more symbols than any law's sequences have."""


def pixels(kind: type[PixelCNN] | type[PixelRNN], output: Output, **arguments: Any) -> Model:
    """A small model of images with weights that are far from all symmetries of a fresh one."""
    torch.manual_seed(1)
    model = kind(output, **{"depth": 2, "filters": 4, "first": 3, "end": 6, **GREY, **arguments}).eval()
    for parameter in model.parameters():  # numbers may leave the range of the laws' integrals
        torch.nn.init.normal_(parameter, std=0.5 if countable(output) else 0.2)
    for bias in (model.first.bias, model.end.bias):  # so few units must not all be dead
        torch.nn.init.constant_(bias, 1.0)
    return model


PIXELS: dict[str, Callable[..., Model]] = {
    "PixelCNN": functools.partial(pixels, PixelCNN),
    "PixelCNN-gated": functools.partial(pixels, PixelCNN, gated=True),
    "PixelRNN-row": functools.partial(pixels, PixelRNN, cell="row"),
    "PixelRNN-diagonal": functools.partial(pixels, PixelRNN, cell="diagonal"),
}


def half_blind(model: Model) -> bool:
    """Whether a model of images is one whose pixels do not see all that is above; tests/test_pixels.py has what."""
    return (isinstance(model, PixelCNN) and not model.init_args["gated"]) or (
        isinstance(model, PixelRNN) and model.init_args["cell"] == "row"
    )


class Under(Model):
    """A model in one of its orders, given with the context; so that all laws hold it to that order, too."""

    def __init__(self, model: Model, number: int) -> None:
        super().__init__()
        self.model, self.output, self.number = model, model.output, number
        self.dimensions, self.label_sizes = model.dimensions, model.label_sizes

    def _in_order(self, context: Context | None) -> Context:
        return (context or Context())._replace(order=self.model.order_number(self.number))

    def forward(self, x: torch.Tensor, context: Context | None = None) -> torch.Tensor:
        return self.model(x, self._in_order(context))

    def start(self, batch: int, context: Context | None = None) -> tuple[torch.Tensor, State]:
        return self.model.start(batch, self._in_order(context))

    def step(self, x: torch.Tensor, state: State, context: Context | None = None) -> tuple[torch.Tensor, State]:
        return self.model.step(x, state, self._in_order(context))


def ngram(output: Output, **arguments: Any) -> NGram:
    """Tables that have counted ten random sequences, weighted."""
    model, generator = NGram(output, **arguments).eval(), torch.Generator().manual_seed(2)
    x = draw_symbols(model, 10, 7, generator)
    mask = torch.arange(7) < torch.randint(1, 8, (10, 1), generator=generator)
    weight = torch.rand(10, generator=generator)
    model.count(Batch(x, mask, draw_context(model, 10, generator), weight))
    return model


MODELS: dict[str, Callable[[], Model]] = {
    **{
        f"RNN-{cell}-{layers}": functools.partial(rnn, Categorical(3), cell=cell, layers=layers)
        for cell in ("tanh", "gru", "lstm")
        for layers in (1, 2)
    },
    "RNN-bernoulli": functools.partial(rnn, Bernoulli(), cell="gru"),
    "RNN-embedding": functools.partial(rnn, Categorical(3), cell="tanh", embedding=4),
    "RNN-tied": functools.partial(rnn, Categorical(3), cell="gru", embedding=5, tied=True),
    "RNN-norm": functools.partial(rnn, Categorical(3), layers=2, layer_norm=True, dropout=0.5),
    "RNN-labels": functools.partial(rnn, Categorical(3), layers=2, labels=[2, 3]),
    "RNN-labels-embedding": functools.partial(rnn, Categorical(3), cell="gru", labels=[2], embedding=4),
    **{f"NGram-{order}": functools.partial(ngram, Categorical(3), order=order) for order in (1, 2, 3)},
    "NGram-labels": functools.partial(ngram, Categorical(3), order=2, labels=[2, 3]),
    **{f"WaveNet-{kernel}": functools.partial(wavenet, Categorical(3), kernel=kernel) for kernel in (2, 3, 4)},
    **{
        f"WaveNet-{name}{condition}": functools.partial(wavenet, output, **options)
        for name, output in (
            ("categorical", Categorical(3)),
            ("bernoulli", Bernoulli()),
            ("logistics", DiscretizedLogistics(levels=4, mixtures=2)),
            ("gaussian", Gaussians()),
            ("gaussians", Gaussians(mixtures=3)),
        )
        for condition, options in (
            ("", {}),
            ("-labels", {"labels": [2, 3]}),
            ("-features", {"features": 2, "hop": 3}),
            ("-both", {"labels": [2], "features": 2, "hop": 2}),
        )
    },
    "WaveNet-scalar": functools.partial(wavenet, Categorical(3), scalar=True, dropout=0.5),
    "WaveNet-repeat": functools.partial(wavenet, Categorical(3), features=2, hop=3, upsampling="repeat", kernel=3),
    **{
        f"{kind.__name__}-{name}{suffix}": functools.partial(vectors, kind, output, **options)
        for kind in (FVSBN, NADE, MADE)
        for name, output in (
            ("bernoulli", Bernoulli()),
            ("categorical", Categorical(3)),
            ("logistics", DiscretizedLogistics(levels=4, mixtures=2)),
            ("gaussian", Gaussians()),
            ("gaussians", Gaussians(mixtures=3)),
        )
        for suffix, options in (("", {}), ("-labels", {"labels": [2, 3]}))
    },
    "FVSBN-random": functools.partial(fvsbn, Bernoulli(), order="random"),
    "NADE-random": functools.partial(nade, Bernoulli(), order="random", labels=[2]),
    "NADE-relu": functools.partial(nade, Bernoulli(), activation="relu", hidden=20),
    "RNADE": functools.partial(nade, Gaussians(mixtures=3), activation="relu", scaled=True, hidden=20),
    "MADE-deep": functools.partial(made, Categorical(3), hidden=[30, 25, 30], direct=True, labels=[2]),
    "MADE-narrow": functools.partial(made, Bernoulli(), hidden=[6], direct=True),
    "MADE-random": functools.partial(made, Gaussians(), order="random", hidden=[30, 30], direct=True),
    **{
        f"{name}-under-{number}": lambda model=model, number=number: Under(model(), number).eval()
        for name, model in (
            ("FVSBN-orders", functools.partial(fvsbn, Categorical(3), orders=4)),
            ("NADE-orders", functools.partial(nade, Bernoulli(), orders=0, order="random", labels=[2])),
            ("RNADE-orders", functools.partial(nade, Gaussians(2), orders=0, activation="relu", scaled=True, hidden=9)),
            ("MADE-orders", functools.partial(made, Bernoulli(), orders=0, masks=0, hidden=[30, 30], direct=True)),
            ("MADE-masks", functools.partial(made, Categorical(3), masks=8, labels=[2])),
            ("MADE-numbers", functools.partial(made, Gaussians(2), orders=3, masks=0, labels=[2], direct=True)),
        )
        for number in (0, 1, 3)
    },
    **{
        f"{kind}-{name}": functools.partial(make, output, **COLOUR, labels=[2, 3])
        for kind, make in PIXELS.items()
        for name, output in (
            ("bernoulli", Bernoulli()),
            ("categorical", Categorical(3)),
            ("logistics", DiscretizedLogistics(levels=4, mixtures=2)),
            ("gaussian", Gaussians()),
            ("gaussians", Gaussians(mixtures=3)),
        )
    },
    **{
        f"{kind}-{suffix}": functools.partial(make, output, **options)
        for kind, make in PIXELS.items()
        for suffix, output, options in (
            ("grey", Categorical(3), {}),
            ("wide", Bernoulli(), {"first": 7, "height": 3, "width": 5, "labels": [2]}),
        )
    },
    "PixelCNN-one-hot": functools.partial(pixels, PixelCNN, Categorical(3), scalar=False, gated=True, **COLOUR),
    "PixelCNN-5": functools.partial(pixels, PixelCNN, Bernoulli(), kernel=5, height=4, width=4),
    "PixelCNN-gated-5": functools.partial(pixels, PixelCNN, Bernoulli(), gated=True, kernel=5, height=4, width=4),
    "PixelRNN-row-5": functools.partial(pixels, PixelRNN, Bernoulli(), kernel=5, height=4, width=4),
    "RNN-gaussian": functools.partial(rnn, Gaussians(), cell="lstm"),
    "RNN-logistics": functools.partial(rnn, DiscretizedLogistics(levels=4, mixtures=2), cell="gru", labels=[2]),
    "NGram-fresh": functools.partial(NGram, Categorical(3)),
}

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

VECTOR_CODECS: dict[str, Callable[[], Codec]] = {
    "Table": lambda: Table(["a", "b", "c"], [1.0, -2.0, 0.0], [2.0, 0.5, 1.0]),
    "Pixels": lambda: Pixels(4, 5, 3),
    "Pixels-2": lambda: Pixels(4, 5, levels=2),
}

CODECS = {**TEXT_CODECS, **SOUND_CODECS, **VECTOR_CODECS}


@functools.cache
def alphabet() -> tuple[str, ...]:
    """The first 3,000 code points, marks and spaces, both kinds of surrogates, and some from beyond them."""
    points = [*range(3000), *range(0x2000, 0x2030), *range(0x2580, 0x2590), *range(0xD7F0, 0xE010), 0xFEFF, 0xFFFD]
    return tuple(map(chr, [*points, *range(0x1F600, 0x1F650), 0x10FFFF]))


def uncovered(kind: type, examples: dict[str, Callable[[], Any]]) -> Iterator[str]:
    """The registered classes that have no example."""
    covered = {type(make()) for make in examples.values()}
    return (cls.__name__ for cls in registered(kind) if cls not in covered)
