"""Every registered model obeys the laws; a class, a pair or an option without an example fails."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from examples import CODECS, MODELS, OUTPUTS, registered, rnn, uncovered
from laws import MODEL_LAWS, gradients_through_steps_equal_forward, saved_is_loaded
from pairwise import uncovered_options, uncovered_pairs

from seqgen.codec import Codec
from seqgen.config import describe
from seqgen.model import Context, Model
from seqgen.models import RNN
from seqgen.output import Output
from seqgen.outputs import Categorical


@pytest.mark.parametrize(("kind", "examples"), [(Model, MODELS), (Output, OUTPUTS), (Codec, CODECS)])
def test_every_registered_class_has_an_example(kind: type, examples: dict[str, Callable[[], object]]) -> None:
    assert list(uncovered(kind, examples)) == []


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return {name: make() for name, make in MODELS.items()}


@pytest.fixture(scope="module")
def outputs() -> list[Output]:
    return [make() for make in OUTPUTS.values()]


def test_every_pair_of_model_output_and_conditioning_has_an_example(
    models: dict[str, Model], outputs: list[Output]
) -> None:
    assert list(uncovered_pairs(models.values(), registered(Model), outputs)) == []


def test_a_pair_without_an_example_is_found(models: dict[str, Model], outputs: list[Output]) -> None:
    """Without the only examples of some pairs, all these pairs and no others are missing."""

    def missing(*without: str) -> list[str]:
        rest = [model for name, model in models.items() if name not in without]
        return sorted(uncovered_pairs(rest, registered(Model), outputs))

    assert missing("WaveNet-bernoulli-both") == ["Bernoulli with features and labels"]
    assert missing("NGram-2-labels", "NGram-3-label") == ["NGram with labels"]
    assert missing("RNN-gru-labels") == ["RNN with DiscretizedLogistics"]
    fvsbn = [name for name, model in models.items() if type(model).__name__ == "FVSBN"]
    assert missing(*fvsbn) == [  # without any example, nothing is known of the outputs it takes
        "Categorical with order",
        *(f"FVSBN with {parts}" for parts in ("labels", "labels and order", "no context", "order")),
        "Gaussians with labels and order",
    ]


@pytest.mark.parametrize("cls", registered(Model), ids=lambda cls: cls.__name__)
def test_every_option_has_an_example(cls: type[Model], models: dict[str, Model]) -> None:
    assert list(uncovered_options(models.values(), cls)) == []


def test_an_option_without_an_example_is_found(models: dict[str, Model]) -> None:
    rest = [model for name, model in models.items() if name not in ("RNN-norm", "RNN-tied", "RNN-lstm")]
    missing = ["dropout not the default", "forget_bias not the default", "layer_norm True", "tied True"]
    assert sorted(uncovered_options(rest, type(models["RNN-norm"]))) == [f"RNN: {option}" for option in missing]


def test_every_output_has_examples_of_a_few_models(models: dict[str, Model]) -> None:
    """Every output of an example, arguments included, is combined with three model classes or more."""
    described = [(type(model), describe(model.output)) for model in models.values()]
    for _, output in described:
        assert len({cls for cls, other in described if other == output}) >= 3, output


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("law", MODEL_LAWS, ids=lambda law: law.__name__)
def test_model(law: Callable[[Model], None], name: str) -> None:
    law(MODELS[name]())


@pytest.mark.parametrize("name", MODELS)
def test_saved_is_loaded(name: str, tmp_path: Path) -> None:
    saved_is_loaded(MODELS[name](), tmp_path / "model")


def test_a_state_without_its_gradient_breaks_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are the same if `step` detaches the hidden state; gradients are not."""
    step = RNN.step

    def detached(
        self: RNN, x: torch.Tensor, state: tuple[tuple[torch.Tensor, ...], ...], context: Context | None = None
    ) -> object:
        return step(self, x, tuple(tuple(part.detach() for part in layer) for layer in state), context)

    monkeypatch.setattr(RNN, "step", detached)
    with pytest.raises(AssertionError, match=r"the gradient of .* for chunks of \[1, 1"):
        gradients_through_steps_equal_forward(rnn(Categorical(3)))
