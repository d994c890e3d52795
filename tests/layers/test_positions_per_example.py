"""Examples at different positions advance together as each of them alone.

All examples walk in one batch, at one position; the state of every position is kept. Then a batch is put together of an
example at one position, another at the next, and so on, and advanced in one call with a position per example.
"""

import numpy as np
import pytest
import tensorflow as tf

from tfar import layers, testing
from tfar.core.request import call_network
from tfar.core.scope import Incremental, period
from tfar.core.states import initial_state, state_spec
from tfar.layers.composite import Composite
from tfar.layers.downsampled import Downsampled
from tfar.testing.inputs import full_request, random_events
from tfar.testing.registry import LAYERS, MODELS

# What has no incremental form: it belongs to the context, or stands inside of `Downsampled`.
PARALLEL_ONLY = ("Upsampling1D", "CausalTransposedConv2D")

CASES = [case for case in LAYERS if not case.name.startswith(PARALLEL_ONLY)]

# Other cases of their classes that walk over positions by the same code: what differs is the number of taps, the mask,
# the kind of weights, or what does not know its position.
ALIKE = (
    "CausalAttention_sequence",
    "CausalAttention_blocks",
    "CausalConv1D_exclusive",
    "CausalConv2D_normalized",
    "CausalConv2D_sparse",
    "ConditionalBias_vector",
    "ConditionalNetworks_linear",
    "GatedActivation_vector",
    "GatedResnet_vertical",
    "GatedResnet_pointwise",
    "GatedResnet_sparse",
    "HorizontalConv2D_colours",
    "LocalAttention2D_flange",
    "LocallyMaskedConv2D_inclusive",
    "LocallyMaskedConv2D_dilated",
    "MaskedConv2D_A",
    "MaskedConv2D_B",
    "MaskedConv2D_B_wide",
    "MaskedConv2D_pointwise",
    "Recurrent_vanilla",
    "RowLSTM_vector",
    "RowLSTM_plain",
    "VerticalConv2D_exclusive",
    "VerticalConv2D_sparse",
    "VerticalConv2D_pointwise",
)

# The networks that do more with positions than to call layers; `large` runs one of every kind. Those in which layers
# keep state in another way are walked in tests/conformance.
NETWORKS = ("MADE_ensemble", "MaskedAttention_several", "ImageTransformer_rgb")
MORE_NETWORKS = (
    "LocallyMaskedPixelCNN_several",
    "CharRNN_gru",
    "CausalTransformer_learned",
    "CausalTransformer_rotary",
    "WaveNet_local",
    "GatedPixelCNN_contiguous",
    "PixelCNN_rgb",
    "PixelRNN_diagonal",
    "PixelCNNPP_map",
    "PixelSNAIL_pooled",
    "MADE_deep",
    "PerConditional_hidden",
    "ImageTransformer_blocks",
)


class Kept(Composite):
    """A layer, and the input before: also a layer without state of its own then has one."""

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer, self.previous = layer, layers.Previous()

    def call(self, x, context=None):
        self.previous(x)
        return call_network(self.layer, x, context)


def walker(network, context, jit_compile):
    """advance(state, x, at): one step, or one row and its pixels; all outputs and the state after."""

    def call(state, x, at, column=None, phase="step"):
        now = x if phase == "pixel" else None
        with Incremental(state, at=at if column is None else (at, column), phase=phase, now=now) as scope:
            y = call_network(network, x, context)
        return y, scope.state

    # Layers as small as these walk faster op by op than they are traced.
    compiled = tf.function(call, autograph=False, jit_compile=True) if jit_compile else call

    def advance(state, x, at):
        y, state = compiled(state, x, at, phase="step" if x.shape.rank == 3 else "row")
        outputs = [y]
        for j in range(x.shape[2] if x.shape.rank == 4 else 0):
            y, state = compiled(state, x[:, :, j : j + 1], at, tf.constant(j), phase="pixel")
            outputs.append(y)
        return outputs, state

    return advance


def check(network, x, context=None, jit_compile=False):
    """Compares a batch of examples at different positions with what each gives in a batch at one position."""
    x, every = tf.convert_to_tensor(x), period(network)
    shape = x.shape[2:]
    inputs = {"step": (1, *shape)} if x.shape.rank == 3 else {"row": (1, *shape), "pixel": (1, 1, shape[-1])}
    spec = state_spec(network, inputs, context)
    axes = {key: list(item.shape).index(None) for key, item in spec.items()}
    advance = walker(network, context, jit_compile)
    states, outputs = [initial_state(network, len(x), inputs, context)], []
    for t in range(x.shape[1]):
        y, state = advance(states[-1], x[:, t : t + 1], tf.constant(t))
        outputs.append(y)
        states.append(state)
    # The last position, a middle one, the first: in this order, so that the largest is not the first.
    last = x.shape[1] - 1
    positions = [p // every * every + last % every for p in (last // 2, last, 0)]
    choose = lambda values, axis: tf.concat(  # noqa: E731
        [tf.gather(value, [b], axis=axis) for b, value in enumerate(values)], axis
    )
    gather = lambda later: {  # noqa: E731
        key: choose([states[p + later][key] for p in positions], axis) for key, axis in axes.items()
    }
    y, state = advance(gather(0), choose([x[:, p : p + 1] for p in positions], 0), tf.constant(positions))
    for index, value in enumerate(y):
        expected = choose([outputs[p][index] for p in positions], 0)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6, err_msg=f"output {index}")
    for key, expected in gather(1).items():
        assert state[key].shape == expected.shape, key
        np.testing.assert_allclose(state[key], expected, rtol=1e-5, atol=1e-6, err_msg=key)


def built(case):
    rng = np.random.default_rng(0)
    draw = lambda shape: tf.constant(rng.normal(size=(3, *shape)), tf.float32)  # noqa: E731
    x = draw(case.input_shape)
    context = None if case.context_shape is None else draw(case.context_shape)
    network = Kept(case.build())
    call_network(network, x, context)
    if network.trainable_weights:
        testing.randomize_weights(network)
    return network, x, context


def test_no_class_is_left_to_the_large_tests():
    assert set(ALIKE) < {case.name for case in CASES}
    classes = [{case.name.split("_")[0] for case in CASES if case.name not in left_out} for left_out in (ALIKE, ())]
    assert classes[0] == classes[1]


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.name, marks=[pytest.mark.large] * (case.name in ALIKE)) for case in CASES],
)
def test_layers(case):
    check(*built(case))


@pytest.mark.large
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_layers_under_xla(case):
    check(*built(case), jit_compile=True)


@pytest.mark.parametrize("name", [*NETWORKS, *(pytest.param(name, marks=pytest.mark.large) for name in MORE_NETWORKS)])
def test_networks(name):
    (case,) = (case for case in MODELS if case.name == name)
    model = case.build()
    testing.randomize_weights(model)
    x = random_events(model, 3)
    check(model.network, model.encode(x), model.context(full_request(model, None, 3)))


class Halved(Composite):
    """Layers at the lowest resolution, and those that lead there and back."""

    def __init__(self, depth):
        super().__init__()
        convolution = lambda **arguments: layers.CausalConv2D(2, **arguments)  # noqa: E731
        vertical = lambda **arguments: layers.VerticalConv2D(2, (2, 3), hand_out=False, **arguments)  # noqa: E731
        self.vertical, self.causal, self.inner = None, None, None
        if not depth:
            self.vertical, self.causal = vertical(), convolution()
        else:
            up = [layers.CausalTransposedConv2D(2, (2, 3)), layers.CausalTransposedConv2D(2)]
            self.inner = Downsampled([vertical(strides=2), convolution(strides=2)], Halved(depth - 1), up)

    def call(self, v, h=None):
        both = v, v if h is None else h
        both = self.inner(*both) if self.inner else (self.vertical(both[0]), self.causal(both[1]))
        return both if h is not None else both[1]


@pytest.mark.parametrize("depth", [*(pytest.param(depth, marks=pytest.mark.large) for depth in (0, 1)), 2])
def test_rows_that_agree_modulo_the_period_advance_together(depth):
    network, x = Halved(depth), tf.constant(np.random.default_rng(0).normal(size=(3, 12, 4, 2)), tf.float32)
    network(x)
    testing.randomize_weights(network)
    assert period(network) == 2**depth
    check(network, x)


def test_blocks_begin_at_one_position():
    at = tf.constant([0, 1])
    with pytest.raises(ValueError, match="at must be a scalar for a block of positions"):
        Incremental({}, at=at, length=2)
    with pytest.raises(ValueError, match="at must be a scalar for a block of positions"):
        Incremental({}, at=at, phase="pixel")
