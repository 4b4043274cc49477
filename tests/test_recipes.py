"""Every recipe trains: a few steps on small data, by the command `seqgen fit`, down to a model that samples."""

import re
from pathlib import Path

import numpy as np
import pytest
import small

import seqgen
from seqgen.codecs.sound import Sound
from seqgen.config import SeqgenError
from seqgen.media.audio import Clip
from seqgen.training import fit

FOUND = sorted(str(path.relative_to(small.RECIPES)) for path in small.RECIPES.glob("*/*.yaml"))


def test_there_are_recipes() -> None:
    """An empty list would test nothing."""
    assert "names/gru.yaml" in FOUND


@pytest.mark.parametrize("recipe", FOUND)
def test_recipe_trains(recipe: str, tmp_path: Path) -> None:
    """With trainer.yaml before it, as its README says."""
    configs = ["trainer.yaml", recipe]
    arguments = [f"--config={config}" for config in configs]
    quick = small.quick(configs, tmp_path)
    assert not any("val_check" in argument or "check_val" in argument for argument in quick)  # those are the recipe's
    small.seqgen_here("fit", *arguments, "--run=run", *quick, cwd=tmp_path)
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


@pytest.mark.parametrize(
    ("recipe", "wrong"),
    [("digits/cifar10.yaml", "val_check_interval: 0.02"), ("names/gru.yaml", "val_check_interval: 0.5")],
)
def test_a_recipe_that_validates_by_a_share_of_no_epoch_would_fail(recipe: str, wrong: str, tmp_path: Path) -> None:
    """What starting a recipe with its own interval can tell: cifar10.yaml once had this one."""
    text = (small.RECIPES / recipe).read_text()
    (tmp_path / "wrong.yaml").write_text(re.sub(r"val_check_interval: \d+", wrong, text))
    assert wrong in (tmp_path / "wrong.yaml").read_text()
    configs = [f"--config={small.RECIPES / 'trainer.yaml'}", f"--config={tmp_path / 'wrong.yaml'}"]
    quick = small.quick(["trainer.yaml", recipe], tmp_path)
    with pytest.raises(SeqgenError, match="val_check_interval"):
        fit.main([*configs, f"--run={tmp_path / 'run'}", *quick])
    assert not (tmp_path / "run").exists()
