"""What a request may ask for: refused in the graph, before anything is repeated or drawn."""

import numpy as np
import pytest
import tensorflow as tf

import tfar
from export.server import compat
from export.writer.errors import ExportError
from export.writer.limits import Limits, limits_of
from export.writer.options import Options
from export.writer.saved_model import export
from tests.export.tiny import seeds
from tfar.core.event import Event

LABEL = np.int32([1])


def call(export, signature, **inputs):
    """The outputs of a call whose shapes nobody compares, as a server makes it."""
    session, definition = export.servable.session, export.servable.signatures[signature]

    def handle(info):
        operation, index = info.name.split(":")
        return compat.tensor_handle(session.graph, operation, int(index))

    values = {key: tf.make_ndarray(default) for key, default in definition.defaults.items()} | inputs
    feeds = {handle(definition.inputs[key]): value for key, value in values.items()}
    found = compat.run_session(session, feeds, [handle(info) for info in definition.outputs.values()])
    return dict(zip(definition.outputs, found, strict=True))


def refusal(*arguments, **inputs):
    with pytest.raises(tf.errors.InvalidArgumentError) as error:
        call(*arguments, **inputs)
    return str(error.value).split("assertion failed: [")[1].splitlines()[0]


def test_defaults_follow_the_events():
    image, vector, texts, sound = (
        Event(shape, tfar.heads.Categorical(4))
        if len(shape) == 3
        else Event(shape, tfar.heads.Categorical(4), "sequence")
        for shape in ((4, 4, 1), (9,), (None,), (16000,))
    )
    assert limits_of(image) == Limits(64, 64 * 16)
    assert limits_of(vector) == Limits(64, 64 * 9)
    assert limits_of(texts) == Limits(64, 2**18) and limits_of(texts).length == 65536
    assert limits_of(sound) == Limits(16, 16 * 16000)
    assert limits_of(image, 100) == Limits(100, 1600)
    assert limits_of(image, 100, 50) == Limits(3, 48)
    assert limits_of(texts, 2, 100) == Limits(2, 100) and limits_of(texts, 2, 100).length == 100


def test_limits_that_allow_no_event_are_refused(tmp_path):
    with pytest.raises(ValueError, match="max_examples must be at least 1 and below 2.31, got 0"):
        Options(max_examples=0)
    model = tfar.models.MADE((9,), tfar.heads.Bernoulli(), hidden=(4,))
    with pytest.raises(ExportError, match="max_positions must be at least 9, the positions of one event, got 8"):
        export(model, tmp_path, Options(max_positions=8))
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("num", [65, 50_000, 8_000_000])
def test_every_signature_takes_so_many_examples(image, num):
    x = np.zeros([1, 4, 3, 1], np.int32)
    given = {"condition": LABEL}
    calls = {
        "sample": {"condition": (LABEL, given), "temperature": (np.float32([1]), given)},
        "serving_default": {"seed": (np.int64([[-1, -1]]), given), "prefix": (np.zeros([1, 1], np.int32), given)},
        "complete": {
            "observed_length": (np.int32([3]), {**given, "x": x}),
            "seed": (np.int64([[1, 2]]), {**given, "x": x}),
        },
        "log_prob": {"condition": (LABEL, {"x": x})},
        "describe": {"rows": (np.int32([0]), {})},
        "session_begin": {"condition": (LABEL, {})},
        "session_step": {"session_id": (np.int64([5]), {}), "n": (np.int32([1]), {"session_id": np.int64([5])})},
        "session_end": {"session_id": (np.int64([5]), {})},
    }
    for signature, inputs in calls.items():
        for name, (value, others) in inputs.items():
            # A value of no stride: these examples take no memory here.
            many = np.broadcast_to(value, [num, *value.shape[1:]])
            others = {"observed_length": np.int32([3])} | others if signature == "complete" else others
            found = refusal(image, signature, **{**others, name: many})
            assert found == f"{name} must have at most 64 examples; examples:] [{num}]", (signature, name)


def test_one_value_for_all_is_refused_before_it_is_repeated(image):
    message = "prefix must be no longer than the event; values:] [5000000]"
    assert (
        refusal(image, "sample", condition=np.full([64], 1, np.int32), prefix=np.zeros([1, 5_000_000], np.int32))
        == message
    )
    # Examples within the limit are drawn.
    drawn = call(image, "sample", condition=np.full([64], 1, np.int32), seed=seeds(64))["samples"]
    np.testing.assert_array_equal(
        drawn[:4], call(image, "sample", condition=np.full([4], 1, np.int32), seed=seeds(4))["samples"]
    )


def test_states_are_as_long_as_states_are(text):
    state = text.servable.run("start", seed=seeds(1))["state"][0]
    message = "state belongs to another model or version, or is damaged; examples:] "
    # One long text must not be copied for 64 examples.
    long = np.array([state + b"\0" * 10_000_000], object)
    assert refusal(text, "step", state=long, n=np.full([64], 1, np.int32)) == f"{message}[0]"


def test_a_forged_state_claims_no_memory(text):
    """The checksum is no secret: whoever computes it must not make the server allocate what a tensor claims."""
    servable, state = text.servable, text.servable.run("start", seed=seeds(1))["state"][0]
    claim = tf.make_tensor_proto(np.uint8([7]), shape=[1])
    claim.tensor_shape.dim[0].size = 40 * 2**30
    payload = claim.SerializeToString().ljust(len(state) - 32, b"\0")

    def checksum(data):
        number = tf.strings.to_hash_bucket_fast([data], 2**62)
        return tf.strings.substr(tf.strings.as_string(number, width=16, fill="0"), 0, 16).numpy()[0]

    assert checksum(state[32:]) == state[16:32]
    forged = state[:16] + checksum(payload) + payload
    assert len(forged) == len(state)
    with pytest.raises(tf.errors.InvalidArgumentError, match="or is damaged; examples:. .0."):
        servable.run("step", state=np.array([forged], object))
