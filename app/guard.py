"""The door: what every HTTP request must be before anything else looks at it."""

import json
import math
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from seqgen_app.body import Message, Receive, Shut, counted, read, replayed
from seqgen_app.limits import Limits, Refused

Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

PREFIX = "/gradio_api"
UPLOAD = f"{PREFIX}/upload"
UNUSED = ("vibe-", "undo-vibe-", "process_recording", "deep_link", "run-history", "runs", "proxy=", "call/v2")
CLOSED = (*(f"{PREFIX}/{name}" for name in UNUSED), "/monitoring")
"""Parts of Gradio that this app has no use for."""
HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; frame-ancestors 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Guard:
    """ASGI: turns away other sites, other hosts, and bodies that are too long, nested, no JSON, or not an event's.

    `hosts` are the names under which the app may be called, None for any; `files` is the folder of uploads, the only
    files that a request may name; `event(path, body)` is what values the event of a request takes, for each a range
    that it lies in or None for any, and None where there is no such event.
    """

    def __init__(
        self,
        app: App,
        limits: Limits,
        hosts: frozenset[str] | None,
        files: Path,
        event: Callable[[str, dict[str, Any]], list[range | None] | None],
    ) -> None:
        self.app, self.limits, self.hosts, self.files, self.event = app, limits, hosts, files, event

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Let the request in, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answering = False

        async def answer(message: Message) -> None:
            nonlocal answering
            if message["type"] == "http.response.start":
                answering = True
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        try:
            await self.app(scope, await self._admit(scope, receive), answer)
        except Shut as shut:
            if not answering:
                await _say(answer, shut.status, str(shut))
        except Exception:  # of the framework, about a request that it could not make sense of
            if answering:
                raise
            await _say(answer, 400, "The request could not be understood.")

    async def _admit(self, scope: Message, receive: Receive) -> Receive:
        """How the app is to read the body. Raises Shut."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, path = headers.get("host", ""), scope["path"].rstrip("/")
        if self.hosts is not None and _bare(host) not in self.hosts:
            raise Shut(403, "This app is not served under that name.")
        if (origin := headers.get("origin")) is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Shut(403, "Requests from other sites are not answered.")
        if path.startswith(CLOSED):
            raise Shut(404, "Not found.")
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return receive
        if path == UPLOAD or path == "/login":
            return counted(receive, self.limits.upload + 10_000)
        body = await read(receive, headers, self.limits.body)
        if body or path.startswith((f"{PREFIX}/queue", f"{PREFIX}/call", f"{PREFIX}/run", f"{PREFIX}/api")):
            self._judge(path, body)
        return replayed(body, receive)

    def _judge(self, path: str, body: bytes) -> None:
        """Raises Shut for a body that is no JSON of finite numbers, or does not fit the event that it names."""
        try:
            found = json.loads(body, parse_constant=_no_number, parse_float=_finite)
        except Refused as refused:
            raise Shut(400, str(refused)) from None
        except (ValueError, RecursionError):
            raise Shut(400, "The request is no JSON.") from None
        if not isinstance(found, dict):
            raise Shut(400, "The request is no JSON object.")
        if (depth := _depth(found, self.limits.depth)) > self.limits.depth:
            raise Shut(400, f"The request is nested {depth} deep or deeper, expected {self.limits.depth} at most.")
        self._judge_event(path, found)
        for name in _paths(found):
            self._judge_file(name)

    def _judge_event(self, path: str, found: dict[str, Any]) -> None:
        data = found.get("data")
        if not isinstance(data, list):
            if "data" in found or path.startswith((f"{PREFIX}/queue", f"{PREFIX}/call")):
                raise Shut(400, "The request's data is no list.")
            return
        expected = self.event(path, found)
        if expected is None:
            raise Shut(404, "There is no such function.")
        if len(data) != len(expected):
            raise Shut(400, f"The request has {len(data)} values, expected {len(expected)}.")
        for value, indexes in zip(data, expected, strict=True):
            if indexes is not None and (type(value) is not int or value not in indexes):
                raise Shut(400, f"The request chooses none of {len(indexes)} examples.")

    def _judge_file(self, name: Any) -> None:
        """A file that is named must be one that was uploaded, or made, here."""
        try:
            inside = Path(name).resolve().is_relative_to(self.files.resolve()) and Path(name).is_file()
        except (TypeError, ValueError, OSError):
            inside = False
        if not inside:
            raise Shut(400, "The request names a file that was not uploaded here.")


def events(
    functions: Callable[[], MutableMapping[int, Any]],
) -> Callable[[str, dict[str, Any]], list[range | None] | None]:
    """What values an event takes, of the events of a Gradio app; of those named in a path, or else in the body."""

    def event(path: str, body: dict[str, Any]) -> list[range | None] | None:
        name = re.fullmatch(rf"{PREFIX}/(?:call|run|api)/([^/]+)", path)
        known = functions()
        if name and name[1] != "predict":
            found = next((one for one in known.values() if one.api_name == name[1]), None)
        else:
            index = body.get("fn_index")
            found = known.get(index) if isinstance(index, int) and not isinstance(index, bool) else None
        if found is None or found.fn is None:
            return None
        # Gradio does not check the index of an example.
        return [range(len(one.raw_samples)) if hasattr(one, "raw_samples") else None for one in found.inputs]

    return event


def _bare(host: str) -> str:
    return re.sub(r":\d+$", "", host).strip("[]").lower()


def _no_number(constant: str) -> float:
    raise Refused(f"{constant} is no number.")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text[:20])


def _depth(value: Any, most: int) -> int:
    """How deep lists and objects are nested; looks no further than one beyond `most`."""
    level, depth = [value], 0
    while level and depth <= most:
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        depth += bool(level)
    return depth


def _paths(value: Any) -> Iterator[Any]:
    """What stands under "path" anywhere."""
    if isinstance(value, dict):
        if "path" in value:
            yield value["path"]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _paths(inner)


async def _say(send: Send, status: int, word: str) -> None:
    body = json.dumps({"detail": word}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
