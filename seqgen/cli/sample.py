"""The command `seqgen sample`."""

import argparse
import contextlib
import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqgen.cli.common import labels, loaded, preloading, printable, warn
from seqgen.config import SeqgenError

if TYPE_CHECKING:
    from seqgen.modality import Request
    from seqgen.pipeline import Pipeline

SPECIAL = ("seconds", "condition", "png", "probabilities", "stream")
"""Options that only some modalities have."""
STEP = 100
"""Symbols between two updates of the progress bar."""


def sample(options: argparse.Namespace) -> None:
    """Print samples, write them to files, or stream one."""
    with contextlib.nullcontext() if options.engine == "plain" else preloading():
        pipeline = loaded(options)
    from seqgen.modality import Request

    modality, codec = pipeline.modality, pipeline.codec
    given = [name for name in SPECIAL if getattr(options, name) is not None and getattr(options, name) is not False]
    if wrong := [name for name in given if name not in modality.options]:
        raise SeqgenError(f"--{wrong[0]} does not go with models of {modality.noun}")
    if options.seed is None:
        options.seed = random.SystemRandom().getrandbits(31)  # here, so that --json can report it
    choices = {name: getattr(options, name) for name in ("length", "temperature", "top_k", "top_p", "seed", "engine")}
    choices["prompt"] = None if options.prompt is None else modality.read(codec, options.prompt)
    if options.seconds is not None:
        if options.length is not None:
            raise SeqgenError(f"got --seconds {options.seconds} and --length {options.length}, expected one of them")
        choices["length"] = modality.symbols(codec, options.seconds)
    out, png = options.out, options.png
    request = Request(labels(options.label), options.condition, choices, out, png, options.probabilities)
    modality.check(request, options.json)  # before the long work
    plainly_printed = options.n == 1 and request.out is None and not options.json and request.png is None
    if options.stream or (modality.streams and plainly_printed):
        if not plainly_printed:
            raise SeqgenError("--stream writes one sample to standard output, without -n, --out, --png and --json")
        _stream(pipeline, request)
    elif request.out is None and not modality.printable:
        raise SeqgenError(f"expected --out FILE, such as clip{modality.suffixes[0]}, or --stream for raw data")
    else:
        _sample(pipeline, options.n, request, options.json)


def _stream(pipeline: "Pipeline", request: "Request") -> None:
    loops: list[str] = []
    choices = {**request.choices, "report": loops.append}
    pieces = pipeline.stream(label=request.label, condition=request.condition, **choices)
    pipeline.modality.stream(pipeline.codec, pieces, sys.stdout)
    _remark(pipeline, [], request, loops)


def _sample(pipeline: "Pipeline", n: int, request: "Request", as_json: bool) -> None:
    modality, codec = pipeline.modality, pipeline.codec
    loops: list[str] = []
    with _progress(pipeline, n, loops) as watch:
        items = pipeline.sample(
            n, label=request.label, condition=request.condition, watch=watch, report=loops.append, **request.choices
        )
    _remark(pipeline, items, request, loops)
    document = {**request.choices, "engine": ", ".join(loops), "label": request.label}
    if request.condition is not None:
        document["condition"] = str(request.condition)
    if request.out is not None and not (as_json and request.out.suffix.lower() == ".json"):
        files = list(map(str, modality.save(pipeline, items, request)))
        print(json.dumps({**document, "files": files}, indent=2) if as_json else printable("\n".join(files)))
        return
    text = modality.show(codec, items)
    if as_json:
        text = json.dumps({**document, "samples": [modality.plain(codec, item) for item in items]}, indent=2)
    if request.out is None:
        print(printable(text))
    else:
        _write(request.out, text)


def _write(path: Path, text: str) -> None:
    from seqgen.media.files import write_atomically

    write_atomically(path, (text + "\n").encode("utf-8", "surrogatepass"))


def _remark(pipeline: "Pipeline", items: list[Any], request: "Request", loops: list[str]) -> None:
    """On standard error: which loop drew, where one was asked for, and what the modality has to say."""
    if request.choices["engine"] != "auto" and loops:
        warn(f"engine: {', '.join(loops)}")
    if (remark := pipeline.modality.remark(pipeline, items, request)) is not None:
        warn(f"note: {remark}")


@contextlib.contextmanager
def _progress(pipeline: "Pipeline", n: int, loops: list[str]) -> Iterator[Callable[[int, int], None]]:
    """A bar of symbols on a terminal, and at the end a line about the speed where the modality has one.

    `loops` are the loops that have been at work, as `Pipeline.sample` reports them.
    """
    from tqdm import tqdm

    began, drawn = time.monotonic(), 0

    def speed() -> str | None:
        return pipeline.modality.speed(pipeline.codec, n, drawn, time.monotonic() - began)

    with tqdm(unit="symbol", disable=None, leave=False, file=sys.stderr) as bar:

        def watch(count: int, most: int) -> None:
            nonlocal drawn
            drawn, bar.total = count, most
            if count - bar.n >= STEP:
                bar.set_postfix_str(speed() or "", refresh=False)
                bar.update(count - bar.n)

        yield watch
    if (told := speed()) is not None:
        warn(f"{told} ({', '.join(loops) or 'nothing drawn'})")
