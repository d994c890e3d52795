"""Recomputation changes memory and nothing else: outputs, gradients and the masks of dropout stay."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar.layers.recompute import recomputed
from tfar.testing import eagerly, random_condition, random_events, randomize_weights


class Counted(keras.layers.Layer):
    """A hidden layer with dropout that counts how often it is called."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.dropout, self.calls = keras.layers.Dense(6, "relu"), keras.layers.Dropout(0.5, seed=3), 0

    def build(self, *shapes):
        pass

    def call(self, x, shift=None):
        self.calls += 1
        y = self.dropout(self.hidden(x))
        return y if shift is None else y + shift


def gradients(layer, x, shift, recompute, graph):
    """Value and gradients of a sum of squares with dropout at work, and the seeds that are left."""

    def step(x, shift):
        with tf.GradientTape() as tape:
            tape.watch([x, shift])
            y = recomputed(layer, x, shift, training=True) if recompute else layer(x, shift, training=True)
            total = tf.reduce_sum(y**2)
        return total, tape.gradient(total, [x, shift, *(weight.value for weight in layer.weights)])

    seed = layer.dropout.seed_generator.state
    seed.assign([5, 0])
    total, found = (tf.function(step, autograph=False) if graph else step)(x, shift)
    return total, found, seed.numpy().tolist()


def test_nothing_is_written_outside_of_training():
    layer, x = Counted(), tf.zeros([2, 3])
    layer(x)
    traced = tf.function(lambda x, training: recomputed(layer, x, training=training), autograph=False)
    writes = {
        training: any(
            "Assign" in operation.type for operation in traced.get_concrete_function(x, training).graph.get_operations()
        )
        for training in (False, True)
    }
    assert writes == {False: False, True: True}


@pytest.mark.parametrize("graph", [False, True])
def test_gradients_are_those_of_a_plain_call(graph):
    layer, x = Counted(), tf.random.stateless_normal([4, 3], [0, 0])
    shift = tf.random.stateless_normal([4, 6], [1, 0])
    layer(x)
    layer.calls = 0
    total, expected, seed = gradients(layer, x, shift, False, graph)
    assert layer.calls == 1
    again, found, left = gradients(layer, x, shift, True, graph)
    assert layer.calls == 3, "once forward, once backward"
    np.testing.assert_allclose(again, total)
    for a, b in zip(expected, found, strict=True):
        assert a is not None
        assert_close(b, a)
    assert left == seed == [5, 1], "dropout moves on as if the layer had been called once"


def test_dropout_is_off_unless_training():
    layer, x = Counted(), tf.ones([2, 3])
    expected = layer(x)
    with tf.GradientTape() as tape:
        y = recomputed(layer, x)
        total = tf.reduce_sum(y**2)
    np.testing.assert_array_equal(y, expected)
    kernel = layer.hidden.kernel.value
    np.testing.assert_allclose(tape.gradient(total, kernel), 2 * tf.matmul(x, expected, transpose_a=True), rtol=1e-5)


def test_frozen_weights_get_no_gradient():
    layer, x = Counted(), tf.ones([2, 3])
    layer(x)
    layer.hidden.trainable = False
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(recomputed(layer, x) ** 2)
    np.testing.assert_allclose(
        tape.gradient(total, x)[0], tf.linalg.matvec(layer.hidden.kernel, 2 * layer(x)[0]), rtol=1e-5
    )


def snail(recompute, **kwargs):
    sizes = {"filters": 4, "num_blocks": 1, "num_resnets": 1, "key_dim": 3}
    head = tfar.heads.DiscretizedLogisticMixture(2, bits=3)
    return tfar.models.PixelSNAIL((4, 4, 3), head, **sizes, recompute=recompute, **kwargs)


def transformer(recompute, **kwargs):
    sizes = {"num_layers": 1, "width": 8, "num_heads": 2, "block_size": 5}
    head = tfar.heads.Categorical(4)
    return tfar.models.ImageTransformer((2, 3, 3), head, **sizes, recompute=recompute, **kwargs)


@pytest.mark.parametrize(
    ("build", "mode"),
    [
        (transformer, "eager"),
        *(
            pytest.param(*case, marks=pytest.mark.large)
            for case in ((snail, "function"), (transformer, "function"), (transformer, "xla"))
        ),
    ],
)
def test_a_model_trains_alike(build, mode):
    kwargs = {"dropout": 0.4, "condition": tfar.conditions.Label(3)}
    models = [build(recompute, **kwargs) for recompute in (False, True)]
    randomize_weights(models[0])
    models[1].set_weights(models[0].get_weights())
    for model in models:
        generators = [v for v in model.non_trainable_variables if v.name == "seed_generator_state"]
        assert generators
        for index, seed in enumerate(generators):
            seed.assign([index, 7])
    x, condition = random_events(models[0], 4), random_condition(models[0], 4)
    results = []
    for model in models:

        def step(model=model):
            with tf.GradientTape() as tape:
                loss = model.compute_loss(x=x, y_pred=model(x, condition, training=True))
            return loss, tape.gradient(loss, [weight.value for weight in model.trainable_variables])

        run = step if mode == "eager" else tf.function(step, autograph=False, jit_compile=mode == "xla")
        results.append(run())
    (loss, expected), (again, found) = results
    np.testing.assert_allclose(again, loss, rtol=1e-5)
    for a, b in zip(expected, found, strict=True):
        a, b = (tf.convert_to_tensor(g).numpy() for g in (a, b))
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5 * max(1.0, np.abs(a).max()))
    with eagerly():
        np.testing.assert_array_equal(models[0].log_prob(x, condition), models[1].log_prob(x, condition))


def test_data_dependent_initialization_happens_once():
    plain, other = snail(False, dropout=0.0), snail(True, dropout=0.0)
    other.set_weights(plain.get_weights())
    x = random_events(plain, 8)
    for model in (plain, other):
        model.initialize_from_data(x)
    for a, b in zip(plain.get_weights(), other.get_weights(), strict=True):
        assert_close(b, a, 1e-6)


def test_the_option_is_part_of_the_configuration():
    for build in (snail, transformer):
        model = build(True)
        assert model.get_config()["recompute"] is True
        assert type(model).from_config(model.get_config()).get_config()["recompute"] is True
