"""Bodies of requests, read and counted before anything else looks at them."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
DRAINED = 20
"""A body so many times too long is read to its end, so that the answer arrives; of a longer one the line is cut."""


class Shut(Exception):
    """A request that is turned away with a status and a word."""

    def __init__(self, status: int, word: str) -> None:
        super().__init__(word)
        self.status = status


async def read(receive: Receive, headers: dict[str, str], most: int) -> bytes:
    """The body. Raises Shut for one that is too long, once it was read and thrown away."""
    length = headers.get("content-length", "0")
    parts, size, more = [], 0, not length.isdigit() or int(length) <= DRAINED * most
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Shut(400, "The request broke off.")
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size <= most:
            parts.append(part)
        elif size > DRAINED * most:
            break
    if size > most or (length.isdigit() and int(length) > most):
        raise Shut(413, f"The request is longer than {most:,} bytes.")
    return b"".join(parts)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Gives the body once, then what comes behind it, which is the end of the connection."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def counted(receive: Receive, most: int) -> Receive:
    """The body as it comes, up to so many bytes."""
    size = 0

    async def count() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            while message.get("more_body", False) and size < DRAINED * most:
                message = await receive()
                size += len(message.get("body", b""))
            raise Shut(413, f"The upload is longer than {most:,} bytes.")
        return message

    return count
