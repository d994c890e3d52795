"""The rules of a PredictRequest, as the released server applies them; each can run against it (TFAR_SERVER)."""

import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2

from export.server.loaded_model import LoadedModel

X = np.array([2.0, 3.0], np.float32)


def typed(dtype, shape, **fields):
    """A TensorProto written field by field."""
    proto = tensor_pb2.TensorProto(dtype=dtype, **fields)
    proto.tensor_shape.SetInParent()
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


# === Which model ===


def test_model_spec_is_required(client):
    with pytest.raises(grpc.RpcError) as caught:
        client.prediction.Predict(predict_pb2.PredictRequest(), timeout=10)
    assert (caught.value.code().name, caught.value.details()) == ("INVALID_ARGUMENT", "Missing ModelSpec")


@pytest.mark.parametrize(
    "choice, code, message",
    [
        ({"model": ""}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        ({"model": "m"}, "NOT_FOUND", "Servable not found for request: Latest(m)"),
        ({"model": "half", "version": 7}, "NOT_FOUND", "Servable not found for request: Specific(half, 7)"),
        ({"model": "half", "label": "canary"}, "INVALID_ARGUMENT", "Unrecognized servable version label: canary"),
        ({"model": "m", "label": "canary"}, "INVALID_ARGUMENT", "Unrecognized servable version label: canary"),
        ({"model": "half", "signature": "x"}, "FAILED_PRECONDITION", 'Serving signature key "x" not found.'),
    ],
)
def test_model_that_is_not_there(client, choice, code, message):
    assert client.refusal(inputs={"x": X}, **choice) == (code, message)


def test_reply_names_what_answered(client):
    spec = client.predict("half", inputs={"x": X}, version=1).model_spec
    assert (spec.name, spec.signature_name, spec.version.value) == ("half", "serving_default", 1)


# === Inputs ===


@pytest.mark.parametrize(
    "model, signature, inputs, message",
    [
        (
            "half",
            "",
            {},
            "input size does not match signature: 0!=1 len({}) != len({x}). Sent extra: {}. Missing but required: {x}.",
        ),
        (
            "toys",
            "two",
            {"b": X, "é": X, "c": X},
            "input size does not match signature: 3!=2 len({b,c,é}) != len({a,b}). Sent extra: {c,é}. "
            "Missing but required: {a}.",
        ),
        (
            "half",
            "",
            {"nope": X},
            "Signature input alias: x(feed name: x:0) not found in request and no default value provided. Inputs "
            "expected to be in the request {nope}, or default input alias set: ",
        ),
        (
            "defaults",
            "sample",
            {"x": X, "tmp": X},
            "Inputs contains invalid name. Used request inputs: x, request input: tmp,x",
        ),
        ("half", "", {"x": X.astype(np.float64)}, "Expects arg[0] to be float but double is provided"),
        ("half", "", {"x": X.astype(np.int32)}, "Expects arg[0] to be float but int32 is provided"),
        ("toys", "two", {"a": X, "b": np.array([b"s"])}, "Expects arg[1] to be float but string is provided"),
        ("half", "", {"x": typed(types_pb2.DT_RESOURCE, [])}, "Expects arg[0] to be float but resource is provided"),
        ("half", "", {"x": typed(types_pb2.DT_QINT8, [1])}, "Expects arg[0] to be float but qint8 is provided"),
        ("toys", "int8", {"value": typed(types_pb2.DT_QINT8, [1])}, "Expects arg[0] to be int8 but qint8 is provided"),
        ("half", "", {"x": typed(types_pb2.DT_BFLOAT16, [1])}, "Expects arg[0] to be float but bfloat16 is provided"),
    ],
)
def test_inputs_that_are_refused(client, model, signature, inputs, message):
    assert client.refusal(model, signature, inputs) == ("INVALID_ARGUMENT", message)


@pytest.mark.parametrize(
    "proto",
    [
        typed(types_pb2.DT_FLOAT, [3], tensor_content=b"abc"),
        typed(types_pb2.DT_FLOAT, [2], tensor_content=bytes(12)),
        typed(types_pb2.DT_FLOAT, [-1], float_val=[1.0]),
        typed(types_pb2.DT_FLOAT, [2**62, 2**62], float_val=[1.0]),
        typed(types_pb2.DT_FLOAT, [2**40], float_val=[1.0]),
        typed(types_pb2.DT_STRING, [2], tensor_content=b"\xff"),
        typed(types_pb2.DT_INVALID, [1], float_val=[1.0]),
        typed(types_pb2.DT_FLOAT_REF, [1], float_val=[1.0]),
        typed(999, [1], float_val=[1.0]),
    ],
    ids=["short", "long", "negative", "overflow", "huge", "string", "untyped", "reference", "unknown type"],
)
def test_tensors_that_cannot_be_parsed(client, proto):
    assert client.refusal("half", inputs={"x": proto}) == ("INVALID_ARGUMENT", "tensor parsing error: x")


UNKNOWN_RANK = tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[2.0])
UNKNOWN_RANK.tensor_shape.unknown_rank = True


@pytest.mark.parametrize(
    "proto, expected",
    [
        (typed(types_pb2.DT_FLOAT, [3], float_val=[2.0, 4.0]), [3.0, 4.0, 4.0]),  # the last is repeated
        (typed(types_pb2.DT_FLOAT, [2], float_val=[2.0, 4.0, 6.0]), [3.0, 4.0]),
        (typed(types_pb2.DT_FLOAT, [2]), [2.0, 2.0]),
        (typed(types_pb2.DT_FLOAT, [0]), []),
        (typed(types_pb2.DT_FLOAT, [], float_val=[2.0]), 3.0),
        (typed(types_pb2.DT_FLOAT, [2], tensor_content=X.tobytes()), [3.0, 3.5]),
        (typed(types_pb2.DT_FLOAT, [2], tensor_content=X.tobytes(), float_val=[9.0]), [3.0, 3.5]),
        (tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, float_val=[2.0]), 3.0),
        (UNKNOWN_RANK, 3.0),
    ],
    ids=["repeated", "cut", "zeros", "empty", "scalar", "content", "both", "no shape", "unknown rank"],
)
def test_tensors_that_are_read_as_tensorflow_reads_them(client, proto, expected):
    value = client.values("half", inputs={"x": proto})["y"]
    np.testing.assert_array_equal(value, np.array(expected, np.float32))


def test_shapes_of_the_signature_are_not_checked(client):
    # The signature says [-1, 1].
    for shape in ((), (4,), (2, 3), (1, 2, 3, 1)):
        assert client.values("tf2", inputs={"x": np.ones(shape, np.float32)})["y"].shape == shape


def test_kernel_refuses_shapes_that_do_not_fit(client):
    code, message = client.refusal("toys", "two", {"a": np.zeros([5], np.float32), "b": np.zeros([2, 3], np.float32)})
    assert code == "INVALID_ARGUMENT" and message.startswith("Incompatible shapes: [5] vs. [2,3]")


def test_defaults_stand_in(client):
    inputs = {"x": np.ones([1, 3], np.float32)}
    default = client.values("defaults", "sample", inputs, ["y"])["y"]
    given = inputs | {"seed": np.array([5, 6], np.int32)}
    assert client.values("defaults", "sample", given, ["y"])["y"].shape == (1, 3)
    np.testing.assert_array_equal(client.values("defaults", "sample", inputs, ["y"])["y"], default)


# === Outputs ===


def test_output_filter_chooses_and_refuses(client):
    inputs = {"a": X, "b": X}
    assert set(client.values("toys", "two", inputs)) == {"sum", "difference"}
    assert set(client.values("toys", "two", inputs, ["difference"])) == {"difference"}
    assert client.refusal("toys", "two", inputs, ["zz"]) == (
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: zz Outputs expected to be in the set {difference,sum}.",
    )
    assert client.refusal("toys", "two", inputs, ["sum", "sum"]) == (
        "INVALID_ARGUMENT",
        "duplicate output tensor alias: sum",
    )


VALUES = {
    "string": [b"", b"\xff\x00", "é".encode()],
    "bool": [True, False, True],
    "complex64": [1 + 2j, 0, -1j],
    "complex128": [1 + 2j, 0, -1j],
}
FIELDS = {
    **dict.fromkeys(("int8", "uint8", "int16", "uint16", "int32"), "int_val"),
    **dict.fromkeys(("float16", "bfloat16"), "half_val"),
    **{"float32": "float_val", "float64": "double_val", "int64": "int64_val", "uint32": "uint32_val"},
    **{"uint64": "uint64_val", "complex64": "scomplex_val", "complex128": "dcomplex_val", "string": "string_val"},
    **{"bool": "bool_val"},
}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("shape", [(3,), (), (0,), (3, 1)], ids=str)
def test_every_type_comes_back_in_its_typed_field(client, name, shape):
    dtype = tf.as_dtype(name)
    values = VALUES.get(name, [0, 1, dtype.max if dtype.is_integer else 2.5])
    array = np.array(values, object if name == "string" else dtype.as_numpy_dtype)
    array = array[:1].reshape(shape) if shape == () else array[: np.prod(shape)].reshape(shape)
    proto = client.predict("toys", name, {"value": tf.make_tensor_proto(array, dtype, shape)}).outputs["value"]
    assert proto.HasField("tensor_shape") and [dim.size for dim in proto.tensor_shape.dim] == list(shape)
    assert not proto.tensor_content and proto.dtype == dtype.as_datatype_enum
    parts = 2 if dtype.is_complex else 1
    assert len(getattr(proto, FIELDS[name])) == array.size * parts
    parsed = tf.io.parse_tensor(proto.SerializeToString(), dtype).numpy()
    np.testing.assert_array_equal(np.array(parsed).ravel(), array.ravel())


def test_negative_integers_survive(client):
    for name in ("int8", "int16", "int32", "int64"):
        array = np.array([-1, np.iinfo(name).min], name)
        np.testing.assert_array_equal(client.values("toys", name, {"value": array})["value"], array)


def test_outputs_as_content(models, serve):
    options = {"model_base_path": str(models / "toys"), "model_name": "toys"}
    with serve(enable_serialization_as_tensor_content=True, **options) as (_, client):
        proto = client.predict("toys", "float32", {"value": X}).outputs["value"]
        assert proto.tensor_content == X.tobytes() and not proto.float_val
        texts = np.array([b"a", b"", b"long" * 100], object)
        proto = client.predict("toys", "string", {"value": texts}).outputs["value"]
        assert proto.tensor_content and not proto.string_val
        assert tf.io.parse_tensor(proto.SerializeToString(), tf.string).numpy().tolist() == texts.tolist()
        # What it wrote, it reads.
        assert client.predict("toys", "string", {"value": proto}).outputs["value"] == proto


# === Errors while running, deadlines ===


def test_assert_is_an_invalid_argument_cut_at_1024_bytes(client):
    code, message = client.refusal("toys", "fail", {"text": np.array([b"short"])})
    assert code == "INVALID_ARGUMENT" and message.startswith("assertion failed: [text must be empty] [short]")
    code, message = client.refusal("toys", "fail", {"text": np.array([b"long" * 1000])})
    assert code == "INVALID_ARGUMENT" and message.startswith("assertion failed: [text must be empty] [longlong")
    assert len(message) == 1024 + len("...TRUNCATED") and message.endswith("g...TRUNCATED")


def test_bytes_of_a_request_in_a_message_are_no_obstacle(client):
    code, message = client.refusal("toys", "fail", {"text": np.array([b"\xff\xfe"], object)})
    assert code == "INVALID_ARGUMENT" and message.startswith("assertion failed: [text must be empty]")


def test_loop_stops_soon_after_its_deadline(models):
    model = LoadedModel(models / "toys" / "1")
    steps = model.signatures["loop"].inputs["steps"].name
    count = model.signatures["loop"].outputs["count"].name
    started = time.monotonic()
    with pytest.raises(Exception, match="DEADLINE_EXCEEDED: Timed out waiting for notification"):
        model.run([(steps, np.int64(10**12))], [count], timeout_ms=300)
    assert 0.25 < time.monotonic() - started < 2
    assert model.run([(steps, np.array(5, np.int64))], [count], timeout_ms=5000) == [5]
    model.close()


def test_deadline_reaches_the_client(client):
    started = time.monotonic()
    code, _ = client.refusal("toys", "loop", {"steps": np.int64(10**12)}, timeout=0.3)
    assert code == "DEADLINE_EXCEEDED" and time.monotonic() - started < 2
    assert client.values("toys", "loop", {"steps": np.int64(5)})["count"] == 5


def test_concurrent_calls_do_not_wait_for_each_other(client):
    slow = client.prediction.Predict.future(predict_request("toys", "loop", {"steps": np.int64(10**12)}), timeout=2.0)
    started = time.monotonic()
    client.values("half", inputs={"x": X})
    assert time.monotonic() - started < 1 and not slow.done()
    assert slow.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def predict_request(model, signature, inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request
