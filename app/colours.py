"""Results as HTML: text coloured by surprise, tables of names. Everything that models or visitors say is escaped."""

import math
from collections.abc import Iterable
from html import escape

from seqgen.data.seen import Seen
from seqgen_app.score import ScoredClip, ScoredImage, ScoredText, Symbol

HOT = 10.0
"""Bits at which the colour is full; a coin that falls heads ten times in a row."""
SHOWN = {"\n": "↵", "\t": "⇥", "<end>": "end"}


def coloured(scored: ScoredText) -> str:
    """Every symbol on a background as strong as its surprise, with the numbers for whoever points at it or taps it."""
    return f'<div class="coloured">{"".join(map(_symbol, scored.symbols))}</div>'


def _symbol(symbol: Symbol) -> str:
    heat = min(1.0, max(0.0, symbol.bits) / HOT)
    shown, behind = SHOWN.get(symbol.name, symbol.name), "<br>" if symbol.name == "\n" else ""
    tip = escape(f"{_name(symbol.name)}: {', '.join(_numbers(symbol))}", quote=True)
    kind = "symbol end" if symbol.name == "<end>" else "symbol"
    return (
        f'<span class="{kind}" tabindex="0" style="--heat:{heat:.2f}" data-tip="{tip}">{escape(shown)}</span>{behind}'
    )


def _name(name: str) -> str:
    return {"\n": "line end", " ": "space", "\t": "tab", "<end>": "the end"}.get(name, name)


def _numbers(symbol: Symbol) -> Iterable[str]:
    yield f"{symbol.bits:.2f} bits of surprise, p = {2**-symbol.bits:.3g}"
    if symbol.rank is not None:
        yield f"guess number {symbol.rank}"
    if symbol.entropy is not None:
        yield f"{symbol.entropy:.2f} bits expected"


def totals(scored: ScoredText) -> str:
    """The numbers of the whole text."""
    total, end = scored.total, ", end counted" if scored.end_counted else ""
    numbers = {
        "bits in all": f"{total.bits:,.1f}",
        "bits a symbol": f"{total.bits_per_symbol:.3f}",
        f"bits a {total.unit}": f"{total.bits_per_unit:.3f}" if math.isfinite(total.bits_per_unit) else "–",
        "perplexity": f"{total.perplexity:,.2f}",
        f"symbols{end}": f"{total.symbols:,.0f}",
    }
    return _cells(numbers, scored.p_value, "texts of like length")


def clip_totals(scored: ScoredClip) -> str:
    """The numbers of a clip."""
    bits, seconds = scored.total.bits, scored.clip.seconds
    numbers = {
        "bits in all": f"{bits:,.0f}",
        "bits a sample": f"{bits / len(scored.bits):.3f}",
        "bits a second": f"{bits / seconds:,.0f}",
        "seconds": f"{seconds:.2f}",
    }
    return _cells(numbers, scored.p_value, "clips of like length")


def image_totals(scored: ScoredImage) -> str:
    """The numbers of a picture."""
    height, width = scored.bits.shape
    numbers = {
        "bits in all": f"{scored.total.bits:,.1f}",
        "bits a pixel": f"{scored.total.bits / scored.bits.size:.3f}",
        "nats in all": f"{scored.total.nats:,.1f}",
        "pixels": f"{height} × {width}",
    }
    return _cells(numbers, scored.p_value, "pictures")


def _cells(numbers: dict[str, str], p_value: float | None, things: str) -> str:
    if p_value is not None:
        numbers = {**numbers, "p-value": f"{p_value:.3f}"}
    cells = "".join(
        f"<div><b>{escape(value)}</b><small>{escape(name)}</small></div>" for name, value in numbers.items()
    )
    return f'<div class="numbers">{cells}</div>{"" if p_value is None else _rank(p_value, things)}'


def _rank(p_value: float, things: str) -> str:
    """What the p-value means, in a sentence."""
    count = "fewer than 1" if p_value < 0.01 else f"{100 * p_value:.0f}"
    return (
        f'<p class="rank">Of 100 {things} that the model was not trained on, {count} would surprise it '
        "as much as this or more: the nearer to 0, the stranger.</p>"
    )


def names(texts: list[str], seen: Seen | None) -> str:
    """Short texts as a table that tells which are new."""
    if not texts:
        return '<div class="names empty">The names appear here.</div>'
    rows = "".join(f"<div><b>{escape(text) or '<i>empty</i>'}</b>{_badge(text, seen)}</div>" for text in texts)
    return f'<div class="names">{rows}</div>'


def _badge(text: str, seen: Seen | None) -> str:
    if seen is None:
        return '<span class="badge">not known</span>'
    kind, word = ("old", "in the training data") if text in seen else ("new", "new")
    return f'<span class="badge {kind}">{word}</span>'


LEGEND = (
    '<div class="legend"><span>expected</span><i></i><span>surprising</span>'
    "<span>Point at a letter, or tap it, for its numbers.</span></div>"
)
