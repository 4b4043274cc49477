"""What goes wrong while a visitor's request is carried out, said to the visitor in plain words."""

import functools
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from seqgen.checkpoints.folder import CheckpointError
from seqgen.config import SeqgenError
from seqgen_app.limits import Refused

UNKNOWN = "Something went wrong while this was made; the person who runs the app finds the reason in the terminal."


def asked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, a generator or not, with its errors as messages on the page and in the API, without a traceback.

    What it refuses is told as it is. A SeqgenError of seqgen speaks of the request, too; a CheckpointError of files.
    """

    @functools.wraps(function)
    def streaming(*values: Any, **named: Any) -> Iterator[Any]:
        try:
            yield from function(*values, **named)
        except Exception as error:
            raise _told(error) from None

    @functools.wraps(function)
    def once(*values: Any, **named: Any) -> Any:
        try:
            return function(*values, **named)
        except Exception as error:
            raise _told(error) from None

    return streaming if inspect.isgeneratorfunction(function) else once


def _legible(message: str) -> str:
    """The message with a character such as \\xeb as itself; a terminal may not be able to show it, a page is."""
    found = re.compile(r"'\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))'")
    return found.sub(lambda match: f"'{chr(int(match[1] or match[2] or match[3], 16))}'", message)


def _told(error: Exception) -> gr.Error:
    plain = isinstance(error, Refused) or (isinstance(error, SeqgenError) and not isinstance(error, CheckpointError))
    if not plain:
        traceback.print_exception(error, file=sys.stderr)
    text = _legible(str(error)) if plain else UNKNOWN
    return gr.Error(text[:500], title="That did not work", duration=15, print_exception=False)
