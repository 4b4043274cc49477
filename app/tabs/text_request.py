"""Requests to models of text: sampling one text that streams, or many at once, and scoring."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from seqgen_app.catalog import Entry
from seqgen_app.limits import INTERVAL, Deadline, Limits, Refused, run_watched
from seqgen_app.scores import Scored, scored


class TextRequest(NamedTuple):
    """A request for samples, checked."""

    prompt: str
    length: int
    n: int
    label: dict[str, str]
    sampling: dict[str, Any]
    seed: int

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of `Pipeline.sample` and `stream` but for n."""
        return {
            "prompt": self.prompt,
            "length": self.length,
            "label": self.label,
            "seed": self.seed,
            **self.sampling,
        }


class Texts(NamedTuple):
    """What has been sampled so far; the last of a request is `done`, `note` tells what a visitor should know of it."""

    texts: list[str]
    seed: int
    done: bool = False
    note: str = ""


def is_short(entry: Entry) -> bool:
    """Whether the model samples texts with an end, such as names, of which one asks for many."""
    return entry.pipeline.codec.end is not None


def check(
    entry: Entry,
    limits: Limits,
    prompt: Any = "",
    length: Any = 400,
    n: Any = 1,
    label: Any = None,
    temperature: Any = 1.0,
    top_k: Any = 0,
    top_p: Any = 1.0,
    seed: Any = None,
) -> TextRequest:
    """The request. Raises Refused, and UnknownSymbol for a character of the prompt that the model lacks."""
    request = TextRequest(
        limits.text("The prompt", prompt, limits.prompt),
        limits.whole("The length", length, 1, limits.length),
        limits.whole("How many", n, 1, limits.samples),
        entry.label(label),
        limits.sampling(temperature, top_k, top_p),
        limits.seed(seed),
    )
    limits.budget(request.n, request.length, "texts")
    entry.pipeline.codec.encode(request.prompt)  # before anything is shown
    return request


def sample(entry: Entry, limits: Limits, request: TextRequest) -> Iterator[Texts]:
    """The texts as they grow. One text streams; several are drawn together and come when they are done."""
    return (_stream if request.n == 1 else _batch)(entry, Deadline(limits.deadline), request)


def _stream(entry: Entry, deadline: Deadline, request: TextRequest) -> Iterator[Texts]:
    text, shown, note = "", -1.0, ""
    for piece in entry.pipeline.stream(**request.arguments):
        text += piece
        if deadline.passed:
            note = f"Stopped after {deadline.elapsed:.0f} s. "
            break
        if len(text) > len(request.prompt) and deadline.elapsed - shown > INTERVAL:
            yield Texts([text], request.seed)
            shown = deadline.elapsed
    yield _finished(entry, request, [text], note)


def _batch(entry: Entry, deadline: Deadline, request: TextRequest) -> Iterator[Texts]:
    def call(watch: Callable[[int, int], None]) -> list[str]:
        return entry.pipeline.sample(request.n, watch=watch, **request.arguments)

    nothing = Texts([], request.seed)
    yield nothing
    texts = yield from run_watched(call, deadline, nothing)
    yield _finished(entry, request, texts)


def _finished(entry: Entry, request: TextRequest, texts: list[str], note: str = "") -> Texts:
    return Texts(texts, request.seed, True, f"{note}{entry.remark(texts, prompt=request.prompt)}".strip())


def score(entry: Entry, limits: Limits, text: Any, label: Any = None) -> Scored:
    """The score. Raises Refused, and UnknownSymbol for a character that the model lacks."""
    text = limits.text("The text", text, limits.scored)
    if not text:
        raise Refused("There is nothing to score: enter a text.")
    labels = entry.label(label)
    return scored(entry, limits, entry.pipeline.score_pieces([text], label=labels), labels)
