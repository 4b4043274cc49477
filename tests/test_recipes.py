"""Every recipe trains: a few steps on small data, by the command `seqgen fit`, down to a model that samples.

Those that a README trains are trained in tests/test_readme.py.
"""

import re
from pathlib import Path

import pytest
import small

from seqgen.config import SeqgenError
from seqgen.training import fit

FOUND = sorted(str(path.relative_to(small.RECIPES)) for path in small.RECIPES.glob("*/*.yaml"))
TRAINED = set(re.findall(r"seqgen fit .*--config (\S+/\S+)", "".join(path.read_text() for path in small.READMES)))


def test_there_are_recipes() -> None:
    """An empty list would test nothing."""
    assert "names/gru.yaml" in FOUND
    assert set(FOUND) > TRAINED > {"names/gru.yaml", "speech/vocoder.yaml"}


@pytest.mark.parametrize("recipe", [recipe for recipe in FOUND if recipe not in TRAINED])
def test_recipe_trains(recipe: str, tmp_path: Path) -> None:
    """With trainer.yaml before it, as a README would say."""
    configs = ["trainer.yaml", recipe]
    arguments = [f"--config={config}" for config in configs]
    quick = small.quick(configs, tmp_path)
    assert not any("val_check" in argument or "check_val" in argument for argument in quick)  # those are the recipe's
    small.seqgen_here("fit", *arguments, "--run=run", *quick, cwd=tmp_path)
    small.check_trained(tmp_path / "run")


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
