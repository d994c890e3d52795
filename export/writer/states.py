"""Sampler states as text, stored by the client: any replica of the same model continues them.

    fingerprint of the model (16 letters) | checksum of the rest (16 letters) | the tensors of the row, byte by byte

A state of another model, of other weights, or with a byte changed is refused.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import tensorflow as tf

from export.writer.inputs import Input, Tensors, require_none
from tfar.models import AutoregressiveModel

_LETTERS = 16
# Of what a state holds; it is part of the fingerprint, so that states in another format are refused by name.
_FORMAT = 2
ANOTHER = "state belongs to another model or version, or is damaged; examples:"


def fingerprint(model: AutoregressiveModel) -> str:
    """16 hexadecimal letters that depend on the configuration and on every weight of a model, and on the format."""
    digest = hashlib.sha256(f"{_FORMAT} {json.dumps(model.get_config(), sort_keys=True, default=str)}".encode())
    for variable in model.weights:
        value = np.asarray(variable)
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()[:_LETTERS]


def state_input(spec: dict[str, tf.TensorSpec]) -> Input:
    """`state`: what `start` and `step` returned, the packed tensors of `spec`."""
    most = 2 * _LETTERS + len(_header(spec)) + row_bytes(spec)

    def early(state: tf.Tensor) -> tf.Operation:
        # One text may stand for all examples: a long one is not copied for them.
        return require_none(tf.strings.length(state) > most, tf.range(tf.size(state)), ANOTHER)

    meaning = "what start or the last step returned, unchanged"
    return Input("state", tf.TensorSpec([None], tf.string), meaning, early=early)


def _header(spec: dict[str, tf.TensorSpec]) -> bytes:
    """Returns what `tf.io.serialize_tensor` writes in front of the bytes of an example."""
    size = row_bytes(spec)
    with tf.init_scope():
        return tf.io.serialize_tensor(tf.zeros([size], tf.uint8)).numpy()[:-size]


def to_bytes(rows: Tensors, spec: dict[str, tf.TensorSpec]) -> tf.Tensor:
    """Packs the tensors [B, ...] that `spec` names, in its order, to uint8 [B, bytes of an example]."""
    parts = [tf.bitcast(rows[name], tf.uint8) for name in spec]
    return tf.concat([tf.reshape(x, [tf.shape(x)[0], _size(x)]) for x in parts], 1)


def from_bytes(flat: tf.Tensor, spec: dict[str, tf.TensorSpec]) -> Tensors:
    """Restores the tensors [B, ...] that `to_bytes` packed.

    Args:
        flat: uint8 [B, bytes].
        spec: names, types and shapes of the tensors, in the order in which they were packed.
    """
    rows = {}
    for (name, item), part in zip(
        spec.items(), tf.split(flat, [_size(item) for item in spec.values()], 1), strict=True
    ):
        shape = [-1, *item.shape[1:]] + [item.dtype.size] * (item.dtype.size > 1)
        rows[name] = tf.bitcast(tf.reshape(part, shape), item.dtype)
    return rows


def row_bytes(spec: dict[str, tf.TensorSpec]) -> int:
    """Returns the bytes of an example."""
    return sum(map(_size, spec.values()))


def pack(rows: Tensors, spec: dict[str, tf.TensorSpec], stamp: str) -> tf.Tensor:
    """Packs states of examples as text.

    Args:
        rows: tensors [B, ...].
        spec: names, types and shapes of the tensors.
        stamp: fingerprint of the model.

    Returns:
        string [B].
    """
    payload = tf.map_fn(tf.io.serialize_tensor, to_bytes(rows, spec), fn_output_signature=tf.string)
    return tf.strings.join([stamp, _checksum(payload), payload])


def unpack(state: tf.Tensor, spec: dict[str, tf.TensorSpec], stamp: str) -> Tensors:
    """Unpacks the states that `pack` wrote.

    Args:
        state: string [B].
        spec: as for `pack`.
        stamp: fingerprint of the model.

    Returns:
        Tensors of `spec`; the request fails where a state is not one of this model.
    """
    header, size = _header(spec), row_bytes(spec)
    # `substr` refuses texts that end before its start.
    right = tf.equal(tf.strings.length(state), 2 * _LETTERS + len(header) + size)
    padded = tf.where(right, state, " " * (2 * _LETTERS + len(header)))
    head, checksum, payload = (
        tf.strings.substr(padded, start, count)
        for start, count in ((0, _LETTERS), (_LETTERS, _LETTERS), (2 * _LETTERS, 2**31 - 1))
    )
    right &= tf.equal(head, stamp) & tf.equal(checksum, _checksum(payload))
    # Not parsed as a tensor: whoever computes the checksum could claim any shape.
    right &= tf.equal(tf.strings.substr(payload, 0, len(header)), header)
    with tf.control_dependencies([require_none(~right, tf.range(tf.shape(state)[0]), ANOTHER)]):
        flat = tf.io.decode_raw(tf.strings.substr(payload, len(header), size), tf.uint8)
    return from_bytes(tf.ensure_shape(flat, [None, size]), spec)


def _size(x: tf.Tensor | tf.TensorSpec) -> int:
    """Returns the bytes of an example."""
    return int(np.prod(x.shape[1:])) * x.dtype.size


def _checksum(payload: tf.Tensor) -> tf.Tensor:
    number = tf.strings.to_hash_bucket_fast(payload, 2**62)
    return tf.strings.substr(tf.strings.as_string(number, width=_LETTERS, fill="0"), 0, _LETTERS)
