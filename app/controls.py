"""The controls that several tabs share."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from seqgen_app.asked import asked
from seqgen_app.examples import digits
from seqgen_app.limits import Limits
from seqgen_app.shelf import Entry, Kind, Shelf

LABELS = 3
"""The most labels of a model that have a control each."""
RAW: dict[str, Any] = {"preprocess": False, "api_visibility": "private", "concurrency_id": "work"}
"""Of events that do work: values arrive as they were sent, and Limits judges them, as it does those of the API."""
PLAIN: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
"""Of events that only turn the controls."""


def model_picker(names: Sequence[str], hint: str) -> gr.Dropdown:
    """The models by name; there is no way to say a path."""
    return gr.Dropdown(list(names), value=names[0], label="Model", info=hint, interactive=True)


def label_pickers(entry: Entry, made: bool = False) -> list[gr.Dropdown]:
    """A control for each label of a model; those beyond are hidden."""
    with gr.Row():
        return [gr.Dropdown(**choice, interactive=True, min_width=120) for choice in label_choices(entry, made)]


def label_choices(entry: Entry, made: bool) -> list[dict[str, Any]]:
    """What the controls of a model's labels show; of pictures and sounds to be made, the first class is chosen."""
    labels = list(entry.pipeline.labels.items())[:LABELS]
    shown = [
        {
            "label": name.capitalize(),
            "choices": [("any", ""), *((one, one) for one in classes)],
            "value": classes[0] if made and entry.kind != "text" and classes else "",  # one of no class is odd
        }
        for name, classes in labels
    ]
    hidden = {"label": "Label", "choices": [("any", "")], "value": ""}
    return [{**one, "visible": True} for one in shown] + [{**hidden, "visible": False}] * (LABELS - len(shown))


def label_updates(entry: Entry, made: bool = False) -> list[Any]:
    """The same, for controls that are there."""
    return [gr.update(**choice) for choice in label_choices(entry, made)]


def said(entry: Entry, values: Sequence[Any]) -> dict[str, Any]:
    """The labels that were chosen."""
    return {name: value for name, value in zip(entry.pipeline.labels, values, strict=False) if value}


def temperature(limits: Limits, value: float = 0.8) -> gr.Slider:
    """How bold the model is."""
    return gr.Slider(
        *(0, limits.temperature, value),
        step=0.05,
        label="Temperature",
        info="Low plays safe, 1 is the model as it is, high takes risks.",
    )


def picture(label: str, name: str) -> gr.Image:
    """Where a picture is handed in; it goes to the model as the file that it is."""
    return gr.Image(sources=["upload", "clipboard"], type="filepath", label=label, height=220, buttons=[], elem_id=name)


def invert() -> gr.Checkbox:
    """Whether a picture is dark on light where the model's are light on dark."""
    return gr.Checkbox(
        False, label="Exchange black and white", info="For dark strokes on light paper; the model's are the other way."
    )


def picture_examples(target: gr.Image, name: str) -> None:
    """Pictures to click."""
    gr.Examples(
        [[path] for path in digits()], [target], label="Try one of these", api_visibility="private", elem_id=name
    )


def seed() -> gr.Textbox:
    """The number that all chance comes from; a box of text, since one of numbers takes empty for 0."""
    return gr.Textbox(
        label="Seed", info="The same seed gives the same result.", placeholder="a new one each time", max_lines=1
    )


def used_seed(target: gr.Textbox) -> gr.Textbox:
    """The seed that was used, and a button that keeps it."""
    with gr.Row(elem_classes="used"):
        used = gr.Textbox(
            label="Seed used", interactive=False, scale=2, min_width=120, max_lines=1, elem_classes="seed-used"
        )
        keep = gr.Button("Use it again", size="sm", scale=1, min_width=110)
    keep.click(lambda number: number, used, target, preprocess=False, **PLAIN)
    return used


def go_and_stop(word: str) -> tuple[gr.Button, gr.Button]:
    """The two buttons."""
    with gr.Row():
        return gr.Button(word, variant="primary", min_width=120), gr.Button("Stop", variant="stop", min_width=80)


def stops(button: gr.Button, run: Any, status: gr.Markdown) -> None:
    """Let the button cancel a run, and say so once that is done."""
    button.click(None, cancels=[run], queue=False).then(lambda: "Stopped.", None, status, **PLAIN)


def turn(shelf: Shelf, kind: Kind, made: bool = False) -> Any:
    """What the controls of labels become once another model is chosen."""

    @asked
    def turned(model: Any) -> list[Any]:
        return label_updates(shelf.get(model, kind), made)

    return turned


def first(shelf: Shelf, kind: Kind) -> Entry:
    """The model that is chosen when the page opens."""
    return shelf.entries[shelf.names(kind)[0]]
