"""The tab of images."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image, ImageDraw, ImageFont

from seqgen.media import grid
from seqgen_app import controls, files, scores
from seqgen_app.catalog import Entry
from seqgen_app.errors import report_errors
from seqgen_app.tab import Tab
from seqgen_app.tabs import image_html, image_request
from seqgen_app.tabs.image_request import Images, ScoredImage

SIDE = 28
DIGITS = "235"
"""Example pictures are these digits, of 28 x 28 pixels."""


class ImageSamples(TypedDict):
    """What /sample_image returns; the images, PNG files, come with the last answer."""

    pictures: list[Any]
    rows: int
    seed: int
    done: bool
    note: str


class ImageTab(Tab):
    """Images that appear row by row, from nothing or below given rows; a map of the surprise of pixels."""

    title = "Images"

    # -- sampling

    def build(self) -> None:
        """The uploaded picture to complete is optional."""
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                model, labels = controls.model_and_labels(self.models, choose=True)
                count = gr.Slider(*(1, self.limits.pictures, min(9, self.limits.pictures)), step=1, label="How many")
                temperature = controls.temperature(self.limits, 1.0)
                with gr.Accordion("Seed", open=False):
                    seed = controls.seed()
                with gr.Accordion("Picture to complete", open=False):
                    gr.Markdown("The model keeps the upper rows of the picture and samples the others.")
                    picture = _upload("given-picture")
                    kept = gr.Slider(*(0, 1, 0.5), step=0.05, label="Kept share", info="Of the rows, from the top.")
                    invert = _invert()
                    _examples(picture, "given-examples")
                go, stop = controls.run_and_stop("Draw")
            with gr.Column(scale=3, min_width=300, elem_id="image-result"):
                canvas = gr.HTML(image_html.EMPTY, elem_id="canvas")
                status = gr.Markdown("", elem_id="image-status")
                used = controls.used_seed(seed)
        controls.on_click(
            go,
            self.draw,
            [model, count, temperature, seed, picture, kept, invert, *labels],
            [canvas, status, used],
            status=status,
            result="image-result",
            stop=stop,
        )

    @report_errors
    def draw(
        self, model: Any, count: Any, temperature: Any, seed: Any, picture: Any, kept: Any, invert: Any, *labels: Any
    ) -> Iterator[tuple[Any, ...]]:
        """Sample: the grid of images, the status and the seed."""
        entry = self.models.get(model)
        label, path = controls.chosen_labels(entry, labels), files.uploaded(picture)
        request = image_request.check(entry, self.limits, count, label, temperature, seed, path, kept, invert)
        height, _, _ = image_request.size(entry.pipeline.codec)
        for images in image_request.sample(entry, self.limits, request):
            yield image_html.image_grid(images, height), _status(images, height), str(images.seed)

    # -- scoring

    def build_score(self) -> None:
        """A picture, the surprise of its pixels, and its numbers."""
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                model, labels = controls.model_and_labels(self.models)
                picture = _upload("scored-picture")
                invert = _invert()
                _examples(picture, "scored-examples")
                go = gr.Button("Score", variant="primary", elem_id="score-picture")
            with gr.Column(scale=3, min_width=300, elem_id="image-scores"):
                shown = gr.HTML(elem_id="surprise-map")
                numbers = gr.HTML(elem_id="picture-numbers")
        inputs = [model, picture, invert, *labels]
        controls.on_click(go, self.score, inputs, [shown, numbers], status=shown, result="image-scores")

    @report_errors
    def score(self, model: Any, picture: Any, invert: Any, *labels: Any) -> tuple[str, str]:
        """The map of surprise and the numbers of a picture."""
        entry = self.models.get(model)
        label, path = controls.chosen_labels(entry, labels), files.uploaded(picture)
        scored = image_request.score(entry, self.limits, path, label, invert)
        return image_html.surprise_map(scored.image, scored.bits), _totals(entry, scored)

    # -- endpoints

    def endpoints(self) -> dict[str, Callable[..., Any]]:
        """/sample_image and /score_image."""
        return {"sample_image": self.sample_image, "score_image": self.score_image}

    @report_errors
    def sample_image(
        self,
        model: str,
        n: int = 1,
        label: str = "",
        temperature: float = 1.0,
        seed: int | None = None,
        picture: gr.FileData | None = None,
        kept: float = 0.5,
        invert: bool = False,
    ) -> Iterator[ImageSamples]:
        """Sample images. `label` is a class, such as 3. `picture` is one to complete: it is resized to the model's
        size, inverted with `invert`, and the share `kept` of its rows stays, from the top. Every answer tells how many
        rows are sampled; the last one holds the images, PNG files."""
        entry, path = self.models.get(model), files.uploaded(picture)
        request = image_request.check(entry, self.limits, n, label, temperature, seed, path, kept, invert)
        for images in image_request.sample(entry, self.limits, request):
            saved = [files.save(grid.png(image), "picture.png") for image in images.images] if images.done else []
            yield ImageSamples(
                pictures=[files.as_json(path, "picture.png") for path in saved],
                rows=len(images.images[0]),
                seed=images.seed,
                done=images.done,
                note=images.note,
            )

    @report_errors
    def score_image(self, model: str, picture: gr.FileData, label: str = "", invert: bool = False) -> dict[str, Any]:
        """Score a picture, resized to the model's size: totals in nats and bits, the rank p-value among held-out
        images (null for a model without any), and the surprise in bits of every pixel, row by row."""
        scored = image_request.score(self.models.get(model), self.limits, files.uploaded(picture), label, invert)
        rows = [[round(bits, 4) for bits in row] for row in scored.bits.tolist()]
        return {**scored.total.as_dict(), "p_value": scored.p_value, "bits": rows}


def _status(images: Images, height: int) -> str:
    if not images.done:
        return f"Row {len(images.images[0])} of {height} …"
    given = " Given rows are blue." if images.given else ""
    return f"{len(images.images)} sampled.{given} {images.note}".strip()


def _totals(entry: Entry, scored: ScoredImage) -> str:
    height, width = scored.bits.shape
    values = {
        "bits in total": f"{scored.total.bits:,.1f}",
        "bits per pixel": f"{scored.total.bits / scored.bits.size:.3f}",
        "nats in total": f"{scored.total.nats:,.1f}",
        "pixels": f"{height} × {width}",
    }
    return scores.numbers(values, scored.p_value, entry.peers)


def _upload(name: str) -> gr.Image:
    """Where a picture is uploaded; the model gets the file as it is."""
    return gr.Image(
        sources=["upload", "clipboard"], type="filepath", label="Picture", height=220, buttons=[], elem_id=name
    )


def _invert() -> gr.Checkbox:
    return gr.Checkbox(
        False, label="Invert", info="For dark strokes on light paper; the bundled models draw light on dark."
    )


def _examples(target: gr.Image, name: str) -> None:
    rows = [[path] for path in digits()]
    gr.Examples(rows, [target], label="Examples", api_visibility="private", elem_id=name)


def digits() -> list[str]:
    """Paths of example pictures, printed digits in white on black, among the files of the app."""
    folder = Path(get_upload_folder()) / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    font = ImageFont.load_default(24)
    paths = []
    for digit in DIGITS:
        picture, middle = Image.new("L", (SIDE, SIDE)), (SIDE / 2, SIDE / 2)
        ImageDraw.Draw(picture).text(middle, digit, fill=255, font=font, anchor="mm", stroke_width=0.4)
        picture.save(folder / f"{digit}.png")
        paths.append(str(folder / f"{digit}.png"))
    return paths
