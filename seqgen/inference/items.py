"""Scores of any number of items, of which some may be bad: one that cannot be scored does not end the others."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from seqgen.codec import Unknown, UnknownSymbol
from seqgen.config import SeqgenError
from seqgen.inference.score import Scores
from seqgen.media.files import CountedLines

if TYPE_CHECKING:
    from seqgen.inference.conditioning import Label
    from seqgen.pipeline import Pipeline

BATCH = 1024
"""Items that are held at once."""


class Outcome(NamedTuple):
    """What became of one item: consecutive parts of its score, or why it has none.

    `where` is its place in a file, such as "line 3". Parts may raise SeqgenError while they are taken. `whole` says
    whether the item was scored as one, symbol by symbol, or comes in pieces.
    """

    where: str
    item: Any
    parts: Iterator[Scores]
    wrong: SeqgenError | None = None
    whole: bool = True


def score_items(
    pipeline: "Pipeline",
    items: Iterable[tuple[str, Any]],
    *,
    prefix: Any = None,
    label: "Label" = None,
    end: bool = True,
    unknown: Unknown | None = None,
    dropped: list[str] | None = None,
) -> Iterator[Outcome]:
    """The outcome of every item, in their order; long items are scored in constant memory.

    `unknown` says what becomes of an item with parts that have no symbol; of a long item in pieces only these parts
    are skipped, and what was skipped is added to `dropped`.
    """
    pipeline.codec.check_unknown(unknown)
    source = iter(items)
    while group := list(islice(source, BATCH)):
        yield from _group(pipeline, group, prefix, label, end, unknown, [] if dropped is None else dropped)


def _group(
    pipeline: "Pipeline",
    group: list[tuple[str, Any]],
    prefix: Any,
    label: "Label",
    end: bool,
    unknown: Unknown | None,
    dropped: list[str],
) -> Iterator[Outcome]:
    found: dict[int, Outcome] = {}
    whole: list[int] = []
    for place, (where, item) in enumerate(group):
        pieces = pipeline.modality.pieces(pipeline.codec, item) if prefix is None else None
        if pieces is not None:
            condition = item if pipeline.features is not None else None
            parts = _pieces(pipeline, pieces, label, condition, end, unknown, dropped)
            found[place] = Outcome(where, item, parts, whole=False)
        elif (wrong := pipeline.codec.refusal(item, unknown)) is not None:
            found[place] = Outcome(where, item, iter(()), wrong)
        else:
            whole.append(place)
    scores = pipeline.score([group[place][1] for place in whole], prefix=prefix, label=label, end=end) if whole else []
    for place, one in zip(whole, scores, strict=True):
        found[place] = Outcome(*group[place], iter([one]))
    yield from (found[place] for place in range(len(group)))


def _pieces(
    pipeline: "Pipeline",
    pieces: Iterator[Any],
    label: "Label",
    condition: Any,
    end: bool,
    unknown: Unknown | None,
    dropped: list[str],
) -> Iterator[Scores]:
    """Parts of one long item. Raises SeqgenError where there is nothing to score, and with the line of bad text."""
    counts: list[int] = []

    def known() -> Iterator[Any]:
        for piece in pieces:
            kept, count = pipeline.codec.drop_unknown(piece)
            counts.append(count)
            yield kept

    text = CountedLines(known() if unknown == "skip" else pieces)
    nothing = True
    try:
        for part in pipeline.score_pieces(text, label=label, condition=condition, end=end):
            yield part
            nothing = False
    except UnknownSymbol as error:
        if error.position is None:
            raise
        located = UnknownSymbol(f"line {text.line(error.position)}: {error}")
        located.position = error.position
        raise located from None
    if nothing:
        raise SeqgenError("there is nothing to score: the item has no symbols")
    if sum(counts):
        dropped.append(f"{sum(counts)} unknown symbols")
