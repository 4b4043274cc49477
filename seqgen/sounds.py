"""The commands sample and score where the model is one of sound: files in, files out."""

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from seqgen.checkpoints.folder import write_atomically
from seqgen.codecs.sound import Sound
from seqgen.config import SeqgenError
from seqgen.inference.conditioning import Label
from seqgen.inference.score import Rank, Scores, Total, shown, unranked
from seqgen.media import audio, figure
from seqgen.media.audio import AudioError, Clip
from seqgen.pipeline import Pipeline


def codec(pipeline: Pipeline) -> Sound:
    """The codec of a pipeline of sound. Raises SeqgenError for another one."""
    if not isinstance(pipeline.codec, Sound):
        raise SeqgenError(f"the model is one of {type(pipeline.codec).__name__}, expected one of sound")
    return pipeline.codec


# -- sample


def save(
    pipeline: Pipeline, n: int, out: Path, png: Path | None, condition: Any, label: Label, choices: dict[str, Any]
) -> list[Path]:
    """Sample n clips, write them as `out`, or out-1, out-2 ..., their pictures likewise; the paths of the clips."""
    _check_places(out, png)  # before the long work
    with _progress(codec(pipeline).rate, n) as watch:
        clips = pipeline.sample(n, label=label, condition=condition, watch=watch, **choices)
    places = _places(out, n)
    for clip, place in zip(clips, places, strict=True):
        audio.write(place, clip)
    for clip, place in zip(clips, _places(png, n) if png else (), strict=False):
        if len(clip.samples):
            bits = surprise(pipeline, clip, label, condition)
            write_atomically(place, figure.png(figure.figure(clip, bits, place.stem)))
        else:  # the end may come at once
            print(f"{place}: not drawn, the clip is empty", file=sys.stderr)
    return places


def _check_places(out: Path, png: Path | None) -> None:
    audio.check_suffix(out)
    if png is not None and png.suffix.lower() != ".png":
        raise SeqgenError(f"{str(png)!r} cannot be written: its suffix is {png.suffix!r}, expected .png")
    for path in (out, *([png] if png else [])):
        if not path.parent.is_dir():
            raise SeqgenError(f"{str(path)!r} cannot be written: there is no folder {str(path.parent)!r}")


def pour(pipeline: Pipeline, condition: Any, label: Label, choices: dict[str, Any]) -> None:
    """Sample one clip as raw PCM on standard output, each 20 ms as soon as they are drawn."""
    rate, pieces = codec(pipeline).rate, pipeline.stream(label=label, condition=condition, **choices)
    print(f"raw PCM: 16 bits, little-endian, mono, {rate} Hz", file=sys.stderr)
    for piece in pieces:
        sys.stdout.buffer.write(audio.pcm(piece.samples).astype("<i2").tobytes())
        sys.stdout.buffer.flush()


def _places(out: Path, n: int) -> list[Path]:
    return [out] if n == 1 else [out.with_stem(f"{out.stem}-{number + 1}") for number in range(n)]


@contextlib.contextmanager
def _progress(rate: int, n: int) -> Iterator[Callable[[int, int], None]]:
    """A bar that shows how many seconds of sound are made in a second; without a terminal, a line at the end."""
    began, drawn = time.monotonic(), 0

    def speed() -> str:
        return f"{n * drawn / rate / max(1e-9, time.monotonic() - began):.3f} x real time"

    with tqdm(unit="sample", disable=None, leave=False, file=sys.stderr) as bar:

        def watch(count: int, most: int) -> None:
            nonlocal drawn
            drawn, bar.total = count, most
            if count % 100 == 0:
                bar.set_postfix_str(speed(), refresh=False)
                bar.update(count - bar.n)

        yield watch
    print(f"{n} x {drawn / rate:.2f} s of sound in {time.monotonic() - began:.1f} s: {speed()}", file=sys.stderr)


# -- score


def score(
    pipeline: Pipeline, files: Iterable[str], prefix: str | None, label: Label, end: bool
) -> Iterator[tuple[str, Iterator[Scores]]]:
    """The consecutive scores of each file, in constant memory where there is neither a prefix nor a conditioning."""
    for file in files:
        if prefix is not None:
            yield file, iter([pipeline.score(file, prefix=prefix, label=label, end=end)])
        else:
            yield file, parts(pipeline, file, label, end)


def parts(pipeline: Pipeline, file: str, label: Label = None, end: bool = True) -> Iterator[Scores]:
    """The consecutive scores of a file, which is read piece by piece. Raises AudioError when there is none."""
    blocks, nothing = audio.blocks(file, codec(pipeline).rate), True
    condition = file if pipeline.features is not None else None
    for part in pipeline.score_pieces(blocks, label=label, condition=condition, end=end):
        yield part
        nothing = False
    if nothing:
        raise AudioError(f"{file!r} is too short for a sample at the model's rate: there is nothing to score")


def print_scores(
    pipeline: Pipeline,
    scores: Iterable[tuple[str, Iterator[Scores]]],
    prefix: str | None = None,
    rank: Rank = unranked,
) -> None:
    """A line for each file and one for all."""
    total, ended = Total(unit=pipeline.codec.unit), False
    for file, parts in scores:
        one = Total()
        for part in parts:
            one, ended = one + part.total, ended or part.end_counted
        total += one
        print(f"{_brief(one)}{shown(rank(file, one))}  {file}")
    end = f", the end symbol {'counted' if ended else 'not counted'}" if pipeline.codec.end is not None else ""
    print(f"{_brief(total)}  total of {total.units:.2f} s{end}; {beginning(pipeline, prefix)}")


def _brief(total: Total) -> str:
    return (
        f"{total.nats:12.1f} nats {total.bits_per_symbol:8.4f} bits/sample {total.bits_per_unit:10.1f} bits/second "
        f"perplexity {total.perplexity:8.3f}"
    )


def write_scores(
    pipeline: Pipeline,
    scores: Iterable[tuple[str, Iterator[Scores]]],
    document: IO[str],
    prefix: str | None = None,
    rank: Rank = unranked,
) -> None:
    """One JSON document: of each file the log-probability of every sample, the end symbol's behind, and the total."""
    total, ended, before = Total(unit=pipeline.codec.unit), False, "\n"
    document.write('{"items": [')
    for file, parts in scores:
        one, comma = Total(), ""
        document.write(f'{before}{{"file": {json.dumps(file)}, "log_probs": [')
        for part in parts:
            one, ended = one + part.total, ended or part.end_counted
            numbers = [value if math.isfinite(value) else None for value in part.log_probs.tolist()]
            document.write(comma + json.dumps(numbers)[1:-1])
            comma = ", "
        document.write(f'], "total": {json.dumps({**one.as_dict(), **rank(file, one)})}}}')
        total, before = total + one, ",\n"
    whole = json.dumps({**total.as_dict(), "end_counted": ended})
    document.write(f'\n], "total": {whole}, "beginning": {json.dumps(beginning(pipeline, prefix))}}}\n')


def beginning(pipeline: Pipeline, prefix: str | None = None) -> str:
    """How the first samples are treated, whose past is shorter than what the model looks back on."""
    reach = pipeline.model.receptive_field
    if prefix is not None:
        return f"the first sample follows {prefix}, of which no sample is counted"
    if reach is None:
        return "the first sample follows the model's own initial state"
    seconds = reach / codec(pipeline).rate
    return (
        f"the first {reach} samples ({1000 * seconds:.0f} ms, the receptive field) are counted, given as much past as "
        "they have: before the first stands a learnt start, no made-up silence"
    )


def surprise(pipeline: Pipeline, clip: Clip, label: Label = None, condition: Any = None) -> np.ndarray:
    """-log2 p of every sample (N,) of a clip, in bits."""
    if not len(clip.samples):
        raise AudioError("the clip is empty: there is nothing to draw")
    if condition is None and pipeline.features is not None:
        condition = clip
    parts = pipeline.score_pieces([clip], label=label, condition=condition, end=False)
    return np.concatenate([-part.log_probs.numpy() / math.log(2) for part in parts])
