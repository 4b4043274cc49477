"""The tab that tells where the models come from."""

import gradio as gr

from seqgen_app.shelf import Shelf

ABOUT = """\
Every model here writes a sequence one symbol after the other, each drawn from the probabilities that it gives to what
may come next: letters for text, samples for sound, pixels for pictures. The same probabilities give a score to any
text, clip or picture that you hand in. Nothing leaves the machine that this app runs on, and what you hand in is
deleted within two hours.

The card of a model says what it was trained on, under which licence, how, and how well it predicts what it has not
seen.
"""


def about_tab(shelf: Shelf) -> None:
    """Build it: a card for each model."""
    gr.Markdown(ABOUT)
    for place, (name, entry) in enumerate(shelf.entries.items()):
        with gr.Accordion(name, open=place == 0, elem_classes="card"):
            gr.Markdown(entry.card.partition("\n")[2], sanitize_html=True)
