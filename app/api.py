"""The endpoints for programs: plain values in, plain JSON and files out, under the same limits as the page."""

from collections.abc import Iterator
from typing import Any, TypedDict

import gradio as gr
from gradio.processing_utils import save_audio_to_cache
from gradio.utils import get_upload_folder

from seqgen import audio
from seqgen.audio import Clip
from seqgen_app import score, sound, text
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


def endpoints(shelf: Shelf, limits: Limits) -> None:
    """Add /sample_text, /sample_audio, /score_text and /score_audio to the page that is being built."""

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
        entry = shelf.get(model, sounds=False)
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
        entry = shelf.get(model, sounds=True)
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
    def score_text(model: str, text: str, label: str = "") -> dict[str, Any]:
        """How likely a text is: totals in nats and bits, and for each symbol its bits of surprise, its rank among the
        model's guesses and the bits that were to be expected."""
        entry = shelf.get(model, sounds=False)
        scored = score.score_text(entry, limits, text, label)
        symbols = [symbol._asdict() for symbol in scored.symbols]
        return {**scored.total.as_dict(), "end_counted": scored.end_counted, "per_symbol": symbols}

    @asked
    def score_audio(model: str, clip: gr.FileData, label: str = "") -> dict[str, Any]:
        """How likely a clip is: totals in nats and bits, and the bits of surprise of every sample at the model's
        rate."""
        entry = shelf.get(model, sounds=True)
        scored = score.score_clip(entry, limits, uploaded(clip), label)
        return {**scored.total.as_dict(), "rate": entry.rate, "bits": [round(bits, 4) for bits in scored.bits.tolist()]}

    for function in (sample_text, sample_audio, score_text, score_audio):
        gr.events.api(function, api_name=function.__name__, concurrency_id="work")


def uploaded(clip: Any) -> str | None:
    """The path of an uploaded file, which Gradio has checked to lie among the uploads."""
    if clip is None:
        return None
    path = clip.get("path") if isinstance(clip, dict) else None
    if not isinstance(path, str) or (clip.get("meta") or {}).get("_type") != "gradio.FileData":
        raise Refused("The clip is none: expected an uploaded file.")
    return path


def wav(clip: Clip) -> str:
    """The path of a 16-bit WAV file among those that are deleted by age."""
    if not len(clip.samples):
        raise Refused("The model ended the clip before its first sample; try another seed.")
    samples, folder = audio.pcm(clip.samples), get_upload_folder()
    path: str = save_audio_to_cache(samples, clip.rate, format="wav", cache_dir=folder)
    return path


def _file(clip: Clip) -> dict[str, Any]:
    return {"path": wav(clip), "orig_name": "clip.wav", "meta": {"_type": "gradio.FileData"}}
