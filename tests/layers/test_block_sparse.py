"""Block-sparse layers: equal to dense layers with the same zeros, at the cost of the blocks that are kept."""

import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar import layers, testing
from tfar.layers.block_sparse import BlockSparsity
from tfar.layers.weight_norm import data_dependent_initialization

HALF = BlockSparsity(block_size=2, density=0.5, seed=3)


def data(shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(1.0, 2.0, shape), tf.float32)


# === The layout ===


@pytest.mark.parametrize(("inputs", "outputs"), [(24, 16), (16, 24), (16, 16), (8, 64)])
@pytest.mark.parametrize("density", [0.25, 0.5, 1.0])
def test_layout_is_regular(inputs, outputs, density):
    sparsity = BlockSparsity(2, density, seed=1)
    layout = sparsity.layout(inputs, outputs)
    assert layout.shape == (outputs // 2, density * inputs // 2)
    assert all(len(set(row)) == len(row) for row in layout.tolist())
    assert set(np.bincount(layout.ravel(), minlength=inputs // 2)) == {density * outputs // 2}
    mask = sparsity.mask(inputs, outputs)
    assert mask.shape == (inputs, outputs)
    assert mask.mean() == density


def test_layout_is_a_function_of_the_seed():
    first, second = BlockSparsity(1, 0.25, seed=0), BlockSparsity(1, 0.25, seed=1)
    np.testing.assert_array_equal(first.layout(16, 16), BlockSparsity(1, 0.25).layout(16, 16))
    assert (first.layout(16, 16) != second.layout(16, 16)).any()
    # Stored kernels rest on it: it must stay what it is.
    assert HALF.layout(8, 8).tolist() == [[1, 3], [0, 1], [0, 2], [2, 3]]


def test_refuses_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match="block_size must divide the number of input channels, 6, got 4"):
        BlockSparsity(4, 0.5).layout(6, 8)
    with pytest.raises(ValueError, match="block_size must divide the number of output channels, 6, got 4"):
        BlockSparsity(4, 0.5).layout(8, 6)
    with pytest.raises(ValueError, match="density must keep a whole number of the 3 blocks of output channels"):
        BlockSparsity(2, 0.5).layout(8, 6)
    with pytest.raises(ValueError, match="block_size must be at least 1, got 0"):
        BlockSparsity(0, 0.5)
    with pytest.raises(ValueError, match="density must be in \\(0, 1\\], got 1.5"):
        BlockSparsity(2, 1.5)
    with pytest.raises(ValueError, match="sparsity must be None for a CausalTransposedConv2D"):
        layers.CausalTransposedConv2D(4, sparsity=HALF).build((None, 2, 2, 4))


# === Equality with the dense layer ===

LAYERS = {
    "causal": lambda **options: layers.CausalConv2D(12, (2, 2), **options),
    "causal_exclusive": lambda **options: layers.CausalConv2D(4, (2, 3), exclusive=True, **options),
    "causal_strides": lambda **options: layers.CausalConv2D(4, (2, 2), strides=2, **options),
    "vertical": lambda **options: layers.VerticalConv2D(4, (2, 3), **options),
    "vertical_strides": lambda **options: layers.VerticalConv2D(16, (2, 3), strides=2, **options),
    "pointwise": lambda **options: layers.Pointwise(12, **options),
}
every_layer = pytest.mark.parametrize("build", LAYERS.values(), ids=LAYERS)


def pair(build, weight_norm=True):
    """A sparse layer with random weights, and the dense one with its kernel."""
    x = data((2, 4, 6, 8))
    sparse, dense = build(weight_norm=weight_norm, sparsity=HALF), build()
    sparse(x)
    dense(x)
    testing.randomize_weights(sparse)
    dense.kernel.assign(sparse.used_kernel(tf.float32))
    dense.bias.assign(sparse.b if weight_norm else sparse.bias)
    return sparse, dense, x


@pytest.mark.parametrize(
    ("name", "jit_compile"),
    [
        *(pytest.param(name, False, id=f"plain-{name}") for name in LAYERS),
        # The products of a window with strides and those of single pixels are all that there is to compile.
        *(
            pytest.param(
                name,
                True,
                id=f"xla-{name}",
                marks=[pytest.mark.large] * (name not in ("causal_strides", "pointwise")),
            )
            for name in LAYERS
        ),
    ],
)
def test_equals_the_dense_layer(name, jit_compile):
    sparse, dense, x = pair(LAYERS[name], weight_norm=False)
    mask = HALF.mask(8, sparse.filters)
    assert ((dense.kernel.numpy() != 0) == mask).all()

    def loss_and_gradients(layer, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            loss = tf.reduce_sum(tf.sin(y))
        return y, *tape.gradient(loss, [x, layer.kernel, layer.bias])

    found = tf.function(lambda x: loss_and_gradients(sparse, x), autograph=False, jit_compile=jit_compile)(x)
    expected = loss_and_gradients(dense, x)
    # The gradient of the dense kernel where there are blocks, which expand like the blocks.
    found = [*found[:2], HALF.expand(found[2], 8), found[3]]
    expected = [*expected[:2], tf.where(mask, expected[2], 0.0), expected[3]]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


@every_layer
def test_normalized_kernel_has_norm_g_over_its_blocks(build):
    sparse, dense, x = pair(build)
    assert_close(sparse(x), dense(x))
    norms = np.sqrt((dense.kernel.numpy() ** 2).sum(tuple(range(dense.kernel.ndim - 1))))
    np.testing.assert_allclose(norms, np.abs(sparse.g), rtol=1e-5)


@every_layer
def test_initialization_from_data(build):
    layer, x = build(weight_norm=True, sparsity=HALF, init_scale=0.1), data((4, 8, 6, 8))
    layer(x)
    with data_dependent_initialization():
        layer(x)
    if getattr(layer, "exclusive", False):
        y = layer(tf.pad(x, [[0, 0], [0, 0], [0, 1], [0, 0]])).numpy()[:, :, 1:]  # without the column of zeros
    else:
        y = layer(x).numpy()
    assert_close(y.mean((0, 1, 2)), 0)
    np.testing.assert_allclose(y.std((0, 1, 2)), 0.1, rtol=1e-4)


def test_second_derivatives():
    sparse, dense, x = pair(LAYERS["causal"])

    def second(layer):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(layer(x) ** 3)
            z = tf.reduce_sum(tf.sin(inner.gradient(y, x)))
        return outer.gradient(z, x).numpy()

    expected = second(dense)
    np.testing.assert_allclose(second(sparse), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_unknown_sizes():
    sparse, dense, x = pair(LAYERS["causal_strides"])
    signature = [tf.TensorSpec([None, None, None, 8])]
    call = tf.function(lambda x: sparse.convolve(x, 2), signature, autograph=False)
    assert_close(call(x), dense.convolve(x, 2))


# === Cost ===


def multiplications(layer, x):
    """Of numbers, in the products of one forward and backward pass."""

    @tf.function(autograph=False)
    def train(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x))
        return tape.gradient(loss, [x, *layer.trainable_weights])

    total = 0
    for operation in train.get_concrete_function(tf.TensorSpec(x.shape)).graph.get_operations():
        assert "Conv" not in operation.type
        # TensorFlow's own profiler takes no notice of adj_x.
        if operation.type == "BatchMatMulV2":
            inner = operation.inputs[0].shape[-2 if operation.get_attr("adj_x") else -1]
            total += operation.outputs[0].shape.num_elements() * inner
    return total


@pytest.mark.parametrize(("name", "positions"), [("causal", 9 * 9), ("vertical_strides", 4 * 4), ("pointwise", 8 * 8)])
def test_parameters_and_operations_are_proportional_to_density(name, positions):
    x = data((2, 8, 8, 16))
    for density in (0.25, 0.5, 1.0):
        layer, dense = LAYERS[name](sparsity=BlockSparsity(1, density)), LAYERS[name]()
        layer(x)
        dense(x)
        size = layer.kernel.numpy().size
        assert size == density * dense.kernel.numpy().size
        # Every entry is used once per position of the window forward, and twice backward.
        assert multiplications(layer, x) == 3 * 2 * positions * size


# === Connections ===


def test_two_blocks_connect_everything():
    """Of the presets and the tiny model: without the residual path, every channel gets to every channel in two."""
    presets = tfar.models.PixelCNNPP.PRESETS.values()
    sizes = [(p["filters"], p["block_size"], p["density"], p["num_resnets"]) for p in presets if "block_size" in p]
    assert len(sizes) == 2
    for filters, block_size, density, num_resnets in [*sizes, (8, 2, 0.5, 1)]:
        # Three resolutions of two stacks, down and up, with one more block on the way up to each of two.
        seeds = range(2 * (2 * 3 * num_resnets + 2))
        blocks = np.stack([connections(filters, BlockSparsity(block_size, density, seed)) for seed in seeds])
        assert not blocks.all() or filters == 8
        blocks = blocks.astype(np.float32)
        for first in blocks:
            assert (first @ blocks > 0).all()


def connections(filters, sparsity):
    """Whether input block i gets to output block o of a residual block, by its two convolutions."""
    block, size = layers.GatedResnet(filters, sparsity=sparsity), sparsity.block_size

    def of(layer, outputs):
        mask = layer.sparsity.mask(2 * filters, outputs)[::size, ::size]
        return np.logical_or(*np.split(mask, 2))  # concat_elu: x and -x

    second = np.logical_or(*np.split(of(block.second, 2 * filters), 2, 1))  # the gate: a and b
    return of(block.first, filters) @ second
