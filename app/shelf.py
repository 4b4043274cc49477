"""The models that the app offers, by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from seqgen.checkpoints import folder as checkpoint
from seqgen.checkpoints.card import card
from seqgen.codecs import Pixels
from seqgen.codecs.sound import Sound
from seqgen.data.seen import Seen, seen
from seqgen.inference.score import Total
from seqgen.pipeline import Pipeline, load
from seqgen_app.limits import Refused

Kind = Literal["text", "sound", "image", "table"]
"""What a model writes. One of tables has a card and nothing else here."""
SAID: dict[Kind | None, str] = {
    None: "",
    "text": " of text",
    "sound": " of sound",
    "image": " of pictures",
    "table": " of tables",
}


class Entry(NamedTuple):
    """One model: its pipeline, its card in Markdown, and the texts it was trained on where they are known."""

    name: str
    pipeline: Pipeline
    card: str
    seen: Seen | None

    @property
    def kind(self) -> Kind:
        """What it writes."""
        codec = self.pipeline.codec
        if isinstance(codec, Sound):
            return "sound"
        return "image" if isinstance(codec, Pixels) else "text" if codec.length is None else "table"

    @property
    def short(self) -> bool:
        """Whether it writes many short texts, each with an end, such as names."""
        return self.kind == "text" and self.pipeline.codec.end is not None

    @property
    def vocoder(self) -> bool:
        """Whether it makes a sound out of the mel spectrum of another."""
        return self.pipeline.features is not None

    @property
    def rate(self) -> int:
        """Samples a second, of a model of sound."""
        codec = self.pipeline.codec
        assert isinstance(codec, Sound)  # whoever asks has asked `kind`
        return codec.rate

    @property
    def pixels(self) -> Pixels:
        """The size and the levels, of a model of pictures."""
        codec = self.pipeline.codec
        assert isinstance(codec, Pixels)  # whoever asks has asked `kind`
        return codec

    def p_value(self, total: Total, label: dict[str, str]) -> float | None:
        """The share of held-out items of like length that are as surprising or more so.

        None where there are none, and for some of several labels: held-out items were scored given all or none.
        """
        if self.pipeline.calibration is None or len(label) not in (0, len(self.pipeline.labels)):
            return None
        return self.pipeline.p_value(total, self.pipeline.labelled(label))

    def label(self, said: Any) -> dict[str, str]:
        """Labels from "F", "digit=3, voice=en-us" or an object of names and classes. Raises Refused."""
        known = self.pipeline.labels
        if isinstance(said, str):
            words = [word.strip() for word in said.split(",") if word.strip()]
            bare = next(iter(known)) if len(known) == 1 else ""
            pairs = [word.partition("=") if "=" in word else (bare, "=", word) for word in words]
            said = {name.strip(): value.strip() for name, _, value in pairs}
        label = dict(said) if isinstance(said, dict) else {} if said is None else {"": said}
        for name, value in label.items():
            if value not in known.get(name, ()):
                choices = "; ".join(f"{one}: {', '.join(classes)}" for one, classes in known.items()) or "none"
                raise Refused(f"The label {name!s:.20}={value!s:.20} is none of the model's: {choices}.")
        return label


class Shelf:
    """Entries in the order in which they are offered: the runs that were named, then the bundled models.

    A visitor names an entry and never a path. Raises CheckpointError for a run that cannot be loaded.
    """

    def __init__(self, runs: Sequence[str | Path] = (), device: str = "cpu") -> None:
        named = [(_name(run), run) for run in runs]
        entries: dict[str, Entry] = {}
        for name, path in [*named, *checkpoint.bundled().items()]:
            unique = name if name not in entries else f"{name} ({sum(name in other for other in entries) + 1})"
            entries[unique] = _entry(unique, path, device)
        if not entries:
            raise checkpoint.CheckpointError("no models: none are bundled, expected seqgen app RUN ...")
        self.entries = entries

    def names(self, kind: Kind | None = None) -> list[str]:
        """Of all entries, or of those of a kind."""
        return [name for name, entry in self.entries.items() if kind is None or entry.kind == kind]

    def get(self, name: Any, kind: Kind | None = None) -> Entry:
        """The entry of that name. Raises Refused for any other name, and for a model of another kind."""
        names = self.names(kind)
        if not isinstance(name, str) or name not in names:
            raise Refused(f"There is no model{SAID[kind]} {str(name)[:40]!r}; there are: {', '.join(names) or 'none'}.")
        return self.entries[name]


def _name(run: str | Path) -> str:
    path = Path(run).absolute()
    return path.parent.name if path.name == "model" else path.name


def _entry(name: str, path: str | Path, device: str) -> Entry:
    pipeline = load(path, device)
    return Entry(name, pipeline, card(name, checkpoint.find(path), pipeline), seen(path, pipeline))
