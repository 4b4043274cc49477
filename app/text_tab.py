"""The tab that writes."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from seqgen_app import colours, controls, text
from seqgen_app.asked import asked
from seqgen_app.limits import Limits
from seqgen_app.shelf import Entry, Shelf

EXAMPLES = [
    ("names", "", 0.8),
    ("names", "Ma", 0.6),
    ("shakespeare", "ROMEO:", 0.7),
    ("shakespeare", "To be, or not to be", 0.5),
]


def text_tab(shelf: Shelf, limits: Limits) -> None:
    """Build it. The page shows a table for models of short texts, else a text that grows."""
    entry = controls.first(shelf, "text")
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            model = controls.model_picker(shelf.names("text"), "Who writes.")
            labels = controls.label_pickers(entry)
            prompt = gr.Textbox(
                label="Beginning",
                info="The model goes on from here. It may stay empty.",
                max_length=limits.prompt,
                lines=1,
                max_lines=6,
            )
            temperature = controls.temperature(limits)
            count = gr.Slider(1, limits.samples, 12, step=1, label="How many", visible=entry.short)
            length = gr.Slider(
                *(20, limits.length, 600), step=20, label="Length", info="Characters at most.", visible=not entry.short
            )
            with gr.Accordion("Finer settings", open=False):
                top_k = gr.Slider(0, 100, 0, step=1, label="Top-k", info="Only the k likeliest letters; 0 means all.")
                top_p = gr.Slider(
                    *(0.05, 1, 1), step=0.05, label="Top-p", info="Only the likeliest letters that make up this share."
                )
                seed = controls.seed()
            go, stop = controls.go_and_stop("Write")
        with gr.Column(scale=3, min_width=300):
            table = gr.HTML(colours.names([], None), visible=entry.short, elem_id="names")
            page = gr.Textbox(
                label="Text",
                lines=16,
                max_lines=24,
                buttons=["copy"],
                interactive=False,
                visible=not entry.short,
                elem_id="written",
                placeholder="The text appears here, letter by letter.",
            )
            status = gr.Markdown("", elem_id="text-status")
            used = controls.used_seed(seed)
    inputs = [model, prompt, length, count, temperature, top_k, top_p, seed, *labels]
    run = go.click(
        _writer(shelf, limits), inputs, [page, table, status, used], **controls.RAW, show_progress_on=[status]
    )
    controls.stops(stop, run, status)
    model.change(_turn(shelf), model, [*labels, count, length, page, table], preprocess=False, **controls.PLAIN)
    known = [list(example) for example in EXAMPLES if example[0] in shelf.names("text")]
    if known:
        gr.Examples(known, [model, prompt, temperature], label="Try one of these", api_visibility="private")


def _writer(shelf: Shelf, limits: Limits) -> Any:
    @asked
    def write(model: Any, prompt: Any, length: Any, count: Any, *rest: Any) -> Iterator[tuple[Any, ...]]:
        temperature, top_k, top_p, seed, *labels = rest
        entry = shelf.get(model, "text")
        length, n = (100, count) if entry.short else (length, 1)
        label = controls.said(entry, labels)
        wished = text.wish(entry, limits, prompt, length, n, label, temperature, top_k, top_p, seed)
        for written in text.write(entry, limits, wished):
            yield *_shown(entry, written), _status(entry, written), str(written.seed)

    return write


def _shown(entry: Entry, written: text.Written) -> tuple[Any, Any]:
    if entry.short:
        return gr.skip(), colours.names(written.texts, entry.seen)
    return "".join(written.texts), gr.skip()


def _status(entry: Entry, written: text.Written) -> str:
    if not written.done:
        return "Writing …"
    if not entry.short:
        return f"{len(written.texts[0]):,} characters. {written.note}"
    if entry.seen is None:
        return f"{len(written.texts)} texts."
    new = sum(one not in entry.seen for one in written.texts)
    return f"{new} of {len(written.texts)} are new, not among the {len(entry.seen):,} that the model learnt from."


def _turn(shelf: Shelf) -> Any:
    @asked
    def turn(model: Any) -> list[Any]:
        entry = shelf.get(model, "text")
        short, long = gr.update(visible=entry.short), gr.update(visible=not entry.short)
        return [*controls.label_updates(entry), short, long, long, short]

    return turn
