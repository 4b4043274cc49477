"""The page: its tabs, and the endpoints beside them."""

import gradio as gr

from seqgen_app.about_tab import about_tab
from seqgen_app.api import endpoints
from seqgen_app.compare_tab import compare_tab
from seqgen_app.image_tab import image_tab
from seqgen_app.limits import Limits
from seqgen_app.score_tab import score_tab
from seqgen_app.shelf import Shelf
from seqgen_app.sound_tab import sound_tab
from seqgen_app.text_tab import text_tab

TITLE = """\
# seqgen
Models that write one symbol after the other: read them, hear them, look at them, and see what surprises them.
"""


def page(shelf: Shelf, limits: Limits) -> gr.Blocks:
    """The app, not yet served. Nothing in it changes but the settings of each visitor."""
    blocks = gr.Blocks(title="seqgen", analytics_enabled=False, delete_cache=(limits.age, limits.age))
    with blocks:
        gr.Markdown(TITLE, elem_id="title")
        with gr.Tabs():
            if shelf.names("text"):
                with gr.Tab("Text", id="text"):
                    text_tab(shelf, limits)
            if shelf.names("sound"):
                with gr.Tab("Audio", id="audio"):
                    sound_tab(shelf, limits)
            if shelf.names("image"):
                with gr.Tab("Images", id="images"):
                    image_tab(shelf, limits)
            with gr.Tab("Score", id="score"):
                score_tab(shelf, limits)
            if shelf.names("text"):
                with gr.Tab("Compare", id="compare"):
                    compare_tab(shelf, limits)
            with gr.Tab("About", id="about"):
                about_tab(shelf)
        endpoints(shelf, limits)
    blocks.queue(api_open=False, max_size=limits.queue, default_concurrency_limit=limits.running)
    return blocks
