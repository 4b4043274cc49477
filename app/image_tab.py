"""The tab that draws."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from seqgen_app import api, controls, heat, image
from seqgen_app.asked import asked
from seqgen_app.limits import Limits
from seqgen_app.shelf import Shelf


def image_tab(shelf: Shelf, limits: Limits) -> None:
    """Build it."""
    entry = controls.first(shelf, "image")
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            model = controls.model_picker(shelf.names("image"), "Who draws.")
            labels = controls.label_pickers(entry, made=True)
            count = gr.Slider(1, limits.pictures, min(9, limits.pictures), step=1, label="How many")
            temperature = controls.temperature(limits, 1.0)
            with gr.Accordion("Seed", open=False):
                seed = controls.seed()
            with gr.Accordion("A picture to complete", open=False):
                gr.Markdown(
                    "The model keeps the upper rows of a picture and draws the rest, of the class that is chosen above."
                )
                picture = controls.picture("Picture", "begun")
                kept = gr.Slider(0, 1, 0.5, step=0.05, label="Share that is kept", info="Of the rows, from the top.")
                invert = controls.invert()
                controls.picture_examples(picture, "begun-examples")
            go, stop = controls.go_and_stop("Draw")
        with gr.Column(scale=3, min_width=300):
            canvas = gr.HTML(heat.EMPTY, elem_id="canvas")
            status = gr.Markdown("", elem_id="image-status")
            used = controls.used_seed(seed)
    inputs = [model, count, temperature, seed, picture, kept, invert, *labels]
    run = go.click(_drawer(shelf, limits), inputs, [canvas, status, used], **controls.RAW, show_progress_on=[status])
    controls.stops(stop, run, status)
    model.change(controls.turn(shelf, "image", made=True), model, labels, preprocess=False, **controls.PLAIN)


def _drawer(shelf: Shelf, limits: Limits) -> Any:
    @asked
    def draw(
        model: Any, count: Any, temperature: Any, seed: Any, picture: Any, kept: Any, invert: Any, *labels: Any
    ) -> Iterator[tuple[Any, ...]]:
        entry = shelf.get(model, "image")
        label, handed = controls.said(entry, labels), api.uploaded(picture)
        wished = image.wish(entry, limits, count, label, temperature, seed, handed, kept, invert)
        for drawn in image.draw(entry, limits, wished):
            yield heat.drawn_grid(drawn, entry.pixels.height), _status(drawn, entry.pixels.height), str(drawn.seed)

    return draw


def _status(drawn: image.Drawn, height: int) -> str:
    if not drawn.done:
        return f"Row {len(drawn.pictures[0])} of {height} …"
    given = " What was given is blue." if drawn.given else ""
    return f"{len(drawn.pictures)} drawn.{given} {drawn.note}".strip()
