import dataclasses
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfar
from tests.closeness import assert_close
from tfar.core import scope as scopes
from tfar.core.scope import Incremental
from tfar.core.states import initial_state
from tfar.layers import GatedActivation, HorizontalConv2D, VerticalConv2D
from tfar.testing import assert_incremental_matches_parallel, dependencies, random_events, randomize_weights
from tfar.testing.blind import blind_of_masked_convolutions

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"

# === Parity with a public implementation ===
#
# Its wiring is not the paper's: the vertical stack adds an unmasked 1 x 1 residual, so v at row i knows row i. In a
# row phase it therefore runs one row late, like the raw input, and only the link is on time.


class InsideImage(keras.layers.Layer):
    """The identity, but 0 for the row above the image, which a row phase is given before the first row."""

    def call(self, x):
        scope = scopes.current()
        if scope is None or scope.phase != "row":
            return x
        rows = scope.at - 1 + tf.range(scope.length)
        return x * tf.cast(rows >= 0, x.dtype)[:, None, None]


class OneRowLate(keras.layers.Layer):
    """The identity in parallel; the rows before in a row phase."""

    def call(self, x):
        scope = scopes.current()
        if scope is None:
            return x
        state = scope.state_of(self)
        last = state.read("last", [tf.shape(x)[0], 1, *x.shape[2:]] if scope.phase == "row" else None, x.dtype)
        if scope.phase != "row":
            return x
        state.write("last", x[:, -1:])
        return tf.concat([last, x[:, :-1]], 1)


class FixtureLayer(keras.layers.Layer):
    """v, h, skips: the vertical stack strictly above in every layer, 1 x n and then (n // 2 + 1) x 1."""

    def __init__(self, filters, kernel_size, first):
        super().__init__()
        self.first = first
        self.wide = VerticalConv2D(filters, (1, kernel_size))
        self.inside = InsideImage()
        self.tall = VerticalConv2D(2 * filters, (kernel_size // 2 + 1, 1), exclusive=True)
        self.late = OneRowLate()
        self.residual = VerticalConv2D(2 * filters, (1, 1))
        self.vertical_gate = GatedActivation()
        self.link = VerticalConv2D(2 * filters, (1, 1))
        # n // 2 + 1 taps end at the current pixel, in the first layer at the pixel before.
        self.horizontal = HorizontalConv2D(2 * filters, kernel_size + 2 if first else kernel_size, exclusive=first)
        self.horizontal_gate = GatedActivation()
        self.project = HorizontalConv2D(filters, 1)
        self.skip = HorizontalConv2D(filters, 1)

    def call(self, v, h):
        above = self.tall(self.inside(self.wide(v)))
        gated = self.horizontal_gate(self.horizontal(h) + self.link(above))
        v = self.vertical_gate(self.late(above) + self.residual(v))
        out = self.project(gated)
        return v, out if self.first else h + out, self.skip(gated)


class FixtureNetwork(keras.layers.Layer):
    def __init__(self, meta):
        super().__init__()
        kernels = [meta["in_kernel"]] + [meta["kernel"]] * meta["n_gated"]
        self.layers = [FixtureLayer(meta["gated"], kernel, i == 0) for i, kernel in enumerate(kernels)]
        self.hidden = HorizontalConv2D(meta["head"], 1)
        self.outputs = HorizontalConv2D(1, 1)

    def call(self, x):
        v, h, total = x, x, 0.0
        for layer in self.layers:
            v, h, skip = layer(v, h)
            total = total + skip
        return self.outputs(tf.nn.relu(self.hidden(tf.nn.relu(total))))


FIXTURE_NAMES = {
    "wide": "_vstack_1xN",
    "tall": "_vstack_Nx1",
    "residual": "_vstack_1x1",
    "link": "_link",
    "horizontal": "_hstack_1xN",
    "project": "_hstack_residual",
    "skip": "_hstack_skip",
}


@pytest.fixture(scope="module")
def fixture():
    """The network with the stored weights, x [B, H, W, 1], logits [B, H, W, 1]."""
    with np.load(GOLDEN / "gated_pixelcnn_eugenhotaj_tiny.npz") as file:
        data = dict(file)
    network = FixtureNetwork(json.loads(str(data["meta"])))
    x, logits = (np.transpose(data[name], (0, 2, 3, 1)) for name in ("x", "logits"))
    network(x)
    pairs = [
        (getattr(layer, name), f"{'_input' if i == 0 else f'_gated_layers.{i - 1}'}.{theirs}")
        for i, layer in enumerate(network.layers)
        for name, theirs in FIXTURE_NAMES.items()
    ] + [(network.hidden, "_head.1"), (network.outputs, "_head.3")]
    for layer, name in pairs:
        layer.kernel.assign(np.transpose(data[f"w/{name}.weight"], (2, 3, 1, 0)))  # [out, in, h, w] -> [h, w, in, out]
        layer.bias.assign(data[f"w/{name}.bias"])
    assert len(pairs) * 2 == len(network.weights)
    return network, tf.constant(x), logits


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"condition_dropout": 0.5}], ids=["dropout", "condition"])
def test_fit_trains_with_dropout(options):
    """Two losses of the same batch and weights differ; without dropout they would be equal."""
    keras.utils.set_random_seed(0)
    condition = tfar.conditions.Label(3)
    model = tfar.models.GatedPixelCNN((4, 4, 1), tfar.heads.Bernoulli(), 4, 1, condition=condition, **options)
    randomize_weights(model)
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False, run_eagerly=True)
    batch = {"x": random_events(model, 8), "condition": tfar.testing.random_condition(model, 8)}
    losses = {float(model.train_on_batch(batch)) for _ in range(6)}
    assert len(losses) > 1
    assert len({float(model.test_on_batch(batch)) for _ in range(2)}) == 1


def test_golden_parity_in_parallel(fixture):
    network, x, logits = fixture
    np.testing.assert_allclose(network(x), logits, rtol=1e-5, atol=1e-5 * np.abs(logits).max())


def test_golden_parity_pixel_by_pixel(fixture, graphs):
    network, x, logits = fixture
    height, width = x.shape[1:3]
    rows = {"row": (1, width, 1), "pixel": (1, 1, 1)}

    @tf.function
    def row(state, i, above):
        with Incremental(state, at=i, phase="row") as scope:
            network(above)
        return scope.state

    @tf.function
    def pixel(state, i, j, before):
        with Incremental(state, at=(i, j), phase="pixel") as scope:
            outputs = network(before)
        return scope.state, outputs

    state, outputs = initial_state(network, x.shape[0], rows), []
    above = tf.zeros_like(x[:, :1])
    for i in range(height):
        state = row(state, tf.constant(i), above)
        before = above[:, :, -1:]
        for j in range(width):
            state, y = pixel(state, tf.constant(i), tf.constant(j), before)
            outputs.append(y)
            before = x[:, i : i + 1, j : j + 1]
        above = x[:, i : i + 1]
    found = tf.reshape(tf.concat(outputs, 2), logits.shape)
    np.testing.assert_allclose(found, logits, rtol=1e-5, atol=1e-5 * np.abs(logits).max())


def test_golden_wiring_passes_the_test_of_every_layer(fixture):
    network, x, _ = fixture
    assert assert_incremental_matches_parallel(network, x, modes=("eager",), exclusive=True) < 1e-5


def test_golden_wiring_is_causal(fixture):
    network, x, _ = fixture
    seen = (dependencies(network, x) > 0).any(0)
    assert not (seen & ~np.tri(81, k=-1, dtype=bool)).any()


# === Receptive field ===


def gated(event_shape=(5, 5, 1), head=None, filters=4, num_blocks=2, **kwargs):
    sizes = {"kernel_size": 3, "first_kernel_size": 3}
    head = head or tfar.heads.Categorical(4)
    return tfar.models.GatedPixelCNN(event_shape, head, filters, num_blocks, **{**sizes, **kwargs})


def test_no_blind_spot():
    # Every layer adds a row above and a column on each side; the first one strictly above.
    model = gated((9, 9, 1), filters=8, num_blocks=8)
    randomize_weights(model)
    seen = (dependencies(model.decode, model.encode(random_events(model, 2))) > 0).any(0)
    np.testing.assert_array_equal(seen, np.tri(81, k=-1, dtype=bool))
    # Masked convolutions of the same sizes miss one pixel in six.
    assert len(blind_of_masked_convolutions(9, 9, 1, 3, [3] * 8)) > 500


def test_first_pixel_sees_nothing_and_first_row_only_the_left():
    model = gated((3, 4, 1))
    randomize_weights(model)
    seen = (dependencies(model.decode, model.encode(random_events(model, 4))) > 0).any(0)
    assert not seen[0].any()
    for j in range(4):
        assert seen[j].nonzero()[0].tolist() == list(range(j))
    # The first column knows the whole image above it, and nothing of its own row.
    assert seen[8].nonzero()[0].tolist() == list(range(8))


# === Conditions ===


def test_sizes_of_the_condition_kernels():
    # 3 classes on 5 x 5, 32 filters.
    for condition, shape in ((tfar.conditions.Spatial(3), (1, 1, 3, 32)), (tfar.conditions.Label(3), (3, 32))):
        model = gated(filters=32, condition=condition)
        blocks = model.network.blocks
        gates = [block.horizontal_gate for block in blocks] + [block.vertical_gate for block in blocks[:-1]]
        assert len(gates) == 2 * 3 - 1  # behind the last block nobody reads the vertical stack
        for gate in gates:
            assert tuple(gate.kernel_f.shape) == tuple(gate.kernel_g.shape) == shape
            assert len(gate.weights) == 2  # no bias


def test_map_is_seen_at_its_own_place_and_by_later_pixels():
    model = gated((4, 4, 1), condition=tfar.conditions.Spatial(2), num_blocks=4)
    randomize_weights(model)
    x = model.encode(random_events(model, 2))
    maps = tf.random.normal([2, 4, 4, 2], seed=0)
    seen = (dependencies(lambda maps, x: model.decode(x, maps), maps, context=x) > 0).any(0)
    assert seen[np.tri(16, dtype=bool)].all()


def test_condition_changes_every_pixel_the_first_included():
    model = gated((3, 3, 1), condition=tfar.conditions.Label(2))
    randomize_weights(model)
    x = np.zeros((2, 3, 3, 1), np.int32)
    parameters = model(x, tf.constant([0, 1])).numpy()
    assert (np.abs(parameters[0] - parameters[1]).max(-1) > 1e-4).all()


# === A 5 x 5 image with 256 levels ===


def test_histogram_of_every_pixel():
    model = gated(head=tfar.heads.Categorical(256), filters=8)
    randomize_weights(model)
    x = random_events(model, 3)
    conditionals = model.conditionals(x)
    of_90 = conditionals.prob(90).numpy()
    assert of_90.shape == (3, 5, 5, 1) and (of_90 > 0).all() and (of_90 < 1).all()
    histograms = np.stack([conditionals.prob(level).numpy() for level in range(256)], -1)
    assert_close(histograms.sum(-1), 1)
    np.testing.assert_array_equal(histograms[..., 90], of_90)
    # The product over pixels of the probability of what is there is the probability of the image.
    observed = conditionals.prob(x).numpy().astype(np.float64)
    np.testing.assert_allclose(np.log(observed.prod((1, 2, 3))), model.log_prob(x), rtol=1e-5)
    # The first pixel has one histogram, whatever the image; the second one depends on the first.
    assert_close(histograms[:1, 0, 0], histograms[1:2, 0, 0], 1e-7)
    assert np.abs(histograms[0, 0, 1] - histograms[1, 0, 1]).max() > 1e-4


# === Trained: is the condition used? ===


def fit(model, x, condition, steps, batch=64, learning_rate=0.005):
    data = tf.data.Dataset.from_tensor_slices({"x": x, "condition": condition})
    data = data.shuffle(len(x), seed=0).repeat().batch(batch, drop_remainder=True)
    model.compile(keras.optimizers.Adam(learning_rate), jit_compile=False)
    model.fit(data, steps_per_epoch=steps, verbose=0, shuffle=False)


def nats(model, x, condition):
    return -float(model.log_prob(x, condition).numpy().mean())


def test_right_label_scores_better_than_a_shuffled_one(graphs):
    # p(x | h): class k has stripes of its own; one pixel in ten is noise.
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    rows, columns = np.indices((5, 5))
    patterns = np.stack([rows % 2, columns % 2, (rows + columns) % 2])
    labels = rng.integers(0, 3, 600).astype(np.int32)
    x = (patterns[labels] ^ (rng.random((600, 5, 5)) < 0.1))[..., None].astype(np.int32)
    model = gated(head=tfar.heads.Bernoulli(), filters=8, num_blocks=1, condition=tfar.conditions.Label(3))
    fit(model, x[:500], labels[:500], steps=80, learning_rate=0.02)
    right = nats(model, x[500:], labels[500:])
    wrong = nats(model, x[500:], (labels[500:] + 1) % 3)
    shuffled = nats(model, x[500:], rng.permutation(labels[500:]))
    entropy = 25 * -(0.1 * np.log(0.1) + 0.9 * np.log(0.9))
    assert right < entropy + 1.0
    assert shuffled > right + 1.0 and wrong > shuffled


@dataclasses.dataclass(frozen=True)
class Objects:
    """5 x 5 images of 4 levels: noise of 0 and 1, and one 2 x 2 object of level `kind` + 1 at the marked pixel."""

    x: np.ndarray
    maps: np.ndarray
    corners: np.ndarray
    kinds: np.ndarray


def objects(num, seed):
    """The map has 3 classes: 0 nothing, 1 and 2 the top left pixel of an object of this kind."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, (num, 5, 5, 1)).astype(np.int32)
    classes = np.zeros((num, 5, 5), np.int32)
    corners, kinds = rng.integers(0, 4, (num, 2)), rng.integers(1, 3, num)
    for row, ((i, j), kind) in enumerate(zip(corners, kinds, strict=True)):
        x[row, i : i + 2, j : j + 2] = kind + 1
        classes[row, i, j] = kind
    return Objects(x, np.eye(3, dtype=np.float32)[classes], corners, kinds)


@pytest.mark.large
def test_spatial_condition_puts_the_object_where_the_map_says():
    keras.utils.set_random_seed(0)
    train, test = objects(4000, 0), objects(500, 1)
    model = gated(filters=32, num_blocks=2, condition=tfar.conditions.Spatial(3))
    fit(model, train.x, train.maps, steps=400, learning_rate=0.003)
    right = nats(model, test.x, test.maps)
    shifted = nats(model, test.x, np.roll(test.maps, (1, 1), (1, 2)))
    other_class = nats(model, test.x, test.maps[..., [0, 2, 1]])
    shuffled = nats(model, test.x, test.maps[np.random.default_rng(0).permutation(500)])
    entropy = 21 * np.log(2)  # of the noise around the object
    print(f"nats: right {right:.2f} (entropy {entropy:.2f}), shifted {shifted:.2f}, other class {other_class:.2f}")
    assert entropy - 0.2 < right < entropy + 0.5
    assert min(shifted, other_class, shuffled) > right + 1.0
    drawn = model.sample(100, test.maps[:100], seed=0, batch_size=100).numpy()
    placed = 0
    for image, (i, j), kind in zip(drawn[..., 0], test.corners[:100], test.kinds[:100], strict=True):
        expected = np.zeros((5, 5), bool)
        expected[i : i + 2, j : j + 2] = True
        placed += bool((image[expected] == kind + 1).all() and (image[~expected] < 2).all())
    print(f"samples with exactly the marked object: {placed} of 100")
    assert placed >= 90
