"""JSON of TensorFlow Serving's REST Predict to tensors and back.

    {"signature_name": NAME, "instances": [...]} -> {"predictions": [...]}     rows: one entry for each example
    {"signature_name": NAME, "inputs": {...}}    -> {"outputs": {...}}         columns: one entry for each tensor

Rules and messages are those of tensorflow_serving/util/json_tensor.cc. Bytes are {"b64": TEXT}. Lists are converted
level by level, which takes no call of Python for a value; a list with a mistake is walked again, to name the first one.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import predict_pb2

from export.client.errors import Code, ServingError
from export.server.errors import invalid
from export.server.json_body import shortened
from export.server.tensors import CPP_NAMES, Opaque, to_array

Infos = Mapping[str, meta_graph_pb2.TensorInfo]
# Integers that a type takes; the released server takes any int32 for the small ones, and cuts it.
_INTEGERS = {
    **dict.fromkeys(("int8", "uint8", "int16", "int32"), (-(2**31), 2**31 - 1)),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
# The largest integer that a float holds exactly, and the largest float.
_FLOATS = {
    "float32": (2**24 - 1, float(np.finfo(np.float32).max)),
    "float64": (2**53 - 1, float(np.finfo(np.float64).max)),
}
_KINDS = {int: "Number", float: "Number", str: "String", list: "Array", dict: "Object", type(None): "Null"}
_INSTEAD = {"instances": "predictions", "inputs": "outputs"}


def fill(request: predict_pb2.PredictRequest, body: Mapping[str, Any], infos: Infos) -> str:
    """Fills the inputs of a request.

    Args:
        request: gets them.
        body: the JSON object, with either "instances" or "inputs".
        infos: the inputs of the signature.

    Returns:
        "predictions" or "outputs", the key of the answer in the same format.

    Raises:
        ServingError: the values do not suit the signature.
    """
    given = [key for key in ("instances", "inputs") if key in body]
    if not given:
        raise invalid("Missing 'inputs' or 'instances' key")
    if len(given) > 1:
        reason = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        raise invalid(f"JSON Value: {shortened(body)} {reason}")
    try:
        tensors = _rows(body, infos) if given == ["instances"] else _columns(body["inputs"], infos)
    except RecursionError as error:
        raise invalid("the lists are nested too deeply") from error
    for name, (leaves, shape) in tensors.items():
        request.inputs[name].CopyFrom(_to_proto(leaves, shape, infos[name].dtype))
    return _INSTEAD[given[0]]


def _columns(value: Any, infos: Infos) -> dict[str, tuple[list, list[int]]]:
    if not isinstance(value, dict) or _is_bytes(value):
        if len(infos) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        name = next(iter(infos))
        return {name: _tensor(value, _name(infos[name]))}
    tensors = {}
    for name in sorted(infos):
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        tensors[name] = _tensor(value[name], _name(infos[name]))
    return tensors


def _rows(body: Mapping[str, Any], infos: Infos) -> dict[str, tuple[list, list[int]]]:
    instances = body["instances"]
    if not isinstance(instances, list):
        raise invalid(f"JSON Value: {shortened(body)} Excepting 'instances' to be an list/array")
    if not instances:
        raise invalid(f"JSON Value: {shortened(body)} No values in 'instances' array")
    if not isinstance(instances[0], dict) and len(infos) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    named = _is_named(instances[0])
    if not named and not any(map(_is_named, instances)):
        columns: dict[str, list] | None = {next(iter(infos)): instances}
    elif named and all(_is_named(entry) and entry.keys() == infos.keys() for entry in instances):
        columns = {name: [entry[name] for entry in instances] for name in infos}
    else:
        columns = None
    if columns is not None:
        whole = {name: dense(values) for name, values in columns.items()}
        if all(found is not None and _fits(found[0], _name(infos[name])) for name, found in whole.items()):
            return whole
    return _row_by_row(instances, named, infos)


def _row_by_row(instances: list, named: bool, infos: Infos) -> dict[str, tuple[list, list[int]]]:
    """Converts entry by entry, as the released server does, and so finds its first objection."""
    found: dict[str, tuple[list, list[int]]] = {}
    for number, entry in enumerate(instances):
        if named != _is_named(entry):
            what = "object but got list" if named else "value/list but got object"
            raise invalid(f"Expecting {what} at item {number} of input list")
        for name, item in entry.items() if named else [(next(iter(infos)), entry)]:
            try:
                _add(name, item, infos, found)
            except ServingError as error:
                which = f"{number} key: {name}" if named else number
                raise invalid(f"Failed to process element: {which} of 'instances' list. Error: {error}") from error
        if named and entry.keys() != infos.keys():
            raise invalid(
                f"Failed to process element: {number} of 'instances' list. JSON object: {shortened(entry)} keys must "
                f"be equal to: {','.join(sorted(infos))}"
            )
    return {name: (leaves, [len(instances), *shape]) for name, (leaves, shape) in found.items()}


def _add(name: str, item: Any, infos: Infos, found: dict[str, tuple[list, list[int]]]) -> None:
    if name not in infos:
        raise invalid(f"JSON object: does not have named input: {name}")
    leaves, shape = _tensor(item, _name(infos[name]))
    if name not in found:
        found[name] = ([], shape)
    elif math.prod(found[name][1]) != len(leaves):
        raise invalid(f"Expecting tensor size: {math.prod(found[name][1])} but got: {len(leaves)}")
    elif found[name][1] != shape:
        raise invalid(f"Expecting shape {_text(found[name][1])} but got: {_text(shape)}")
    found[name][0].extend(leaves)


def _tensor(value: Any, dtype: str) -> tuple[list, list[int]]:
    """Returns the values of nested lists, and their shape."""
    found = dense(value)
    if found is not None and _fits(found[0], dtype):
        return found
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        first = first[0] if first else None
    _walk(value, 0, shape, dtype)
    raise invalid(f"JSON Value: {shortened(value)} is not of expected type: {CPP_NAMES.get(dtype, dtype)}")


def dense(value: Any) -> tuple[list, list[int]] | None:
    """Returns the values of nested lists and their shape; None where lists of one level differ in length."""
    shape: list[int] = []
    level = [value]
    while level and isinstance(level[0], list):
        sizes = set(map(len, level)) if set(map(type, level)) == {list} else set()
        if len(sizes) != 1:
            return None
        shape.append(sizes.pop())
        level = list(chain.from_iterable(level))
    return None if list in set(map(type, level)) else (level, shape)


def _fits(leaves: list, dtype: str) -> bool:
    """Whether all values are of the type; where not, or where it takes a closer look, `_check` says which is not."""
    kinds = set(map(type, leaves))
    if dtype in _INTEGERS:
        lowest, highest = _INTEGERS[dtype]
        return not leaves or (kinds == {int} and lowest <= min(leaves) and max(leaves) <= highest)
    if dtype in _FLOATS:
        if not kinds <= {int, float}:
            return False
        exact, most = _FLOATS[dtype]
        whole = [value for value in leaves if type(value) is int] if int in kinds else []
        if whole and not (-exact <= min(whole) and max(whole) <= exact):
            return all(map(lambda value: _lossless(value, dtype), leaves))
        values = np.array(leaves, np.float64)
        return bool((~np.isfinite(values) | (np.abs(values) <= most)).all())
    if dtype == "string":
        return kinds <= {str, dict} and all(isinstance(x, str) or _decoded(x) is not None for x in leaves)
    return kinds <= {bool} if dtype == "bool" else False


def _lossless(value: float, dtype: str) -> bool:
    exact, most = _FLOATS[dtype]
    if type(value) is int and -(2**63) <= value < 2**64:
        return abs(value) <= exact
    return isinstance(value, float) and not math.isfinite(value) or abs(value) <= most


def _walk(value: Any, level: int, shape: Sequence[int], dtype: str) -> None:
    """Raises the first objection, in the order of the values."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {shortened(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at "
                f"level: {len(shape)}"
            )
        _check(value, dtype)
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for entry in value:
        _walk(entry, level + 1, shape, dtype)


def _check(value: Any, dtype: str) -> None:
    name = CPP_NAMES.get(dtype, dtype)
    if isinstance(value, dict) and dtype == "string":
        if not _is_bytes(value):
            raise invalid(f"JSON Value: {shortened(value)} not formatted correctly for base64 data")
        if _decoded(value) is None:
            raise invalid("Unable to base64 decode")
        return
    if not isinstance(value, dict) and dtype not in (*_INTEGERS, *_FLOATS, "string", "bool"):
        message = f"Conversion of JSON Value: {shortened(value)} to type: {name}"
        raise ServingError(Code.UNIMPLEMENTED, message)
    if dtype in _FLOATS and type(value) in (int, float):
        if not _lossless(value, dtype):
            raise invalid(f"Cannot convert JSON value: {shortened(value)} to {name} without loss of precision.")
    elif not _fits([value], dtype):
        kind = str(value) if isinstance(value, bool) else _KINDS[type(value)]
        raise invalid(f"JSON Value: {shortened(value)} Type: {kind} is not of expected type: {name}")


def _is_bytes(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_bytes(value)


def _decoded(value: Any) -> bytes | None:
    """The bytes of {"b64": TEXT}; None where it is something else. The padding may be missing."""
    if not _is_bytes(value):
        return None
    text = value["b64"].rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _name(info: meta_graph_pb2.TensorInfo) -> str:
    return tf.as_dtype(info.dtype).name if info.dtype else "invalid"


def _text(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _to_proto(leaves: list, shape: Sequence[int], dtype: int) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(dtype=dtype)
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    name = tf.as_dtype(dtype).name
    if name == "string":
        proto.string_val.extend(x.encode() if isinstance(x, str) else _decoded(x) for x in leaves)
    elif name == "bool":
        proto.bool_val.extend(leaves)
    elif name in ("int8", "uint8", "int16"):
        proto.int_val.extend(leaves)
    elif name in _FLOATS:
        # Beyond the largest float of its type is infinite, as in C++.
        with np.errstate(over="ignore"):
            proto.tensor_content = np.array(leaves, np.float64).astype(name).tobytes()
    else:
        proto.tensor_content = np.array(leaves, name).tobytes()
    return proto


# === Answers ===


def to_json(outputs: Mapping[str, tensor_pb2.TensorProto], key: str) -> str:
    """Formats outputs.

    Args:
        outputs: by their names.
        key: "predictions" for rows, "outputs" for columns.

    Raises:
        ServingError: a type has no form in JSON, or outputs have no common number of rows.
    """
    arrays = {name: _array(outputs[name]) for name in sorted(outputs)}
    if not arrays:
        raise invalid("Cannot convert empty tensor map to JSON")
    if key == "predictions":
        sizes: set[int] = set()
        for name, array in arrays.items():
            if not array.ndim:
                raise invalid(f"Tensor name: {name} has no shape information ")
            if sizes and len(array) not in sizes:
                raise invalid(f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {sizes.pop()}")
            sizes.add(len(array))
        rows = {name: _grouped(_texts(name, array), array.shape, 1) for name, array in arrays.items()}
        entries = [_joined(dict(zip(rows, entry, strict=True))) for entry in zip(*rows.values(), strict=True)]
        value = f"[{', '.join(entries)}]"
    else:
        value = _joined({name: _grouped(_texts(name, array), array.shape, 0)[0] for name, array in arrays.items()})
    return f'{{"{key}": {value}}}\n'


def _joined(values: Mapping[str, str]) -> str:
    """One value without its name, or an object of several."""
    if len(values) == 1:
        return next(iter(values.values()))
    return f"{{{', '.join(f'{json.dumps(name)}: {text}' for name, text in values.items())}}}"


def _grouped(texts: list[str], shape: Sequence[int], first: int) -> list[str]:
    """Joins values to lists, from the last dimension to the dimension `first`."""
    for axis in range(len(shape) - 1, first - 1, -1):
        size = shape[axis]
        number = math.prod(shape[:axis])
        texts = [f"[{', '.join(texts[index * size : (index + 1) * size])}]" for index in range(number)]
    return texts


def _array(proto: tensor_pb2.TensorProto) -> np.ndarray:
    name = tf.as_dtype(proto.dtype).name
    value = to_array(proto)
    if isinstance(value, Opaque) or name not in (*_INTEGERS, *_FLOATS, "string", "bool"):
        raise invalid(f"Failed to write JSON value for tensor type: {CPP_NAMES.get(name, name)}")
    return np.asarray(value)


def _texts(name: str, array: np.ndarray) -> list[str]:
    values = array.ravel().tolist()
    if array.dtype == object:
        return [_bytes(value, name.endswith("_bytes")) for value in values]
    if array.dtype.kind == "b":
        return ["true" if value else "false" for value in values]
    if array.dtype.kind != "f":
        return list(map(str, values))
    # Six digits where they are the number, otherwise all that it needs.
    digits = 9 if array.dtype == np.float32 else 17
    texts = [f"{value:.6g}" for value in values]
    same = np.array(texts, "U24").astype(np.float64).astype(array.dtype) == array.ravel()
    return [
        _decimal(text if whole else f"{value:.{digits}g}", value)
        for text, whole, value in zip(texts, same.tolist(), values, strict=True)
    ]


def _decimal(text: str, value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return text if "." in text or "e" in text else f"{text}.0"


def _bytes(value: bytes, binary: bool) -> str:
    """Bytes that are no UTF-8 are written as such whatever the output is called: JSON cannot hold them."""
    if not binary:
        try:
            return json.dumps(value.decode())
        except UnicodeDecodeError:
            pass
    return f'{{"b64": "{base64.b64encode(value).decode()}"}}'
