"""The tab that scores."""

from typing import Any

import gradio as gr

from seqgen_app import api, colours, controls, heat, score
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
    "Surprise is counted in bits: 1 bit is a coin toss, 10 bits one chance in 1,024. The fewer bits something "
    "costs, the likelier the model finds it."
)


def score_tab(shelf: Shelf, limits: Limits) -> None:
    """Build it, with a part for each kind of data that there are models of."""
    gr.Markdown(MEANING)
    with gr.Tabs():
        if shelf.names("text"):
            with gr.Tab("Text"):
                _text(shelf, limits)
        if shelf.names("sound"):
            with gr.Tab("Sound"):
                _sound(shelf, limits)
        if shelf.names("image"):
            with gr.Tab("Image"):
                _image(shelf, limits)


def _text(shelf: Shelf, limits: Limits) -> None:
    model = controls.model_picker(shelf.names("text"), "Who judges.")
    labels = controls.label_pickers(controls.first(shelf, "text"))
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
    model.change(controls.turn(shelf, "text"), model, labels, preprocess=False, **controls.PLAIN)
    known = [list(example) for example in EXAMPLES if example[0] in shelf.names("text")]
    if known:
        gr.Examples(known, [model, *texts], label="Try one of these", api_visibility="private")


def _box(label: str, value: str, limits: Limits) -> gr.Textbox:
    return gr.Textbox(value, label=label, lines=3, max_lines=12, max_length=limits.scored, min_width=300)


def _text_scorer(shelf: Shelf, limits: Limits) -> Any:
    @asked
    def score_texts(model: Any, one: Any, other: Any, *labels: Any) -> list[str]:
        entry = shelf.get(model, "text")
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
    model = controls.model_picker(shelf.names("sound"), "Who judges.")
    labels = controls.label_pickers(controls.first(shelf, "sound"))
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
    model.change(controls.turn(shelf, "sound"), model, labels, preprocess=False, **controls.PLAIN)


def _clip_scorer(shelf: Shelf, limits: Limits) -> Any:
    @asked
    def score_clips(model: Any, clip: Any, *labels: Any) -> tuple[str, Any]:
        entry = shelf.get(model, "sound")
        scored = score.score_clip(entry, limits, api.uploaded(clip), controls.said(entry, labels))
        return colours.clip_totals(scored), picture(scored.clip, scored.bits)

    return score_clips


def _image(shelf: Shelf, limits: Limits) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            model = controls.model_picker(shelf.names("image"), "Who judges.")
            labels = controls.label_pickers(controls.first(shelf, "image"))
            handed = controls.picture("Picture", "scored-picture")
            invert = controls.invert()
            controls.picture_examples(handed, "scored-examples")
            go = gr.Button("Score", variant="primary", elem_id="score-picture")
        with gr.Column(scale=3, min_width=300):
            shown = gr.HTML(elem_id="heat")
            numbers = gr.HTML(elem_id="picture-numbers")
    run = _image_scorer(shelf, limits)
    go.click(run, [model, handed, invert, *labels], [shown, numbers], **controls.RAW, show_progress_on=[shown])
    model.change(controls.turn(shelf, "image"), model, labels, preprocess=False, **controls.PLAIN)


def _image_scorer(shelf: Shelf, limits: Limits) -> Any:
    @asked
    def score_pictures(model: Any, handed: Any, invert: Any, *labels: Any) -> tuple[str, str]:
        entry = shelf.get(model, "image")
        scored = score.score_image(entry, limits, api.uploaded(handed), controls.said(entry, labels), invert)
        return heat.surprise(scored.picture, scored.bits), colours.image_totals(scored)

    return score_pictures
