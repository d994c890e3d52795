"""The assertions find planted faults, and name where they are."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfar import heads, layers, models, orderings, testing
from tfar.core import scope as scopes
from tfar.models.autoregressive import AutoregressiveModel


class Body(keras.layers.Layer):
    """Exclusive convolution, then an inclusive one; faults are planted between them."""

    def __init__(self, outputs, fault=None):
        super().__init__()
        self.first = layers.CausalConv1D(4, 6, exclusive=True)
        self.second = layers.CausalConv1D(outputs, 2)
        self.fault = fault

    def call(self, x, context=None):
        scope = scopes.current()
        if self.fault == "leak" and scope is None:
            x = x + tf.pad(x[:, 3:], [[0, 0], [0, 3], [0, 0]])  # sees two elements ahead
        if self.fault == "blind" and scope is None:
            x = x * tf.constant([1.0, 0, 1, 1, 1])[:, None]  # nobody sees element 1
        y = self.first(x)
        if self.fault == "step" and scope is not None:
            y = y + 0.01  # a step adds what the parallel pass does not
        if self.fault == "late" and scope is not None:
            y = y + 0.01 * tf.cast(scope.at >= 3, y.dtype)
        if self.fault == "block" and scope is not None and scope.length > 1:
            y = y * 1.01
        return self.second(tf.tanh(y))


class Sequence(AutoregressiveModel):
    """Five elements."""

    def __init__(self, fault=None, head=None, ordering=None, **kwargs):
        head = head or heads.Categorical(3)
        super().__init__(Body(head.params_size, fault), (5,), head, ordering=ordering, layout="sequence", **kwargs)
        self.fault = fault


def model(*args, **kwargs):
    built = Sequence(*args, **kwargs)
    testing.randomize_weights(built)
    return built


@pytest.fixture(scope="module")
def sound():
    return model()


def test_a_sound_model_passes_everything(sound):
    testing.assert_causal(sound)
    assert testing.assert_incremental_matches_parallel(sound, modes=("eager", "function")) < 1e-5
    assert testing.assert_samples_agree(sound, 3) == (15, 0)
    assert testing.assert_normalized(sound) < 1e-5
    testing.assert_sample_independent_of_batch(sound)


# === randomize_weights ===


def test_weights_are_random_and_not_zero(sound):
    for weight in sound.trainable_weights:
        assert (np.abs(weight.numpy()) > 1e-3).all()
    other = Sequence()
    testing.randomize_weights(other, seed=1)
    assert (other.get_weights()[0] != sound.get_weights()[0]).all()
    testing.randomize_weights(other, scale=0.5)
    for half, whole in zip(other.get_weights(), sound.get_weights(), strict=True):
        np.testing.assert_allclose(half, whole / 2, rtol=1e-6)


def test_weights_that_are_not_trained_are_kept():
    layer = keras.layers.BatchNormalization()
    layer.build((None, 3))
    testing.randomize_weights(layer)
    assert (layer.moving_variance.numpy() == 1).all()
    assert (layer.gamma.numpy() != 1).all()


def test_a_layer_without_weights_is_refused():
    with pytest.raises(ValueError, match="has none; call it once to build it"):
        testing.randomize_weights(keras.layers.Dense(2))


# === assert_causal ===


def test_a_leak_is_named():
    with pytest.raises(AssertionError, match=r"pairs are not causal: position \(1,\) depends on \(3,\) .ranks 1 and 3"):
        testing.assert_causal(model("leak"))


def test_a_blind_spot_is_named():
    with pytest.raises(AssertionError, match=r"3 pairs are not seen .*: position \(2,\) does not see \(1,\)"):
        testing.assert_causal(model("blind"))


def test_an_expected_blind_spot_passes():
    blind = {(2, 1), (3, 1), (4, 1)}
    testing.assert_causal(model("blind"), blind=blind)
    testing.assert_causal(model("blind"), blind=lambda model: blind)


def test_an_expected_blind_spot_must_be_blind(sound):
    with pytest.raises(AssertionError, match=r"1 pair is seen that should be blind: position \(3,\) sees \(1,\)"):
        testing.assert_causal(sound, blind=[(3, 1)])


class OrderedBody(keras.layers.Layer):
    """Convolves in another order than the one in which elements are stored."""

    def __init__(self, permutation, outputs):
        super().__init__()
        self.permutation = permutation
        self.body = Body(outputs)

    def call(self, x, context=None):
        if scopes.current() is not None:
            return self.body(x)
        return tf.gather(self.body(tf.gather(x, self.permutation, axis=1)), np.argsort(self.permutation), axis=1)


class Ordered(AutoregressiveModel):
    """Five elements in an order; `claimed` is the order that the model says it has."""

    def __init__(self, ordering, claimed=None):
        head = heads.Categorical(3)
        network = OrderedBody(ordering.permutation, 3)
        super().__init__(network, (5,), head, ordering=claimed or ordering, layout="sequence")


def test_ranks_are_read_from_the_ordering():
    ordering = orderings.from_permutation([3, 0, 4, 1, 2])
    built = Ordered(ordering)
    testing.randomize_weights(built)
    testing.assert_causal(built)
    testing.assert_incremental_matches_parallel(built, modes=("eager",))
    with testing.eagerly():
        assert testing.assert_samples_agree(built, 2).ties == 0
    wrong = Ordered(ordering, claimed=orderings.raster(5))
    testing.randomize_weights(wrong)
    with pytest.raises(AssertionError, match="not causal"):
        testing.assert_causal(wrong)


def test_zero_weights_are_replaced_for_the_test():
    """A new model whose output layer is zero sees nothing; what counts is what it sees with other weights."""
    built = model()
    built.network.second.kernel.assign(tf.zeros_like(built.network.second.kernel))
    before = built.get_weights()
    testing.assert_causal(built)
    for old, new in zip(before, built.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    with pytest.raises(AssertionError, match="10 pairs are not seen"):
        testing.assert_causal(built, num_weights=0)


def test_colours_are_ordered_inside_of_a_cell():
    """A pixel that is drawn whole in the network's eyes leaks as soon as the head orders its colours."""
    good = models.GatedPixelCNN((2, 2, 3), heads.Bernoulli(), filters=6, num_blocks=1, first_kernel_size=3)
    testing.randomize_weights(good)
    testing.assert_causal(good)
    layer = good.network.blocks[0].horizontal
    layer._mask = np.ones_like(layer._mask)
    with pytest.raises(AssertionError, match=r"not causal: position \(0, 0, 0\) depends on \(0, 0, 0\)"):
        testing.assert_causal(good)


def test_dependencies_of_a_known_map():
    matrix = np.array([[0.0, 2, 0], [3, 0, 0]])
    found = testing.dependencies(
        lambda x: tf.einsum("ts,bsf->btf", tf.constant(matrix), x), tf.ones([2, 3, 1], tf.float64)
    )
    assert found.shape == (2, 2, 3)
    np.testing.assert_array_equal(found[0] > 0, matrix > 0)


def test_dependencies_do_not_depend_on_the_chunks():
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 5, 3)))
    function = lambda x, scale: tf.sin(tf.cumsum(x, 1)) * scale[:, None]  # noqa: E731
    scale = tf.constant([[1.0], [2.0]], tf.float64)
    every = [testing.dependencies(function, x, context=scale, max_rows=rows) for rows in (1, 4, 100)]
    np.testing.assert_allclose(every[0], every[2], rtol=1e-12)
    np.testing.assert_allclose(every[1], every[2], rtol=1e-12)


# === assert_incremental_matches_parallel ===


def test_a_wrong_step_is_named():
    with pytest.raises(AssertionError, match=r"eager: output \d of cell .* 5 of 5 steps differ .* the first is step 0"):
        testing.assert_incremental_matches_parallel(model("step"), modes=("eager",))


def test_the_first_wrong_step_is_named():
    with pytest.raises(AssertionError, match=r"function: .* 2 of 5 steps differ .*, the first is step 3"):
        testing.assert_incremental_matches_parallel(model("late"), modes=("function",))


def test_a_wrong_block_is_named():
    with pytest.raises(AssertionError, match="block of 3 from 0: output"):
        testing.assert_incremental_matches_parallel(model("block"), modes=("eager",))


class Forgetful(layers.CausalConv1D):
    """A block leaves another state than its single steps."""

    def call(self, x):
        y = super().call(x)
        scope = scopes.current()
        if scope is not None and scope.length > 1:
            state = scope.state_of(self)
            state.path = "."  # the cell of the first call
            state.write("taps", state.read("taps") * 2)
        return y


def test_a_wrong_state_of_a_block_is_named():
    layer, x = Forgetful(2, 3), tf.random.stateless_normal([1, 6, 2], [0, 0])
    layer(x)
    with pytest.raises(AssertionError, match="block of 3 from 0: state entry './taps' differs from that of 3 single"):
        testing.assert_incremental_matches_parallel(layer, x, modes=("eager",))


def test_an_exclusive_layer_that_is_told_to_be_inclusive_fails():
    layer, x = layers.CausalConv1D(2, 3, exclusive=True), tf.random.stateless_normal([1, 6, 2], [0, 0])
    layer(x)
    testing.assert_incremental_matches_parallel(layer, x, modes=("eager",))
    with pytest.raises(AssertionError, match="the parallel pass gives"):
        testing.assert_incremental_matches_parallel(layer, x, modes=("eager",), exclusive=False)


def test_bad_arguments_are_refused(sound):
    with pytest.raises(ValueError, match="modes must be some of .*, got .'fast',."):
        testing.assert_incremental_matches_parallel(sound, modes=("fast",))
    with pytest.raises(ValueError, match="x must be .B, T, F. or .B, H, W, F. for a layer"):
        testing.assert_incremental_matches_parallel(layers.CausalConv1D(2, 2))


def test_zero_biases_hide_what_random_ones_show():
    """Why weights are randomised: a step without its bias agrees with the parallel pass of a new model."""

    class NoBias(layers.CausalConv1D):
        def _add_bias(self, y):
            return y if scopes.current() is not None else super()._add_bias(y)

    layer, x = NoBias(2, 3), tf.random.stateless_normal([1, 6, 2], [0, 0])
    layer(x)
    testing.assert_incremental_matches_parallel(layer, x, modes=("eager",))
    testing.randomize_weights(layer)
    with pytest.raises(AssertionError, match="6 of 6 steps differ"):
        testing.assert_incremental_matches_parallel(layer, x, modes=("eager",))


# === Samples ===


def test_samplers_that_disagree_are_named():
    built = model("step")
    built.network.fault = None
    wrong = model("late", head=heads.Mixture("Normal", 1))
    with testing.eagerly():
        testing.assert_samples_agree(built, 4)
    with (
        testing.eagerly(),
        pytest.raises(AssertionError, match=r"event \d differs at position \([34],\) .rank [34] of 5."),
    ):
        testing.assert_samples_agree(wrong, 8)


def test_a_tie_is_counted_and_the_rest_compared(monkeypatch):
    """The noise of one position lies on a boundary of its distribution function; one of the samplers tips over."""
    built = model()
    noise = np.array(np.random.default_rng(3).uniform(0.05, 0.95, (2, 5, 1)), np.float32)
    params = built(built.sample(2, noise=noise, jit_compile=False))
    noise[0, 2, 0] = tf.nn.softmax(params[0, 2])[0]
    shifted = noise.copy()
    shifted[0, 2, 0] -= 3e-6
    shifted_up = noise.copy()
    shifted_up[0, 2, 0] += 3e-6
    original = type(built).sample

    def sample(self, num, condition=None, *args, method="incremental", **kwargs):
        kwargs["noise"] = shifted_up if method == "naive" else shifted
        return original(self, num, condition, *args, method=method, **kwargs)

    monkeypatch.setattr(type(built), "sample", sample)
    monkeypatch.setattr("tfar.testing.samples.noises.uniform", lambda *args: tf.constant(noise))
    with testing.eagerly():
        assert testing.assert_samples_agree(built, 2) == (10, 1)
    with (
        testing.eagerly(),
        pytest.raises(AssertionError, match=r"event 0 differs at position \(2,\) .*up to 0 it would be rounding"),
    ):
        testing.assert_samples_agree(built, 2, tie=0.0)


def test_a_sample_that_depends_on_its_batch_is_named(sound, monkeypatch):
    original = type(sound).sample

    def sample(self, num, condition=None, seed=None, *args, **kwargs):
        x = original(self, num, condition, seed, *args, **kwargs)
        return (x + num) % 3

    monkeypatch.setattr(type(sound), "sample", sample)
    with pytest.raises(AssertionError, match="event 0 drawn alone differs from event 0 of a batch of 3"):
        testing.assert_sample_independent_of_batch(sound)


# === Likelihood and saving ===


def test_a_wrong_normalisation_is_named():
    """The sum over all events of the joint of a model that leaks is not 1."""
    with pytest.raises(AssertionError, match=r"probabilities of all 243 events sum to \d.\d+, expected 1"):
        testing.assert_normalized(model("leak"))


def test_spaces_that_cannot_be_enumerated_are_refused():
    with pytest.raises(ValueError, match="at most 100000 events to enumerate"):
        testing.assert_normalized(model(head=heads.Mixture("Normal", 1)))
    with pytest.raises(ValueError, match="at most 100000 events to enumerate"):
        testing.assert_normalized(model(head=heads.Categorical(11)))


@keras.saving.register_keras_serializable("test")
class Lossy(models.CharRNN):
    """Forgets one argument when it is saved."""

    def get_config(self):
        return {**super().get_config(), "dropout": 0.5}


def test_a_configuration_that_changes_is_named(tmp_path):
    sizes = {"event_shape": (3,), "head": heads.Bernoulli(), "units": 2, "num_layers": 1}
    built = Lossy(**sizes)
    loaded = testing.assert_saves(built, tmp_path)
    assert isinstance(loaded, Lossy)

    class Changing(Lossy):
        count = 0

        def get_config(self):
            type(self).count += 1
            return {**super().get_config(), "dropout": 0.1 * type(self).count}

    keras.saving.register_keras_serializable("test")(Changing)
    with pytest.raises(AssertionError, match="configuration 'dropout' was"):
        testing.assert_saves(Changing(**sizes), tmp_path)


def test_eagerly_runs_models_op_by_op_and_leaves_the_setting_as_it_was():
    model = models.MADE((3,), heads.Bernoulli(), hidden=(4,))
    x = np.eye(3, dtype=np.int32)
    with testing.eagerly():
        nats = model.log_prob(x)
        assert tf.config.functions_run_eagerly() and not len(model.compiled_functions)
    assert not tf.config.functions_run_eagerly()
    np.testing.assert_allclose(model.log_prob(x), nats, rtol=1e-6)
    assert len(model.compiled_functions)
    with pytest.raises(ZeroDivisionError), testing.eagerly():
        raise ZeroDivisionError
    assert not tf.config.functions_run_eagerly()
