"""The tab that shows what temperature does."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from seqgen_app import controls, text
from seqgen_app.asked import asked
from seqgen_app.limits import Limits, Refused
from seqgen_app.shelf import Entry, Shelf

CHOICES = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0]
CHOSEN = [0.2, 0.6, 1.0, 1.5]


def compare_tab(shelf: Shelf, limits: Limits) -> None:
    """Build it: the same beginning and the same seed, one column for each temperature."""
    gr.Markdown("The same beginning and the same seed, at several temperatures, side by side.")
    with gr.Row():
        with gr.Column(min_width=300):
            model = controls.model_picker(shelf.names("text"), "Who writes.")
            labels = controls.label_pickers(controls.first(shelf, "text"))
            prompt = gr.Textbox(label="Beginning", max_length=limits.prompt, max_lines=6)
        with gr.Column(min_width=300):
            chosen = gr.CheckboxGroup(
                CHOICES, value=CHOSEN, label="Temperatures", info=f"{limits.temperatures} at most."
            )
            seed = controls.seed()
    go, stop = controls.go_and_stop("Compare")
    with gr.Row(elem_id="columns"):
        columns = [
            gr.Textbox(
                label=f"Temperature {value}",
                lines=9,
                max_lines=24,
                interactive=False,
                buttons=["copy"],
                min_width=220,
            )
            for value in CHOSEN
        ]
    status = gr.Markdown("", elem_id="compare-status")
    used = controls.used_seed(seed)
    inputs, outputs = [model, prompt, chosen, seed, *labels], [*columns, status, used]
    run = go.click(_comparer(shelf, limits), inputs, outputs, **controls.RAW, show_progress_on=[status])
    controls.stops(stop, run, status)
    model.change(controls.turn(shelf, "text"), model, labels, preprocess=False, **controls.PLAIN)


def _comparer(shelf: Shelf, limits: Limits) -> Any:
    @asked
    def compare(model: Any, prompt: Any, chosen: Any, seed: Any, *labels: Any) -> Iterator[list[Any]]:
        entry, temperatures = shelf.get(model, "text"), _temperatures(chosen, limits)
        number, label = text.new_seed(limits.seed(seed)), controls.said(entry, labels)
        sizes: dict[str, Any] = {"length": 100, "n": 8} if entry.short else {"length": 300, "n": 1}
        wishes = [
            text.wish(entry, limits, prompt, label=label, temperature=value, seed=number, **sizes)
            for value in temperatures
        ]
        shown = [gr.update(label=f"Temperature {value:g}", value="", visible=True) for value in temperatures]
        yield [*_padded(shown, limits, gr.update(visible=False)), "Writing …", str(number)]
        for texts in _together(entry, limits, wishes):
            yield [*_padded(texts, limits, gr.skip()), gr.skip(), str(number)]
        yield [*_padded([], limits, gr.skip()), "Done.", str(number)]

    return compare


def _temperatures(chosen: Any, limits: Limits) -> list[float]:
    if not isinstance(chosen, list) or not 1 <= len(chosen) <= limits.temperatures:
        count = len(chosen) if isinstance(chosen, list) else 0
        raise Refused(f"{count} temperatures are chosen, expected 1 to {limits.temperatures}.")
    return sorted(limits.number("A temperature", value, 0, limits.temperature) for value in chosen)


def _padded(values: list[Any], limits: Limits, filler: Any) -> list[Any]:
    return [*values, *[filler] * (limits.temperatures - len(values))]


def _together(entry: Entry, limits: Limits, wishes: list[text.Wish]) -> Iterator[list[str]]:
    """All of them a bit at a time, taking turns."""
    running = dict(enumerate(text.write(entry, limits, wished) for wished in wishes))
    texts = [""] * len(wishes)
    while running:
        for place, source in list(running.items()):
            written = next(source, None)
            if written is None:
                del running[place]
                continue
            texts[place] = "\n".join(written.texts)
            yield list(texts)
