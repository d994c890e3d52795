"""Errors of requests, and the messages that clients get."""

from __future__ import annotations

from export.client.errors import Code, ServingError

# The released server cuts its messages here, so that they fit a trailer of HTTP/2.
LIMIT = 1024
TRUNCATED = b"...TRUNCATED"


def invalid(message: str) -> ServingError:
    """Returns the status of most refusals."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def details(error: ServingError) -> str:
    """Cuts the message of an error at 1024 bytes."""
    data = error.message.encode(errors="replace")
    if len(data) <= LIMIT:
        return error.message
    return (data[:LIMIT] + TRUNCATED).decode(errors="replace")
