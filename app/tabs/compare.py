"""The tab that compares samples of text at several temperatures."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from seqgen_app import controls
from seqgen_app.catalog import Catalog, Entry
from seqgen_app.errors import report_errors
from seqgen_app.limits import Limits, Refused
from seqgen_app.tabs import text_request
from seqgen_app.tabs.text_request import TextRequest, is_short

CHOICES = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.5, 2.0]
CHOSEN = [0.2, 0.6, 1.0, 1.5]


def build(models: Catalog, limits: Limits) -> None:
    """Samples with the same prompt and the same seed, a column for each temperature."""
    gr.Markdown("The same prompt and the same seed at several temperatures.")
    with gr.Row():
        with gr.Column(min_width=300):
            model, labels = controls.model_and_labels(models)
            prompt = gr.Textbox(label="Prompt", max_length=limits.prompt, max_lines=6)
        with gr.Column(min_width=300):
            chosen = gr.CheckboxGroup(
                CHOICES, value=CHOSEN, label="Temperatures", info=f"At most {limits.temperatures}."
            )
            seed = controls.seed()
    go, stop = controls.run_and_stop("Compare")
    with gr.Column(elem_id="compare-result"):
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
    compare = _comparer(models, limits)
    controls.on_click(go, compare, inputs, outputs, status=status, result="compare-result", stop=stop)


def _comparer(models: Catalog, limits: Limits) -> Any:
    @report_errors
    def compare(model: Any, prompt: Any, chosen: Any, seed: Any, *labels: Any) -> Iterator[list[Any]]:
        entry, temperatures = models.get(model), _temperatures(chosen, limits)
        number, label = limits.seed(seed), controls.chosen_labels(entry, labels)
        sizes: dict[str, Any] = {"length": 100, "n": 8} if is_short(entry) else {"length": 300, "n": 1}
        requests = [
            text_request.check(entry, limits, prompt, label=label, temperature=value, seed=number, **sizes)
            for value in temperatures
        ]
        shown = [gr.update(label=f"Temperature {value:g}", value="", visible=True) for value in temperatures]
        yield [*_padded(shown, limits, gr.update(visible=False)), "Sampling …", str(number)]
        for texts in _in_turns(entry, limits, requests):
            yield [*_padded(texts, limits, gr.skip()), gr.skip(), str(number)]
        yield [*_padded([], limits, gr.skip()), f"Done. {entry.remark([], prompt=prompt)}", str(number)]

    return compare


def _temperatures(chosen: Any, limits: Limits) -> list[float]:
    if not isinstance(chosen, list) or not 1 <= len(chosen) <= limits.temperatures:
        count = len(chosen) if isinstance(chosen, list) else 0
        raise Refused(f"{count} temperatures are chosen, expected 1 to {limits.temperatures}.")
    return sorted(limits.number("A temperature", value, 0, limits.temperature) for value in chosen)


def _padded(values: list[Any], limits: Limits, filler: Any) -> list[Any]:
    return [*values, *[filler] * (limits.temperatures - len(values))]


def _in_turns(entry: Entry, limits: Limits, requests: list[TextRequest]) -> Iterator[list[str]]:
    """The texts of all requests as they grow, a step of each in turn."""
    running = dict(enumerate(text_request.sample(entry, limits, request) for request in requests))
    texts = [""] * len(requests)
    while running:
        for place, source in list(running.items()):
            found = next(source, None)
            if found is None:
                del running[place]
                continue
            texts[place] = "\n".join(found.texts)
            yield list(texts)
