"""Errors of a request as messages for the visitor."""

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

UNEXPECTED = "Something went wrong. Whoever runs this app finds the reason in its terminal."


def report_errors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the handler of an event or an endpoint, a generator or not: its errors become messages without a traceback.

    The text of a SeqgenError is about the request and is shown. A CheckpointError names files of the server; it and
    all other errors are printed in the terminal, and the visitor gets UNEXPECTED.
    """

    @functools.wraps(function)
    def generator(*values: Any, **named: Any) -> Iterator[Any]:
        try:
            yield from function(*values, **named)
        except Exception as error:
            raise _message(error) from None

    @functools.wraps(function)
    def plain(*values: Any, **named: Any) -> Any:
        try:
            return function(*values, **named)
        except Exception as error:
            raise _message(error) from None

    return generator if inspect.isgeneratorfunction(function) else plain


def _message(error: Exception) -> gr.Error:
    shown = isinstance(error, Refused) or (isinstance(error, SeqgenError) and not isinstance(error, CheckpointError))
    if not shown:
        traceback.print_exception(error, file=sys.stderr)
    text = _unescaped(str(error)) if shown else UNEXPECTED
    return gr.Error(text[:500], title="Error", duration=15, print_exception=False)


def _unescaped(message: str) -> str:
    """The message with a quoted escape such as '\\xeb' as the character itself: a page can show every character."""
    found = re.compile(r"'\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))'")
    return found.sub(lambda match: f"'{chr(int(match[1] or match[2] or match[3], 16))}'", message)
