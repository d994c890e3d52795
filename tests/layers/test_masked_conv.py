import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.closeness import assert_close
from tfar.layers import MaskedConv2D
from tfar.testing import assert_incremental_matches_parallel, randomize_weights


def drawn(mask: np.ndarray) -> str:
    return "\n".join(" ".join(str(int(tap)) for tap in row) for row in mask)


def built(channels: int = 1, **kwargs) -> MaskedConv2D:
    layer = MaskedConv2D(**{"filters": 1, "kernel_size": 3, "mask_type": "B", **kwargs})
    layer.build((None, 8, 8, channels))
    return layer


@pytest.mark.parametrize(
    "mask_type, picture",
    [
        (
            "A",
            """
            1 1 1 1 1
            1 1 1 1 1
            1 1 0 0 0
            0 0 0 0 0
            0 0 0 0 0
            """,
        ),
        (
            "B",
            """
            1 1 1 1 1
            1 1 1 1 1
            1 1 1 0 0
            0 0 0 0 0
            0 0 0 0 0
            """,
        ),
    ],
)
def test_masks_are_those_of_the_paper(mask_type, picture):
    mask = built(kernel_size=5, mask_type=mask_type).mask
    assert drawn(mask[:, :, 0, 0]) == "\n".join(line.strip() for line in picture.strip().splitlines())


@pytest.mark.parametrize(
    "mask_type, channel_groups, halves, picture",
    [  # rows: input R G B; columns: the six output maps
        ("A", "interleaved", 1, "0 1 1 0 1 1\n0 0 1 0 0 1\n0 0 0 0 0 0"),
        ("B", "interleaved", 1, "1 1 1 1 1 1\n0 1 1 0 1 1\n0 0 1 0 0 1"),
        ("A", "contiguous", 1, "0 0 1 1 1 1\n0 0 0 0 1 1\n0 0 0 0 0 0"),
        ("B", "contiguous", 1, "1 1 1 1 1 1\n0 0 1 1 1 1\n0 0 0 0 1 1"),
        # In front of a gate both halves carry R G B.
        ("A", "contiguous", 2, "0 1 1 0 1 1\n0 0 1 0 0 1\n0 0 0 0 0 0"),
        ("B", "contiguous", 2, "1 1 1 1 1 1\n0 1 1 0 1 1\n0 0 1 0 0 1"),
    ],
)
def test_centre_tap_orders_the_colours(mask_type, channel_groups, halves, picture):
    layer = built(3, filters=6, mask_type=mask_type, groups=3, channel_groups=channel_groups, halves=halves)
    assert drawn(layer.mask[1, 1]) == picture
    # Elsewhere all colours see all colours.
    assert layer.mask[0].all() and layer.mask[1, 0].all()
    assert not layer.mask[1, 2].any() and not layer.mask[2].any()


def test_mask_b_keeps_the_row_left_of_the_centre():
    # A public implementation zeroes the whole centre row.
    assert built(kernel_size=7).mask[3, :4].all()


def test_mask_is_multiplied_in_the_forward_pass():
    layer, x = built(2, filters=3), tf.random.normal([1, 5, 5, 2], seed=0)
    kernel = layer.kernel.numpy()
    before = layer(x)
    layer.kernel.assign(np.where(layer.mask > 0, kernel, 1e3))
    np.testing.assert_array_equal(layer(x), before)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) ** 2)
    gradient = tape.gradient(loss, layer.kernel.value).numpy()
    assert (gradient[layer.mask == 0] == 0).all()
    assert (gradient[layer.mask > 0] != 0).all()


def test_equals_a_full_convolution_with_the_masked_kernel():
    layer, x = built(4, filters=6, kernel_size=5, groups=3), tf.random.normal([2, 6, 5, 4], seed=1)
    randomize_weights(layer)
    expected = tf.nn.conv2d(x, layer.kernel * layer.mask, 1, "SAME") + layer.bias
    assert_close(layer(x), expected)


def test_the_whole_kernel_is_stored():
    assert built(3, filters=4, kernel_size=7).count_params() == 7 * 7 * 3 * 4 + 4


def test_initial_features_keep_the_size_of_the_input():
    # The fan-in counts what the mask leaves; with that of the whole kernel the features would be half as large.
    keras.utils.set_random_seed(0)
    layer = built(32, filters=32, use_bias=False)
    x = tf.random.normal([4, 12, 12, 32], seed=0)
    inner = layer(x)[:, 1:, 1:-1]
    assert 0.8 < float(tf.math.reduce_std(inner)) < 1.2


@pytest.mark.parametrize(
    ("kernel_size", "groups", "mask_type"),
    [
        (7, 3, "A"),
        (7, 3, "B"),
        *(
            pytest.param(*case, marks=pytest.mark.large)
            for case in ((3, 1, "A"), (3, 1, "B"), (3, 3, "A"), (3, 3, "B"))
        ),
    ],
)
def test_blocks_leave_the_state_of_single_rows(mask_type, kernel_size, groups):
    layer = built(3, filters=6, kernel_size=kernel_size, mask_type=mask_type, groups=groups)
    randomize_weights(layer)
    x = tf.random.normal([2, 5, 4, 3], seed=2)
    blocks = [(0, 1), (0, 2), (1, 3), (2, 1), (0, 5)]
    assert assert_incremental_matches_parallel(layer, x, modes=("eager",), blocks=blocks) < 1e-5


def test_steps_of_a_sequence_are_refused():
    from tfar.core.scope import Incremental

    layer = built()
    with pytest.raises(RuntimeError, match="works on images"), Incremental({}, at=0):
        layer(tf.zeros([1, 4, 4, 1]))


def test_configuration_is_complete():
    layer = built(
        3, filters=6, mask_type="A", groups=3, channel_groups="contiguous", input_groups="interleaved", halves=2
    )
    copy = MaskedConv2D.from_config(layer.get_config())
    copy.build((None, 8, 8, 3))
    np.testing.assert_array_equal(copy.mask, layer.mask)
    assert copy.get_config() == layer.get_config()


@pytest.mark.parametrize(
    "argument, message",
    [
        ({"filters": 0}, "filters must be at least 1, got 0"),
        ({"kernel_size": 4}, "kernel_size must be odd, got 4"),
        ({"mask_type": "C"}, "mask_type must be one of .* got 'C'"),
        ({"mask_type": "B", "wrap": True}, "wrap needs mask_type 'A'"),
        ({"mask_type": "A", "kernel_size": 1}, "kernel_size must be at least 3 for mask_type 'A'"),
    ],
)
def test_wrong_arguments_are_named(argument, message):
    with pytest.raises(ValueError, match=message):
        MaskedConv2D(**{"filters": 2, "kernel_size": 3, "mask_type": "B", **argument})


@pytest.mark.parametrize(
    ("kernel_size", "groups", "width"),
    [
        *((7, 3, width) for width in (4, 2)),
        (5, 1, 1),
        *(pytest.param(size, 1, 4, marks=pytest.mark.large) for size in (3, 7)),
    ],
)
def test_rows_that_wrap_find_the_last_pixel_above_on_their_left(kernel_size, groups, width):
    layer = built(3, filters=6, kernel_size=kernel_size, mask_type="A", groups=groups, wrap=True)
    randomize_weights(layer)
    x = tf.random.normal([2, 5, width, 3], seed=2)
    plain = MaskedConv2D.from_config({**layer.get_config(), "wrap": False})
    plain.build((None, 8, 8, 3))
    plain.set_weights(layer.get_weights())
    # The row itself, on a canvas with one column more; its taps above see zeros there, as without wrapping.
    above = plain.kernel.numpy() * plain.mask
    above[kernel_size // 2] = 0
    own = plain.kernel.numpy() * plain.mask - above
    canvas = tf.concat([tf.pad(x[:, :-1, -1:], [[0, 0], [1, 0], [0, 0], [0, 0]]), x], 2)
    expected = tf.nn.conv2d(x, above, 1, "SAME") + tf.nn.conv2d(canvas, own, 1, "SAME")[:, :, 1:] + layer.bias
    assert_close(layer(x), expected)
    assert (np.abs(layer(x) - plain(x))[:, 1:, 0] > 1e-6).all()
    # One pixel at a time, and in blocks.
    assert assert_incremental_matches_parallel(layer, x, modes=("eager",), blocks=[(0, 2), (1, 3), (2, 1)]) < 1e-5
