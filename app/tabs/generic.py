"""The tab of every modality that has none of its own: what a terminal prints, as JSON and as files."""

import os
import re
from collections.abc import Callable, Iterator
from html import escape
from typing import Any, NamedTuple, TypedDict

import gradio as gr

from seqgen.inference.items import score_items
from seqgen.inference.score import Scores
from seqgen_app import controls, files, scores
from seqgen_app.catalog import Entry
from seqgen_app.errors import report_errors
from seqgen_app.limits import Deadline, Refused, run_watched
from seqgen_app.tab import Tab


class Samples(TypedDict):
    """What /sample_<modality> returns: the items as JSON holds them and as a terminal prints them, and their files."""

    items: list[Any]
    text: str
    files: list[Any]
    seed: int
    done: bool
    note: str


class Sampled(NamedTuple):
    """Items and the seed that they were sampled with; None for items that are not complete yet."""

    items: list[Any] | None
    seed: int
    note: str = ""


class GenericTab(Tab):
    """Samples and scores of items that are read from a text box and shown as a terminal shows them."""

    @property
    def slug(self) -> str:
        """The modality's name as part of names of endpoints and of elements of the page."""
        return re.sub(r"\W+", "_", self.modality.name.lower())

    # -- sampling

    def build(self) -> None:
        """Items that no text can hold come as files alone."""
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                model, labels = controls.model_and_labels(self.models)
                prompt = gr.Textbox(
                    label="Prompt",
                    info="What the model completes, written as for `seqgen sample --prompt`. It may be empty.",
                    max_length=self.limits.prompt,
                    lines=1,
                    max_lines=6,
                )
                count = gr.Slider(1, self.limits.samples, min(10, self.limits.samples), step=1, label="How many")
                temperature = controls.temperature(self.limits, 1.0)
                with gr.Accordion("Seed", open=False):
                    seed = controls.seed()
                go, stop = controls.run_and_stop("Sample")
            with gr.Column(scale=3, min_width=300, elem_id=f"{self.slug}-result"):
                shown = gr.HTML(
                    f'<pre class="items empty">The {escape(self.modality.plural)} appear here.</pre>',
                    elem_id=f"{self.slug}-items",
                )
                status = gr.Markdown("", elem_id=f"{self.slug}-status")
                written = gr.File(
                    label="Files",
                    file_count="multiple",
                    interactive=False,
                    visible=False,
                    elem_id=f"{self.slug}-files",
                )
                with gr.Accordion("As JSON", open=False, visible=self.modality.printable):
                    plain = gr.JSON(show_label=False, elem_id=f"{self.slug}-json")
                used = controls.used_seed(seed)
        controls.on_click(
            go,
            self.show_samples,
            [model, prompt, count, temperature, seed, *labels],
            [shown, status, written, plain, used],
            status=status,
            result=f"{self.slug}-result",
            stop=stop,
        )

    @report_errors
    def show_samples(
        self, model: Any, prompt: Any, count: Any, temperature: Any, seed: Any, *labels: Any
    ) -> Iterator[tuple[Any, ...]]:
        """Sample: the items as text, the status, their files, the items as JSON, and the seed."""
        entry = self.models.get(model)
        for sampled in self._sample(entry, prompt, count, controls.chosen_labels(entry, labels), temperature, seed):
            if sampled.items is None:
                yield gr.skip(), "Sampling …", gr.skip(), gr.skip(), str(sampled.seed)
                continue
            shown = f'<pre class="items">{escape(self._text(entry, sampled.items))}</pre>'
            status = f"{len(sampled.items)} {self.modality.plural}. {sampled.note}"
            written = files.save_items(entry, sampled.items)
            shown_files = gr.update(value=written, visible=bool(written))
            yield shown, status, shown_files, self._plain(entry, sampled.items), str(sampled.seed)

    def _sample(self, entry: Entry, prompt: Any, n: Any, label: Any, temperature: Any, seed: Any) -> Iterator[Sampled]:
        """Samples, after answers without any while they are drawn. Raises SeqgenError."""
        codec, count = entry.pipeline.codec, self.limits.whole("How many", n, 1, self.limits.samples)
        item = self._read(entry, "The prompt", prompt, self.limits.prompt)
        length = None if codec.length is not None else min(codec.usual_length, self.limits.length)
        self.limits.budget(count, codec.length or length or 0, self.modality.plural)
        arguments: dict[str, Any] = {
            "prompt": item,
            "length": length,
            "label": entry.label(label),
            "seed": self.limits.seed(seed),
            **self.limits.sampling(temperature),
        }

        def call(watch: Callable[[int, int], None]) -> list[Any]:
            return entry.pipeline.sample(count, watch=watch, **arguments)

        nothing = Sampled(None, arguments["seed"])
        yield nothing
        items = yield from run_watched(call, Deadline(self.limits.deadline), nothing)
        yield Sampled(items, arguments["seed"], entry.remark(items, **arguments))

    def _read(self, entry: Entry, name: str, value: Any, most: int) -> Any:
        """The item in a text box, None for an empty one. Raises SeqgenError.

        A modality may read files that are named to it, so the name of one is refused: visitors have no files here.
        """
        text = self.limits.text(name, value, most)
        if not text.strip():
            return None
        if os.path.lexists(text.strip()):
            raise Refused(f"{name} is the name of a file; expected {self.modality.noun} as text.")
        return self.modality.read(entry.pipeline.codec, text)

    def _text(self, entry: Entry, items: list[Any]) -> str:
        if not self.modality.printable:
            return f"The {self.modality.plural} are in the files."
        return self.modality.show(entry.pipeline.codec, items)

    def _plain(self, entry: Entry, items: list[Any]) -> list[Any]:
        return [self.modality.plain(entry.pipeline.codec, item) for item in items] if self.modality.printable else []

    # -- scoring

    def build_score(self) -> None:
        """One item, its numbers in a line, and the numbers of its symbols."""
        model, labels = controls.model_and_labels(self.models)
        item = gr.Textbox(
            label=self.modality.key.capitalize(),
            info="Written as for `seqgen score`.",
            lines=2,
            max_lines=12,
            max_length=self.limits.scored,
            elem_id=f"{self.slug}-scored",
        )
        go = gr.Button("Score", variant="primary", elem_id=f"score-{self.slug}")
        with gr.Column(elem_id=f"{self.slug}-scores"):
            numbers = gr.HTML(elem_id=f"{self.slug}-numbers")
            symbols = gr.HTML(elem_id=f"{self.slug}-symbols")
        inputs, outputs = [model, item, *labels], [numbers, symbols]
        controls.on_click(go, self.show_scores, inputs, outputs, status=numbers, result=f"{self.slug}-scores")

    @report_errors
    def show_scores(self, model: Any, item: Any, *labels: Any) -> tuple[str, str]:
        """The line of numbers with the meaning of the p-value, and a table of symbols."""
        entry = self.models.get(model)
        scored = self._score(entry, item, controls.chosen_labels(entry, labels))
        line = " ".join(self.modality.line(scored.total).split())
        ranked = "" if scored.p_value is None else f" p-value {scored.p_value:.3f}"
        sentence = scores.p_value_sentence(scored.p_value, entry.peers)
        return f'<pre class="items line">{escape(line)}{ranked}</pre>{sentence}', _table(scored.parts)

    def _score(self, entry: Entry, item: Any, label: Any) -> scores.Scored:
        """The scores of an item. Raises SeqgenError."""
        found = self._read(entry, f"The {self.modality.key}", item, self.limits.scored)
        if found is None:
            raise Refused(f"There is nothing to score: enter a {self.modality.key}.")
        labels = entry.label(label)
        (outcome,) = score_items(entry.pipeline, [("", found)], label=labels)
        if outcome.wrong is not None:
            raise Refused(str(outcome.wrong))
        return scores.scored(entry, self.limits, outcome.parts, labels)

    # -- endpoints

    def endpoints(self) -> dict[str, Callable[..., Any]]:
        """/sample_<modality> and /score_<modality>."""
        return {f"sample_{self.slug}": self.sample, f"score_{self.slug}": self.score}

    @report_errors
    def sample(
        self,
        model: str,
        prompt: str = "",
        n: int = 1,
        label: str = "",
        temperature: float = 1.0,
        seed: int | None = None,
    ) -> Iterator[Samples]:
        """Sample items. `prompt` is what the model completes, written as for the command `seqgen sample`, and `label`
        a class or name=class. The same seed gives the same items; null draws a seed, which is returned. The last
        answer holds the items as JSON, the text that a terminal would print, and files."""
        entry = self.models.get(model)
        for sampled in self._sample(entry, prompt, n, label, temperature, seed):
            items = sampled.items or []
            yield Samples(
                items=self._plain(entry, items),
                text=self._text(entry, items) if items else "",
                files=[files.as_json(path, os.path.basename(path)) for path in files.save_items(entry, items)]
                if items
                else [],
                seed=sampled.seed,
                done=sampled.items is not None,
                note=sampled.note,
            )

    @report_errors
    def score(self, model: str, item: str, label: str = "") -> dict[str, Any]:
        """Score an item, written as for the command `seqgen score`: totals in nats and bits, the rank p-value among
        held-out items (null for a model without any), and for each symbol its surprise in bits and, where symbols are
        classes, its rank (1: the likeliest) and the entropy of the model's distribution in bits."""
        return self._score(self.models.get(model), item, label).as_dict()


def _table(parts: list[Scores]) -> str:
    """Symbols with their bits and, where they are classes, ranks and entropies."""
    symbols = list(scores.symbols(parts))
    if symbols[0].rank is None:
        return scores.table(["symbol", "bits"], ([one.name, f"{one.bits:.3f}"] for one in symbols))
    rows = ([one.name, f"{one.bits:.3f}", f"{one.rank}", f"{one.entropy:.3f}"] for one in symbols)
    return scores.table(["symbol", "bits", "rank", "entropy"], rows)
