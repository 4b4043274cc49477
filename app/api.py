"""The endpoints for programs: plain values in, plain JSON and files out, under the same limits as the page."""

from collections.abc import Iterator
from typing import Any, TypedDict

import gradio as gr
import numpy as np
from gradio.processing_utils import save_audio_to_cache, save_bytes_to_cache
from gradio.utils import get_upload_folder

from seqgen.media import audio, grid
from seqgen.media.audio import Clip
from seqgen_app import image, score, sound, text
from seqgen_app.asked import asked
from seqgen_app.limits import Limits, Refused
from seqgen_app.shelf import Shelf


class Texts(TypedDict):
    """What /sample_text gives."""

    texts: list[str]
    new: list[bool] | None
    seed: int
    done: bool
    note: str


class Sound(TypedDict):
    """What /sample_audio gives; the clip, a WAV file, comes with the last answer."""

    clip: Any
    seed: int
    rate: int
    seconds: float
    real_time_factor: float
    note: str


class Pictures(TypedDict):
    """What /sample_image gives; the pictures, PNG files, come with the last answer."""

    pictures: list[Any]
    rows: int
    seed: int
    done: bool
    note: str


def endpoints(shelf: Shelf, limits: Limits) -> None:
    """Add /sample_text, /score_text and the like for audio and images to the page that is being built."""

    @asked
    def sample_text(
        model: str,
        prompt: str = "",
        length: int = 400,
        n: int = 1,
        label: str = "",
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> Iterator[Texts]:
        """Write texts that begin with `prompt`. One text streams: every answer holds what there is so far, the last
        all of it. `label` is a class or name=class, such as F or sex=F; the same seed gives the same texts, and
        null draws one, which is told. `new` says of each text whether it is not in the training data, null where that
        is not known."""
        entry = shelf.get(model, "text")
        wished = text.wish(entry, limits, prompt, length, n, label, temperature, top_k, top_p, seed)
        for written in text.write(entry, limits, wished):
            new = None if entry.seen is None else [one not in entry.seen for one in written.texts]
            yield Texts(texts=written.texts, new=new, seed=written.seed, done=written.done, note=written.note)

    @asked
    def sample_audio(
        model: str,
        seconds: float | None = None,
        label: str = "",
        temperature: float = 1.0,
        seed: int | None = None,
        clip: gr.FileData | None = None,
    ) -> Iterator[Sound]:
        """Make a clip of at most so many seconds; null stands for a second, or for all of a vocoder's clip. `label` is
        such as digit=3, voice=en-us. `clip` is a sound to go on with, or for a vocoder the one to say again. Every
        answer tells how far it is; the last one holds the clip, a WAV file."""
        entry = shelf.get(model, "sound")
        wished = sound.wish(entry, limits, seconds, label, temperature, seed, uploaded(clip))
        for spoken in sound.speak(entry, limits, wished):
            yield Sound(
                clip=_file(spoken.clip) if spoken.done else None,
                seed=spoken.seed,
                rate=entry.rate,
                seconds=round(spoken.clip.seconds, 4),
                real_time_factor=round(spoken.factor, 4),
                note=spoken.note,
            )

    @asked
    def sample_image(
        model: str,
        n: int = 1,
        label: str = "",
        temperature: float = 1.0,
        seed: int | None = None,
        picture: gr.FileData | None = None,
        kept: float = 0.5,
        invert: bool = False,
    ) -> Iterator[Pictures]:
        """Draw pictures. `label` is a class, such as 3. `picture` is one to complete: it is scaled to the model's size,
        black and white are exchanged with `invert`, and the share `kept` of its rows stays, from the top. Every answer
        tells how many rows are drawn; the last one holds the pictures, PNG files."""
        entry = shelf.get(model, "image")
        wished = image.wish(entry, limits, n, label, temperature, seed, uploaded(picture), kept, invert)
        for drawn in image.draw(entry, limits, wished):
            yield Pictures(
                pictures=[_picture(one) for one in drawn.pictures] if drawn.done else [],
                rows=len(drawn.pictures[0]),
                seed=drawn.seed,
                done=drawn.done,
                note=drawn.note,
            )

    @asked
    def score_text(model: str, text: str, label: str = "") -> dict[str, Any]:
        """How likely a text is: totals in nats and bits, the rank p-value among texts that the model was not trained
        on (null where it has none), and for each symbol its bits of surprise, its rank among the model's guesses and
        the bits that were to be expected."""
        entry = shelf.get(model, "text")
        scored = score.score_text(entry, limits, text, label)
        symbols = [symbol._asdict() for symbol in scored.symbols]
        numbers = {**scored.total.as_dict(), "p_value": scored.p_value}
        return {**numbers, "end_counted": scored.end_counted, "per_symbol": symbols}

    @asked
    def score_audio(model: str, clip: gr.FileData, label: str = "") -> dict[str, Any]:
        """How likely a clip is: totals in nats and bits, the rank p-value among clips that the model was not trained
        on (null where it has none), and the bits of surprise of every sample at the model's rate."""
        entry = shelf.get(model, "sound")
        scored = score.score_clip(entry, limits, uploaded(clip), label)
        numbers = {**scored.total.as_dict(), "p_value": scored.p_value, "rate": entry.rate}
        return {**numbers, "bits": [round(bits, 4) for bits in scored.bits.tolist()]}

    @asked
    def score_image(model: str, picture: gr.FileData, label: str = "", invert: bool = False) -> dict[str, Any]:
        """How likely a picture is, scaled to the model's size: totals in nats and bits, the rank p-value among pictures
        that the model was not trained on (null where it has none), and the bits of surprise of every pixel, row by
        row."""
        entry = shelf.get(model, "image")
        scored = score.score_image(entry, limits, uploaded(picture), label, invert)
        rows = [[round(bits, 4) for bits in row] for row in scored.bits.tolist()]
        return {**scored.total.as_dict(), "p_value": scored.p_value, "bits": rows}

    for function in (sample_text, sample_audio, sample_image, score_text, score_audio, score_image):
        gr.events.api(function, api_name=function.__name__, concurrency_id="work")


def uploaded(handed: Any) -> str | None:
    """The path of an uploaded file, which Gradio has checked to lie among the uploads."""
    if handed is None:
        return None
    path = handed.get("path") if isinstance(handed, dict) else None
    if not isinstance(path, str) or (handed.get("meta") or {}).get("_type") != "gradio.FileData":
        raise Refused("What was handed in is none: expected an uploaded file.")
    return path


def wav(clip: Clip) -> str:
    """The path of a 16-bit WAV file among those that are deleted by age."""
    samples, folder = audio.pcm(clip.samples), get_upload_folder()
    path: str = save_audio_to_cache(samples, clip.rate, format="wav", cache_dir=folder)
    return path


def _file(clip: Clip) -> dict[str, Any]:
    return {"path": wav(clip), "orig_name": "clip.wav", "meta": {"_type": "gradio.FileData"}}


def _picture(pixels: np.ndarray) -> dict[str, Any]:
    path = save_bytes_to_cache(grid.png(pixels), "picture.png", get_upload_folder())
    return {"path": path, "orig_name": "picture.png", "meta": {"_type": "gradio.FileData"}}
