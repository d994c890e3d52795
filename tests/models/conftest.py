"""Training that tests share."""

import keras
import pytest
import tensorflow as tf


@pytest.fixture
def fit_table():
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
