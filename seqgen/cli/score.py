"""The command `seqgen score`."""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING

from seqgen.cli.common import brief, labels, loaded, printable
from seqgen.config import SeqgenError

if TYPE_CHECKING:
    from seqgen.inference.score import Rank, Scores, Total
    from seqgen.pipeline import Pipeline


def score(options: argparse.Namespace) -> None:
    """Print the scores of texts, of rows, of pictures, of clips or of a file."""
    if bool(options.texts) == bool(options.file):
        raise SeqgenError("expected texts to score, or --file FILE, and not both")
    if options.prefix and options.file:
        raise SeqgenError("--prefix goes with texts, not with --file")
    if (options.p_value or options.two_sided or options.background) and (options.prefix or options.no_end):
        raise SeqgenError(
            "--p-value, --two-sided and --background score items as a whole, without --prefix and --no-end"
        )
    pipeline = loaded(options)
    end = not options.no_end
    if pipeline.codec.unit == "second":
        _score_sounds(pipeline, options, end)
        return
    if options.texts:
        scores = pipeline.score(options.texts, prefix=options.prefix, label=labels(options.label), end=end)
        rows: Iterable[tuple[str | None, Scores]] = zip(options.texts, scores, strict=True)
    else:
        from seqgen.data.evaluation import file_scores

        rows = file_scores(pipeline, options.file, options.encoding or "utf-8", labels(options.label), end)
    rank = _rank(pipeline, options)
    (_score_json if options.json else _score_lines)(rows, options.file is None, rank)


def _rank(pipeline: "Pipeline", options: argparse.Namespace) -> "Rank":
    """What says how usual an item is among others, by name."""
    from seqgen.inference.detect import Side, likelihood_ratio
    from seqgen.pipeline import load

    side: Side | None = "both" if options.two_sided else "low" if options.p_value else None
    said = side is not None and pipeline.labelled(labels(options.label))
    background = None if options.background is None else load(options.background, options.device)
    if background is not None:
        pipeline.check_background(background)
    if side is not None and options.file is not None and pipeline.codec.end is None and pipeline.codec.length is None:
        raise SeqgenError("a file that is one long text has no p-value; expected items")

    def rank(item: str, total: "Total") -> dict[str, float]:
        found = {}
        if side is not None:
            found["p_value"] = pipeline.p_value(total, said, side)
        if background is not None:
            found["ratio"] = likelihood_ratio(-total.nats, background.score(item).log_prob, total.symbols)
        return found

    return rank


def _score_sounds(pipeline: "Pipeline", options: argparse.Namespace, end: bool) -> None:
    from seqgen import sounds

    if options.encoding is not None:
        raise SeqgenError(f"--encoding is for texts; the model is one of {type(pipeline.codec).__name__}")
    files = options.texts or [str(options.file)]
    rank = _rank(pipeline, options)
    scores = sounds.score(pipeline, files, options.prefix, labels(options.label), end)
    if options.json:
        with _document() as document:
            sounds.write_scores(pipeline, scores, document, options.prefix, rank)
    else:
        sounds.print_scores(pipeline, scores, options.prefix, rank)


@contextlib.contextmanager
def _document() -> Iterator[IO[str]]:
    """A file that goes to standard output once it is whole, so that what fails prints nothing there."""
    with tempfile.TemporaryFile("w+") as document:
        yield document
        document.seek(0)
        shutil.copyfileobj(document, sys.stdout)


def _score_lines(rows: Iterable[tuple[str | None, "Scores"]], per_symbol: bool, rank: "Rank") -> None:
    from seqgen.inference.score import Total, shown

    total, ended = Total(), False
    for text, score in rows:
        total, ended = total + score.total, ended or score.end_counted
        if text is not None:
            print(f"{brief(score.total)}{shown(rank(text, score.total))}  {printable(text)}")
    print(f"{brief(total)}  total of {total.symbols} symbols, the end symbol {'counted' if ended else 'not counted'}")


def _score_json(rows: Iterable[tuple[str | None, "Scores"]], per_symbol: bool, rank: "Rank") -> None:
    """One document, on disk until it is whole, so that a file of any size passes and one that fails prints nothing."""
    from seqgen.inference.score import Total

    total, ended, before = Total(), False, "\n"
    with _document() as document:
        document.write('{"items": [')
        for text, score in rows:
            total, ended = total + score.total, ended or score.end_counted
            if text is None:
                continue
            item = {
                "text": text,
                **rank(text, score.total),
                **(score.as_dict() if per_symbol else score.total.as_dict()),
            }
            document.write(before + json.dumps(item))
            before = ",\n"
        document.write(f'\n], "total": {json.dumps({**total.as_dict(), "end_counted": ended})}}}\n')
