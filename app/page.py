"""The page: a tab for each modality of the models, the Score tab and the About tab, and the endpoints beside them."""

import gradio as gr

from seqgen_app.catalog import Catalog
from seqgen_app.limits import Limits
from seqgen_app.tab import TABS, Tab
from seqgen_app.tabs import GenericTab

TITLE = """\
# seqgen
Autoregressive models of sequences: draw samples, and see how likely a model finds your own data.
"""
SCORE = (
    "A score is a negative log-probability in bits, also called surprise: 1 bit is a coin toss, 10 bits are one chance "
    "in 1,024. The fewer bits, the likelier the model finds an item."
)
ABOUT = """\
Every model here factorises a sequence by the chain rule: it gives the probabilities of the next symbol (a letter, a
sound sample, a pixel, a number) given all symbols before it. Sampling draws one symbol after the other; the same
probabilities give a score to any item of yours. Nothing leaves the machine that this app runs on, and uploaded files
are deleted within two hours.

The card of a model tells what it was trained on, under which licence, how, and how well it predicts held-out data.
"""


def page(models: Catalog, limits: Limits) -> gr.Blocks:
    """The app, not yet served. Its only state is that of each visitor's controls."""
    blocks = gr.Blocks(title="seqgen", analytics_enabled=False, delete_cache=(limits.age, limits.age))
    with blocks:
        gr.Markdown(TITLE, elem_id="title")
        found = tabs(models, limits)
        with gr.Tabs(overflow_behavior="wrap"):
            for tab in found:
                with gr.Tab(tab.title):
                    tab.build()
            with gr.Tab("Score"):
                gr.Markdown(SCORE)
                with gr.Tabs(overflow_behavior="wrap"):
                    for tab in found:
                        with gr.Tab(tab.modality.name.capitalize()):
                            tab.build_score()
            for title, build in ((title, build) for tab in found for title, build in tab.more().items()):
                with gr.Tab(title):
                    build()
            with gr.Tab("About"):
                _cards(models)
        for name, function in ((name, function) for tab in found for name, function in tab.endpoints().items()):
            gr.events.api(function, api_name=name, concurrency_id="work")
    blocks.queue(api_open=False, max_size=limits.queue, default_concurrency_limit=limits.running)
    return blocks


def tabs(models: Catalog, limits: Limits) -> list[Tab]:
    """A tab for each modality of the models, those with a class of their own first, in the order of registration."""
    present = models.modalities()
    names = [*(name for name in TABS if name in present), *(name for name in present if name not in TABS)]
    return [TABS.get(name, GenericTab)(present[name], models.of(present[name]), limits) for name in names]


def _cards(models: Catalog) -> None:
    gr.Markdown(ABOUT)
    for place, (name, entry) in enumerate(models.entries.items()):
        with gr.Accordion(name, open=place == 0, elem_classes="card"):
            gr.Markdown(entry.card.partition("\n")[2], sanitize_html=True)
