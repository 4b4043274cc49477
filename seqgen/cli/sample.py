"""The command `seqgen sample`."""

import argparse
import json
import random
from typing import TYPE_CHECKING, Any

from seqgen.cli.common import labels, loaded, printable
from seqgen.config import SeqgenError

if TYPE_CHECKING:
    from seqgen.inference.conditioning import Label
    from seqgen.pipeline import Pipeline


def sample(options: argparse.Namespace) -> None:
    """Print texts and rows, or write clips and pictures to files."""
    pipeline = loaded(options)
    if options.seed is None:
        options.seed = random.SystemRandom().getrandbits(31)  # here, so that --json can tell it
    names = ("prompt", "length", "temperature", "top_k", "top_p", "seed")
    choices = {name: getattr(options, name) for name in names}
    label = labels(options.label)
    if options.probabilities and pipeline.codec.unit != "image":
        raise SeqgenError(f"--probabilities is for models of pictures; this is one of {type(pipeline.codec).__name__}")
    if pipeline.codec.unit == "second":
        _sample_sounds(pipeline, options, label, choices)
        return
    if options.out is not None and not options.out.parent.is_dir():
        raise SeqgenError(f"{str(options.out)!r} cannot be written: there is no folder {str(options.out.parent)!r}")
    sound = {name: getattr(options, name) for name in ("seconds", "context", "png", "stream")}
    if wrong := [f"--{name}" for name, value in sound.items() if value is not None and value is not False]:
        raise SeqgenError(f"{wrong[0]} is for models of sound; this is one of {type(pipeline.codec).__name__}")
    if pipeline.codec.length is not None:
        _sample_vectors(pipeline, options, label, choices)
        return
    if options.n == 1 and not options.json and options.out is None:
        for piece in pipeline.stream(label=label, **choices):
            print(printable(piece), end="", flush=True)
        print()
        return
    texts = pipeline.sample(options.n, label=label, **choices)
    separator = "\n" if all("\n" not in text for text in texts) else "\n" + "-" * 40 + "\n"
    document = (
        json.dumps({**choices, "label": label, "samples": texts}, indent=2) if options.json else separator.join(texts)
    )
    if options.out is None:
        print(printable(document))
    else:
        from seqgen.checkpoints.folder import write_atomically

        write_atomically(options.out, (document + "\n").encode("utf-8", "surrogatepass"))


def _sample_vectors(pipeline: "Pipeline", options: argparse.Namespace, label: "Label", choices: dict[str, Any]) -> None:
    """Rows as lines of comma-separated text, pictures side by side in one PNG file."""
    from seqgen.checkpoints.folder import write_atomically
    from seqgen.codecs import Table

    codec = pipeline.codec
    if not isinstance(codec, Table) and (options.out is None or options.out.suffix.lower() != ".png" or options.json):
        raise SeqgenError("expected --out pictures.png, and no --json, for a model of pictures")
    items = pipeline.sample(options.n, label=label, **choices)
    if not isinstance(codec, Table):
        from seqgen.media.grid import grid, png
        from seqgen.output import Sampling
        from seqgen.sheet import expected, sheet

        drawn = grid(items)
        if options.probabilities:
            sampling = Sampling(options.temperature, options.top_k, options.top_p)
            drawn = sheet(items, expected(pipeline, items, label, options.prompt, sampling))
        alone = len(items) == 1 and not options.probabilities
        write_atomically(options.out, png(drawn, 1 if alone else 4))  # one alone can be scored, and completed
        print(options.out)
        return
    lines = "\n".join([codec.header, *map(codec.line, items)])
    text = json.dumps({**choices, "label": label, "samples": items}, indent=2) if options.json else lines
    if options.out is None:
        print(text)
    else:
        write_atomically(options.out, (text + "\n").encode())


def _sample_sounds(pipeline: "Pipeline", options: argparse.Namespace, label: "Label", choices: dict[str, Any]) -> None:
    from seqgen import sounds

    if options.seconds is not None:
        if options.length is not None:
            raise SeqgenError(f"got --seconds {options.seconds} and --length {options.length}, expected one of them")
        if not 0 <= options.seconds < 1e6:
            raise SeqgenError(f"--seconds is {options.seconds}, expected a number from 0 to below 1,000,000")
        choices["length"] = round(options.seconds * sounds.codec(pipeline).rate)
    if options.stream:
        if options.n != 1 or options.out is not None or options.json or options.png is not None:
            raise SeqgenError("--stream writes one clip to standard output, without -n, --out, --png and --json")
        sounds.pour(pipeline, options.context, label, choices)
        return
    if options.out is None:
        raise SeqgenError("expected --out clip.wav, or --stream for raw PCM on standard output")
    files = sounds.save(pipeline, options.n, options.out, options.png, options.context, label, choices)
    if options.json:
        asked = {**choices, "label": label, "context": options.context}
        print(json.dumps({**asked, "files": [str(file) for file in files]}, indent=2))
    else:
        print("\n".join(map(str, files)))
