"""Bodies of HTTP requests, read and measured before the app sees them."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
DRAINED = 20
"""A body of up to so many times the allowed bytes is read to its end, so that the client gets the answer."""


class Rejected(Exception):
    """A request that is answered with an HTTP status and a message instead of reaching the app."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read(receive: Receive, headers: dict[str, str], most: int) -> bytes:
    """The body, of at most `most` bytes. Raises Rejected for a longer one, once it has been read and dropped."""
    length = headers.get("content-length", "0")
    parts, size, more = [], 0, not length.isdigit() or int(length) <= DRAINED * most
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Rejected(400, "The connection was closed before the end of the request.")
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size <= most:
            parts.append(part)
        elif size > DRAINED * most:
            break
    if size > most or (length.isdigit() and int(length) > most):
        raise Rejected(413, f"The request is longer than {most:,} bytes.")
    return b"".join(parts)


def replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was read already, then what follows it: the end of the connection."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def counted(receive: Receive, most: int) -> Receive:
    """A `receive` that raises Rejected once more than `most` bytes of the body have come."""
    size = 0

    async def count() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            while message.get("more_body", False) and size < DRAINED * most:
                message = await receive()
                size += len(message.get("body", b""))
            raise Rejected(413, f"The upload is longer than {most:,} bytes.")
        return message

    return count
