"""The messages of PredictionService that a client needs, and those of warm-up files, built at run time.

The classes of tensorflow-serving-api import TensorFlow: 3 to 8 seconds and 500 MB of memory before the first call, and
the whole package on every machine that only asks a server. These are the same messages on the wire (a test compares
every field with the wheel's), and need protobuf alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

PREDICT = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA = "/tensorflow.serving.PredictionService/GetModelMetadata"

# Message -> fields: number, name, type. "*T" is repeated, "%T" a map from string to T, "?T" a choice of one.
_FIELDS = {
    "Dim": "1 size int64, 2 name string",
    "TensorShapeProto": "2 dim *Dim, 3 unknown_rank bool",
    "TensorProto": "1 dtype int32, 2 tensor_shape TensorShapeProto, 3 version_number int32, 4 tensor_content bytes, "
    "5 float_val *float, 6 double_val *double, 7 int_val *int32, 8 string_val *bytes, 10 int64_val *int64, "
    "11 bool_val *bool, 13 half_val *int32, 16 uint32_val *uint32, 17 uint64_val *uint64",
    "ModelSpec": "1 name string, 2 version ?google.protobuf.Int64Value, 3 signature_name string, "
    "4 version_label ?string",
    "PredictRequest": "1 model_spec ModelSpec, 2 inputs %TensorProto, 3 output_filter *string",
    "PredictResponse": "1 outputs %TensorProto, 2 model_spec ModelSpec",
    "PredictLog": "1 request PredictRequest, 2 response PredictResponse",
    "PredictionLog": "6 predict_log ?PredictLog",
    "GetModelMetadataRequest": "1 model_spec ModelSpec, 2 metadata_field *string",
    "GetModelMetadataResponse": "1 model_spec ModelSpec, 2 metadata %google.protobuf.Any",
    "TensorInfo": "1 name ?string, 2 dtype int32, 3 tensor_shape TensorShapeProto",
    "SignatureDef": "1 inputs %TensorInfo, 2 outputs %TensorInfo, 3 method_name string, 4 defaults %TensorProto",
    "SignatureDefMap": "1 signature_def %SignatureDef",
}
_PACKAGE = "tfar.client"
_KINDS = {
    **{"double": 1, "float": 2, "int64": 3, "uint64": 4, "int32": 5},
    **{"bool": 8, "string": 9, "message": 11, "bytes": 12, "uint32": 13},
}
_OPTIONAL, _REPEATED = 1, 3

# DataType -> type of NumPy, and the field that holds typed values.
_TYPES: dict[int, tuple[Any, str]] = {
    1: (np.float32, "float_val"),
    2: (np.float64, "double_val"),
    3: (np.int32, "int_val"),
    4: (np.uint8, "int_val"),
    5: (np.int16, "int_val"),
    6: (np.int8, "int_val"),
    7: (np.object_, "string_val"),
    9: (np.int64, "int64_val"),
    10: (np.bool_, "bool_val"),
    17: (np.uint16, "int_val"),
    19: (np.float16, "half_val"),
    22: (np.uint32, "uint32_val"),
    23: (np.uint64, "uint64_val"),
}
_NUMBERS = {np.dtype(kind): number for number, (kind, _) in _TYPES.items()}


def _build() -> dict[str, Any]:
    """Builds the classes of messages in a pool of their own, so that TensorFlow's may be loaded beside them."""
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="tfar/client.proto", package=_PACKAGE, syntax="proto3")
    for source in (any_pb2, wrappers_pb2):
        copy = descriptor_pb2.FileDescriptorProto()
        source.DESCRIPTOR.CopyToProto(copy)
        pool.Add(copy)
        file.dependency.append(copy.name)
    for name, text in _FIELDS.items():
        message = file.message_type.add(name=name)
        for entry in text.split(", "):
            number, field_name, kind = entry.split()
            field = message.field.add(name=field_name, number=int(number), label=_OPTIONAL)
            if kind[0] == "?":
                if not message.oneof_decl:
                    message.oneof_decl.add(name="choice")
                field.oneof_index = 0
            elif kind[0] == "*":
                field.label = _REPEATED
            elif kind[0] == "%":
                pair = "".join(part.capitalize() for part in field_name.split("_")) + "Entry"
                nested = message.nested_type.add(name=pair)
                nested.options.map_entry = True
                nested.field.add(name="key", number=1, label=_OPTIONAL, type=_KINDS["string"])
                _set_type(nested.field.add(name="value", number=2, label=_OPTIONAL), kind[1:])
                field.label, kind = _REPEATED, f"{name}.{pair}"
            _set_type(field, kind.lstrip("?*"))
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _FIELDS}


def _set_type(field: Any, kind: str) -> None:
    field.type = _KINDS.get(kind, _KINDS["message"])
    if kind not in _KINDS:
        field.type_name = f".{kind}" if kind.startswith("google.") else f".{_PACKAGE}.{kind}"


MESSAGES = _build()


def dtype_of(number: int) -> np.dtype:
    """Returns the NumPy type of a DataType; strings are objects, of type bytes.

    Raises:
        ValueError: there is none.
    """
    if number not in _TYPES:
        raise ValueError(f"tensors of DataType {number} are not supported")
    return np.dtype(_TYPES[number][0])


def shape_of(proto: Any) -> tuple[int | None, ...] | None:
    """Returns the shape of a TensorShapeProto; None for any rank."""
    return None if proto.unknown_rank else tuple(None if dim.size < 0 else dim.size for dim in proto.dim)


def to_proto(array: np.ndarray, proto: Any = None) -> Any:
    """Converts an array to a TensorProto, its values as bytes.

    Args:
        array: of a type that `dtype_of` returns.
        proto: TensorProto to fill; None for a new one.
    """
    proto = MESSAGES["TensorProto"]() if proto is None else proto
    proto.dtype = _NUMBERS[array.dtype]
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if array.dtype == np.object_:
        proto.string_val.extend(array.ravel().tolist())
    else:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()
    return proto


def to_array(proto: Any) -> np.ndarray:
    """Converts a TensorProto to an array; the last of too few values stands for the missing ones.

    Raises:
        ValueError: the values do not fit the shape.
    """
    kind, name = dtype_of(proto.dtype), _TYPES[proto.dtype][1]
    shape = [dim.size for dim in proto.tensor_shape.dim]
    size = int(np.prod(shape))
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, kind).reshape(shape).copy()
    values = getattr(proto, name)
    if kind == np.object_:
        flat = np.empty([len(values)], object)
        flat[:] = list(values)
    elif kind == np.float16:
        flat = np.array(values, np.uint16).view(np.float16)
    else:
        flat = np.array(values, kind)
    if len(flat) < size:
        fill = flat[-1:] if len(flat) else np.array([b"" if kind == np.object_ else 0], kind)
        flat = np.concatenate([flat, np.repeat(fill, size - len(flat))])
    return flat.reshape(shape)
