"""Reads JSON of clients: bounded before it is parsed, every mistake in words of its own."""

from __future__ import annotations

import json
import re
import threading
from typing import Any

from export.server.errors import invalid

# Bodies up to this size are parsed at once, larger ones one after the other: each holds its objects for a moment.
_SMALL = 64 * 1024
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ENCODER = json.JSONEncoder(indent=4)
LARGE = threading.Lock()


def count(part: bytes) -> int:
    """Bounds the values in a part of a JSON text, less one for the text: commas and opening brackets, wherever."""
    return part.count(b",") + part.count(b"[") + part.count(b"{")


def check_count(values: int, most: int) -> None:
    """Refuses a body with too many values.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if values > most:
        raise invalid(
            f"the body has too many values (commas and opening brackets are counted), the limit is {most} "
            "(--rest_api_max_body_elements)"
        )


def parse(body: bytes) -> Any:
    """Parses JSON.

    Args:
        body: the text in UTF-8, whose values were counted; NaN, Infinity and -Infinity are numbers.

    Raises:
        ServingError: INVALID_ARGUMENT, it is no JSON.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        value = json.loads(body.decode())
        if _SURROGATE.search(body):
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: Invalid value. at offset: {error.pos}") from error
    except UnicodeEncodeError as error:
        raise invalid("JSON Parse error: The surrogate pair in string is invalid.") from error
    except UnicodeDecodeError as error:
        raise invalid(f"JSON Parse error: Invalid encoding in string. at offset: {error.start}") from error
    except RecursionError as error:
        raise invalid("JSON Parse error: the lists and objects are nested too deeply") from error
    except ValueError as error:  # An integer of thousands of digits.
        raise invalid("JSON Parse error: Number too big to be stored in double.") from error


def in_turn(body: bytes) -> threading.Lock | Turn:
    """Returns what to hold while a body is parsed and converted: large bodies take turns."""
    return LARGE if len(body) > _SMALL else Turn()


class Turn:
    """A turn that needs no waiting."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


def shortened(value: Any, length: int = 256) -> str:
    """Formats a JSON value for an error, cut at so many characters."""
    text = ""
    try:
        for part in _ENCODER.iterencode(value[: length + 1] if isinstance(value, str) else value):
            text += part[: length + 1]
            if len(text) > length:
                return f"{text[:length]}..."
    except RecursionError:
        return f"{text[:length]}..."
    return text
