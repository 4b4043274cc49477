"""The tab of sound."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypedDict

import gradio as gr
import numpy as np

from seqgen.media import audio, figure
from seqgen.media.audio import Clip
from seqgen_app import controls, files, scores
from seqgen_app.catalog import Entry
from seqgen_app.errors import report_errors
from seqgen_app.limits import Refused
from seqgen_app.tab import Tab
from seqgen_app.tabs import sound_request
from seqgen_app.tabs.sound_request import SampledClip, ScoredClip, StreamResampler, is_vocoder, usual_seconds

NO_FFMPEG = (
    "The program *ffmpeg* is not installed where this app runs, so a clip does not play while it is sampled; "
    "it appears when it is complete."
)
HINTS = {
    False: "The model continues this clip. You may leave it empty.",
    True: "This model is a vocoder: upload or record a clip whose mel spectrogram conditions it.",
}
GREY, BLUE = "#7c8494", "#4f7df0"
"""Colours of axes and of curves, legible on a light page and on a dark one."""


class SoundSample(TypedDict):
    """What /sample_audio returns; the clip, a WAV file, comes with the last answer."""

    clip: Any
    seed: int
    rate: int
    seconds: float
    real_time_factor: float
    note: str


class SoundTab(Tab):
    """A clip that plays while it is sampled, with its figure; a clip with the surprise of its samples."""

    title = "Audio"

    # -- sampling

    def build(self) -> None:
        """Without ffmpeg there is no player for the clip while it is sampled."""
        entry, streaming = self.models.first, can_stream()
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                model, labels = controls.model_and_labels(self.models, choose=True)
                seconds = gr.Slider(
                    *(0.1, self.limits.seconds, usual_seconds(entry, self.limits)),
                    step=0.1,
                    label="Seconds",
                    info="At most: the clip ends where the model draws its end symbol.",
                )
                temperature = controls.temperature(self.limits)
                with gr.Accordion("Seed", open=False):
                    seed = controls.seed()
                with gr.Accordion("Clip to start from", open=is_vocoder(entry)) as drawer:
                    hint = gr.Markdown(HINTS[is_vocoder(entry)])
                    clip = _upload("given-clip")
                    with gr.Row():
                        examples = [
                            gr.Button(f"Example {number + 1}", size="sm", min_width=80, visible=shown)
                            for number, shown in enumerate(self._shown(entry))
                        ]
                    for number, button in enumerate(examples):
                        button.click(partial(self.example, number), model, clip, preprocess=False, **controls.UPDATE)
                go, stop = controls.run_and_stop("Speak")
            with gr.Column(scale=3, min_width=300, elem_id="sound-result"):
                player = gr.Audio(
                    label="Playing while it is sampled",
                    streaming=True,
                    autoplay=True,
                    interactive=False,
                    buttons=[],
                    visible=streaming,
                )
                if not streaming:
                    gr.Markdown(NO_FFMPEG, elem_id="no-ffmpeg")
                whole = gr.Audio(
                    label="The whole clip",
                    interactive=False,
                    buttons=["download"],
                    format="wav",
                    elem_id="clip",
                    autoplay=not streaming,
                )
                status = gr.Markdown("", elem_id="sound-status")
                gr.Markdown(
                    "Waveform, mel spectrogram (of a vocoder's original, too), surprise of the samples in bits:"
                )
                drawn = _figure("picture")
                used = controls.used_seed(seed)
        controls.on_click(
            go,
            self.speak,
            [model, seconds, temperature, seed, clip, *labels],
            [player, whole, status, drawn, used],
            status=status,
            result="sound-result",
            stop=stop,
        )
        model.change(self.switch, model, [hint, drawer, seconds, *examples], preprocess=False, **controls.UPDATE)

    @report_errors
    def switch(self, model: Any) -> list[Any]:
        """Say what a clip is for, and set the usual duration."""
        entry = self.models.get(model)
        vocoder, seconds = is_vocoder(entry), usual_seconds(entry, self.limits)
        examples = [gr.update(visible=shown) for shown in self._shown(entry)]
        return [HINTS[vocoder], gr.update(open=vocoder), gr.update(value=seconds), *examples]

    def _shown(self, entry: Entry) -> list[bool]:
        """Whether there is a clip for each of the buttons, of which there are as many as a model has clips."""
        most = max(len(one.examples) for one in self.models.entries.values())
        return [number < len(entry.examples) for number in range(most)]

    @report_errors
    def example(self, number: int, model: Any) -> tuple[int, np.ndarray]:
        """A clip that comes with the model, as rate and samples. Raises Refused where there is none of that number."""
        examples = self.models.get(model).examples
        if number >= len(examples):
            raise Refused("The model has no such example.")
        clip = audio.read(examples[number])
        return clip.rate, audio.pcm(clip.samples)

    @report_errors
    def speak(
        self, model: Any, seconds: Any, temperature: Any, seed: Any, clip: Any, *labels: Any
    ) -> Iterator[tuple[Any, ...]]:
        """Sample: what the player plays next, the whole clip, the status, the figure and the seed."""
        entry = self.models.get(model)
        label = controls.chosen_labels(entry, labels)
        request = sound_request.check(entry, self.limits, seconds, label, temperature, seed, files.uploaded(clip))
        resampler = StreamResampler(sound_request.sample_rate(entry)) if can_stream() else None
        for sampled in sound_request.sample(entry, self.limits, request):
            played = resampler.push(sampled.new, sampled.done) if resampler else None
            piece = gr.skip() if played is None else played  # None would open an empty stream
            if not sampled.done:
                yield piece, gr.skip(), f"{_status(sampled)} …", gr.skip(), str(sampled.seed)
                continue
            clip = sampled.clip.rate, audio.pcm(sampled.clip.samples)
            yield piece, clip, f"{_status(sampled)}. {sampled.note}", gr.skip(), str(sampled.seed)
            scored = sound_request.score_clip(entry, self.limits, sampled.clip, request.label, request.condition)
            drawn = clip_figure(scored.clip, scored.bits, request.condition)
            yield gr.skip(), gr.skip(), gr.skip(), drawn, str(sampled.seed)

    # -- scoring

    def build_score(self) -> None:
        """A clip, its numbers, and its figure with the surprise of its samples."""
        model, labels = controls.model_and_labels(self.models)
        clip = _upload("scored-clip")
        go = gr.Button("Score", variant="primary", elem_id="score-clip")
        with gr.Column(elem_id="clip-scores"):
            numbers = gr.HTML(elem_id="clip-numbers")
            drawn = _figure("clip-figure")
        controls.on_click(
            go, self.score, [model, clip, *labels], [numbers, drawn], status=numbers, result="clip-scores"
        )

    @report_errors
    def score(self, model: Any, clip: Any, *labels: Any) -> tuple[str, Any]:
        """The numbers of a clip and its figure."""
        entry = self.models.get(model)
        scored = sound_request.score(entry, self.limits, files.uploaded(clip), controls.chosen_labels(entry, labels))
        return _totals(entry, scored), clip_figure(scored.clip, scored.bits)

    # -- endpoints

    def endpoints(self) -> dict[str, Callable[..., Any]]:
        """/sample_audio and /score_audio."""
        return {"sample_audio": self.sample_audio, "score_audio": self.score_audio}

    @report_errors
    def sample_audio(
        self,
        model: str,
        seconds: float | None = None,
        label: str = "",
        temperature: float = 1.0,
        seed: int | None = None,
        clip: gr.FileData | None = None,
    ) -> Iterator[SoundSample]:
        """Sample a clip of at most `seconds`; null means one second, or the whole of a vocoder's clip. `label` is such
        as digit=3, voice=en-us. `clip` is a sound that the model continues or, for a vocoder, the sound whose mel
        spectrogram conditions it. Every answer tells how much has been sampled; the last one holds the clip, a WAV
        file."""
        entry = self.models.get(model)
        request = sound_request.check(entry, self.limits, seconds, label, temperature, seed, files.uploaded(clip))
        for sampled in sound_request.sample(entry, self.limits, request):
            yield SoundSample(
                clip=files.as_json(files.save_wav(sampled.clip), "clip.wav") if sampled.done else None,
                seed=sampled.seed,
                rate=sampled.clip.rate,
                seconds=round(sampled.clip.seconds, 4),
                real_time_factor=round(sampled.speed, 4),
                note=sampled.note,
            )

    @report_errors
    def score_audio(self, model: str, clip: gr.FileData, label: str = "") -> dict[str, Any]:
        """Score a clip: totals in nats and bits, the rank p-value among held-out clips (null for a model without any),
        and the surprise in bits of every sample at the model's rate."""
        scored = sound_request.score(self.models.get(model), self.limits, files.uploaded(clip), label)
        numbers = {**scored.total.as_dict(), "p_value": scored.p_value, "rate": scored.clip.rate}
        return {**numbers, "bits": [round(bits, 4) for bits in scored.bits.tolist()]}


def can_stream() -> bool:
    """Whether clips can be encoded for a player while they are sampled."""
    return shutil.which("ffmpeg") is not None


def _upload(name: str) -> gr.Audio:
    """Where a clip is uploaded or recorded."""
    return gr.Audio(
        sources=["upload", "microphone"], type="filepath", label="Clip", editable=False, buttons=[], elem_id=name
    )


def _figure(name: str) -> gr.Image:
    return gr.Image(
        show_label=False,
        buttons=["fullscreen"],
        interactive=False,
        format="png",
        elem_id=name,
        elem_classes="drawn",
    )


def _status(sampled: SampledClip) -> str:
    return f"{sampled.clip.seconds:.2f} s of sound in {sampled.took:.1f} s: **{sampled.speed:.2f} × real time**"


def _totals(entry: Entry, scored: ScoredClip) -> str:
    bits, seconds = scored.total.bits, scored.clip.seconds
    values = {
        "bits in total": f"{bits:,.0f}",
        "bits per sample": f"{bits / len(scored.bits):.3f}",
        "bits per second": f"{bits / seconds:,.0f}",
        "seconds": f"{seconds:.2f}",
    }
    return scores.numbers(values, scored.p_value, entry.peers)


def clip_figure(clip: Clip, bits: np.ndarray, original: Clip | None = None) -> np.ndarray:
    """Waveform, mel spectrogram and surprise as pixels (height, width, 4) on a transparent ground.

    The spectrogram of the `original`, which a vocoder says again, stands above that of the clip.
    """
    drawn = figure.figure(clip, bits, original=original)
    drawn.patch.set_alpha(0)
    for axis in drawn.axes:
        axis.patch.set_alpha(0)
        axis.tick_params(colors=GREY)
        for part in (axis.xaxis.label, axis.yaxis.label, axis.title):
            part.set_color(GREY)
        for spine in axis.spines.values():
            spine.set_color(GREY)
        for line in axis.lines:
            line.set_color(BLUE)
        for area in axis.collections:
            area.set(facecolor=BLUE, edgecolor=BLUE)
    pixels: np.ndarray = figure.pixels(drawn)
    return pixels
