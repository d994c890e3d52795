"""The client against the local server, and against a network that fails."""

import importlib
import json
import shutil
import subprocess
import sys
import tarfile
import threading
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
from PIL import Image

from export.client import Client, Code, ServingError, messages
from export.client.calls import may_repeat, sentence
from export.client.command import describe
from export.client.signatures import seeds
from export.writer.canvas import Canvas
from tests.commands import run

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "golden" / "serving_models"
# Without what installed packages import at the start of every process.
PATHS = f"import sys; sys.path.extend({sys.path!r})\n"
LABELS = np.array([0, 1, 2, 1, 0])


@pytest.fixture(scope="module")
def pictures(served):
    with Client(served.target, "pictures") as client:
        yield client


@pytest.fixture(scope="module")
def texts(served):
    with Client(served.target, "texts") as client:
        yield client


class Network:
    """A proxy before a server that lets calls fail.

    Attributes:
        plan: what happens to the next calls of a signature: (signature, moment, code, message), where moment is
            "before" or "after" the server has run the call.
        skip: such calls that pass before the next one fails.
        seen: (signature, inputs) of the calls that reached the server.
    """

    def __init__(self, target):
        self.plan, self.seen, self.skip = [], [], 0
        self._lock = threading.Lock()
        self._channel = grpc.insecure_channel(target)
        self._server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[self._Handler(self)])
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    class _Handler(grpc.GenericRpcHandler):
        def __init__(self, network):
            self._network = network

        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(
                lambda data, context: self._network(details.method, data, context)
            )

    def __call__(self, method, data, context):
        name = ""
        if method.endswith("/Predict"):
            request = messages.MESSAGES["PredictRequest"].FromString(data)
            name = request.model_spec.signature_name
        with self._lock:
            step = next((step for step in self.plan if step[0] == name), None)
            if step is not None and self.skip:
                self.skip, step = self.skip - 1, None
            if step is not None:
                self.plan.remove(step)
        if step is not None and step[1] == "before":
            context.abort(step[2], step[3])
        if name:
            self.seen.append((name, {key: messages.to_array(value) for key, value in request.inputs.items()}))
        try:
            reply = self._channel.unary_unary(method)(data, timeout=context.time_remaining())
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())
        if step is not None:
            context.abort(step[2], step[3])
        return reply

    def calls(self, name):
        return [inputs for key, inputs in self.seen if key == name]

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *error):
        self._server.stop(0).wait()
        self._channel.close()


@pytest.fixture
def network(served):
    with Network(served.target) as network:
        yield network


def drawn(stream, shape, unit):
    """The events of a stream, and the sizes of its chunks."""
    canvas, sizes = Canvas(len(stream.seed), shape, unit), []
    for chunk in stream:
        sizes.append(chunk.values.shape[1])
        rows = len(stream.seed)
        canvas.put(
            {"chunk": chunk.values, "count": np.full(rows, sizes[-1]), "position": np.full(rows, chunk.position)}
        )
    return canvas.values, sizes


# === Messages ===


def test_messages_are_those_of_the_wheel():
    from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow_serving.apis import get_model_metadata_pb2, model_pb2, predict_pb2, prediction_log_pb2

    theirs = {
        "Dim": tensor_shape_pb2.TensorShapeProto.Dim,
        "TensorShapeProto": tensor_shape_pb2.TensorShapeProto,
        "TensorProto": tensor_pb2.TensorProto,
        "ModelSpec": model_pb2.ModelSpec,
        "TensorInfo": meta_graph_pb2.TensorInfo,
        "SignatureDef": meta_graph_pb2.SignatureDef,
        **{name: getattr(predict_pb2, name) for name in ("PredictRequest", "PredictResponse")},
        **{name: getattr(prediction_log_pb2, name) for name in ("PredictLog", "PredictionLog")},
        **{
            name: getattr(get_model_metadata_pb2, name)
            for name in ("GetModelMetadataRequest", "GetModelMetadataResponse", "SignatureDefMap")
        },
    }
    assert set(theirs) == set(messages.MESSAGES)
    for name, ours in messages.MESSAGES.items():
        for field in ours.DESCRIPTOR.fields:
            other = theirs[name].DESCRIPTOR.fields_by_name[field.name]
            kinds = {field.type, other.type} - {other.TYPE_ENUM}
            same = len(kinds) == 1 and (other.type != other.TYPE_ENUM or field.type == field.TYPE_INT32)
            assert same and (field.number, field.is_repeated) == (other.number, other.is_repeated), (
                f"{name}.{field.name}"
            )
            assert (field.containing_oneof is None) == (other.containing_oneof is None), f"{name}.{field.name}"


@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "int64", "uint64", "bool"]
)
def test_arrays_survive_both_ways_of_writing_them(dtype):
    import tensorflow as tf

    array = np.array([[0, 1, 1], [1, 0, 1]], dtype)
    for shape in ((2, 3), (0, 3), ()):
        value = array[0, 1] if shape == () else array[: shape[0]]
        proto = messages.to_proto(np.asarray(value))
        np.testing.assert_array_equal(messages.to_array(proto), value)
        typed = tf.make_tensor_proto(value.tolist() if shape != (0, 3) else value, dtype, shape)
        again = messages.MESSAGES["TensorProto"].FromString(typed.SerializeToString())
        found = messages.to_array(again)
        assert found.dtype == dtype and found.shape == shape
        np.testing.assert_array_equal(found, value)


def test_client_needs_grpcio_protobuf_and_numpy_alone():
    """grpcio itself needs typing_extensions, and imports grpc_health where that is installed."""
    code = """
import sys, export.client.command
first = {name.partition(".")[0] for name in sys.modules if not name.startswith("_")}
print(*sorted(first - sys.stdlib_module_names - {"cython_runtime", "grpc_health"}))
"""
    found = subprocess.run([sys.executable, "-S", "-c", PATHS + code], cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.split() == ["export", "google", "grpc", "numpy", "pipelines", "typing_extensions"], found.stderr


def test_client_calls_a_server_from_a_bare_environment(served, pictures, tmp_path):
    """With the packages that it needs, and without those that its own packages import elsewhere."""
    for module in (grpc, np, importlib.import_module("google.protobuf"), importlib.import_module("typing_extensions")):
        name = module.__name__.partition(".")[0]
        path = Path(module.__file__).parents[1 if "." in module.__name__ else 0]
        path = path if path.name == name else Path(module.__file__)
        for found in (path, path.with_name(f"{name}.libs")):
            if found.exists():
                (tmp_path / found.name).symlink_to(found)
    for name in ("export", "pipelines"):
        (tmp_path / name).symlink_to(ROOT / name)
    path = f"import sys; sys.path.append({str(tmp_path)!r}); "
    code = path + "from pipelines.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-I", "-S", "-c", code, "client"]

    found = subprocess.run([*command[:-1], "sample"], cwd=tmp_path, capture_output=True, text=True)
    message = "error: tfar sample needs what tfar depends on; install it: pip install tfar\n"
    assert (found.returncode, found.stderr) == (1, message)

    def client(*arguments):
        found = subprocess.run([*command, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        return found.stdout

    server = (f"--server={served.target}", "--model_name=pictures")
    assert "--model_name" in client("--help")
    assert client(*server).splitlines()[0] == f"pictures version 1 at {served.target}"
    outputs = json.loads(client(*server, "--call=sample", '--inputs={"seed": [[0, 1], [0, 2]], "condition": 2}'))
    expected = pictures.predict("sample", {"seed": [[0, 1], [0, 2]], "condition": 2})
    assert outputs.keys() == expected.keys()
    np.testing.assert_array_equal(outputs["samples"], expected["samples"])


# === Calls ===


def test_samples_and_scores_are_python_s(pictures, served):
    model = served.models["pictures"]
    samples, used = pictures.sample(5, LABELS, seed=3, temperature=0.8, batch_size=2)
    np.testing.assert_array_equal(samples, model.sample(5, LABELS, seed=3, temperature=0.8, jit_compile=False))
    np.testing.assert_array_equal(used, seeds(5, 3))
    scores = pictures.log_prob(samples.astype(np.uint8), LABELS)
    np.testing.assert_allclose(scores.log_prob, model.log_prob(samples, LABELS), rtol=1e-5)
    assert scores.score.shape == (5, 4, 4, 1) and scores.bits_per_dim.dtype == np.float32
    observed = np.arange(16).reshape(4, 4, 1) < 7
    completed, _ = pictures.complete(samples, 7, LABELS, seed=9)
    np.testing.assert_array_equal(completed, model.complete(samples, observed, LABELS, seed=9, jit_compile=False))


def test_one_value_stands_for_all_rows_and_a_prefix_is_kept(pictures, texts):
    samples, _ = pictures.sample(3, condition=2, seed=1, prefix=[2, 0, 1, 1, 2])
    assert (samples.reshape(3, -1)[:, :5] == [2, 0, 1, 1, 2]).all()
    np.testing.assert_array_equal(samples, pictures.sample(3, [2, 2, 2], 1, prefix=[[2, 0, 1, 1, 2]] * 3).samples)
    assert texts.sample(2, length=7).samples.shape == (2, 7)
    assert pictures.event_shape == (4, 4, 1) and texts.event_shape == (None,)


def test_entropy_is_drawn_once_for_a_call_and_its_retries(pictures, network):
    assert len({tuple(row) for _ in range(3) for row in pictures.sample(4, 0).seed.tolist()}) == 12
    network.plan += [("sample", "after", grpc.StatusCode.UNAVAILABLE, "Socket closed")] * 2
    with Client(network.target, "pictures") as client:
        samples, used = client.sample(2, 0)
    sent = network.calls("sample")
    assert len(sent) == 3 and all((call["seed"] == used).all() for call in sent)
    np.testing.assert_array_equal(samples, pictures.sample(2, 0, seed=used).samples)


def test_every_input_is_sent_with_all_rows(network):
    with Client(network.target, "pictures") as client:
        client.sample(4, condition=1)
        client.log_prob(np.zeros([4, 4, 4, 1]), condition=1)
    (sample,), (log_prob,) = network.calls("sample"), network.calls("log_prob")
    assert set(sample) == {"condition", "seed", "temperature", "prefix"} and set(log_prob) == {"x", "condition"}
    assert all(len(value) == 4 for value in (*sample.values(), *log_prob.values()))
    assert sample["prefix"].shape == (4, 0) and sample["temperature"].tolist() == [1] * 4


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda c: c.sample(0), "num must be at least 1, got 0: a server that batches never answers"),
        (lambda c: c.log_prob(np.zeros([0, 4, 4, 1]), 0), "x has no examples"),
        (lambda c: c.log_prob(np.zeros([4, 4, 2]), 0), r"x must have shape \[examples, 4, 4, 1\], got \(4, 4, 2\)"),
        (lambda c: c.log_prob(np.full([1, 4, 4, 1], 0.5), 0), "x must hold int32, got float64 values that are none"),
        (lambda c: c.sample(2, [0, 1, 2]), r"condition must have one example, or 2, got shape \(3,\)"),
        (lambda c: c.sample(1), "sample needs the input 'condition'"),
        (lambda c: c.sample(1, 0, seed=[[1, 2, 3]]), r"seed must be an int, or integers of shape \(1, 2\)"),
        (lambda c: c.sample(1, 0, seed=-1), "seed must be an integer from 0 on"),
        (lambda c: c.sample(1, 0, length=3), "sample has no input 'length'"),
        (lambda c: c.predict("draw", {}), "pictures has no signature 'draw'; it has complete, describe, log_prob"),
        (lambda c: c.predict("step", {"state": ["text"]}), "pictures has no signature 'step'"),
        (lambda c: c.stream(1, 0, kind="state"), "pictures has no signatures for a stream of kind state"),
        (lambda c: c.stream(1, 0, n=0), "n must be at least 1"),
    ],
)
def test_what_cannot_be_sent_is_refused_here(pictures, call, message):
    with pytest.raises(ValueError, match=message):
        call(pictures)


def test_refusals_of_the_server_have_code_and_message(pictures, served):
    with pytest.raises(ServingError, match="INVALID_ARGUMENT: assertion failed: .condition must hold") as caught:
        pictures.sample(1, 7)
    assert caught.value.code == Code.INVALID_ARGUMENT
    with Client(served.target, "nobody") as client, pytest.raises(ServingError, match="Servable not found") as caught:
        client.sample(1)
    assert caught.value.code == Code.NOT_FOUND


def test_server_tells_what_the_model_is(pictures, texts):
    about = pictures.describe()
    assert (about["name"], about["model"], about["levels"], about["event_shape"]) == ("pictures", "MADE", 3, [4, 4, 1])
    assert [(part["kind"], part["num_labels"]) for part in about["condition"]] == [("Label", 3)]
    about = texts.describe()
    assert (about["vocabulary"], about["condition"], about["event_shape"]) == ("abc ", [], [None])


def test_an_export_written_before_limits_works_as_it_did(serve, served, tmp_path):
    """It tells no limit, so nothing is split: this reply has more than the 4 MB that gRPC takes by default."""
    with tarfile.open(GOLDEN / "pictures_before_limits.tar.gz") as archive:
        archive.extractall(tmp_path / "before", filter="data")
    with (
        serve(tmp_path, ["before"], enable_model_warmup=False) as server,
        Client(f"127.0.0.1:{server.port}", "before") as client,
    ):
        assert client.limits == (None, None) and "max_examples" not in client.describe()
        scores = client.log_prob(np.zeros([90_000, 4, 4, 1], np.int32), 1)
        assert scores.score.nbytes > 5e6 and np.ptp(scores.log_prob) < 1e-5
        model = served.models["pictures"]
        expected = model.sample(5, LABELS, seed=3, jit_compile=False)
        np.testing.assert_array_equal(client.sample(5, LABELS, seed=3).samples, expected)
        assert "at most" not in describe(client)


# === More examples than a call takes ===


def test_what_a_call_takes_is_told(pictures, texts):
    assert pictures.limits == (16, 256) and texts.limits == (64, 2**18)
    about = pictures.describe()
    assert (about["max_examples"], about["max_positions"]) == pictures.limits
    assert "at most 16 examples in a call; the client splits larger requests" in describe(pictures).splitlines()
    assert "at most 64 examples and 262144 positions together in a call; the client" in describe(texts)


def test_larger_requests_become_several_calls(pictures, network):
    """The answers are those of single examples, which one large call would have given as well."""
    labels = np.arange(40) % 3
    used = seeds(40, 7)
    with Client(network.target, "pictures") as client:
        drawn = client.sample(40, labels, seed=7)
        scores = client.log_prob(drawn.samples, labels)
        completed = client.complete(drawn.samples, 7, labels, seed=9)
        default = client.predict("sample", {"seed": used, "condition": labels})
        answers = client.predict("describe", {"rows": np.zeros([40], np.int32)})["model"]
    sizes = [len(call["seed"]) for call in network.calls("sample")]
    assert sizes == [16, 16, 8] * 2 and len(network.calls("log_prob")) == len(network.calls("complete")) == 3
    np.testing.assert_array_equal(drawn.seed, used)
    np.testing.assert_array_equal(default["samples"], drawn.samples)
    assert answers.shape == (40,) and scores.score.shape == (40, 4, 4, 1)
    for first in (0, 17, 33):
        some = slice(first, first + 7)
        label, x = labels[some], drawn.samples[some]
        np.testing.assert_array_equal(pictures.sample(7, label, seed=used[some]).samples, x)
        np.testing.assert_allclose(pictures.log_prob(x, label).log_prob, scores.log_prob[some], rtol=1e-6)
        again = pictures.complete(x, 7, label, seed=seeds(40, 9)[some]).samples
        np.testing.assert_array_equal(again, completed.samples[some])


def test_long_events_share_a_call_with_fewer_others(texts, served):
    with Network(served.target) as network, Client(network.target, "texts") as client:
        values = np.zeros([3, 100_000], np.int32)
        nats = client.log_prob(values).log_prob
        assert [len(call["x"]) for call in network.calls("log_prob")] == [2, 1]
        assert np.ptp(nats) <= 1e-3 * abs(nats[0])
        lengths = np.array([5, 9, 7] * 30)
        samples = client.sample(90, seed=1, length=lengths, batch_size=100).samples
        assert [len(call["seed"]) for call in network.calls("sample")] == [64, 26] and samples.shape == (90, 9)
    np.testing.assert_array_equal(samples[63], [*texts.sample(1, seed=[[1, 63]], length=5).samples[0], 0, 0, 0, 0])


def test_a_call_of_too_many_examples_is_refused_in_one_sentence(pictures, texts):
    with pytest.raises(ServingError) as caught:
        pictures.predict("session_begin", {"seed": seeds(17), "condition": 0})
    assert caught.value.code == Code.INVALID_ARGUMENT
    assert caught.value.message.startswith(
        "assertion failed: [condition must have at most 16 examples; examples:] [17]"
    )
    with pytest.raises(ServingError, match="n must ask for at most 262144 positions in all .*:] .5. .65536.") as caught:
        begun = texts.predict("session_begin", {"seed": seeds(5)})["session_id"]
        texts.predict("session_step", {"session_id": begun, "n": 65536})
    texts.predict("session_end", {"session_id": begun})


def test_sessions_of_many_examples_are_stepped_in_parts(pictures, network):
    expected = pictures.sample(40, 1, seed=5).samples
    before = pictures.session_stats()["active"]
    with Client(network.target, "pictures") as client, client.stream(40, 1, seed=5) as stream:
        assert pictures.session_stats()["active"] == before + 40 and stream.seed.tolist() == seeds(40, 5).tolist()
        rows = [stream.step().values]
        # The second part fails before it has run: the first one is not drawn a second time.
        network.plan += [("session_step", "before", grpc.StatusCode.INVALID_ARGUMENT, "no")]
        network.skip = 1
        with pytest.raises(ServingError, match="no"):
            stream.step(2)
        rows += [chunk.values for chunk in stream]
    np.testing.assert_array_equal(np.concatenate(rows, 1), expected)
    assert stream.done and stream.position == 4
    assert len(network.calls("session_begin")) == 3 and pictures.session_stats()["active"] == before


def test_deadline_ends_a_call(texts):
    with pytest.raises(ServingError) as caught:
        texts.sample(1, length=60_000, timeout=0.2)
    assert caught.value.code == Code.DEADLINE_EXCEEDED


# === Retries ===


@pytest.mark.parametrize(
    "code, message, pure, acts",
    [
        ("UNAVAILABLE", "Socket closed", True, False),
        ("UNAVAILABLE", "failed to connect to all addresses; last error: ...", True, True),
        ("RESOURCE_EXHAUSTED", "Server Threadpool Exhausted", True, True),
        ("RESOURCE_EXHAUSTED", "OOM when allocating tensor", True, False),
        ("RESOURCE_EXHAUSTED", "Received message larger than max (4800057 vs. 4194304)", False, False),
        ("DEADLINE_EXCEEDED", "Deadline Exceeded", False, False),
        ("INVALID_ARGUMENT", "assertion failed", False, False),
        ("INTERNAL", "", False, False),
    ],
)
def test_what_may_be_repeated(code, message, pure, acts):
    error = ServingError(Code[code], message)
    assert (may_repeat(error, acts=False), may_repeat(error, acts=True)) == (pure, acts)


def test_retries_end(network):
    network.plan += [("sample", "before", grpc.StatusCode.UNAVAILABLE, "no")] * 9
    with Client(network.target, "pictures", retries=2) as client:
        with pytest.raises(ServingError, match="UNAVAILABLE: no"):
            client.sample(1, 0)
        assert len(network.plan) == 6
        with pytest.raises(ServingError, match="UNAVAILABLE"):  # The pauses do not outlast the deadline.
            client.sample(1, 0, timeout=0.01)
    assert not network.calls("sample")


def test_server_that_is_not_there():
    with Client("127.0.0.1:1", retries=1) as client, pytest.raises(ServingError) as caught:
        client.sample(1)
    assert caught.value.code == Code.UNAVAILABLE
    assert caught.value.message == "no server answers at 127.0.0.1:1; is it running?"


def test_a_name_without_an_address():
    with Client("nowhere.invalid:1", retries=0) as client, pytest.raises(ServingError) as caught:
        client.sample(1)
    assert caught.value.message == "the address nowhere.invalid:1 cannot be found"


def test_a_reader_that_has_read_enough_is_no_error():
    command = [sys.executable, "-m", "export.client", "--help"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_errors_end_where_the_sentence_ends(pictures):
    with pytest.raises(ServingError) as caught:
        pictures.sample(1, 0, temperature=-1.0)
    message = caught.value.message
    assert message.startswith("assertion failed: [temperature must ") and message.endswith("[-1]"), message


@pytest.mark.parametrize(
    "message, told",
    [
        ("no nodes: [3] {x}", "no nodes: [3] {x}"),
        ("a [[1]]\n\t [[{{function_node __inference_1}}{{node Assert}}]]\n\t [[Other]]", "a [[1]]"),
        ("{{function_node __inference_1}} {{function_node f}} shapes differ\n\t [[{{node add}}]]", "shapes differ"),
        ("{{node add}} shapes differ", "shapes differ"),
    ],
)
def test_names_of_nodes_are_cut(message, told):
    assert sentence(message) == told


@pytest.mark.parametrize("signature", ["session_begin", "session_step"])
def test_calls_that_act_are_not_repeated(network, signature):
    with Client(network.target, "pictures") as client:
        session = client.predict("session_begin", {"condition": 0})["session_id"]
        inputs = {"condition": 0} if signature == "session_begin" else {"session_id": session}
        before = len(network.calls(signature))
        network.plan += [(signature, "after", grpc.StatusCode.UNAVAILABLE, "Socket closed")]
        with pytest.raises(ServingError, match="Socket closed"):
            client.predict(signature, inputs)
        assert len(network.calls(signature)) == before + 1
        network.plan += [(signature, "before", grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")]
        assert client.predict(signature, inputs)["position"].tolist() == [0 if signature == "session_begin" else 2]


# === Streams ===


@pytest.mark.parametrize("n, sizes", [(1, [1, 1, 1, 1]), (3, [3, 1])])
def test_session_streams_rows_of_the_sample(pictures, n, sizes):
    before = pictures.session_stats()["active"]
    with pictures.stream(2, [0, 2], seed=5, temperature=0.9, n=n) as stream:
        assert pictures.session_stats()["active"] == before + 2
        values, found = drawn(stream, (4, 4, 1), "row")
    assert found == sizes and stream.done and stream.position == 4
    np.testing.assert_array_equal(values, pictures.sample(2, [0, 2], seed=5, temperature=0.9).samples)
    assert pictures.session_stats()["active"] == before
    with pytest.raises(ValueError, match="the stream was ended"):
        stream.step()


@pytest.mark.parametrize("kind", ["state", "session"])
def test_texts_of_any_length_are_streamed(texts, kind):
    expected = texts.sample(2, seed=4, length=20, prefix=[1, 2, 3]).samples
    with texts.stream(2, seed=4, prefix=[1, 2, 3], n=5, kind=kind) as stream:
        assert stream.position == 3 and not stream.done
        parts = [
            stream.step().values,
            stream.step(2).values,
            *(chunk.values for chunk, _ in zip(stream, "ab", strict=False)),
        ]
    np.testing.assert_array_equal(np.concatenate(parts, 1), expected[:, 3:])


def test_unseeded_stream_tells_its_seed(texts):
    with texts.stream(n=9) as stream:
        values = stream.step().values
    np.testing.assert_array_equal(values, texts.sample(1, seed=stream.seed, length=9).samples)


@pytest.mark.parametrize(
    "code, message", [("UNAVAILABLE", "Socket closed"), ("RESOURCE_EXHAUSTED", "OOM when allocating tensor")]
)
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("prefix", [None, [1, 2, 0, 1, 1, 0]])
def test_broken_connection_skips_nothing(pictures, network, code, message, moment, prefix):
    """A step whose fate is unknown may have run; the stream goes on where it stood all the same."""
    expected = pictures.sample(2, 1, seed=8, prefix=prefix).samples
    before = pictures.session_stats()["active"]
    with Client(network.target, "pictures") as client, client.stream(2, 1, seed=8, prefix=prefix) as stream:
        rows = [chunk.values for chunk in [stream.step()]]
        network.plan += [("session_step", moment, getattr(grpc.StatusCode, code), message)] * 2
        rows += [chunk.values for chunk in stream]
    rows = np.concatenate(rows, 1)
    np.testing.assert_array_equal(rows, expected[:, 4 - rows.shape[1] :])
    assert len(network.calls("session_begin")) == 3 and pictures.session_stats()["active"] == before


def test_expired_session_is_begun_anew(pictures):
    with pictures.stream(1, 0, seed=2) as stream:
        rows = [stream.step().values]
        pictures.predict("session_end", {"session_id": stream.session_id})
        rows += [chunk.values for chunk in stream]
    np.testing.assert_array_equal(np.concatenate(rows, 1), pictures.sample(1, 0, seed=2).samples)


def test_deadline_leaves_a_stream_where_it_stood(texts):
    expected = texts.sample(1, seed=1, length=30).samples
    with texts.stream(seed=1, n=10, kind="session") as stream:
        values = [stream.step().values]
        stream._timeout = 0.1
        with pytest.raises(ServingError) as caught:
            stream.step(60_000)
        assert caught.value.code == Code.DEADLINE_EXCEEDED
        stream._timeout = None
        values += [stream.step().values, stream.step().values]
    np.testing.assert_array_equal(np.concatenate(values, 1), expected)


def test_round_robin_holds_no_sessions(served):
    with Client(served.target, "pictures", round_robin=True) as client:
        with pytest.raises(ValueError, match="kind='session' needs one server"):
            client.stream(1, 0, kind="session")
        with pytest.raises(ValueError, match="no signatures for a stream"):
            client.stream(1, 0)
        assert client.sample(2, 0).samples.shape == (2, 4, 4, 1)
    with Client(served.target, "texts", round_robin=True) as client, client.stream(n=3) as stream:
        assert stream.step().position == 3


def test_events_are_not_mixed_of_two_versions(bank, serve, tmp_path):
    shutil.copytree(bank.versions("pictures") / "1", tmp_path / "pictures" / "1")
    with (
        serve(tmp_path, ["pictures"], enable_model_warmup=False) as server,
        Client(f"127.0.0.1:{server.port}", "pictures") as client,
        client.stream(1, 0, seed=2) as stream,
    ):
        stream.step()
        shutil.copytree(bank.versions("pictures") / "1", tmp_path / "pictures" / "next")
        (tmp_path / "pictures" / "next").rename(tmp_path / "pictures" / "2")
        while client.answered != 2:
            assert stream.version == 1
            client.session_stats()
        with pytest.raises(ServingError, match="Specific.pictures, 1.") as caught:
            while True:  # Until the old version is gone, too.
                client.predict("session_stats", {}, version=1)
        with pytest.raises(ServingError, match="Specific.pictures, 1.") as caught:
            stream.step()
        assert caught.value.code == Code.NOT_FOUND
        assert "sample" in client.signatures and client._known[0] == 2


def test_tls_needs_both_parts():
    for parts in ({"private_key": b"-----BEGIN"}, {"certificate_chain": b"-----BEGIN"}):
        with pytest.raises(ValueError, match="private_key and certificate_chain must be given together"):
            Client("localhost:1", root_certificates=b"-----BEGIN", **parts)


# === Commands ===


def test_server_is_described(pictures):
    lines = describe(pictures).splitlines()
    assert lines[0] == f"pictures version 1 at {pictures.server}"
    assert "    in  seed: int64 [B, 2], by default [-1, -1]" in lines
    assert "    in  rows: int32 [B], by default 0" in lines
    assert lines[-1].endswith("of 64 session slots in use")


def test_commands_tell_mistakes_in_one_line(served):
    code, _, err = run("export.client")
    assert (code, err) == (2, "error: --server=HOST:PORT must be given\n")
    code, _, err = run("export.client", f"--server={served.target}", "--model_name=nobody")
    assert code == 1 and err.startswith("error: nobody at 127.0.0.1:") and err.count("\n") == 1
    assert "NOT_FOUND: Servable not found for request: Latest(nobody) (--model_name says" in err
    server = (f"--server={served.target}", "--model_name=texts")
    code, out, err = run("export.client", *server)
    assert code == 0 and out.startswith("texts version 1 at") and not err
    for flags, message in {
        ("--inputs={",): "--inputs is no JSON",
        ("--inputs=[1]",): "--inputs must be a JSON object, values by names, got [1]",
        ("--call=nothing",): "texts has no signature 'nothing'; it has ",
        ("--call=sample", '--inputs={"sead": 1}'): "sample has no input 'sead'; it takes ",
        ("--call=step", '--inputs={"state": ["?"]}'): "strings must be base64, got '?'",
    }.items():
        code, _, err = run("export.client", *server, *flags)
        assert code != 0 and err.startswith(f"error: {message}") and err.count("\n") == 1, err


def test_a_call_passes_strings_as_base64(served, texts):
    server = (f"--server={served.target}", "--model_name=texts")
    code, out, err = run("export.client", *server, "--call=start", '--inputs={"seed": [[0, 4]]}')
    assert code == 0, err
    state = json.loads(out)["state"]
    code, out, err = run("export.client", *server, "--call=step", f"--inputs={json.dumps({'state': state, 'n': 5})}")
    assert code == 0, err
    expected = texts.sample(1, seed=[[0, 4]], length=5).samples
    np.testing.assert_array_equal(json.loads(out)["chunk"], expected)


def test_sample_command_writes_the_server_s_pictures(served, pictures, tmp_path):
    from pipelines import pictures as pipeline_pictures

    out = tmp_path / "out.png"
    arguments = (f"--server={served.target}", "--model_name=pictures", f"--out={out}", "--num=4", "--seed=2")
    code, stdout, err = run("pipelines.sample", *arguments, f"--workdir={tmp_path}/pictures")
    assert code == 2 and "holds no run" in err
    code, stdout, err = run("pipelines.sample", *arguments, "--label=1")
    assert code == 0 and stdout == f"4 samples: {out}\n", err
    expected = pipeline_pictures.to_images(pictures.sample(4, 1, seed=2).samples, 3)
    with Image.open(out) as picture:
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(pipeline_pictures.grid(expected)))


def test_sample_command_writes_the_text_that_python_writes(served, tmp_path):
    import json

    from pipelines import text

    resolved = {
        "event_shape": [None],
        "condition": None,
        "model": {"name": "CharRNN", "vocabulary": "abc "},
        "head": {"name": "Categorical", "levels": 4},
    }
    (tmp_path / "texts").mkdir()
    record = {"config": {"data": {"name": "text:letters"}}, "resolved": resolved}
    (tmp_path / "texts" / "config.json").write_text(json.dumps(record))
    arguments = (f"--server={served.target}", f"--workdir={tmp_path}/texts", "--seed=3", "--num=2")
    code, out, err = run("pipelines.sample", *arguments, "--prompt=ab", "--length=40")
    expected = text.generate(served.models["texts"], "ab", 40, 2, seed=3)
    assert code == 0 and out == "".join(f"--- {row + 1} ---\n{line}\n" for row, line in enumerate(expected)), err
    # The server tells its vocabulary itself; the name of a folder is only its default name.
    arguments = (arguments[0], "--model_name=texts", *arguments[2:])
    assert run("pipelines.sample", *arguments, "--prompt=ab", "--length=40") == (0, out, "")
    code, _, err = run("pipelines.sample", *arguments, "--top_k=2")
    assert code == 2 and err.startswith("error: --top_k is for samples that are drawn here")
