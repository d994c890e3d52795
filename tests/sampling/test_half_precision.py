"""Models of half precision: what they draw does not depend on how it is drawn."""

import numpy as np
import pytest
import tensorflow as tf

import tfar
from tfar.testing import eagerly

MODELS = {
    "CausalConvNet": lambda dtype: tfar.models.CausalConvNet(
        (6,), tfar.heads.Categorical(16), filters=8, num_layers=2, dtype=dtype
    ),
    "GatedPixelCNN": lambda dtype: tfar.models.GatedPixelCNN(
        (2, 3, 1), tfar.heads.Categorical(16), filters=8, num_blocks=1, first_kernel_size=3, dtype=dtype
    ),
}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("GatedPixelCNN", "bfloat16"), ("CausalConvNet", "float16"), ("CausalConvNet", "mixed_bfloat16")],
)
def test_steps_draw_what_the_naive_sampler_draws(name, dtype):
    with eagerly():
        model = MODELS[name](dtype)
        tfar.testing.randomize_weights(model)
        by_steps, naive = (
            model.sample(16, seed=0, method=method, jit_compile=False).numpy() for method in ("incremental", "naive")
        )
        np.testing.assert_array_equal(by_steps, naive)
        assert model.network.compute_dtype == dtype.removeprefix("mixed_")


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_recurrent_weights_begin_orthogonal_in_bfloat16(cell):
    layer = tfar.layers.Recurrent(4, cell, dtype="bfloat16")
    layer(tf.zeros([1, 2, 3]))
    kernel = tf.cast(layer.recurrent_kernel.value, tf.float32)
    np.testing.assert_allclose(kernel @ tf.transpose(kernel), np.eye(4), atol=0.05)


def test_the_weights_that_it_has_now_draw():
    with eagerly():
        model = MODELS["CausalConvNet"]("bfloat16")
        before = model.sample(4, seed=0, jit_compile=False).numpy()
        drawer = model.for_drawing()
        for weight in model.weights:
            weight.assign(tf.random.stateless_normal(weight.shape, [0, 1], dtype=tf.bfloat16))
        assert (model.sample(4, seed=0, jit_compile=False).numpy() != before).any()
        assert model.for_drawing() is drawer and drawer.compute_dtype == "float32"
        assert drawer.for_drawing() is drawer
        decoded = tfar.sampling.decode(model, 4, seed=0, jit_compile=False).x
        np.testing.assert_array_equal(decoded, tfar.sampling.decode(drawer, 4, seed=0, jit_compile=False).x)
