"""Small models, a server that serves them, and clients.

TFAR_SERVER=HOST:PORT runs what can run there against a real tensorflow_model_server instead. Its set of models is
replaced (HandleReloadConfigRequest), and it must see the folders of the tests: TFAR_SERVER_MODELS names one that both
see under the same path.
"""

import contextlib
import os
import shutil
import socket
import time
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from export.server.options import Options
from export.server.server import Server
from pipelines.start import errors_only

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
SERVED = ("half", "tf2", "counter", "defaults", "toys")
DTYPES = (
    *("float16", "float32", "float64", "bfloat16", "complex64", "complex128", "string", "bool"),
    *("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
)
v1 = tf.compat.v1


def write_v1(folder, build, config=None):
    """A SavedModel of a graph; `build` returns its signatures."""
    with errors_only(), tf.Graph().as_default(), v1.Session(config=config) as session:
        signatures = build()
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, [tf.saved_model.SERVING], signature_def_map=signatures)
        builder.save()


def signature(inputs, outputs, method=tf.saved_model.PREDICT_METHOD_NAME):
    info = v1.saved_model.build_tensor_info
    return v1.saved_model.build_signature_def(
        {name: info(value) for name, value in inputs.items()},
        {name: info(value) for name, value in outputs.items()},
        method,
    )


def half(offset=2.0):
    """y = x / 2 + 2, as TensorFlow Serving's own test data has it."""
    a = v1.Variable(0.5, name="a", use_resource=False)
    b = v1.Variable(offset, name="b", use_resource=False)
    serialized = v1.placeholder(tf.string, name="tf_example", shape=[None])
    parsed = tf.io.parse_example(serialized, {"x": tf.io.FixedLenFeature([1], tf.float32)})
    x = tf.identity(parsed["x"], name="x")
    y = tf.identity(a * x + b, name="y")
    return {
        "serving_default": signature({"x": x}, {"y": y}),
        "regress_x_to_y": signature({"inputs": serialized}, {"outputs": y}, tf.saved_model.REGRESS_METHOD_NAME),
    }


def counter():
    """One variable and four ways to touch it."""
    value = v1.Variable(0.0, name="counter", use_resource=False)
    with tf.name_scope("incr_counter_op"):
        increment = v1.assign_add(value, 1.0)
    delta = v1.placeholder(tf.float32, name="delta")
    with tf.name_scope("incr_counter_by_op"):
        increment_by = v1.assign_add(value, delta)
    with tf.name_scope("reset_counter_op"):
        reset = v1.assign(value, 0.0)
    return {
        "get_counter": signature({}, {"output": value}),
        "incr_counter": signature({}, {"output": increment}),
        "incr_counter_by": signature({"delta": delta}, {"output": increment_by}),
        "reset_counter": signature({}, {"output": reset}),
    }


class HalfPlusTwo(tf.Module):
    def __init__(self):
        self.a = tf.Variable(0.5)

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def serve(self, x):
        return {"y": self.a * x + 2.0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="x")], jit_compile=True)
    def compiled(self, x):
        return {"y": x * 2.0}


def toys():
    """Signatures that take every type, run long, or fail."""
    signatures = {}
    for name in DTYPES:
        value = v1.placeholder(name, name=f"{name}_in")
        signatures[name] = signature({"value": value}, {"value": tf.identity(value)})
    steps = v1.placeholder(tf.int64, [], name="steps")
    count = tf.while_loop(lambda i: i < steps, lambda i: (i + 1,), (tf.constant(0, tf.int64),))[0]
    signatures["loop"] = signature({"steps": steps}, {"count": count})
    text = v1.placeholder(tf.string, [None], name="text")
    with tf.control_dependencies([v1.Assert(tf.size(text) == 0, ["text must be empty", text])]):
        signatures["fail"] = signature({"text": text}, {"text": tf.identity(text)})
    a, b = (v1.placeholder(tf.float32, name=name) for name in "ab")
    signatures["two"] = signature({"a": a, "b": b}, {"sum": a + b, "difference": a - b})
    return signatures


def write_toy(folder, build=half):
    """A version, as an exporter writes it: complete from the first moment it can be seen."""
    temporary = folder.parent / f".writing-{folder.name}"
    write_v1(temporary, build)
    temporary.rename(folder)


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A folder of models, each with version 1."""
    shared = os.environ.get("TFAR_SERVER_MODELS")
    root = Path(shared, f"tfar-{os.getpid()}") if shared else tmp_path_factory.mktemp("models")
    for name, build in (("half", half), ("counter", counter), ("toys", toys)):
        (root / name).mkdir(parents=True)
        write_toy(root / name / "1", build)
    module = HalfPlusTwo()
    with errors_only():
        signatures = {"serving_default": module.serve, "compiled": module.compiled}
        tf.saved_model.save(module, str(root / "tf2" / "1"), signatures=signatures)
    shutil.copytree(GOLDEN / "serving_models" / "defaults", root / "defaults")
    yield root
    if shared:
        shutil.rmtree(root)


class Client:
    """Stubs on one channel.

    Args:
        target: address.
        credentials: of TLS, or None.
    """

    def __init__(self, target, credentials=None, options=()):
        self.target = target
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), *options]
        if credentials is None:
            self.channel = grpc.insecure_channel(target, options)
        else:
            self.channel = grpc.secure_channel(target, credentials, options)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, model, signature="", inputs=None, output_filter=(), version=None, label=None, timeout=30):
        """Inputs may be arrays or TensorProtos; returns the response."""
        request = predict_pb2.PredictRequest(output_filter=output_filter)
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        if version is not None:
            request.model_spec.version.value = version
        if label is not None:
            request.model_spec.version_label = label
        for name, value in (inputs or {}).items():
            proto = value if hasattr(value, "tensor_shape") else tf.make_tensor_proto(value)
            request.inputs[name].CopyFrom(proto)
        return self.prediction.Predict(request, timeout=timeout)

    def values(self, *arguments, **kwargs):
        """The outputs as arrays."""
        return {name: tf.make_ndarray(proto) for name, proto in self.predict(*arguments, **kwargs).outputs.items()}

    def refusal(self, *arguments, **kwargs):
        """Code and message of a Predict that fails."""
        with pytest.raises(grpc.RpcError) as caught:
            self.predict(*arguments, **kwargs)
        return caught.value.code().name, caught.value.details()

    def status(self, model, version=None):
        """{version: state} of GetModelStatus, in the order of the reply."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        if version is not None:
            request.model_spec.version.value = version
        response = self.model.GetModelStatus(request, timeout=10)
        state = get_model_status_pb2.ModelVersionStatus.State.Name
        return {entry.version: state(entry.state) for entry in response.model_version_status}

    def reload(self, *models, metric_names=()):
        """HandleReloadConfigRequest with (name, base_path, fields of ModelConfig)."""
        request = model_management_pb2.ReloadConfigRequest(metric_names=metric_names)
        request.config.model_config_list.SetInParent()
        for name, path, fields in models:
            request.config.model_config_list.config.add(
                **{"name": name, "base_path": str(path), "model_platform": "tensorflow"} | fields
            )
        return self.model.HandleReloadConfigRequest(request, timeout=60)

    def reload_refusal(self, *models):
        """Code and message of a reload that fails."""
        with pytest.raises(grpc.RpcError) as caught:
            self.reload(*models)
        return caught.value.code().name, caught.value.details()


@contextlib.contextmanager
def connected(target, credentials=None, options=()):
    client = Client(target, credentials, options)
    with client.channel:
        yield client


@contextlib.contextmanager
def serving(**options):
    """A server of its own with these options, and a client."""
    settings = {"port": 0, "file_system_poll_wait_seconds": 0.05, "max_num_load_retries": 0} | options
    with Server(Options(**settings)) as server, connected(f"127.0.0.1:{server.port}") as client:
        yield server, client


@pytest.fixture(scope="session")
def serve():
    return serving


@pytest.fixture(scope="session")
def connect():
    return connected


@pytest.fixture(scope="session")
def toy():
    return write_toy


@pytest.fixture(scope="session")
def half_plus():
    """half with another offset, to tell versions apart."""
    return lambda offset: lambda: half(offset)


@pytest.fixture(scope="session")
def client(models):
    """Talks to a server of all models: the one that TFAR_SERVER names, or a local one."""
    address = os.environ.get("TFAR_SERVER")
    entries = [(name, models / name, {}) for name in SERVED]
    if address:
        with connected(address) as client:
            # A version of an earlier run would stay loaded, with its state.
            client.reload()
            until(lambda: all(set(states(client, name)) <= {"END"} for name in SERVED), 60)
            client.reload(*entries)
            yield client
        return
    with serving(model_base_path=str(models / "half"), model_name="half") as (_, client):
        client.reload(*entries)
        yield client


def states(client, name):
    """The states of a model's versions; none where the model is unknown."""
    try:
        return client.status(name).values()
    except grpc.RpcError:
        return ()


def until(condition, seconds=10.0):
    """Waits for a condition; returns its last value."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return value


@pytest.fixture(scope="session")
def wait_until():
    return until


@pytest.fixture
def free_ports():
    """Two ports that nobody listens on."""
    with socket.socket() as first, socket.socket() as second:
        for one in (first, second):
            one.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
