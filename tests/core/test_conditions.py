"""Conditions encode what fits and refuse by name what does not."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfar.core.conditions import Joint, Label, Local, Spatial, Vector

VALUES = {
    "label": (Label(3), [0, 2], (2, 3)),
    "vector": (Vector(2), [[0.5, 1.0]], (1, 2)),
    "spatial": (Spatial(2), np.ones([1, 4, 3, 2]), (1, 4, 3, 2)),
}


@pytest.mark.parametrize(("condition", "value", "shape"), VALUES.values(), ids=VALUES)
def test_encodes_to_float(condition, value, shape):
    value = tf.constant(value)
    condition.check(value)
    features = condition.encode(value)
    assert features.dtype == tf.float32
    assert tuple(features.shape) == shape


def test_label_is_one_hot():
    assert Label(3).encode([2, 0]).numpy().tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize(("condition", "value", "shape"), VALUES.values(), ids=VALUES)
def test_config_round_trip(condition, value, shape):
    other = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(condition))
    assert other == condition
    assert hash(other) == hash(condition)
    assert repr(other) == repr(condition)


def test_equality():
    assert Label(3) != Label(4)
    assert Label(3) != Vector(3)
    assert repr(Label(3)) == "Label(3)"


@pytest.mark.parametrize(
    ("condition", "value", "message"),
    [
        (Label(3), [0, 3], r"label 3, Label\(3\) accepts 0 to 2"),
        (Label(3), [-1], "label -1"),
        (Label(3), [0.0], r"integer labels for Label\(3\), got float32"),
        (Label(3), [[0]], r"shape \[batch\] for Label\(3\), got \(1, 1\)"),
        (Vector(2), [0.0, 1.0], r"shape \[batch, 2\] for Vector\(2\), got \(2,\)"),
        (Vector(2), [[0.0, 1.0, 2.0]], r"got \(1, 3\)"),
        (Vector(2), [[0.0, np.nan]], "not finite"),
        (Spatial(2), np.zeros([1, 4, 4, 3]), r"shape \[batch, \?, \?, 2\] for Spatial\(2\)"),
        (Spatial(2), np.full([1, 4, 4, 2], np.inf), "not finite"),
    ],
)
def test_refuses_by_name(condition, value, message):
    with pytest.raises(ValueError, match=message):
        condition.check(tf.constant(value))


@pytest.mark.parametrize(
    ("kind", "name"), [(Label, "num_labels"), (Vector, "size"), (Spatial, "channels")], ids=lambda x: str(x)
)
def test_refuses_sizes_below_one(kind, name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        kind(0)


# What a condition tells of itself.


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Label(3), {"kind": "Label", "num_labels": 3}),
        (Vector(4), {"kind": "Vector", "size": 4}),
        (Spatial(2), {"kind": "Spatial", "channels": 2}),
        (Local(2, 4, 1), {"kind": "Local", "channels": 2, "hop": 4, "delay": 1}),
        (
            Joint([Label(3), Vector(4)]),
            {"kind": "Joint", "conditions": [{"kind": "Label", "num_labels": 3}, {"kind": "Vector", "size": 4}]},
        ),
    ],
)
def test_describe(condition, expected):
    assert condition.describe() == expected
    assert json.loads(json.dumps(condition.describe())) == expected


@pytest.mark.parametrize(
    ("condition", "event_shape", "expected"),
    [
        (Label(3), (None,), ()),
        (Vector(4), (2, 3, 1), (4,)),
        (Spatial(2), (3, 5, 1), (3, 5, 2)),
        (Local(2, 4), (9,), (3, 2)),
        (Local(2, 4, delay=1), (9,), (2, 2)),
        (Local(2, 4), (None,), (None, 2)),
    ],
)
def test_examples_are_accepted(condition, event_shape, expected):
    assert condition.value_shape(event_shape) == expected
    shape = tuple(7 if size is None else size for size in expected)
    for seed in (None, 0):
        value = condition.example(event_shape, num=5, seed=seed, open_size=7)
        assert value.shape == (5, *shape) and value.dtype == condition.dtype.as_numpy_dtype
        condition.prepare(value, 5, event_shape)
        assert not condition.wrong(tf.constant(value)).numpy().any()


def test_example_of_several_conditions():
    label, vector = Joint([Label(3), Vector(4)]).example((2,), num=5, seed=1)
    np.testing.assert_array_equal(label, [0, 1, 2, 0, 1])
    assert vector.shape == (5, 4) and vector.std() > 0


@pytest.mark.parametrize(
    ("condition", "value"), [(Label(3), [0, 3, -1]), (Vector(1), [[0.0], [np.inf], [np.nan]]), (Local(1, 2), [[[1.0]]])]
)
def test_wrong_says_what_check_refuses(condition, value):
    wrong = condition.wrong(tf.constant(value)).numpy()
    for row, bad in zip(value, wrong, strict=True):
        if bad.any():
            with pytest.raises(ValueError, match="condition holds"):
                condition.check(tf.constant([row]))
        else:
            condition.check(tf.constant([row]))
