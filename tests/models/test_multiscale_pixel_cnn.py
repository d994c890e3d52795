"""Multiscale PixelCNN; the laws of models (sums of 65,536 events, Jacobians, samplers) are in tests/conformance."""

import collections
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfar
from tfar import testing
from tfar.core.evaluation import evaluation
from tfar.core.orderings import together
from tfar.core.views import Cells
from tfar.layers import MaskedConv2D
from tfar.layers.composite import Composite
from tfar.models import AutoregressiveModel, Chain, MultiscalePixelCNN, Part

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "multiscale_tiny.npz"
TINY = MultiscalePixelCNN.PRESETS["multiscale_pixel_cnn_tiny"]
BINARY = tfar.heads.Bernoulli()


def tiny(shape=(4, 4, 1), head=BINARY, **kwargs):
    return MultiscalePixelCNN(shape, head, **{**TINY, **kwargs})


def test_passes_are_counted():
    model = tiny((32, 32, 1), num_doublings=2)
    assert model.num_passes == 70 and model.parts[0].num_passes == 64
    passes, links = collections.Counter(), collections.Counter()

    def counted(layer, name, counts):
        call = layer.call

        def recorded(*args, **kwargs):
            scope = evaluation().scope
            # Rows of the vertical stack come first in every row; the state is made once.
            if scope is None or (scope.phase == "pixel" and not scope.creating):
                counts[name] += 1
            return call(*args, **kwargs)

        vars(layer)["call"] = recorded

    for part in model.parts:
        counted(part.model.network, part.name, passes)
        if part.link is not None:
            counted(part.link, part.name, links)
    with testing.eagerly():
        model.sample(1, seed=0)
    assert passes.pop("base") == 64
    assert passes == links == {part.name: 1 for part in model.parts[1:]} and len(passes) == 6
    assert tiny((4, 4, 3), upscaling="width_height").num_passes == (4 + 2) * 3  # for each colour
    assert tiny((8, 8, 1), patch_size=2).num_passes == 16 + 3 * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (6, 4, 1), "num_doublings": 2}, r"that 4 divides for num_doublings=2, got \(6, 4, 1\)"),
        ({"shape": (4, 5, 1)}, r"that 2 divides for num_doublings=1, got \(4, 5, 1\)"),
        ({"shape": (16,)}, "event_shape must be"),
        ({"num_doublings": 0}, "num_doublings must be at least 1, got 0"),
        ({"upscaling": "rows"}, "upscaling must be one of .'quads', 'width_height'., got 'rows'"),
        ({"shape": (12, 12, 1), "patch_size": 4}, r"patch_size must divide every group of pixels, \(6, 6\) too, got 4"),
        ({"condition": tfar.conditions.Spatial(1)}, "condition must be a Label or Vector for MultiscalePixelCNN"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        tiny(**arguments)


def test_the_upper_half_is_no_prefix():
    model, x, observed = tiny(), np.zeros((1, 4, 4, 1), np.int32), np.zeros((4, 4, 1), bool)
    observed[:2] = True
    message = (
        r"in example 0 position \(2, 0, 0\) is missing although \(0, 1, 0\), which is drawn later, is observed; a "
        "prefix holds whole parts in the order base, 4x4_01, 4x4_10, 4x4_11, and the first values of the next one"
    )
    with pytest.raises(ValueError, match=message):
        model.complete(x, observed)
    # The coarser image is one, with any pixels of the first group.
    observed[:] = False
    observed[::2, ::2] = observed[2, 3] = True
    with testing.eagerly():
        drawn = model.complete(x + 1, observed, seed=0).numpy()
    assert drawn[0][observed].all()


def test_half_precision_draws_what_single_does():
    model = tiny(dtype="mixed_bfloat16")
    assert {part.model.network.compute_dtype for part in model.parts} == {"bfloat16"}
    x = model.sample(4, seed=0, jit_compile=False)
    np.testing.assert_array_equal(model.sample(4, seed=0, method="naive", jit_compile=False), x)


# === The teaching code of Berkeley's course, from public layers ===


class Base(Composite):
    def __init__(self):
        super().__init__()
        sizes = [(6, "A"), (6, "B"), (6, "B"), (1, "B")]
        self.layers = [MaskedConv2D(filters, 3, mask_type) for filters, mask_type in sizes]

    def call(self, x, condition=None):
        for layer in self.layers[:-1]:
            x = tf.nn.relu(layer(x))
        return self.layers[-1](x)


class Group(Composite):
    def __init__(self):
        super().__init__()
        self.layers = [keras.layers.Conv2D(filters, 3, padding="same") for filters in (6, 6, 1)]

    def call(self, x, condition=None):
        y = condition
        for layer in self.layers[:-1]:
            y = tf.nn.relu(layer(y))
        return self.layers[-1](y)


class Stack(Composite):
    """The groups before at the same scale, the coarser image first."""

    def __init__(self, views, inputs):
        super().__init__()
        self.views, self.inputs = views, inputs

    def call(self, earlier, features=None):
        image = tf.add_n([view.put(y, (8, 8, 1)) for view, y in zip(self.views, earlier, strict=True)])
        return tf.cast(tf.concat([view.take(image) for view in self.inputs], -1), tf.float32)


def reference():
    parts = [Part("base", AutoregressiveModel(Base(), (2, 2, 1), BINARY), Cells((0, 0), (4, 4)))]
    networks = [Group() for _ in range(3)]  # shared by both scales
    for scale, step in enumerate((4, 2)):
        views = [Cells(offset, (step, step)) for offset in ((0, 0), (0, step // 2), (step // 2, 0), (step // 2,) * 2)]
        for group, network in enumerate(networks):
            shape, given = (8 // step, 8 // step, 1), tfar.conditions.Spatial(group + 1)
            model = AutoregressiveModel(network, shape, BINARY, given, together(*shape[:2]))
            link = Stack([part.view for part in parts], views[: group + 1])
            parts.append(Part(f"scale{scale}_group{group}", model, views[group + 1], link))
    return Chain((8, 8, 1), BINARY, parts)


def test_equals_the_teaching_code():
    golden = np.load(GOLDEN)
    model = reference()
    roots = {"base_pixelcnn": model.parts[0].model.network}
    roots |= {f"group_nets.{group}": model.parts[1 + group].model.network for group in range(3)}
    for name, network in roots.items():
        for index, layer in enumerate(network.layers):
            kernel, bias = (golden[f"w/{name}.net.{2 * index}.{kind}"] for kind in ("weight", "bias"))
            layer.set_weights([kernel.transpose(2, 3, 1, 0), bias])
    x = golden["x"].transpose(0, 2, 3, 1).astype(np.int32)
    with testing.eagerly():
        values, context = model.split(x), model.context()
        for index, part in enumerate(model.parts):
            name = "base" if index == 0 else part.name.replace("_", "/")
            target = golden["base/x" if index == 0 else f"{name}/target"].transpose(0, 2, 3, 1)
            np.testing.assert_array_equal(values[index], target)
            found = part.params(values[index], model.part_context(index, values[:index], context))
            np.testing.assert_allclose(
                found[..., 0], golden[f"{name}/logits"].transpose(0, 2, 3, 1), rtol=1e-5, atol=1e-6
            )
        nats = model.log_prob(x)
        logits = np.concatenate([golden[key].reshape(2, -1) for key in golden.files if key.endswith("logits")], 1)
        targets = [golden[key].reshape(2, -1) for key in golden.files if key.endswith(("base/x", "target"))]
        signs = 1 - 2 * np.concatenate(targets, 1)
        np.testing.assert_allclose(nats, -np.logaddexp(0, signs * logits).sum(1), rtol=1e-5)
        assert model.sample(2, seed=0).shape == (2, 8, 8, 1)


# === Training in parts ===


def test_a_step_takes_one_part():
    keras.utils.set_random_seed(0)
    strategy = tfar.training.strategy("one")
    x = testing.random_events(tiny(), 8)
    with strategy.scope():
        model = tiny(train_parts="drawn")
        optimizers = [keras.optimizers.Adam(0.01) for _ in range(2)]
    step = tfar.training.TrainStep(model, optimizers[0], strategy, 8)
    before = {part.name: [np.asarray(weight).copy() for weight in part.trainable_variables] for part in model.parts}
    moved = collections.Counter()
    with testing.eagerly():
        every = 4 * model(x).numpy().mean(0) / (-16 * np.log(2))
        loss, _ = step({"x": x}, 0)
        for part in model.parts:
            pairs = zip(before[part.name], part.trainable_variables, strict=True)
            moved[part.name] += any((old != np.asarray(new)).any() for old, new in pairs)
        assert sum(moved.values()) == 1
        assert float(loss) == pytest.approx(every[list(moved.values()).index(1)], rel=1e-4)
        only = tfar.training.TrainStep(model, optimizers[1], strategy, 8, part="4x4_10")
        before = [np.asarray(weight).copy() for weight in model.weights]
        only({"x": x}, 0)
        changed = {w.path for old, w in zip(before, model.weights, strict=True) if (old != np.asarray(w)).any()}
        own = {weight.path for weight in model.part("4x4_10").trainable_variables}
        assert changed == own
    with pytest.raises(ValueError, match="part must be one of .*, got 'top'"):
        tfar.training.TrainStep(model, optimizers[0], strategy, 8, part="top")
