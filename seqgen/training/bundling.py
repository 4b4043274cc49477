"""Models for the package: out of runs, in 16 bits where that costs next to nothing, calibrated, with a card."""

import math
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from seqgen.checkpoints import folder
from seqgen.checkpoints.card import card
from seqgen.config import SeqgenError
from seqgen.data.evaluation import held_out
from seqgen.data.runs import open_data
from seqgen.inference.score import Total
from seqgen.media.files import write_atomically
from seqgen.pipeline import Pipeline, load

COST = 0.005
"""Bits a symbol that 16 bits may cost on held-out data."""
SHORT = ("float16", "bfloat16")
CONDITIONS = 3
"""Items that come with a model that is to be conditioned on one."""
TRAINED = {
    "names": "names/full.yaml",
    "shakespeare": "shakespeare/quick.yaml",
    "digits-speech": "speech/digits.yaml",
    "digits": "digits/labelled.yaml",
    "voice": "speech/voice.yaml",
}
"""The recipe of every bundled model."""


class Rounded(NamedTuple):
    """A pipeline of rounded weights, their type, its totals on held-out data, and the bits a symbol that it costs."""

    pipeline: Pipeline
    dtype: str
    totals: dict[str, Total]
    bits: float


def bundle(run: Path, name: str, recipe: str, target: Path = folder.BUNDLED) -> str:
    """Write `target/name` from a run; a line about it. Raises SeqgenError for a run that is none of the recipe."""
    command = training_command(run, recipe)  # first, for it may refuse
    kept = rounded(load(run), run)
    place = target / name
    with tempfile.TemporaryDirectory() as temporary:
        examples = write_examples(kept.pipeline, run, Path(temporary) / folder.EXAMPLES)
        kept.pipeline.provenance |= {
            "recipe": recipe,
            "command": command,
            "held_out": {part: total.as_dict() for part, total in kept.totals.items()},
            "stored": {"dtype": kept.dtype, "bits": round(kept.bits, 7)},
            "samples": list(samples(name, kept.pipeline, examples)),
        }
        kept.pipeline.calibration = open_data(kept.pipeline, run).calibration(kept.pipeline.model)
        kept.pipeline.save_pretrained(place, kept.dtype)
        if examples:
            shutil.copytree(examples[0].parent, place / folder.EXAMPLES)
    write_atomically(place / "card.md", card(name, place).encode())
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    total = kept.totals["held out"]
    return (
        f"{name}: {total.bits_per_symbol:.4f} bits a symbol held out, {kept.bits:+.5f} in {kept.dtype}, {size:,} bytes"
    )


def rounded(pipeline: Pipeline, run: Path) -> Rounded:
    """The weights in the 16-bit type that costs less, or as they are where both cost `COST` or more."""
    before = held_out(pipeline, run)
    found = [Rounded(pipeline, "float32", before, 0.0)]
    for dtype in SHORT:
        totals = held_out(other := pipeline.rounded(dtype), run)
        cost = totals["held out"].bits_per_symbol - before["held out"].bits_per_symbol
        found.append(Rounded(other, dtype, totals, cost))
    cheap = [one for one in found[1:] if math.isfinite(one.bits) and one.bits < COST]
    return min(cheap, key=lambda one: one.bits, default=found[0])


def write_examples(pipeline: Pipeline, run: Path, place: Path) -> list[Path]:
    """Items for people to condition the model on, if it takes features: the files written to a folder.

    They are what the model makes of held-out items, so that no data is copied.
    """
    if pipeline.features is None:
        return []
    place.mkdir(parents=True, exist_ok=True)
    found = enumerate(open_data(pipeline, run).examples(CONDITIONS))
    items = [pipeline.sample(condition=item, label=label, seed=number)[0] for number, (item, label) in found]
    return pipeline.modality.write(pipeline.codec, items, place / "clip.flac")


def samples(name: str, pipeline: Pipeline, conditions: Sequence[Path] = ()) -> Iterator[dict[str, str]]:
    """Commands and their results, one for each condition or each class of the first label."""
    for condition in conditions:
        yield pipeline.modality.example(pipeline, name, {}, condition)
    if conditions:
        return
    for label, classes in list(pipeline.labels.items())[:1]:
        yield from (pipeline.modality.example(pipeline, name, {label: value}) for value in classes)
    if not pipeline.labels:
        yield pipeline.modality.example(pipeline, name, {})


def training_command(run: Path, recipe: str) -> str:
    """`seqgen fit` with the flags that make the recipe the run's own config.yaml, to the last default.

    Raises CheckpointError where there is no config.yaml, and SeqgenError where no flags lead from one to the other.
    """
    from seqgen.training.fit import resolved

    path = run / "config.yaml"
    if not path.is_file():
        raise folder.CheckpointError(f"{path} is not there; expected a run folder")
    arguments = ["--config", "trainer.yaml", "--config", recipe]
    flags = list(_differences(yaml.safe_load(resolved(arguments)), yaml.safe_load(path.read_text())))
    return shlex.join(["seqgen", "fit", *arguments, *flags])


def _differences(recipe: dict[str, Any], run: dict[str, Any], before: str = "--") -> Iterator[str]:
    for key in run if before != "--" else ("seed_everything", "trainer", "model", "data"):
        here, there, flag = recipe.get(key), run[key], f"{before}{'' if key == 'init_args' else key}"
        if isinstance(here, dict) and isinstance(there, dict):
            yield from _differences(here, there, f"{flag.removesuffix('.')}.")
        elif here != there and key == "class_path":
            raise SeqgenError(f"{flag} is {there}, the recipe says {here}: the run is none of this recipe")
        elif here != there:
            yield f"{flag}={'null' if there is None else there}"
