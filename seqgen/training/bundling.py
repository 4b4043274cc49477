"""Models for the package: out of runs, in 16 bits where that costs next to nothing, calibrated, with a card."""

import copy
import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

from seqgen.checkpoints import folder as checkpoint
from seqgen.checkpoints.card import card
from seqgen.codecs import Pixels
from seqgen.codecs.sound import Sound
from seqgen.config import SeqgenError
from seqgen.data.evaluation import held_out, opened
from seqgen.data.seen import HASHES, seen
from seqgen.inference.score import Total
from seqgen.media.grid import dots
from seqgen.pipeline import Pipeline, load

COST = 0.005
"""Bits a symbol that 16 bits may cost on held-out data."""
SHORT = (torch.float16, torch.bfloat16)
TRAINED = {
    "names": "names/full.yaml",
    "shakespeare": "shakespeare/quick.yaml",
    "digits-speech": "speech/digits.yaml",
    "digits": "digits/labelled.yaml",
}
"""The recipe of every bundled model."""


class Rounded(NamedTuple):
    """A pipeline of rounded weights, their type, its totals on held-out data, and the bits a symbol that it costs."""

    pipeline: Pipeline
    dtype: torch.dtype
    totals: dict[str, Total]
    bits: float


def bundle(run: Path, name: str, recipe: str, folder: Path = checkpoint.BUNDLED) -> str:
    """Write `folder/name` from a run; a line about it. Raises ValueError and CheckpointError for a run that is none."""
    command = training_command(run, recipe)  # first, for it may refuse
    kept = rounded(load(run), run)
    kept.pipeline.provenance |= {
        "recipe": recipe,
        "command": command,
        "held_out": {part: total.as_dict() for part, total in kept.totals.items()},
        "stored": {"dtype": str(kept.dtype).removeprefix("torch."), "bits": round(kept.bits, 7)},
        "samples": list(samples(name, kept.pipeline)),
    }
    kept.pipeline.calibration = opened(kept.pipeline, run).calibration(kept.pipeline.model)
    place = folder / name
    kept.pipeline.save_pretrained(place, kept.dtype)
    if (texts := seen(run, kept.pipeline)) is not None:
        checkpoint.write_atomically(place / HASHES, bytes(texts))
    checkpoint.write_atomically(place / "card.md", card(name, place, load(place)).encode())
    size = sum(path.stat().st_size for path in place.iterdir())
    total = kept.totals["held out"]
    return (
        f"{name}: {total.bits_per_symbol:.4f} bits a symbol held out, {kept.bits:+.5f} in {kept.dtype}, {size:,} bytes"
    )


def rounded(pipeline: Pipeline, run: Path) -> Rounded:
    """The weights in the 16-bit type that costs less, or as they are where both cost `COST` or more."""
    before = held_out(pipeline, run)
    found = [Rounded(pipeline, torch.float32, before, 0.0)]
    for dtype in SHORT:
        totals = held_out(other := _round(pipeline, dtype), run)
        cost = totals["held out"].bits_per_symbol - before["held out"].bits_per_symbol
        found.append(Rounded(other, dtype, totals, cost))
    cheap = [one for one in found[1:] if math.isfinite(one.bits) and one.bits < COST]
    return min(cheap, key=lambda one: one.bits, default=found[0])


def _round(pipeline: Pipeline, dtype: torch.dtype) -> Pipeline:
    model = copy.deepcopy(pipeline.model)
    for tensor in model.state_dict().values():
        if tensor.dtype == torch.float32:
            tensor.copy_(tensor.to(dtype))
    return Pipeline(model, pipeline.codec, pipeline.labels, pipeline.provenance, pipeline.features)


def samples(name: str, pipeline: Pipeline) -> Iterator[dict[str, Any]]:
    """Commands and what they give, in the words of the command line; of sound, how long the clips are."""
    for label in _classes(pipeline):
        said = " ".join(f"--label {key}={value}" for key, value in label.items())
        words = f"seqgen sample {name} {said}".strip()
        if isinstance(pipeline.codec, Sound):
            (clip,) = pipeline.sample(label=label, seed=1)
            yield {"command": f"{words} --seed 1 --out clip.wav", "result": f"{clip.seconds:.2f} s of sound"}
        elif isinstance(pipeline.codec, Pixels):
            pictures = pipeline.sample(2, label=label, seed=1)
            yield {"command": f"{words} -n 2 --seed 1 --out pictures.png", "result": dots(pictures)}
        elif pipeline.codec.end is not None:
            texts = pipeline.sample(12, label=label, seed=1)
            yield {"command": f"{words} -n 12 --seed 1", "result": ", ".join(texts)}
        else:
            (text,) = pipeline.sample(length=400, label=label, temperature=0.7, seed=1)
            yield {"command": f"{words} --length 400 --temperature 0.7 --seed 1", "result": text.strip("\n")}


def _classes(pipeline: Pipeline) -> Iterator[dict[str, str]]:
    """Each class of the first label; the labels behind it are not said."""
    for label, classes in list(pipeline.labels.items())[:1]:
        yield from ({label: value} for value in classes)
    if not pipeline.labels:
        yield {}


def training_command(run: Path, recipe: str) -> str:
    """`seqgen fit` with the flags that make the recipe the run's own config.yaml, to the last default.

    Raises CheckpointError where there is no config.yaml, and SeqgenError where no flags lead from one to the other.
    """
    from seqgen.training.fit import resolved

    path = run / "config.yaml"
    if not path.is_file():
        raise checkpoint.CheckpointError(f"{path} is not there; expected a run folder")
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
