"""Texts as HTML: symbols coloured by their surprise, and short texts with whether they are new."""

from collections.abc import Iterable, Iterator
from html import escape

from seqgen.checkpoints.training_texts import TrainingTexts
from seqgen_app.scores import Symbol

FULL = 10.0
"""Bits at which the colour is strongest: a probability of 1 in 1,024."""
SHOWN = {"\n": "↵", "\t": "⇥", "<end>": "end"}
SPOKEN = {"\n": "line break", " ": "space", "\t": "tab", "<end>": "end of the text"}
LEGEND = (
    '<div class="legend"><span>expected</span><i></i><span>surprising</span>'
    "<span>Point at a letter, or tap it, for its numbers.</span></div>"
)


def coloured(symbols: Iterable[Symbol]) -> str:
    """Symbols on a background as strong as their surprise; their numbers appear under the pointer."""
    return f'<div class="coloured">{"".join(map(_symbol, symbols))}</div>'


def _symbol(symbol: Symbol) -> str:
    strength = min(1.0, max(0.0, symbol.bits) / FULL)
    shown, after = SHOWN.get(symbol.name, symbol.name), "<br>" if symbol.name == "\n" else ""
    tip = escape(f"{SPOKEN.get(symbol.name, symbol.name)}: {', '.join(_numbers(symbol))}", quote=True)
    kind = "symbol end" if symbol.name == "<end>" else "symbol"
    return (
        f'<span class="{kind}" tabindex="0" style="--surprise:{strength:.2f}" data-tip="{tip}">{escape(shown)}</span>'
        f"{after}"
    )


def _numbers(symbol: Symbol) -> Iterator[str]:
    yield f"{symbol.bits:.2f} bits, p = {2**-symbol.bits:.3g}"
    if symbol.rank is not None:
        yield f"rank {symbol.rank}"
    if symbol.entropy is not None:
        yield f"entropy {symbol.entropy:.2f} bits"


def names(texts: list[str], training_texts: TrainingTexts | None) -> str:
    """Short texts, each with a badge that tells whether it is among the training texts."""
    if not texts:
        return '<div class="names empty">The texts appear here.</div>'
    rows = "".join(
        f"<div><b>{escape(text) or '<i>empty</i>'}</b>{_badge(text, training_texts)}</div>" for text in texts
    )
    return f'<div class="names">{rows}</div>'


def _badge(text: str, training_texts: TrainingTexts | None) -> str:
    if training_texts is None:
        return ""
    kind, word = ("old", "in the training data") if text in training_texts else ("new", "new")
    return f'<span class="badge {kind}">{word}</span>'
