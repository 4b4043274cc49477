"""The command `seqgen score`."""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from seqgen.cli.common import labels, loaded, printable, warn
from seqgen.cli.evaluate import report_skipped
from seqgen.config import SeqgenError

if TYPE_CHECKING:
    from seqgen.inference.detect import Side
    from seqgen.inference.items import Outcome
    from seqgen.inference.score import Scores, Total
    from seqgen.pipeline import Pipeline

Ranks = Callable[["Total"], dict[str, float]]


class Ranked(NamedTuple):
    """An outcome, its name, and what ranks its total."""

    name: str
    outcome: "Outcome"
    ranks: Ranks


def score(options: argparse.Namespace) -> None:
    """Print the scores of items, or of those of a file."""
    if bool(options.items) == bool(options.file):
        raise SeqgenError("expected items to score, or --file FILE, and not both")
    if options.prefix and options.file:
        raise SeqgenError("--prefix goes with items, not with --file")
    ranking = options.p_value or options.two_sided or options.background
    if ranking and (options.prefix or options.no_end):
        raise SeqgenError(
            "--p-value, --two-sided and --background score items as a whole, without --prefix and --no-end"
        )
    pipeline = loaded(options)
    report = Report(pipeline, options)
    report.print()


class Report:
    """The scores of a command, as lines or as one JSON document, and what could not be scored."""

    def __init__(self, pipeline: "Pipeline", options: argparse.Namespace) -> None:
        self.pipeline, self.options = pipeline, options
        self.modality = pipeline.modality
        self.label = labels(options.label)
        self.failed: list[str] = []
        self.hint = False
        self.skipped: list[str] = []
        self.total: Total | None = None
        self.count = 0
        self.end_counted = False
        self.side: Side | None = "both" if options.two_sided else "low" if options.p_value else None
        if self.side is not None:
            pipeline.conditioning.labelled(self.label)
        self.background = self._background()

    def _background(self) -> "Pipeline | None":
        from seqgen.pipeline import load

        if self.options.background is None:
            return None
        background = load(self.options.background, self.options.device)
        self.pipeline.check_background(background)
        return background

    def print(self) -> None:
        """Print all. Raises SeqgenError at the end if items could not be scored."""
        if self.options.json:
            self._json()
        else:
            self._lines()
        report_skipped(self.skipped)
        if self.failed:
            help = "; --unknown skip leaves out what has no symbol" if self.hint else ""
            count = len(self.failed) + self.count
            if count == 1:
                raise SeqgenError(f"{self.failed[0]}{help}")
            raise SeqgenError(f"{len(self.failed)} of {count} items could not be scored, see above{help}")

    # -- items

    def _items(self) -> Iterator[tuple[str, Any]]:
        codec = self.pipeline.codec
        if self.options.items:
            if self.options.encoding is not None:
                raise SeqgenError("--encoding is that of a --file")
            yield from (("", self.modality.read(codec, source)) for source in self.options.items)
        else:
            file = sys.stdin.buffer if str(self.options.file) == "-" else Path(self.options.file)
            yield from self.modality.items(codec, file, self.options.encoding)

    def _outcomes(self) -> Iterator[Ranked]:
        """Outcomes with the rank among others: of a group at once, as background models score in batches."""
        from seqgen.inference.items import score_items

        prefix = self.options.prefix
        outcomes = score_items(
            self.pipeline,
            self._items(),
            prefix=None if prefix is None else self.modality.read(self.pipeline.codec, prefix),
            label=self.label,
            end=not self.options.no_end,
            unknown=self.options.unknown,
            dropped=self.skipped,
        )
        names = iter(self.options.items or [])
        for outcome, background in self._against_background(outcomes):
            name = next(names, None) or self.modality.title(outcome.item) or str(self.options.file)
            if outcome.wrong is not None:
                self._refuse(outcome, outcome.wrong)
            else:
                yield Ranked(name, outcome, self._ranks(background))

    def _against_background(self, outcomes: Iterator["Outcome"]) -> Iterator[tuple["Outcome", float | None]]:
        """Every outcome with log p of its item under the background model."""
        from itertools import islice

        from seqgen.inference.items import BATCH

        if self.background is None:
            yield from ((outcome, None) for outcome in outcomes)
            return
        while group := list(islice(outcomes, BATCH)):
            good = [place for place, outcome in enumerate(group) if outcome.wrong is None]
            totals = self.background.totals([group[place].item for place in good]) if good else []
            nats = {place: -total.nats for place, total in zip(good, totals, strict=True)}
            yield from ((outcome, nats.get(place)) for place, outcome in enumerate(group))

    def _ranks(self, background: float | None) -> Ranks:
        from seqgen.inference.detect import likelihood_ratio

        def ranks(total: "Total") -> dict[str, float]:
            found = {}
            if self.side is not None:
                found["p_value"] = self.pipeline.p_value(total, label=self.label, side=self.side)
            if background is not None:
                found["ratio"] = likelihood_ratio(-total.nats, background, total.symbols)
            return found

        return ranks

    def _refuse(self, outcome: "Outcome", wrong: SeqgenError) -> None:
        """Note an item that could not be scored; all items but a single one are named at once."""
        from seqgen.codec import UnknownSymbol

        named = outcome.item if isinstance(outcome.item, str) and not outcome.whole else ""
        named = "" if named in str(wrong) else named
        place = ", ".join(part for part in (self.options.file or named, outcome.where) if part)
        message = f"{place}: {wrong}" if place else str(wrong)
        if self.options.unknown == "skip":
            self.skipped.append(message)
            return
        self.hint |= isinstance(wrong, UnknownSymbol) and wrong.position is not None
        self.failed.append(message)
        if self.options.file or len(self.options.items) > 1:
            warn(printable(f"not scored: {message}"))

    def _add(self, parts: list[tuple["Total", bool]]) -> "Total":
        """Count one item that was scored; its total."""
        from seqgen.modality import sum_totals

        total = sum_totals(total for total, _ in parts)
        self.total = total if self.total is None else self.total + total
        self.count += 1
        self.end_counted |= parts[-1][1]
        return total

    # -- lines

    def _lines(self) -> None:
        first = None
        for name, outcome, ranks in self._outcomes():
            try:
                total = self._add([(part.total, part.end_counted) for part in outcome.parts])
            except SeqgenError as error:
                self._refuse(outcome, error)
                continue
            ranked = "".join(f" {rank.replace('_', '-')} {value:.4f}" for rank, value in ranks(total).items())
            line = f"{self.modality.line(total)}{ranked}  {name}"
            if self.count == 1:
                first = line  # a single item has no line of totals: what that would say stands behind the item
                continue
            for one in (first, line) if self.count == 2 else (line,):
                print(printable(str(one)))
        if self.total is not None:
            notes = self._notes()
            if self.count == 1:
                print(printable(f"{first}  ({'; '.join(notes)})" if notes else str(first)))
            else:
                summary = "; ".join([self.modality.size(self.total), *notes])
                print(printable(f"{self.modality.line(self.total)}  total of {summary}"))

    def _notes(self) -> list[str]:
        """What was counted, and how the first symbols were scored."""
        beginning = self.modality.beginning(self.pipeline, self.options.prefix)
        end = f"the end symbol {'' if self.end_counted else 'not '}counted"
        return [*([] if self.pipeline.codec.end is None else [end]), *([] if beginning is None else [beginning])]

    # -- JSON

    def _json(self) -> None:
        with _document() as document:
            document.write('{"items": [')
            before = "\n"
            for name, outcome, ranks in self._outcomes():
                mark = document.tell()
                scored: list[tuple[Total, bool]] = []
                parts = _noted(outcome.parts, scored)
                try:
                    document.write(before)
                    for text in self.modality.record(name, parts, ranks, self.options.file is None):
                        document.write(text)
                except SeqgenError as error:
                    document.seek(mark)
                    document.truncate()
                    self._refuse(outcome, error)
                    continue
                self._add(scored)
                before = ",\n"
            ending: dict[str, Any] = {"total": {"end_counted": self.end_counted}}
            if self.total is not None:
                ending["total"] = {**self.total.as_dict(), **ending["total"]}
            if (beginning := self.modality.beginning(self.pipeline, self.options.prefix)) is not None:
                ending["beginning"] = beginning
            if self.failed or self.skipped:
                ending["not_scored"] = [*self.failed, *self.skipped]
            document.write(f"\n], {json.dumps(ending)[1:]}\n")
            if self.failed and not self.count:  # nothing at all: there is no document
                document.seek(0)
                document.truncate()


def _noted(parts: Iterator["Scores"], scored: list[tuple["Total", bool]]) -> Iterator["Scores"]:
    """The parts, with their totals added to a list as they are taken."""
    for part in parts:
        scored.append((part.total, part.end_counted))
        yield part


@contextlib.contextmanager
def _document() -> Iterator[IO[str]]:
    """A file that goes to standard output once it is whole, so that nothing is printed there before an error."""
    with tempfile.TemporaryFile("w+") as document:
        yield document
        document.seek(0)
        shutil.copyfileobj(document, sys.stdout)
