"""The tab of text."""

from collections.abc import Callable, Iterator
from typing import Any, TypedDict

import gradio as gr

from seqgen_app import controls, scores
from seqgen_app.catalog import Entry
from seqgen_app.errors import report_errors
from seqgen_app.tab import Tab
from seqgen_app.tabs import compare, text_html, text_request
from seqgen_app.tabs.text_request import Texts, is_short

SAMPLES = [
    ("names", "", 0.8),
    ("names", "Ma", 0.6),
    ("shakespeare", "ROMEO:", 0.7),
    ("shakespeare", "To be, or not to be", 0.5),
]
"""Examples to click, by model: a prompt and a temperature."""
SCORED = [
    ("names", "Maria", "Xqzt"),
    ("names", "Jayden", "Nedyaj"),
    ("shakespeare", "To be, or not to be: that is the question.", "To be, or not to be: that is the algorithm."),
]
"""Examples to click, by model: two texts to score."""


class TextSamples(TypedDict):
    """What /sample_text returns."""

    texts: list[str]
    new: list[bool] | None
    seed: int
    done: bool
    note: str


class TextTab(Tab):
    """A text that streams, or short texts with whether they are new; texts coloured by surprise."""

    def more(self) -> dict[str, Callable[[], None]]:
        """A tab that compares temperatures."""
        return {"Compare": lambda: compare.build(self.models, self.limits)}

    # -- sampling

    def build(self) -> None:
        """A table for models of short texts, for others a text that streams."""
        short = is_short(self.models.first)
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                model, labels = controls.model_and_labels(self.models)
                prompt = gr.Textbox(
                    label="Prompt",
                    info="The model continues it. It may be empty.",
                    max_length=self.limits.prompt,
                    lines=1,
                    max_lines=6,
                )
                temperature = controls.temperature(self.limits)
                count = gr.Slider(1, self.limits.samples, 12, step=1, label="How many", visible=short)
                length = gr.Slider(
                    *(20, self.limits.length, 600), step=20, label="Length", info="Symbols at most.", visible=not short
                )
                with gr.Accordion("More settings", open=False):
                    top_k = gr.Slider(
                        *(0, 100, 0), step=1, label="Top-k", info="Sample from the k likeliest symbols; 0: from all."
                    )
                    top_p = gr.Slider(
                        *(0.05, 1, 1), step=0.05, label="Top-p", info="Sample from the likeliest symbols of this mass."
                    )
                    seed = controls.seed()
                go, stop = controls.run_and_stop("Write")
            with gr.Column(scale=3, min_width=300, elem_id="text-result"):
                table = gr.HTML(text_html.names([], None), visible=short, elem_id="names")
                text = gr.Textbox(
                    label="Text",
                    lines=16,
                    max_lines=24,
                    buttons=["copy"],
                    interactive=False,
                    visible=not short,
                    elem_id="written",
                    placeholder="The text appears here as it is sampled.",
                )
                status = gr.Markdown("", elem_id="text-status")
                used = controls.used_seed(seed)
        controls.on_click(
            go,
            self.write,
            [model, prompt, length, count, temperature, top_k, top_p, seed, *labels],
            [text, table, status, used],
            status=status,
            result="text-result",
            stop=stop,
        )
        model.change(self.switch, model, [count, table, length, text, status], preprocess=False, **controls.UPDATE)
        self._examples(SAMPLES, [model, prompt, temperature])

    def _examples(self, known: list[tuple[Any, ...]], inputs: list[Any]) -> None:
        if found := [list(example) for example in known if example[0] in self.models.names]:
            gr.Examples(found, inputs, label="Examples", api_visibility="private")

    @report_errors
    def switch(self, model: Any) -> list[Any]:
        """Show the controls for short texts or those for a long one, and no status of another model."""
        short = is_short(self.models.get(model))
        return [*(gr.update(visible=visible) for visible in (short, short, not short, not short)), ""]

    @report_errors
    def write(self, model: Any, prompt: Any, length: Any, count: Any, *rest: Any) -> Iterator[tuple[Any, ...]]:
        """Sample: the long text, the table of short ones, the status and the seed."""
        temperature, top_k, top_p, seed, *labels = rest
        entry = self.models.get(model)
        length, n = (100, count) if is_short(entry) else (length, 1)
        label = controls.chosen_labels(entry, labels)
        request = text_request.check(entry, self.limits, prompt, length, n, label, temperature, top_k, top_p, seed)
        for texts in text_request.sample(entry, self.limits, request):
            yield *_shown(entry, texts), _status(entry, texts), str(texts.seed)

    # -- scoring

    def build_score(self) -> None:
        """Two texts, their numbers, and their symbols coloured by surprise."""
        model, labels = controls.model_and_labels(self.models)
        with gr.Row():
            texts = [self._box("Text", "Maria"), self._box("Another text, to compare", "")]
        go = gr.Button("Score", variant="primary", elem_id="score-text")
        with gr.Column(elem_id="text-scores"):
            verdict = gr.Markdown("", elem_id="verdict")
            with gr.Row():
                shown = []
                for name in ("first", "second"):
                    with gr.Column(min_width=300):
                        shown += [gr.HTML(elem_id=f"{name}-colours"), gr.HTML(elem_id=f"{name}-numbers")]
            gr.HTML(text_html.LEGEND)
        inputs, outputs = [model, *texts, *labels], [verdict, *shown]
        controls.on_click(go, self.score, inputs, outputs, status=verdict, result="text-scores")
        self._examples(SCORED, [model, *texts])

    def _box(self, label: str, value: str) -> gr.Textbox:
        return gr.Textbox(value, label=label, lines=3, max_lines=12, max_length=self.limits.scored, min_width=300)

    @report_errors
    def score(self, model: Any, one: Any, other: Any, *labels: Any) -> list[str]:
        """How two texts compare, and of each its coloured symbols and its numbers; the second may be empty."""
        entry = self.models.get(model)
        label = controls.chosen_labels(entry, labels)
        found = [text_request.score(entry, self.limits, text, label) for text in ([one, other] if other else [one])]
        shown = [
            part
            for scored in found
            for part in (text_html.coloured(scores.symbols(scored.parts)), _totals(entry, scored))
        ]
        return [_comparison([scored.total.bits for scored in found]), *shown, *[""] * (4 - len(shown))]

    # -- endpoints

    def endpoints(self) -> dict[str, Callable[..., Any]]:
        """/sample_text and /score_text."""
        return {"sample_text": self.sample_text, "score_text": self.score_text}

    @report_errors
    def sample_text(
        self,
        model: str,
        prompt: str = "",
        length: int = 400,
        n: int = 1,
        label: str = "",
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> Iterator[TextSamples]:
        """Sample texts that begin with `prompt`. A single text streams: every answer holds the text so far, the last
        one the whole. `label` is a class or name=class, such as F or sex=F. The same seed gives the same texts; null
        draws a seed, which is returned. `new` tells of each text whether it is not in the training data; it is null
        where that is not known."""
        entry = self.models.get(model)
        request = text_request.check(entry, self.limits, prompt, length, n, label, temperature, top_k, top_p, seed)
        known = entry.pipeline.training_texts
        for texts in text_request.sample(entry, self.limits, request):
            new = None if known is None else [text not in known for text in texts.texts]
            yield TextSamples(texts=texts.texts, new=new, seed=texts.seed, done=texts.done, note=texts.note)

    @report_errors
    def score_text(self, model: str, text: str, label: str = "") -> dict[str, Any]:
        """Score a text: totals in nats and bits, the rank p-value among held-out texts (null for a model without any),
        and for each symbol its surprise in bits, its rank (1: the likeliest) and the entropy of the model's
        distribution in bits."""
        return text_request.score(self.models.get(model), self.limits, text, label).as_dict()


def _shown(entry: Entry, texts: Texts) -> tuple[Any, Any]:
    if is_short(entry):
        return gr.skip(), text_html.names(texts.texts, entry.pipeline.training_texts)
    return "".join(texts.texts), gr.skip()


def _status(entry: Entry, texts: Texts) -> str:
    if not texts.done:
        return "Sampling …"
    known = entry.pipeline.training_texts
    if not is_short(entry):
        return f"{len(texts.texts[0]):,} characters. {texts.note}"
    if known is None:
        return f"{len(texts.texts)} texts. {texts.note}"
    new = sum(text not in known for text in texts.texts)
    return f"{new} of {len(texts.texts)} are new: not among the {len(known):,} training texts. {texts.note}"


def _totals(entry: Entry, scored: scores.Scored) -> str:
    total = scored.total
    end = ", end symbol counted" if scored.parts[-1].end_counted else ""
    values = {
        "bits in total": f"{total.bits:,.1f}",
        "bits per symbol": f"{total.bits_per_symbol:.3f}",
        f"bits per {total.unit}": f"{total.bits_per_unit:.3f}" if total.units else "–",
        "perplexity": f"{total.perplexity:,.2f}",
        f"symbols{end}": f"{total.symbols:,.0f}",
    }
    return scores.numbers(values, scored.p_value, entry.peers)


def _comparison(bits: list[float]) -> str:
    """How the likelihoods of two texts compare; "" for one."""
    if len(bits) == 1:
        return ""
    difference = abs(bits[0] - bits[1])
    if difference < 0.01:
        return "To this model both texts are equally likely."
    times = f"{2**difference:,.1f}" if difference < 20 else "more than a million"
    first, second = ("first", "second") if bits[0] < bits[1] else ("second", "first")
    return (
        f"To this model the **{first}** text is **{times} times** as likely as the {second}: "
        f"they differ by {difference:,.1f} bits."
    )
