"""The tab that scores."""

from typing import Any

import gradio as gr

from seqgen_app import api, colours, controls, score
from seqgen_app.asked import asked
from seqgen_app.limits import Limits
from seqgen_app.pictures import picture
from seqgen_app.shelf import Shelf

EXAMPLES = [
    ("names", "Maria", "Xqzt"),
    ("names", "Jayden", "Nedyaj"),
    ("shakespeare", "To be, or not to be: that is the question.", "To be, or not to be: that is the algorithm."),
]
MEANING = (
    "Surprise is counted in bits: 1 bit is a coin toss, 10 bits one chance in 1,024. The fewer bits a text costs, the "
    "likelier the model finds it."
)


def score_tab(shelf: Shelf, limits: Limits) -> None:
    """Build it, with a part for text and one for sound, as far as there are models."""
    gr.Markdown(MEANING)
    with gr.Tabs():
        if shelf.names(sounds=False):
            with gr.Tab("Text"):
                _text(shelf, limits)
        if shelf.names(sounds=True):
            with gr.Tab("Sound"):
                _sound(shelf, limits)


def _text(shelf: Shelf, limits: Limits) -> None:
    model = controls.model_picker(shelf.names(sounds=False), "Who judges.")
    labels = controls.label_pickers(controls.first(shelf, sounds=False))
    with gr.Row():
        texts = [_box("Text", "Maria", limits), _box("Another text, to compare", "", limits)]
    go = gr.Button("Score", variant="primary")
    verdict = gr.Markdown("", elem_id="verdict")
    with gr.Row():
        shown = []
        for name in ("first", "second"):
            with gr.Column(min_width=300):
                shown += [gr.HTML(elem_id=f"{name}-numbers"), gr.HTML(elem_id=f"{name}-colours")]
    gr.HTML(colours.LEGEND)
    go.click(
        _text_scorer(shelf, limits),
        [model, *texts, *labels],
        [verdict, *shown],
        **controls.RAW,
        show_progress_on=[verdict],
    )
    model.change(_turn(shelf, False), model, labels, preprocess=False, **controls.PLAIN)
    known = [list(example) for example in EXAMPLES if example[0] in shelf.names(sounds=False)]
    if known:
        gr.Examples(known, [model, *texts], label="Try one of these", api_visibility="private")


def _box(label: str, value: str, limits: Limits) -> gr.Textbox:
    return gr.Textbox(value, label=label, lines=3, max_lines=12, max_length=limits.scored, min_width=300)


def _text_scorer(shelf: Shelf, limits: Limits) -> Any:
    @asked
    def score_texts(model: Any, one: Any, other: Any, *labels: Any) -> list[str]:
        entry = shelf.get(model, sounds=False)
        label = controls.said(entry, labels)
        found = [score.score_text(entry, limits, text, label) for text in ([one, other] if other else [one])]
        shown = [part for scored in found for part in (colours.totals(scored), colours.coloured(scored))]
        return [_verdict([scored.total.bits for scored in found]), *shown, *[""] * (4 - len(shown))]

    return score_texts


def _verdict(bits: list[float]) -> str:
    """How the two compare."""
    if len(bits) == 1:
        return ""
    more = abs(bits[0] - bits[1])
    if more < 0.01:
        return "To this model both are as likely as each other."
    times = f"{2**more:,.1f}" if more < 20 else "more than a million"
    first, second = ("first", "second") if bits[0] < bits[1] else ("second", "first")
    return f"To this model the **{first}** text is **{times} times** as likely as the {second}: {more:,.1f} bits apart."


def _sound(shelf: Shelf, limits: Limits) -> None:
    model = controls.model_picker(shelf.names(sounds=True), "Who judges.")
    labels = controls.label_pickers(controls.first(shelf, sounds=True))
    clip = gr.Audio(
        sources=["upload", "microphone"], type="filepath", label="Clip", editable=False, elem_id="scored-clip"
    )
    go = gr.Button("Score", variant="primary", elem_id="score-clip")
    numbers = gr.HTML(elem_id="clip-numbers")
    drawn = gr.Image(
        show_label=False,
        buttons=["fullscreen"],
        interactive=False,
        format="png",
        elem_classes="drawn",
    )
    run = _clip_scorer(shelf, limits)
    go.click(run, [model, clip, *labels], [numbers, drawn], **controls.RAW, show_progress_on=[numbers])
    model.change(_turn(shelf, True), model, labels, preprocess=False, **controls.PLAIN)


def _clip_scorer(shelf: Shelf, limits: Limits) -> Any:
    @asked
    def score_clips(model: Any, clip: Any, *labels: Any) -> tuple[str, Any]:
        entry = shelf.get(model, sounds=True)
        scored = score.score_clip(entry, limits, api.uploaded(clip), controls.said(entry, labels))
        total = colours.clip_totals(scored.total.bits, scored.clip.seconds, len(scored.bits))
        return total, picture(scored.clip, scored.bits)

    return score_clips


def _turn(shelf: Shelf, sounds: bool) -> Any:
    @asked
    def turn(model: Any) -> list[Any]:
        return controls.label_updates(shelf.get(model, sounds=sounds))

    return turn
