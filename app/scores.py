"""Scores as visitors see them: numbers of every symbol, and HTML in which all text of others is escaped."""

import math
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any, NamedTuple

from seqgen.inference.score import Scores, Total
from seqgen.modality import sum_totals
from seqgen_app.catalog import Entry
from seqgen_app.limits import Deadline, Limits


class Symbol(NamedTuple):
    """One scored symbol: -log2 p, its rank (1: the likeliest), and the entropy of the model's distribution in bits.

    Rank and entropy are None for numbers and for very many classes.
    """

    name: str
    bits: float
    rank: int | None
    entropy: float | None


def symbols(parts: Iterable[Scores]) -> Iterator[Symbol]:
    """The symbols of an item whose score comes in parts."""
    for part in parts:
        bits = (-part.log_probs / math.log(2)).tolist()
        ranks = [None] * len(bits) if part.ranks is None else part.ranks.tolist()
        entropies = [None] * len(bits) if part.entropies is None else (part.entropies / math.log(2)).tolist()
        yield from map(Symbol, part.names, bits, ranks, entropies)


class Scored(NamedTuple):
    """The scores of consecutive parts of an item, their total, and its p-value where the model has held-out scores."""

    parts: list[Scores]
    total: Total
    p_value: float | None

    def as_dict(self) -> dict[str, Any]:
        """Totals, the p-value, and the symbols one by one, as an endpoint returns them."""
        numbers = {**self.total.as_dict(), "p_value": self.p_value, "end_counted": self.parts[-1].end_counted}
        return {**numbers, "per_symbol": [symbol._asdict() for symbol in symbols(self.parts)]}


def scored(entry: Entry, limits: Limits, parts: Iterable[Scores], label: dict[str, str]) -> Scored:
    """The scores of an item that come part by part. Raises Refused when that takes too long."""
    found = list(Deadline(limits.deadline).checked(parts))
    total = sum_totals(part.total for part in found)
    return Scored(found, total, entry.p_value(total, label))


def numbers(values: dict[str, str], p_value: float | None, peers: str) -> str:
    """Numbers by what they are, and the p-value among `peers`, such as "texts of similar length", with its meaning."""
    values = values if p_value is None else {**values, "p-value": f"{p_value:.3f}"}
    cells = "".join(f"<div><b>{escape(value)}</b><small>{escape(name)}</small></div>" for name, value in values.items())
    return f'<div class="numbers">{cells}</div>{p_value_sentence(p_value, peers)}'


def p_value_sentence(p_value: float | None, peers: str) -> str:
    """What a p-value means, as a paragraph; "" for None."""
    if p_value is None:
        return ""
    count = "fewer than 1" if p_value < 0.01 else f"{100 * p_value:.0f}"
    return (
        f'<p class="p-value">Of 100 {escape(peers)} that the model was not trained on, {count} would be as unlikely '
        "as this or more so. A p-value near 0 means an unusual item.</p>"
    )


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of texts, the first column being names and the others numbers."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="symbols"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
