"""Weights of tensorflow-wavenet give tensorflow-wavenet's probabilities."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

import tfar
from tfar.convert import from_ibab_wavenet
from tfar.core.conditions import Label, Vector
from tfar.core.scope import Incremental
from tfar.core.states import initial_state

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"


@pytest.fixture(scope="module")
def fixture():
    return dict(np.load(GOLDEN / "wavenet_ibab_tiny.npz"))


def build(meta, **kwargs):
    sizes = {"kernel_size": meta["filter_width"], "dilations": meta["dilations"], **kwargs}
    head = tfar.heads.Categorical(meta["Q"])
    return tfar.models.WaveNet((None,), head, meta["res"], meta["dil_ch"], meta["skip"], **sizes)


@pytest.fixture(scope="module")
def model(fixture):
    return from_ibab_wavenet(fixture, build(json.loads(str(fixture["meta"]))))


def test_parallel_probabilities(fixture, model):
    first, expected = int(fixture["first_t"]), fixture["probs_next_after_t"]
    # One element more, whose value nothing depends on: the last row is the prediction after all of them.
    seq = np.append(fixture["seq"], 0)[None]
    probs = tf.nn.softmax(model(seq)).numpy()[0, first:]
    assert probs.shape == expected.shape
    np.testing.assert_allclose(probs, expected, rtol=1e-5, atol=1e-8)


def test_incremental_probabilities(fixture, model):
    first, expected = int(fixture["first_t"]), fixture["probs_next_after_t"]
    encoded = model.encode(fixture["seq"][None])
    inputs = tf.pad(encoded, [[0, 0], [1, 0], [0, 0]])
    state = initial_state(model.network, 1, {"step": (1, encoded.shape[-1])})

    @tf.function(autograph=False)
    def step(state, x, t):
        with Incremental(state, at=t) as scope:
            y = model.network(x)
        return y, scope.state

    found = []
    for t in range(inputs.shape[1]):
        y, state = step(state, inputs[:, t : t + 1], tf.constant(t))
        found.append(tf.nn.softmax(y).numpy()[0, 0])
    np.testing.assert_allclose(found[first:], expected, rtol=1e-5, atol=1e-8)


def test_mean_loss(fixture, model):
    from tfar.core.mu_law import mu_law_encode

    codes = mu_law_encode(fixture["audio"][..., 0], levels=16)
    with tfar.testing.eagerly():
        nats = model.score(codes).numpy()[0, model.receptive_field :]
    np.testing.assert_allclose(-nats.mean(), fixture["mean_ce_loss"], rtol=1e-5)


def random_arrays(rng, cardinality=None, channels=None, names=("Variable", "Variable_1", "Variable_2", "Variable_3")):
    """A checkpoint of 2 layers with biases that are not zero: Q 5, residual 3, dilation 2, skip 4."""
    shapes = {"causal_layer/filter": (2, 5, 3)}
    for layer in ("dilated_stack/layer0/", "dilated_stack/layer1/"):
        shapes |= {layer + "filter": (2, 3, 2), layer + "gate": (2, 3, 2)}
        shapes |= {layer + "dense": (1, 2, 3), layer + "skip": (1, 2, 4)}
        shapes |= {layer + name: (size,) for name, size in zip(names, (2, 2, 3, 4), strict=True)}
        if channels:
            shapes |= {layer + "gc_filter": (1, channels, 2), layer + "gc_gate": (1, channels, 2)}
    shapes |= {"postprocessing/postprocess1": (1, 4, 4), "postprocessing/postprocess2": (1, 4, 5)}
    shapes |= {"postprocessing/Variable": (4,), "postprocessing/Variable_1": (5,)}
    if cardinality:
        shapes["embeddings/gc_embedding"] = (cardinality, channels)
    return {f"wavenet/{name}:0": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


META = {"filter_width": 2, "dilations": [1, 2], "Q": 5, "res": 3, "dil_ch": 2, "skip": 4}


def reference(arrays, codes, vector=None):
    """The reference's logits [T, Q] after each element, with zero padding in front of every layer."""
    get = lambda name: arrays[f"wavenet/{name}:0"].astype(np.float64)  # noqa: E731
    x = np.eye(5)[codes]
    x = shift(x, 1) @ get("causal_layer/filter")[0] + x @ get("causal_layer/filter")[1]
    total = 0
    for index, dilation in enumerate(META["dilations"]):
        layer = f"dilated_stack/layer{index}/"
        f, g = (shift(x, dilation) @ get(layer + n)[0] + x @ get(layer + n)[1] for n in ("filter", "gate"))
        f, g = f + get(layer + "Variable"), g + get(layer + "Variable_1")
        if vector is not None:
            f, g = f + vector @ get(layer + "gc_filter")[0], g + vector @ get(layer + "gc_gate")[0]
        z = np.tanh(f) / (1 + np.exp(-g))
        total = total + z @ get(layer + "skip")[0] + get(layer + "Variable_3")
        x = x + z @ get(layer + "dense")[0] + get(layer + "Variable_2")
    y = np.maximum(total, 0) @ get("postprocessing/postprocess1")[0] + get("postprocessing/Variable")
    return np.maximum(y, 0) @ get("postprocessing/postprocess2")[0] + get("postprocessing/Variable_1")


def shift(x, by):
    return np.concatenate([np.zeros((by, x.shape[1])), x[:-by]])


@pytest.mark.parametrize("condition", [None, Label(3), Vector(4)], ids=str)
def test_zero_queues_are_zero_padding_with_biases_and_conditions(condition):
    """From the second element on the outputs are those of zero queues, although biases are not zero."""
    rng = np.random.default_rng(0)
    arrays = random_arrays(rng, 3 if isinstance(condition, Label) else None, condition and 4)
    model = from_ibab_wavenet(arrays, build(META, condition=condition))
    codes, given, vector = rng.integers(0, 5, 9), None, None
    if isinstance(condition, Label):
        given, vector = np.array([2]), arrays["wavenet/embeddings/gc_embedding:0"][2]
    elif condition is not None:
        given = rng.normal(size=(1, 4)).astype(np.float32)
        vector = given[0]
    logits = model(np.append(codes, 0)[None], given).numpy()[0, 1:]
    np.testing.assert_allclose(logits, reference(arrays, codes, vector), rtol=1e-4, atol=1e-5)


def test_names_that_were_meant_for_biases():
    arrays = random_arrays(np.random.default_rng(0))
    names = {
        "Variable": "filter_bias",
        "Variable_1": "gate_bias",
        "Variable_2": "dense_bias",
        "Variable_3": "slip_bias",
    }
    renamed = {}
    for key, array in arrays.items():
        folder, _, name = key.removesuffix(":0").rpartition("/")
        renamed[f"{folder}/{names.get(name, name) if 'layer' in folder else name}"] = array
    codes = np.arange(5)[None]
    models = [from_ibab_wavenet(given, build(META)) for given in (arrays, renamed)]
    np.testing.assert_array_equal(models[0](codes), models[1](codes))


def test_errors_name_the_array():
    arrays = random_arrays(np.random.default_rng(0))
    key = "wavenet/dilated_stack/layer1/gate:0"
    with pytest.raises(ValueError, match="must hold 'dilated_stack/layer1/gate' of tensorflow-wavenet"):
        from_ibab_wavenet({name: array for name, array in arrays.items() if name != key}, build(META))
    with pytest.raises(ValueError, match="'causal_layer/filter' of tensorflow-wavenet gives .2, 5, 3., the model's"):
        from_ibab_wavenet(arrays, build({**META, "res": 4}))
    with pytest.raises(ValueError, match="'dilated_stack/layer1/.*' of tensorflow-wavenet belongs nowhere"):
        from_ibab_wavenet(arrays, build({**META, "dilations": [1]}, head_channels=4))
    with pytest.raises(ValueError, match="must hold 'dilated_stack/layer0/gc_filter'"):
        from_ibab_wavenet(arrays, build(META, condition=Label(2)))
    with pytest.raises(ValueError, match="belongs nowhere in the model"):
        from_ibab_wavenet(arrays, build(META, use_bias=False))
    with pytest.raises(ValueError, match="residual_scale must be 1.0 in a model for weights of tensorflow-wavenet"):
        from_ibab_wavenet(arrays, build(META, residual_scale=0.5))


def test_last_residual_is_kept_where_the_model_has_one():
    arrays = random_arrays(np.random.default_rng(0))
    model = from_ibab_wavenet(arrays, build(META, last_residual=True))
    kernel = model.network.blocks[-1].residual.kernel
    np.testing.assert_array_equal(kernel, arrays["wavenet/dilated_stack/layer1/dense:0"][0])
