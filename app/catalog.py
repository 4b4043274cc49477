"""The models that the app offers, by name."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from seqgen.checkpoints import folder
from seqgen.checkpoints.card import card
from seqgen.checkpoints.folder import CheckpointError
from seqgen.config import SeqgenError
from seqgen.inference.score import Total
from seqgen.modality import Modality, Request
from seqgen.pipeline import Pipeline, load
from seqgen_app.limits import Refused


class Entry(NamedTuple):
    """One model: its pipeline, its card in Markdown, and files to condition it on, if any come with it."""

    name: str
    pipeline: Pipeline
    card: str
    examples: tuple[Path, ...] = ()

    @property
    def modality(self) -> Modality:
        """The kind of data that it is a model of."""
        return self.pipeline.modality

    @property
    def peers(self) -> str:
        """What a p-value ranks an item among: "texts of similar length"."""
        return f"{self.modality.plural}{' of similar length' if self.pipeline.codec.length is None else ''}"

    def p_value(self, total: Total, label: dict[str, str]) -> float | None:
        """The share of comparable held-out items that are at most as likely as the scored one.

        None for a model without held-out scores, and where some labels are given and others not: held-out items were
        scored with all labels or with none.
        """
        if self.pipeline.calibration is None or len(label) not in (0, len(self.pipeline.labels)):
            return None
        found: float = self.pipeline.p_value(total, label=label)
        return found

    def remark(self, items: list[Any], **choices: Any) -> str:
        """What the modality remarks about samples drawn with these arguments of `Pipeline.sample`; "" for nothing."""
        remark = self.modality.remark(self.pipeline, items, Request(choices=choices))
        return "" if remark is None else f"{remark[0].upper()}{remark[1:]}."

    def label(self, given: Any) -> dict[str, str]:
        """Labels from "F", from "digit=3, voice=en-us" or from an object of names and classes. Raises Refused."""
        known = self.pipeline.labels
        if isinstance(given, str):
            words = [word.strip() for word in given.split(",") if word.strip()]
            only = next(iter(known)) if len(known) == 1 else ""
            pairs = [word.partition("=") if "=" in word else (only, "=", word) for word in words]
            given = {name.strip(): value.strip() for name, _, value in pairs}
        label = dict(given) if isinstance(given, dict) else {} if given is None else {"": given}
        for name, value in label.items():
            if value not in known.get(name, ()):
                choices = "; ".join(f"{one}: {', '.join(classes)}" for one, classes in known.items()) or "none"
                raise Refused(f"The model has no label {name!s:.20}={value!s:.20}. Its labels: {choices}.")
        return label


class Catalog:
    """Models by name; all that the app offers, or those of one modality, whose `noun` messages mention.

    A request names an entry and never a path.
    """

    def __init__(self, entries: Mapping[str, Entry], noun: str | None = None) -> None:
        self.entries, self.noun = dict(entries), noun

    @classmethod
    def load(cls, runs: Sequence[str | Path] = (), device: str = "cpu") -> Self:
        """The models of these runs, then those that come with seqgen. A name that is taken gets a number.

        Raises CheckpointError for a run that cannot be loaded.
        """
        named = [(_run_name(run), run) for run in runs]
        entries: dict[str, Entry] = {}
        for name, path in [*named, *folder.bundled().items()]:
            unique, number = name, 1
            while unique in entries:
                number += 1
                unique = f"{name} ({number})"
            place = folder.find(path)
            entries[unique] = Entry(unique, load(path, device), card(unique, place), tuple(folder.examples(place)))
        if not entries:
            raise CheckpointError("no models: none come with this installation, expected one run or more")
        return cls(entries)

    def warm_up(self) -> None:
        """Sample a symbol from every model: the first one compiles the loop, which takes seconds."""
        for entry in self.entries.values():
            length, condition = None if entry.pipeline.codec.length else 1, next(iter(entry.examples), None)
            with contextlib.suppress(SeqgenError):  # of a model that must be conditioned, and has no example
                next(iter(entry.pipeline.stream(length=length, condition=condition)), None)

    @property
    def names(self) -> list[str]:
        """In the order in which they are offered."""
        return list(self.entries)

    @property
    def first(self) -> Entry:
        """The model that is chosen when the page opens."""
        return next(iter(self.entries.values()))

    def modalities(self) -> dict[str, Modality]:
        """The modalities that there are models of, by name, in the order of the models."""
        return {entry.modality.name: entry.modality for entry in self.entries.values()}

    def of(self, modality: Modality) -> "Catalog":
        """The models of one modality."""
        chosen = {name: entry for name, entry in self.entries.items() if entry.modality.name == modality.name}
        return Catalog(chosen, modality.noun)

    def get(self, name: Any) -> Entry:
        """The entry of that name. Raises Refused where there is none."""
        if not isinstance(name, str) or name not in self.entries:
            noun = "" if self.noun is None else f" of {self.noun}"
            raise Refused(f"There is no model{noun} {str(name)[:40]!r}; there are: {', '.join(self.names) or 'none'}.")
        return self.entries[name]


def _run_name(run: str | Path) -> str:
    path = Path(run).absolute()
    return path.parent.name if path.name == "model" else path.name
