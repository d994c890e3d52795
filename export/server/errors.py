"""Errors of requests, and the messages that clients get."""

from __future__ import annotations

import logging

from export.client.errors import Code, ServingError

logger = logging.getLogger("tfar.serving")

# The released server cuts its messages here, so that they fit a trailer of HTTP/2.
LIMIT = 1024
TRUNCATED = b"...TRUNCATED"


def invalid(message: str) -> ServingError:
    """Returns the status of most refusals."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def failure(error: Exception) -> ServingError:
    """Logs a bug, and returns what its client is told: neither the exception's words nor paths of this machine."""
    logger.error("a call failed", exc_info=error)
    return ServingError(Code.INTERNAL, "the server failed at this call; its log says why")


def details(error: ServingError) -> str:
    """Cuts the message of an error at 1024 bytes."""
    data = error.message.encode(errors="replace")
    return (data if len(data) <= LIMIT else data[:LIMIT] + TRUNCATED).decode(errors="replace")
