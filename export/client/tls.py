"""Keys and certificates of a connection."""

from __future__ import annotations

import os
from pathlib import Path

import grpc

Pem = str | bytes | os.PathLike | None


def channel_credentials(root: Pem, key: Pem = None, chain: Pem = None) -> grpc.ChannelCredentials | None:
    """Returns the credentials of a channel; None where there is no TLS.

    Args:
        root: PEM of the authority that signed the server's certificate, or its file; None for no TLS.
        key: PEM of the client's own key, or its file.
        chain: PEM of the client's own certificate, or its file.

    Raises:
        ValueError: a part is missing.
    """
    if (key is None) != (chain is None):
        raise ValueError("private_key and certificate_chain must be given together")
    if key is not None and root is None:
        raise ValueError("private_key needs root_certificates")
    return None if root is None else grpc.ssl_channel_credentials(*map(_pem, (root, key, chain)))


def _pem(value: Pem) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str) and value.startswith("-----BEGIN"):
        return value.encode()
    return Path(value).read_bytes()
