"""Sends the calls of a client over one channel, with deadlines, and retries where they are safe.

What is tried again, after a pause that doubles and is drawn at random below its bound:

    the call acts?   UNAVAILABLE                    RESOURCE_EXHAUSTED
    no               yes                            yes, unless a message was too large: the next one would be, too
    yes              only if it cannot have run     only if it cannot have run

`session_begin` and `session_step` act: a second one takes a second slot, or draws the next units and loses the first.
A connection that breaks leaves open whether the server has run the call. That it has not is certain only where no
connection came about, or where the server says that it had no thread for the call.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Sequence
from typing import Any

import grpc

from export.client.errors import Code, ServingError

RETRIED = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED)
# How messages of gRPC begin that say: the call never left, or was turned away at the door.
_NEVER_RUN = (
    "failed to connect to all addresses",
    "DNS resolution failed",
    "Name resolution failure",
    "errors resolving",
    "Server Threadpool Exhausted",
    "Concurrent RPC limit exceeded",
)
_TOO_LARGE = ("larger than max", "too large")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0  # seconds
# Where in its graph TensorFlow was when it refused a request: in front of the sentence, or behind it.
_NODES_BEFORE, _NODES_BEHIND = (
    re.compile(r"(\s*\{\{(function_)?node [^}]*\}\})+\s*"),
    re.compile(r"\s*\[\[\{\{.*", re.DOTALL),
)
# Words of gRPC of a server that is there, and speaks otherwise.
_ANSWERS = ("handshake", "ssl", "tls", "certificate")


class Calls:
    """Unary calls on a channel.

    Args:
        server: "host:port", or "dns:///name:port" for every address of a name.
        timeout: seconds that a call may take, its retries included.
        retries: how often a call is tried again.
        credentials: of TLS, or None.
        round_robin: sends calls to all addresses of the server in turn.
        options: further options of the channel, (name, value).
    """

    def __init__(
        self,
        server: str,
        timeout: float = 60.0,
        retries: int = 5,
        credentials: grpc.ChannelCredentials | None = None,
        round_robin: bool = False,
        options: Sequence[tuple[str, Any]] = (),
    ):
        self.timeout, self.retries, self._server = timeout, retries, server
        policy = "round_robin" if round_robin else "pick_first"
        options = [
            # gRPC's own limit for replies is 4 MB.
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.service_config", f'{{"loadBalancingConfig": [{{"{policy}": {{}}}}]}}'),
            # A server that comes back is found within a second, not within two minutes.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            *options,
        ]
        if credentials is None:
            self.channel = grpc.insecure_channel(server, options)
        else:
            self.channel = grpc.secure_channel(server, credentials, options)
        self._methods: dict[str, Any] = {}

    def call(self, method: str, request: Any, reply: Any, timeout: float | None = None, acts: bool = False) -> Any:
        """Sends a call and its retries.

        Args:
            method: "/package.Service/Method".
            request: message.
            reply: class of the answer.
            timeout: seconds instead of the usual ones.
            acts: whether a repetition would act twice.

        Returns:
            A message of class `reply`.

        Raises:
            ServingError: the call failed.
        """
        if method not in self._methods:
            self._methods[method] = self.channel.unary_unary(method)
        end = time.monotonic() + (self.timeout if timeout is None else timeout)
        data, pause = request.SerializeToString(), _FIRST_PAUSE
        for attempt in range(self.retries + 1):
            try:
                return reply.FromString(self._methods[method](data, timeout=max(1e-3, end - time.monotonic())))
            except grpc.RpcError as failed:
                error = ServingError(Code[failed.code().name], failed.details() or "")
                wait = random.uniform(0.5, 1.0) * pause
                if attempt == self.retries or not may_repeat(error, acts) or time.monotonic() + wait >= end:
                    raise self._told(error) from failed
            time.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)
        raise ServingError(Code.UNAVAILABLE, "not tried")  # retries < 0, which Client refuses

    def _told(self, error: ServingError) -> ServingError:
        """Says for people what a call ended with."""
        message = error.message
        if error.code == Code.UNAVAILABLE and message.startswith(_NEVER_RUN[0]):
            if not any(word in message.lower() for word in _ANSWERS):
                return ServingError(error.code, f"no server answers at {self._server}; is it running?")
        elif error.code == Code.UNAVAILABLE and message.startswith(_NEVER_RUN[1:4]):
            return ServingError(error.code, f"the address {self._server} cannot be found")
        return ServingError(error.code, sentence(message))

    def close(self) -> None:
        """Closes the channel."""
        self.channel.close()


def sentence(message: str) -> str:
    r"""Cuts from an error of TensorFlow the names of nodes of its graph.

    Example:
        >>> sentence("assertion failed: [x must be positive] [-1]\n\t [[{{node Assert}}]]")
        'assertion failed: [x must be positive] [-1]'
    """
    start = _NODES_BEFORE.match(message)
    return _NODES_BEHIND.sub("", message[start.end() :] if start else message)


def may_repeat(error: ServingError, acts: bool) -> bool:
    """Returns whether a call that ended with this error may be repeated."""
    if error.code not in RETRIED or any(text in error.message for text in _TOO_LARGE):
        return False
    return not acts or error.message.startswith(_NEVER_RUN)
