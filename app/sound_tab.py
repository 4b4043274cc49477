"""The tab that speaks."""

import shutil
from collections.abc import Iterator
from typing import Any

import gradio as gr

from seqgen.media import audio
from seqgen.media.audio import Clip
from seqgen_app import api, controls, score, sound
from seqgen_app.asked import asked
from seqgen_app.limits import Limits
from seqgen_app.pictures import picture
from seqgen_app.shelf import Entry, Shelf

WITHOUT = (
    "The program *ffmpeg* is not installed where this app runs, so the sound cannot be heard while it is made; "
    "it comes as one clip at the end."
)
HINTS = {
    False: "A sound to go on with, uploaded or recorded. It may stay empty.",
    True: "This model says again what it hears: upload a clip, or record one.",
}


def sound_tab(shelf: Shelf, limits: Limits) -> None:
    """Build it."""
    entry, live = controls.first(shelf, "sound"), shutil.which("ffmpeg") is not None
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            model = controls.model_picker(shelf.names("sound"), "Who speaks.")
            labels = controls.label_pickers(entry, made=True)
            seconds = gr.Slider(
                0.1,
                limits.seconds,
                1.0,
                step=0.1,
                label="Seconds",
                info="At most; a word ends where the model ends it.",
            )
            temperature = controls.temperature(limits)
            with gr.Accordion("Seed", open=False):
                seed = controls.seed()
            with gr.Accordion("A clip to begin with", open=entry.vocoder) as drawer:
                hint = gr.Markdown(HINTS[entry.vocoder])
                clip = gr.Audio(sources=["upload", "microphone"], type="filepath", label="Clip", editable=False)
            go, stop = controls.go_and_stop("Speak")
        with gr.Column(scale=3, min_width=300):
            stream = gr.Audio(
                label="While it is made", streaming=True, autoplay=True, interactive=False, buttons=[], visible=live
            )
            if not live:
                gr.Markdown(WITHOUT, elem_id="no-ffmpeg")
            whole = gr.Audio(
                label="The clip",
                interactive=False,
                buttons=["download"],
                format="wav",
                elem_id="clip",
                autoplay=not live,
            )
            status = gr.Markdown("", elem_id="sound-status")
            gr.Markdown("Waveform, mel spectrogram, and how many bits each sample surprised the model:")
            drawn = gr.Image(
                show_label=False,
                buttons=["fullscreen"],
                interactive=False,
                format="png",
                elem_id="picture",
                elem_classes="drawn",
            )
            used = controls.used_seed(seed)
    inputs = [model, seconds, temperature, seed, clip, *labels]
    outputs = [stream, whole, status, drawn, used]
    run = go.click(_speaker(shelf, limits, live), inputs, outputs, **controls.RAW, show_progress_on=[status])
    controls.stops(stop, run, status)
    model.change(_turn(shelf, limits), model, [*labels, hint, drawer, seconds], preprocess=False, **controls.PLAIN)


def _speaker(shelf: Shelf, limits: Limits, live: bool) -> Any:
    @asked
    def speak(
        model: Any, seconds: Any, temperature: Any, seed: Any, clip: Any, *labels: Any
    ) -> Iterator[tuple[Any, ...]]:
        entry = shelf.get(model, "sound")
        label = controls.said(entry, labels)
        wished = sound.wish(entry, limits, seconds, label, temperature, seed, api.uploaded(clip))
        player = sound.Live(entry.rate) if live else None
        for spoken in sound.speak(entry, limits, wished):
            heard = player.hear(spoken.new, spoken.done) if player else None
            piece = gr.skip() if heard is None else heard  # skipping, unlike None, opens no empty stream
            if not spoken.done:
                yield piece, gr.skip(), f"{_made(spoken)} …", gr.skip(), str(spoken.seed)
                continue
            yield piece, _heard(spoken.clip), f"{_made(spoken)}. {spoken.note}", gr.skip(), str(spoken.seed)
            yield gr.skip(), gr.skip(), gr.skip(), _drawn(entry, limits, spoken.clip, wished), str(spoken.seed)

    return speak


def _heard(clip: Clip) -> tuple[int, Any]:
    return clip.rate, audio.pcm(clip.samples)


def _made(spoken: sound.Spoken) -> str:
    return f"{spoken.clip.seconds:.2f} s of sound in {spoken.took:.1f} s: **{spoken.factor:.2f} × real time**"


def _drawn(entry: Entry, limits: Limits, clip: Clip, wished: sound.Wish) -> Any:
    scored = score.score_heard(entry, limits, clip, wished.label, wished.condition)
    return picture(clip, scored.bits)


def _turn(shelf: Shelf, limits: Limits) -> Any:
    @asked
    def turn(model: Any) -> list[Any]:
        entry = shelf.get(model, "sound")
        seconds = gr.update(value=limits.seconds if entry.vocoder else min(1.0, limits.seconds))
        return [*controls.label_updates(entry, made=True), HINTS[entry.vocoder], gr.update(open=entry.vocoder), seconds]

    return turn
