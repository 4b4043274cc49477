"""Every recipe trains: a few steps on small data, by the command `seqgen fit`, down to a model that samples."""

from pathlib import Path

import numpy as np
import pytest
import small

import seqgen
from seqgen.codecs.sound import Sound
from seqgen.media.audio import Clip

FOUND = sorted(str(path.relative_to(small.RECIPES)) for path in small.RECIPES.glob("*/*.yaml"))


def test_there_are_recipes() -> None:
    """An empty list would test nothing."""
    assert "names/gru.yaml" in FOUND


@pytest.mark.parametrize("recipe", FOUND)
def test_recipe_trains(recipe: str, tmp_path: Path) -> None:
    """With trainer.yaml before it, as its README says."""
    configs = ["trainer.yaml", recipe]
    arguments = [f"--config={config}" for config in configs]
    small.seqgen_here("fit", *arguments, "--run=run", *small.quick(configs, tmp_path), cwd=tmp_path)
    pipeline = seqgen.load(tmp_path / "run")
    if isinstance(pipeline.codec, Sound):
        condition = Clip(np.zeros(300, np.float32), pipeline.codec.rate) if pipeline.features else None
        clip = pipeline.sample(length=20, seed=0, condition=condition)[0]
        assert len(clip.samples) <= 20
        assert list((tmp_path / "run" / "samples").glob("*.wav"))
    elif pipeline.codec.length is not None:
        (item,) = pipeline.sample(seed=0)
        assert len(pipeline.codec.encode(item)) == pipeline.codec.length
        assert list((tmp_path / "run" / "samples").iterdir())
    else:
        assert isinstance(pipeline.sample(length=20, seed=0)[0], str)
    assert pipeline.provenance["step"] in (1, 2)
    assert (tmp_path / "run" / "metrics.csv").read_text().count("\n") > 1
