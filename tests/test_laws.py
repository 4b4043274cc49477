"""Every registered model obeys the laws; a class without an example fails."""

from collections.abc import Callable
from pathlib import Path

import pytest
from examples import CODECS, MODELS, OUTPUTS, uncovered
from laws import MODEL_LAWS, saved_is_loaded

from seqgen.codec import Codec
from seqgen.model import Model
from seqgen.output import Output


@pytest.mark.parametrize(("kind", "examples"), [(Model, MODELS), (Output, OUTPUTS), (Codec, CODECS)])
def test_every_registered_class_has_an_example(kind: type, examples: dict[str, Callable[[], object]]) -> None:
    assert list(uncovered(kind, examples)) == []


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("law", MODEL_LAWS, ids=lambda law: law.__name__)
def test_model(law: Callable[[Model], None], name: str) -> None:
    law(MODELS[name]())


@pytest.mark.parametrize("name", MODELS)
def test_saved_is_loaded(name: str, tmp_path: Path) -> None:
    saved_is_loaded(MODELS[name](), tmp_path / "model")
