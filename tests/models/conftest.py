"""Op by op unless a test asks for graphs, and training that tests share."""

import keras
import pytest
import tensorflow as tf


@pytest.fixture
def graphs():
    """Functions of a test with this fixture are compiled: what runs many times, training above all."""


@pytest.fixture(autouse=True)
def op_by_op(request):
    """To trace a function takes as long as ten runs op by op, and most functions here run once or a few times.

    Compiled scores and samplers of every model are those of tests/conformance.
    """
    compiled = "graphs" in request.fixturenames or request.node.get_closest_marker("large") is not None
    tf.config.run_functions_eagerly(not compiled)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def fit_table(graphs):
    """Full-batch maximum likelihood of weighted events, all steps in one compiled loop."""

    def fit(model, x, weights, steps, rate=0.03):
        x, weights = tf.constant(x), tf.constant(weights, tf.float32)
        optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
        optimizer.build(model.trainable_variables)

        @tf.function
        def run():
            for _ in tf.range(steps):
                with tf.GradientTape() as tape:
                    loss = -tf.tensordot(weights, model.log_prob(x), 1)
                variables = model.trainable_variables
                optimizer.apply(tape.gradient(loss, variables), variables)

        run()

    return fit
