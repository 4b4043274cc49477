"""A model declares what it takes, and takes what it declares."""

import pytest
import torch
from examples import MODELS, made, pixels, rnn, wavenet

from seqgen.config import SeqgenError
from seqgen.model import Context
from seqgen.models import PixelCNN
from seqgen.output import Output
from seqgen.outputs import Bernoulli, Categorical, Gaussians


@pytest.mark.parametrize("name", MODELS)
def test_a_model_takes_labels_and_frames_of_the_declared_sizes_alone(name: str) -> None:
    """The largest class of each label is taken and the next one is refused; so are frames of another size."""
    model = MODELS[name]()
    x, frames = torch.zeros(1, 6, dtype=model.output.dtype), None
    if model.feature_size:
        frames = torch.zeros(1, -(-6 // model.feature_hop), model.feature_size)
    largest = torch.tensor([model.label_sizes], dtype=torch.int64)
    rows = model(x, Context(largest if model.label_sizes else None, frames))
    assert rows.shape == (1, 6, model.output.size)
    for place in range(len(model.label_sizes)):
        beyond = largest.clone()
        beyond[0, place] += 1
        with pytest.raises(SeqgenError, match="label"):
            model(x, Context(beyond, frames))
    more = torch.ones(1, len(model.label_sizes) + 1, dtype=torch.int64)
    with pytest.raises(SeqgenError, match="label"):
        model(x, Context(more, frames))
    if frames is not None:
        for wrong in (frames[:, :-1], frames[..., :-1], torch.cat([frames, frames], 2)):
            with pytest.raises(SeqgenError, match=r"frames|features"):
                model(x, Context(largest if model.label_sizes else None, wrong))


def test_a_frame_conditions_as_many_symbols_as_declared() -> None:
    model = wavenet(Categorical(3), features=2, hop=5)
    assert (model.feature_size, model.feature_hop) == (2, 5)
    features = Context(features=torch.zeros(1, 2, 2))
    assert model(torch.zeros(1, 10, dtype=torch.int64), features).shape == (1, 10, 3)
    with pytest.raises(SeqgenError, match="2 frames of 5 symbols condition 10 symbols, expected 11"):
        model(torch.zeros(1, 11, dtype=torch.int64), features)


@pytest.mark.parametrize("output", [Categorical(3), Bernoulli(), Gaussians()], ids=lambda output: type(output).__name__)
@pytest.mark.parametrize("scalar", [False, True])
def test_scalar_input_says_whether_a_class_enters_as_one_number(output: Output, scalar: bool) -> None:
    """Only an output with one-hot inputs gives the choice."""
    models = wavenet(output, scalar=scalar), pixels(PixelCNN, output, scalar=scalar)
    for model in models:
        assert model.scalar_input == (scalar and isinstance(output, Categorical))
    assert models[0].input.in_features == (1 if scalar else output.width)


def test_models_without_conditioning_declare_none() -> None:
    for model in (rnn(Categorical(3)), made(Bernoulli())):
        assert (model.label_sizes, model.feature_size, model.feature_hop, model.scalar_input) == ((), 0, 1, False)
