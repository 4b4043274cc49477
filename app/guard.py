"""Checks of every HTTP request before it reaches Gradio: host, origin, size, JSON, and the values of its event."""

import json
import math
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from seqgen_app.body import Message, Receive, Rejected, counted, read, replayed
from seqgen_app.limits import Limits, Refused

Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

PREFIX = "/gradio_api"
UPLOAD = f"{PREFIX}/upload"
UNUSED = ("vibe-", "undo-vibe-", "process_recording", "deep_link", "run-history", "runs", "proxy=", "call/v2")
CLOSED = (*(f"{PREFIX}/{name}" for name in UNUSED), "/monitoring")
"""Routes of Gradio that this app does not use."""
HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; frame-ancestors 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Guard:
    """ASGI middleware: rejects other hosts and origins, and bodies that are too long or do not fit an event.

    Args:
        app: The application behind it.
        limits: Those of bodies and of nested JSON.
        hosts: The names under which the app may be called; None: any.
        files: The folder of uploads, the only files that a request may name.
        event: `event(path, body)` gives, for each value of the event that a request names, the range that it must lie
            in, or None for any value; None where there is no such event.
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
        """Pass the request on, or answer it with an error."""
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
            await self.app(scope, await self._checked(scope, receive), answer)
        except Rejected as rejected:
            if not answering:
                await _respond(answer, rejected.status, str(rejected))
        except Exception:  # of Gradio, about a request that it did not expect
            if answering:
                raise
            await _respond(answer, 400, "The request could not be understood.")

    async def _checked(self, scope: Message, receive: Receive) -> Receive:
        """How the app reads the body. Raises Rejected."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, path = headers.get("host", ""), scope["path"].rstrip("/")
        if self.hosts is not None and _host_name(host) not in self.hosts:
            raise Rejected(403, "This app is not served under that name.")
        if (origin := headers.get("origin")) is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Rejected(403, "Requests from other origins are not answered.")
        if path.startswith(CLOSED):
            raise Rejected(404, "Not found.")
        if scope["method"] in ("GET", "HEAD", "OPTIONS"):
            return receive
        if path == UPLOAD or path == "/login":
            return counted(receive, self.limits.upload + 10_000)
        body = await read(receive, headers, self.limits.body)
        if body or path.startswith((f"{PREFIX}/queue", f"{PREFIX}/call", f"{PREFIX}/run", f"{PREFIX}/api")):
            self._check_body(path, body)
        return replayed(body, receive)

    def _check_body(self, path: str, body: bytes) -> None:
        """Raises Rejected unless a body is JSON of finite numbers and fits the event that it names."""
        try:
            found = json.loads(body, parse_constant=_refuse, parse_float=_finite)
        except Refused as refused:
            raise Rejected(400, str(refused)) from None
        except (ValueError, RecursionError):
            raise Rejected(400, "The request is not JSON.") from None
        if not isinstance(found, dict):
            raise Rejected(400, "The request is not a JSON object.")
        if _depth(found, self.limits.depth) > self.limits.depth:
            raise Rejected(400, f"The request has more than {self.limits.depth} levels of nesting.")
        self._check_event(path, found)
        for name in _paths(found):
            self._check_file(name)

    def _check_event(self, path: str, found: dict[str, Any]) -> None:
        data = found.get("data")
        if not isinstance(data, list):
            if "data" in found or path.startswith((f"{PREFIX}/queue", f"{PREFIX}/call")):
                raise Rejected(400, "The request's data is not a list.")
            return
        expected = self.event(path, found)
        if expected is None:
            raise Rejected(404, "There is no such endpoint.")
        if len(data) != len(expected):
            raise Rejected(400, f"The request has {len(data)} values, expected {len(expected)}.")
        for value, indexes in zip(data, expected, strict=True):
            if indexes is not None and (type(value) is not int or value not in indexes):
                raise Rejected(
                    400, f"The request chooses an example that does not exist, expected one of {len(indexes)}."
                )

    def _check_file(self, name: Any) -> None:
        """Raises Rejected for a file that was neither uploaded nor made here."""
        try:
            inside = Path(name).resolve().is_relative_to(self.files.resolve()) and Path(name).is_file()
        except (TypeError, ValueError, OSError):
            inside = False
        if not inside:
            raise Rejected(400, "The request names a file that was not uploaded here.")


def events(
    functions: Callable[[], MutableMapping[int, Any]],
) -> Callable[[str, dict[str, Any]], list[range | None] | None]:
    """`Guard.event` for the functions of a Gradio app, of which a request names one in its path or in its body."""

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


def _host_name(host: str) -> str:
    return re.sub(r":\d+$", "", host).strip("[]").lower()


def _refuse(constant: str) -> float:
    raise Refused(f"{constant} is not a number.")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text[:20])


def _depth(value: Any, most: int) -> int:
    """The depth of nested lists and objects, counted up to `most` + 1."""
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
    """The values of all keys "path"."""
    if isinstance(value, dict):
        if "path" in value:
            yield value["path"]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _paths(inner)


async def _respond(send: Send, status: int, message: str) -> None:
    body = json.dumps({"detail": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
