"""Controls that several tabs share, and how their events are connected."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from seqgen_app.catalog import Catalog, Entry
from seqgen_app.errors import report_errors
from seqgen_app.limits import Limits

LABELS = 3
"""How many labels of a model have a control each, at most."""
WORK: dict[str, Any] = {"preprocess": False, "api_visibility": "private", "concurrency_id": "work"}
"""Options of events that compute. Values arrive as they were sent: Limits checks them, as it does those of the API."""
UPDATE: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
"""Options of events that only update controls."""
SHOW = """() => {
    const result = document.getElementById('%s');
    const show = () => {
        const top = result.getBoundingClientRect().top;
        if (top < 0 || top > innerHeight / 2) result.scrollIntoView({behavior: 'smooth', block: 'start'});
    };
    show();
    new MutationObserver((changes, observer) => { observer.disconnect(); setTimeout(show, 100); })
        .observe(result, {subtree: true, childList: true, characterData: true});
}"""
"""JavaScript that scrolls to a result at once, and again at its first change, since it has its size only then."""


def model_and_labels(models: Catalog, choose: bool = False) -> tuple[gr.Dropdown, list[gr.Dropdown]]:
    """The models by name, and a control for each label of the chosen one; those left over are hidden.

    With `choose` the first class of each label is chosen, for models whose unconditional samples are of mixed classes.
    """
    model = gr.Dropdown(models.names, value=models.names[0], label="Model", interactive=True)
    choices = _label_choices(models.first, choose)
    with gr.Row(visible=bool(models.first.pipeline.labels)) as row:
        labels = [gr.Dropdown(**choice, interactive=True, min_width=120) for choice in choices]

    @report_errors
    def update(name: Any) -> list[Any]:
        entry = models.get(name)
        updates = [gr.update(**choice) for choice in _label_choices(entry, choose)]
        return [gr.update(visible=bool(entry.pipeline.labels)), *updates]

    model.change(update, model, [row, *labels], preprocess=False, **UPDATE)
    return model, labels


def _label_choices(entry: Entry, choose: bool) -> list[dict[str, Any]]:
    shown = [
        {
            "label": name.capitalize(),
            "choices": [("any", ""), *((one, one) for one in classes)],
            "value": classes[0] if choose and classes else "",
            "visible": True,
        }
        for name, classes in list(entry.pipeline.labels.items())[:LABELS]
    ]
    hidden = {"label": "Label", "choices": [("any", "")], "value": "", "visible": False}
    return shown + [hidden] * (LABELS - len(shown))


def chosen_labels(entry: Entry, values: Sequence[Any]) -> dict[str, Any]:
    """The labels of a model for which a class is chosen."""
    return {name: value for name, value in zip(entry.pipeline.labels, values, strict=False) if value}


def temperature(limits: Limits, value: float = 0.8) -> gr.Slider:
    """The sampling temperature."""
    return gr.Slider(
        *(0, limits.temperature, value),
        step=0.05,
        label="Temperature",
        info="1 is the model's own distribution; 0 always takes the likeliest symbol.",
    )


def seed() -> gr.Textbox:
    """The seed; a box of text, because a box of numbers reports 0 when it is empty."""
    return gr.Textbox(
        label="Seed", info="The same seed gives the same result.", placeholder="a new one each time", max_lines=1
    )


def used_seed(target: gr.Textbox) -> gr.Textbox:
    """The seed of the result, and a button that copies it into the seed's control."""
    with gr.Row(elem_classes="used"):
        used = gr.Textbox(
            label="Seed used", interactive=False, scale=2, min_width=120, max_lines=1, elem_classes="seed-used"
        )
        keep = gr.Button("Use it again", size="sm", scale=1, min_width=110)
    keep.click(lambda number: number, used, target, preprocess=False, **UPDATE)
    return used


def run_and_stop(word: str) -> tuple[gr.Button, gr.Button]:
    """The button that starts a request, and the one that stops it."""
    with gr.Row():
        return gr.Button(word, variant="primary", min_width=120), gr.Button("Stop", variant="stop", min_width=80)


def on_click(
    button: gr.Button,
    function: Callable[..., Any],
    inputs: list[Any],
    outputs: list[Any],
    *,
    status: gr.components.Component,
    result: str,
    stop: gr.Button | None = None,
) -> None:
    """Run a function when a button is clicked, and scroll to its result, the element of that id.

    Progress is shown at `status`; the button `stop` cancels the run and says so there.
    """
    run = button.click(function, inputs, outputs, **WORK, show_progress_on=[status])
    button.click(None, js=SHOW % result, **UPDATE)
    if stop is not None:
        stop.click(None, cancels=[run], queue=False).then(lambda: "Stopped.", None, status, **UPDATE)
