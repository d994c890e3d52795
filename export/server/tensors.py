"""TensorProtos to arrays and back, by the rules of TensorFlow's C++ `Tensor::FromProto` and `Tensor::AsProtoField`."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

# The largest message that gRPC carries.
MAX_BYTES = 2**31 - 1
# A request of a few bytes may claim any size: its last value is repeated. The released server tries to allocate what
# is claimed; this one refuses more than these bytes, which is far more than an export takes.
MAX_REPEATED_BYTES = 2**26

# Where typed values stand, for the types that are read without a detour.
_FIELDS = {
    tf.float32.as_datatype_enum: ("float_val", np.float32),
    tf.float64.as_datatype_enum: ("double_val", np.float64),
    tf.int32.as_datatype_enum: ("int_val", np.int32),
    tf.int64.as_datatype_enum: ("int64_val", np.int64),
    tf.bool.as_datatype_enum: ("bool_val", np.bool_),
}
_STRING = tf.string.as_datatype_enum
# What C++ calls them.
CPP_NAMES = {"float32": "float", "float64": "double", "float16": "half"}
_IN_INT_VAL = {"int8", "uint8", "int16", "uint16", "int32"}


class ClaimsTooMuch(ValueError):
    """A tensor would need far more memory than the bytes that came; the message goes on behind its name."""


class Opaque:
    """A tensor that is well formed but has no array: a resource, a variant, a quantized type.

    Args:
        dtype: its name.
    """

    def __init__(self, dtype: str):
        self.dtype = dtype


def to_array(proto: tensor_pb2.TensorProto) -> np.ndarray | Opaque:
    """Converts the tensor of a request to an array.

    Args:
        proto: with `tensor_content` or typed values; where there are fewer of these than the shape says, the last one
            is repeated.

    Returns:
        An array of the proto's shape; strings are bytes in an array of objects.

    Raises:
        ClaimsTooMuch: it is so large that only a server with much memory would take it.
        ValueError: TensorFlow Serving would not parse it either, or it claims more than 2 GiB or has more than 64
            dimensions, of which arrays have no more.
    """
    dims = [dim.size for dim in proto.tensor_shape.dim]
    if not proto.tensor_shape.unknown_rank and all(size >= 0 for size in dims):
        count = math.prod(dims)
        known = _FIELDS.get(proto.dtype)
        if known is not None:
            field, dtype = known
            if proto.tensor_content:
                if len(proto.tensor_content) == count * np.dtype(dtype).itemsize and dtype is not np.bool_:
                    return np.frombuffer(proto.tensor_content, dtype).reshape(dims)
            else:
                values = getattr(proto, field)
                if len(values) == count and count:
                    return np.array(values, dtype).reshape(dims)
        elif proto.dtype == _STRING and not proto.tensor_content and len(proto.string_val) == count and count:
            array = np.empty([count], object)
            array[:] = proto.string_val
            return array.reshape(dims)
        claimed = count * _bytes_of_value(proto)
        if claimed > MAX_BYTES:
            raise ValueError(f"the shape {dims} claims too much memory")
        if claimed > MAX_REPEATED_BYTES and proto.ByteSize() < count:
            most = MAX_REPEATED_BYTES
            raise ClaimsTooMuch(f"must need at most {most} bytes, got the shape {dims}, which needs {claimed}")
    return _parse(proto)


def _bytes_of_value(proto: tensor_pb2.TensorProto) -> int:
    """Memory of a value, which may be repeated; a string is an object each here."""
    if proto.dtype == _STRING:
        return 64 + max(map(len, proto.string_val), default=0)
    try:
        return tf.as_dtype(proto.dtype).size or 16
    except TypeError:  # no type at all, which is for TensorFlow to say
        return 16


def _parse(proto: tensor_pb2.TensorProto) -> np.ndarray | Opaque:
    """Everything unusual, read by TensorFlow itself."""
    try:
        dtype = tf.as_dtype(proto.dtype)
        if dtype in (tf.resource, tf.variant):
            return Opaque(dtype.name)
        with tf.device("/CPU:0"):
            tensor = tf.io.parse_tensor(proto.SerializeToString(), dtype)
        # As an array a quantized type would pass for a plain one.
        return Opaque(dtype.name) if dtype.is_quantized else tensor.numpy()
    except (TypeError, ValueError, tf.errors.OpError) as error:
        raise ValueError(str(error)) from error


def to_proto(array: np.ndarray, content: bool = False) -> tensor_pb2.TensorProto:
    """Converts an array to the tensor of a reply.

    Args:
        array: as a v1 session returns it.
        content: bytes in `tensor_content` instead of typed values.
    """
    array = np.asarray(array)
    dtype = tf.as_dtype(array.dtype) if array.dtype != object else tf.string
    proto = tensor_pb2.TensorProto(dtype=dtype.as_datatype_enum)
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if not array.size:
        return proto
    name = dtype.name
    if name == "string":
        values = [_bytes(value) for value in array.ravel()]
        if content:
            proto.tensor_content = b"".join([*(_varint(len(value)) for value in values), *values])
        else:
            proto.string_val.extend(values)
    elif content:
        proto.tensor_content = array.tobytes()
    elif name == "float32":
        # The packed field as it stands on the wire; a list of Python numbers would take ten times as long.
        data = array.tobytes()
        proto.MergeFromString(b"\x2a" + _varint(len(data)) + data)
    elif name == "float64":
        data = array.tobytes()
        proto.MergeFromString(b"\x32" + _varint(len(data)) + data)
    elif name in ("half", "float16", "bfloat16"):
        proto.half_val.extend(array.ravel().view(np.uint16).tolist())
    elif name in ("complex64", "complex128"):
        field = proto.scomplex_val if name == "complex64" else proto.dcomplex_val
        field.extend(array.ravel().view(array.real.dtype).tolist())
    elif name in ("int64", "uint32", "uint64", "bool"):
        getattr(proto, f"{name}_val").extend(array.ravel().tolist())
    elif name in _IN_INT_VAL:
        proto.int_val.extend(array.ravel().tolist())
    else:
        return tf.make_tensor_proto(array, dtype)
    return proto


def _bytes(value: bytes | str) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    data.append(value)
    return bytes(data)
