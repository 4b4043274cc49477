"""Sound: clips in files, their figures, and raw PCM while they are drawn."""

import itertools
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from seqgen.codec import Codec
from seqgen.codecs.sound import Sound
from seqgen.config import SeqgenError
from seqgen.media import audio, figure
from seqgen.media.audio import AudioError, Clip
from seqgen.media.files import write_atomically
from seqgen.modality import Modality, Preview, Request, check_folder, finite, numbered, sample_command, sum_totals

if TYPE_CHECKING:
    from seqgen.inference.conditioning import Label
    from seqgen.inference.score import Scores, Total
    from seqgen.pipeline import Pipeline

SHORT = 0.05
"""Seconds below which a clip is worth a remark."""
CLIPS = 2
"""Clips of a preview."""


class SoundModality(Modality):
    """Clips, in WAV, FLAC or Ogg Vorbis files."""

    name = "sound"
    noun = "sound"
    plural = "clips"
    suffixes = tuple(audio.FORMATS)
    options = frozenset({"seconds", "condition", "png", "stream"})
    printable = False
    key = "file"

    def collection(self, items: Any) -> list[Any] | None:
        """A list; a Clip is a tuple, and one item."""
        return items if isinstance(items, list) else None

    def pieces(self, codec: Codec, item: Any) -> Iterator[Any]:
        """The clip itself, which the codec reads in blocks."""
        return iter([item])

    def signal(self, codec: Codec, item: Any) -> np.ndarray:
        """Samples (N,) at the codec's rate. Raises SeqgenError for no samples at all."""
        parts = item if isinstance(item, list) else [item]
        samples = np.concatenate([_sound(codec).samples(part) for part in parts if part is not None])
        if not len(samples):
            raise SeqgenError("the sound to be conditioned on is empty")
        return samples

    def symbols(self, codec: Codec, seconds: float) -> int:
        """Those of whole frames."""
        if not 0 <= seconds < 1e6:
            raise SeqgenError(f"seconds is {seconds}, expected a number from 0 to below 1,000,000")
        count: int = _sound(codec).count(round(seconds * _sound(codec).rate))
        return count

    def write(self, codec: Codec, items: list[Any], path: Path) -> list[Path]:
        """A file a clip, numbered where there are several."""
        places = numbered(path, len(items))
        for clip, place in zip(items, places, strict=True):
            audio.write(place, clip)
        return places

    def show(self, codec: Codec, items: list[Any]) -> str:
        """Terminals are mute."""
        raise SeqgenError("clips are not printed, expected a file to write them to, or a stream of raw PCM")

    def plain(self, codec: Codec, item: Any) -> Any:
        """JSON holds no sound."""
        return self.show(codec, [item])

    def check(self, request: Request, json: bool = False) -> None:
        """The figure, too."""
        super().check(request, json)
        if request.png is not None:
            if request.png.suffix.lower() != ".png":
                raise SeqgenError(
                    f"{str(request.png)!r} cannot be written: its suffix is {request.png.suffix!r}, expected .png"
                )
            check_folder(request.png)

    def save(self, pipeline: "Pipeline", items: list[Any], request: Request) -> list[Path]:
        """With a figure of each clip, if asked for."""
        assert request.out is not None  # whoever calls has checked
        places = self.write(pipeline.codec, items, request.out)
        original = None
        if request.png is not None and request.condition is not None:
            codec = _sound(pipeline.codec)
            original = Clip(codec.samples(request.condition), codec.rate)
        for clip, place in zip(items, numbered(request.png, len(items)) if request.png else (), strict=False):
            if len(clip.samples):
                bits = surprise(pipeline, clip, request.label, request.condition)
                write_atomically(place, figure.png(figure.figure(clip, bits, place.stem, original)))
            else:  # the end symbol may come first
                print(f"{place}: not drawn, the clip is empty", file=sys.stderr)
        return places

    def stream(self, codec: Codec, pieces: Iterable[Any], out: TextIO) -> None:
        """Raw PCM, 20 ms at a time."""
        print(f"raw PCM: 16 bits, little-endian, mono, {_sound(codec).rate} Hz", file=sys.stderr)
        for piece in pieces:
            out.buffer.write(audio.pcm(piece.samples).astype("<i2").tobytes())
            out.buffer.flush()

    def remark(self, pipeline: "Pipeline", items: list[Any], request: Request) -> str | None:
        """How many clips the model ended after less than 50 ms."""
        seconds = [clip.seconds for clip in items if clip.seconds < SHORT]
        wanted = request.choices.get("length")
        if not seconds or (wanted is not None and wanted < SHORT * _sound(pipeline.codec).symbol_rate):
            return None
        return (
            f"{len(seconds)} of {len(items)} clips are shorter than {1000 * SHORT:.0f} ms (the shortest has "
            f"{1000 * min(seconds):.0f} ms): the model drew the end symbol early; another seed gives others"
        )

    def speed(self, codec: Codec, items: int, symbols: int, seconds: float) -> str:
        """Seconds of sound in a second."""
        rate = _sound(codec).symbol_rate
        factor = items * symbols / rate / max(1e-9, seconds)
        return f"{items} x {symbols / rate:.2f} s of sound in {seconds:.2f} s: {factor:.3g} x real time"

    def preview(
        self,
        pipeline: "Pipeline",
        path: Path,
        seed: int,
        count: int = CLIPS,
        length: int | None = None,
        examples: Iterable[tuple[Any, dict[str, str]]] = (),
    ) -> Iterator[Preview]:
        """A clip and a figure of some classes, others at every seed; or, of a vocoder, held-out clips made anew."""
        labels, count = pipeline.labels, min(count, CLIPS)
        classes = (
            (None, {name: known[(seed + number) % len(known)] for name, known in labels.items() if known})
            for number in range(count)
        )
        for number, (condition, label) in enumerate(
            classes if pipeline.features is None else itertools.islice(examples, count)
        ):
            try:
                (clip,) = pipeline.sample(label=label, condition=condition, seed=seed + number)
            except SeqgenError as error:  # of numbers that grow beyond all bounds; the other clips may be well
                print(f"no sample {number + 1} at step {seed}: {error}", file=sys.stderr)
                continue
            if not len(clip.samples):  # the end symbol may come first
                continue
            name = re.sub(r"[^\w.-]", "_", "-".join([f"{path.name}-{number + 1}", *label.values()]))
            audio.write(path.with_name(f"{name}.wav"), clip)
            if condition is not None:
                audio.write(path.with_name(f"original-{number + 1}.wav"), condition)
            drawn = figure.figure(clip, surprise(pipeline, clip, label, condition), name, condition)
            write_atomically(path.with_name(f"{name}.png"), figure.png(drawn))
            yield Preview(path.with_name(f"{name}.wav"), None, clip.samples, clip.rate, figure.pixels(drawn))

    def example(
        self, pipeline: "Pipeline", name: str, label: dict[str, str], condition: Path | None = None
    ) -> dict[str, str]:
        """How long a clip is."""
        (clip,) = pipeline.sample(label=label, condition=condition, seed=1)
        given = "" if condition is None else f" --condition {condition.parent.name}/{condition.name}"
        command = f"{sample_command(name, label)}{given} --seed 1 --out clip.wav"
        return {"command": command, "result": f"{clip.seconds:.2f} s of sound"}

    def line(self, total: "Total") -> str:
        """Bits a sample and a second."""
        perplexity = f" perplexity {total.perplexity:8.3f}" if total.discrete else ""
        return (
            f"{total.nats:12.1f} nats {total.bits_per_symbol:8.4f} bits/sample {total.bits_per_unit:10.1f} bits/second"
            f"{perplexity}"
        )

    def record(self, name: str, parts: "Iterable[Scores]", ranks: Any, per_symbol: bool = True) -> Iterator[str]:
        """The log-probability of every sample, the end symbol's last, as they come."""
        totals, comma = [], ""
        yield f'{{"file": {json.dumps(name)}, "log_probs": ['
        for part in parts:
            totals.append(part.total)
            yield comma + json.dumps(finite(part.log_probs.tolist()))[1:-1]
            comma = ", "
        total = sum_totals(totals)
        yield f'], "total": {json.dumps({**total.as_dict(), **ranks(total)})}}}'

    def size(self, total: "Total") -> str:
        """Seconds."""
        return f"{total.units:.2f} s"

    def beginning(self, pipeline: "Pipeline", prefix: Any = None) -> str:
        """How the first samples are scored."""
        reach = pipeline.model.receptive_field
        if prefix is not None:
            return f"the first sample follows {prefix}, of which no sample is counted"
        if reach is None:
            return "the first sample follows the model's own initial state"
        seconds = reach / _sound(pipeline.codec).symbol_rate
        return (
            f"the first {reach} samples ({1000 * seconds:.0f} ms, the receptive field) are counted, each given all "
            "samples before it: before the first stands a learnt start, no padding with silence"
        )


def surprise(pipeline: "Pipeline", clip: Clip, label: "Label" = None, condition: Any = None) -> np.ndarray:
    """-log2 p of every sample (N,) of a clip, in bits."""
    if not len(clip.samples):
        raise AudioError("the clip is empty: there is nothing to draw")
    if condition is None and pipeline.features is not None:
        condition = clip
    parts = pipeline.score_pieces([clip], label=label, condition=condition, end=False)
    return np.concatenate([-part.log_probs.numpy() / math.log(2) for part in parts])


def _sound(codec: Codec) -> Sound:
    assert isinstance(codec, Sound)  # it names this modality
    return codec
