"""WaveNet: receptive field, conditions, prompts, any length, and what a step costs."""

import numpy as np
import pytest
import tensorflow as tf

import tfar
from tfar import testing
from tfar.core.conditions import Joint, Label, Local, Spatial, Vector
from tfar.core.scope import Incremental
from tfar.core.states import initial_state
from tfar.heads import Categorical, DiscretizedLogisticMixture
from tfar.models import WaveNet


def build(head=None, event_shape=(None,), **kwargs):
    sizes = {"residual_channels": 4, "dilation_channels": 3, "skip_channels": 5, "dilations": [1, 2, 4]}
    model = WaveNet(event_shape, head or Categorical(4), **{**sizes, **kwargs})
    testing.randomize_weights(model)
    return model


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.mark.large
def test_reference_sizes():
    model = tfar.models.from_preset("wavenet_ibab")
    assert model.count_params() == 1_515_968
    assert model.receptive_field == 5117


def test_dilations_to_512_agree_in_steps():
    model = build(dilations=[1, 512, 3], kernel_size=3)
    x = testing.random_events(model, 1, length=1100)
    # The beginning, and a stretch in which all rings have come round.
    assert (
        testing.assert_incremental_matches_parallel(model, x, modes=("function",), blocks=[(0, 600), (600, 500)]) < 1e-4
    )


@pytest.mark.parametrize("size", [0, 1, 17, pytest.param(30, marks=pytest.mark.large)])
def test_prompts(model, size, graphs):
    assert model.receptive_field == 9
    whole = model.sample(2, seed=1, length=34, jit_compile=False).numpy()
    again = model.sample(2, seed=1, length=34, prompt=whole[:, :size], jit_compile=False).numpy()
    np.testing.assert_array_equal(again, whole)
    naive = model.sample(2, seed=1, length=34, prompt=whole[:, :size], method="naive", jit_compile=False)
    np.testing.assert_array_equal(naive, whole)


def test_one_set_of_weights_scores_any_length(model):
    x = testing.random_events(model, 2, length=20)
    np.testing.assert_allclose(model.score(x)[:, :7], model.score(x[:, :7]), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="length must be given"):
        model.sample(1, seed=0)


def test_the_start_is_zero_padding_at_every_layer(model):
    """From the second element on, outputs are those of a sequence that begins there, whatever the biases."""
    x = model.encode(testing.random_events(model, 1, length=6))
    state = initial_state(model.network, 1, {"step": (1, x.shape[-1])})
    with Incremental(state, at=1, length=6) as scope:  # zero queues; the first input is x_1, and x_0 never was
        outputs = model.network(x)
    assert scope.state
    shifted = model.network(tf.pad(x, [[0, 0], [0, 1], [0, 0]]))
    np.testing.assert_allclose(shifted[:, 1:], outputs, rtol=1e-5, atol=1e-5)


def test_a_step_does_not_depend_on_the_dilation():
    """The graph of a step has the same operations, and none of them as large as a ring but its update."""

    def operations(dilation):
        model = build(dilations=[dilation] * 2)
        features = model.encode(np.zeros([1, 1])).shape[-1]
        state = initial_state(model.network, 1, {"step": (1, features)})

        def step(state, x, t):
            with Incremental(state, at=t) as scope:
                return model.network(x), scope.state

        graph = (
            tf.function(step, autograph=False)
            .get_concrete_function(state, tf.zeros([1, 1, features]), tf.constant(0))
            .graph
        )
        ring = dilation * 4
        large = [op.type for op in graph.get_operations() for y in op.outputs if y.shape.num_elements() == ring]
        return sorted(op.type for op in graph.get_operations()), sorted(set(large))

    few, _ = operations(64)
    many, large = operations(512)
    assert few == many
    assert set(large) <= {"Placeholder", "TensorScatterUpdate", "EnsureShape", "Identity"}


# === Conditions ===

JOINT = Joint([Label(3), Local(2, hop=4)])


def joint_value(num, frames, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, num, np.int32), rng.normal(size=(num, frames, 2)).astype(np.float32)


def test_joint_conditions():
    model = build(condition=JOINT, upsampling="transposed", dilations=[1, 2])
    x, value = testing.random_events(model, 2, length=11), joint_value(2, 3)
    assert testing.assert_incremental_matches_parallel(model, x, value, modes=("eager",)) < 1e-4
    nats = model.score(x, value)
    for other in ((value[0], value[1][::-1].copy()), ((value[0] + 1) % 3, value[1])):
        assert (np.abs(model.score(x, other) - nats).max(1) > 1e-5).all()
    naive, fast = (
        model.sample(2, value, seed=0, length=11, method=method, jit_compile=False).numpy()
        for method in ("naive", "incremental")
    )
    np.testing.assert_array_equal(naive, fast)


def test_joint_survives_a_file(tmp_path):
    model = build(condition=JOINT, upsampling={"method": "stretch", "scales": [2, 2]}, dilations=[1])
    model.save(tmp_path / "model.keras")
    loaded = tfar.models.load(tmp_path / "model.keras")
    assert loaded.condition == JOINT
    x, value = testing.random_events(model, 2, length=8), joint_value(2, 2)
    np.testing.assert_array_equal(loaded.score(x, value), model.score(x, value))


def test_local_features_belong_to_their_elements():
    """Element t sees the frames of t, ..., t - R + 1 and no other; with a delay they come one element later."""
    for delay in (0, 1):
        model = build(condition=Local(2, hop=4, delay=delay), dilations=[1])
        x, frames = testing.random_events(model, 1, length=16), np.zeros([1, 4, 2], np.float32)
        other = frames.copy()
        other[0, 2] = 1.0
        changed = np.abs(model(x, frames) - model(x, other)).max(-1)[0] > 1e-6
        assert np.flatnonzero(changed).tolist() == list(range(8 + delay, 12 + delay))


def test_wrong_conditions():
    local = build(condition=Local(2, hop=4))
    x = testing.random_events(local, 1, length=9)
    with pytest.raises(ValueError, match="condition must have 3 frames or more for 9 elements and hop 4, got 2"):
        local.score(x, np.zeros([1, 2, 2], np.float32))
    with pytest.raises(ValueError, match="condition must have 3 frames or more"):
        local.sample(1, np.zeros([1, 2, 2], np.float32), seed=0, length=9)
    with pytest.raises(ValueError, match="condition must have shape"):
        local.score(x, np.zeros([1, 3, 3], np.float32))
    with pytest.raises(ValueError, match="condition must be a Label, a Vector, a Local or a Joint"):
        build(condition=Spatial(2))
    with pytest.raises(ValueError, match="condition must be a Label, a Vector, a Local or a Joint"):
        build(condition=Joint([Label(2), Vector(2)]))
    with pytest.raises(ValueError, match="condition must be a tuple of 2 values"):
        build(condition=JOINT).score(x, np.zeros([1], np.int32))


# === Inputs and heads ===


def test_inputs():
    assert build().encode([[2]]).numpy().tolist() == [[[0, 0, 1, 0]]]
    assert build(inputs="scaled").encode([[3]]).numpy().tolist() == [[[1.0]]]
    assert build(embedding_dim=6).encode([[3]]).shape == (1, 1, 6)
    for wrong in ({"inputs": "embedding"}, {"inputs": "one_hot", "embedding_dim": 2}, {"inputs": "raw"}):
        with pytest.raises(ValueError, match="inputs must be one of"):
            build(**wrong)


def test_sixteen_bits():
    model = build(DiscretizedLogisticMixture(2, bits=16), dilations=[1, 2])
    assert model.encode([[0], [65535]]).numpy().ravel().tolist() == [-1.0, 1.0]
    x = model.sample(2, seed=0, length=5, jit_compile=False).numpy()
    assert x.min() >= 0 and x.max() < 65536
    assert np.isfinite(model.log_prob(x)).all()


@pytest.mark.large
def test_learns_a_period():
    """A sequence with a period beyond the reach of any single layer costs almost nothing once it is learned."""
    model = WaveNet((None,), Categorical(8), 16, 16, 32, num_stacks=1, layers_per_stack=5)
    pattern = np.random.default_rng(0).integers(0, 8, 24)
    x = np.stack([np.roll(np.tile(pattern, 4), shift) for shift in range(24)])
    model.compile("adam")
    model.optimizer.learning_rate = 0.01
    model.fit(tf.data.Dataset.from_tensor_slices({"x": x}).batch(24).repeat(150), verbose=0)
    assert -model.score(x).numpy()[:, 40:].mean() < 0.05
