"""What Keras promises of `compile`, `fit`, `evaluate` and `predict`: weights and losses count, values are checked."""

import math
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfar
from tfar import training
from tfar.models.checked_data import CheckedData

pytestmark = pytest.mark.usefixtures("graphs")  # data sets, which training reads, are no functions that run op by op

X = np.random.default_rng(0).integers(0, 4, [8, 6]).astype(np.int32)
LABELS = (np.arange(8) % 3).astype(np.int32)


def build(condition=None, **options):
    keras.utils.set_random_seed(0)
    sizes = {"filters": 4, "num_layers": 2, "head_filters": 4, **options}
    return tfar.models.CausalConvNet((6,), tfar.heads.Categorical(4), condition=condition, **sizes)


@pytest.fixture(scope="module")
def model():
    model = build()
    model.compile(keras.optimizers.SGD(0.0))
    return model


@pytest.fixture(scope="module")
def labelled():
    model = build(tfar.conditions.Label(3))
    model.compile(keras.optimizers.SGD(0.0))
    return model


def batches(*arrays, size=4):
    return tf.data.Dataset.from_tensor_slices(arrays[0] if len(arrays) == 1 else arrays).batch(size)


def moved(model, run):
    before = [np.asarray(weight.value) for weight in model.trainable_weights]
    run()
    return max(np.abs(np.asarray(b.value) - a).max() for a, b in zip(before, model.trainable_weights, strict=True))


class Sequence(keras.utils.PyDataset):
    def __init__(self, *parts):
        super().__init__()
        self.parts = parts

    def __len__(self):
        return len(self.parts)

    def __getitem__(self, index):
        return self.parts[index]


# === Weights of examples ===


def test_examples_of_weight_0_move_nothing():
    model = build()
    model.compile(keras.optimizers.SGD(1.0))
    assert moved(model, lambda: model.fit(X, sample_weight=np.zeros(8), verbose=0)) == 0
    assert moved(model, lambda: model.fit(X, verbose=0)) > 0.01


def test_sample_weight_counts(model):
    bits, weights = model.bits_per_dim(X).numpy(), np.arange(8.0)
    expected = float(np.mean(weights * bits))
    dataset = tf.data.Dataset.from_tensors((X, None, weights.astype(np.float32)))
    assert model.evaluate(X, verbose=0) == pytest.approx(bits.mean(), rel=1e-5)
    assert model.evaluate(X, sample_weight=weights, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(dataset, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert model.test_on_batch(X, sample_weight=weights) == pytest.approx(expected, rel=1e-5)
    assert model.train_on_batch(X, sample_weight=weights) == pytest.approx(expected, rel=1e-5)
    fitted = model.fit(X, sample_weight=weights, validation_data=(X, None, 2 * np.ones(8)), verbose=0).history
    assert fitted["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert fitted["val_loss"][0] == pytest.approx(2 * bits.mean(), rel=1e-5)


def test_class_weight_weights_the_examples_of_a_label(labelled):
    data = {"x": X, "condition": LABELS}
    bits = labelled.bits_per_dim(X, LABELS).numpy()
    weights = {0: 2.0, 2: 0.0}
    expected = float(np.mean(np.array([2.0, 1.0, 0.0])[LABELS] * bits))
    for given in (data, batches(data, size=8)):
        loss = labelled.fit(given, class_weight=weights, steps_per_epoch=1, verbose=0).history["loss"][0]
        assert loss == pytest.approx(expected, rel=1e-5)
    assert labelled.train_on_batch(data, class_weight=weights) == pytest.approx(expected, rel=1e-5)


# === What regularizers and layers add ===


def penalized(model):
    for weight in model.trainable_weights:
        if weight.name == "kernel":
            weight.regularizer = keras.regularizers.L2(10.0)
    model.network.hidden.activity_regularizer = keras.regularizers.L2(3.0)
    return model


def added(model, *arguments, **options):
    outputs = model.network.hidden(tf.nn.relu(_hidden_input(model, *arguments, **options)))
    squares = sum(float(tf.reduce_sum(w.value**2)) for w in model.trainable_weights if w.name == "kernel")
    return 10 * squares, 3 * float(tf.reduce_sum(outputs**2)) / len(X)


def _hidden_input(model, x):
    x = model.encode(x)
    for block in model.network.blocks:
        x = block(x)
    return x


def test_losses_are_added_in_fit_evaluate_and_training_steps():
    model = penalized(build())
    model.compile(keras.optimizers.SGD(0.0))
    of_weights, of_outputs = added(model, X)
    assert of_weights > 1 and of_outputs > 1e-3
    expected = float(np.mean(model.bits_per_dim(X))) + of_weights + of_outputs
    assert model.evaluate(X, verbose=0) == pytest.approx(expected, rel=1e-5)
    assert model.fit(X, verbose=0).history["loss"][0] == pytest.approx(expected, rel=1e-5)
    step = training.TrainStep(model, keras.optimizers.SGD(0.0), training.strategy("one"), 8)
    assert float(step({"x": X}, 0)[0]) == pytest.approx(expected, rel=1e-5)


def test_their_gradients_move_weights():
    model = penalized(build())
    step = training.TrainStep(model, keras.optimizers.SGD(1e-3), training.strategy("one"), 8, clip_norm=None)
    kernel = model.network.outputs.kernel
    before = kernel.numpy()
    with tf.GradientTape() as tape:
        loss = model.batch_loss(X, model(X))
    of_data = tape.gradient(loss, kernel.value)
    step({"x": X}, 0)
    # The last kernel feels nothing of the outputs of `hidden`, but its own decay: the gradient of 10 w^2 is 20 w.
    np.testing.assert_allclose(before - kernel.numpy(), 1e-3 * (of_data + 20 * before), atol=1e-6)


def test_an_ensemble_adds_losses_and_weights():
    model = tfar.models.MADE((4,), tfar.heads.Bernoulli(), hidden=(6,), num_masks=2)
    model.compile(keras.optimizers.SGD(0.0))
    x, weights = np.eye(4, dtype=np.int32), np.arange(4.0)
    plain = np.mean(weights * model.bits_per_dim(x).numpy())
    assert model.evaluate(x, sample_weight=weights, verbose=0) == pytest.approx(plain, rel=1e-5)
    kernel = next(weight for weight in model.trainable_weights if weight.name == "kernel")
    kernel.regularizer = keras.regularizers.L1(1.0)
    model.compile(keras.optimizers.SGD(0.0))
    penalty = float(tf.reduce_sum(tf.abs(kernel.value)))
    assert model.evaluate(x, sample_weight=weights, verbose=0) == pytest.approx(plain + penalty, rel=1e-5)


def test_a_recomputed_layer_adds_its_losses():
    class Adding(keras.layers.Layer):
        def build(self, shape):
            self.kernel = self.add_weight(shape=(), initializer="ones")

        def call(self, x):
            self.add_loss(tf.reduce_sum(self.kernel * x))
            return self.kernel * x

    class Around(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.inside = Adding()

        def call(self, x):
            return tfar.layers.recompute.recomputed(self.inside, x)

    layer = Around()
    layer(tf.ones([2]))
    with tf.GradientTape() as tape:
        outputs = layer(tf.ones([2]))
        (loss,) = layer.losses
        total = tf.reduce_sum(outputs) + loss
    assert float(loss) == 2
    assert float(tape.gradient(total, layer.inside.kernel.value)) == 4


# === What is refused ===

BAD_DATA = [
    (X + 3, "x must hold whole numbers from 0 to 3 for Categorical(levels=4), got"),
    (X + 0.5, "x must hold whole numbers from 0 to 3 for Categorical(levels=4), got"),
    (np.where(X == 0, np.nan, X), "x must hold whole numbers from 0 to 3 for Categorical(levels=4), got nan"),
    (X[:, :4], "x must have shape [batch, 6], got (8, 4)"),
    ({"images": X}, "x must be a dictionary with the key \"x\", got the keys ['images']"),
    ({"x": X, "condition": LABELS}, "condition was given, but CausalConvNet was built without one"),
]
BAD_ARRAYS = [
    ([[1, 2], [3]], "x must be one array of numbers, got list with rows of several lengths"),
    (X.astype(str), "x must be one array of numbers, got string"),
    (X[:0], "x must hold at least one event, got none"),
    (None, 'x must be given: events, or {"x": ..., "condition": ...}'),
    (tf.ragged.constant([[1], [1, 2]]), "x must be one array of numbers, got RaggedTensor"),
]
BAD_LABELS = [
    (LABELS + 9, "condition holds label 9, Label(3) accepts 0 to 2"),
    (LABELS - 3, "condition holds label -3, Label(3) accepts 0 to 2"),
    (LABELS + 0.5, "condition must hold integer labels for Label(3), got float"),
]


def refused(run, message):
    """The call is refused in one line that begins so."""
    with pytest.raises(ValueError) as error:
        run()
    text = str(error.value)
    assert text.startswith(message) and "\n" not in text, text


METHODS = ("fit", "evaluate", "predict")


@pytest.mark.parametrize("method", METHODS)
def test_values_are_checked(model, method):
    run = getattr(model, method)
    for x, message in BAD_DATA + BAD_ARRAYS:
        refused(lambda x=x: run(x, verbose=0), message)
    for x, message in BAD_DATA:
        refused(lambda x=x: run(batches(x), verbose=0), message.replace("(8,", "(None,"))
    refused(lambda: run(iter([X, X + 1]), verbose=0), BAD_DATA[0][1])
    refused(lambda: run(Sequence(X, X + 1), verbose=0), BAD_DATA[0][1])


@pytest.mark.parametrize("method", METHODS)
def test_conditions_are_checked(labelled, method):
    run = getattr(labelled, method)
    for labels, message in BAD_LABELS:
        refused(lambda labels=labels: run({"x": X, "condition": labels}, verbose=0), message)
        refused(lambda labels=labels: run(batches({"x": X, "condition": labels}), verbose=0), message)
    keys = 'x must be a dictionary with the keys "x" and "condition"'
    refused(lambda: run({"x": X, "label": LABELS}, verbose=0), f"{keys} (for Label(3)), got the keys ['label', 'x']")
    refused(lambda: run(X, verbose=0), keys)
    refused(lambda: run({"x": X, "condition": LABELS[:5]}, verbose=0), "condition must have one value per example (8)")
    nothing = {"x": X, "condition": [None] * 8}
    refused(lambda: run(nothing, verbose=0), "condition must be one array of numbers, got list with None")


def test_on_batch_methods_check_too(model):
    for run in (model.train_on_batch, model.test_on_batch, model.predict_on_batch):
        refused(lambda run=run: run(X + 1), BAD_DATA[0][1])


@pytest.mark.parametrize(
    ("head", "x", "message"),
    [
        (tfar.heads.Bernoulli(), X * 85, "x must hold 0 and 1 for Bernoulli(), got"),
        (tfar.heads.Bernoulli(), X * np.nan, "x must hold 0 and 1 for Bernoulli(), got nan"),
        (tfar.heads.Mixture("Normal", 2), X * np.nan, "x must hold finite numbers for Mixture("),
    ],
)
def test_heads_check_what_they_model(head, x, message):
    model = tfar.models.MADE((6,), head, hidden=(4,))
    model.compile("sgd")
    for run in (model.fit, model.evaluate):
        refused(lambda run=run: run(x, verbose=0), message)


def test_arguments_that_mean_nothing_are_refused(model, labelled):
    refused(
        lambda: model.compile(loss="mse"), "loss must be None: the loss of a density is its mean bits/dim, got 'mse'"
    )
    refused(lambda: model.compile(metrics=["mae"]), "metrics must be None: ")
    refused(lambda: model.compile(weighted_metrics=["mae"]), "weighted_metrics must be None: ")
    refused(lambda: model.fit(X, X, verbose=0), "y must be None: ")
    refused(lambda: model.evaluate(X, LABELS, verbose=0), "y must be None: ")
    refused(lambda: model.fit(batches(X, X), verbose=0), "y must be None: ")
    refused(lambda: model.fit(X, class_weight={0: 1.0}), "class_weight needs a model with labels")
    refused(lambda: model.fit(batches(X[0]), verbose=0), "x must be a data set of batches, dataset.batch(size), got")
    refused(lambda: model.fit(X, sample_weight=np.ones(7)), "sample_weight must be one number per example, [8], got")
    refused(lambda: model.fit(X, sample_weight=[np.nan] * 8), "sample_weight must be finite, got nan")
    refused(lambda: model.fit(batches(X), sample_weight=np.ones(8)), "sample_weight must be None where x comes in")
    refused(lambda: model.fit(X, validation_data=X + 1, verbose=0), BAD_DATA[0][1])
    data = {"x": X, "condition": LABELS}
    refused(lambda: labelled.fit(data, class_weight={5: 1.0}), "class_weight must have the labels 0 to 2")
    refused(lambda: labelled.fit(data, class_weight={1: "a"}), "class_weight must be finite numbers, got 'a'")
    both = {"class_weight": {0: 1.0}, "sample_weight": np.ones(8)}
    refused(lambda: labelled.fit(data, **both), "class_weight and sample_weight exclude each other")
    assert model.predict(batches(X, X), verbose=0).shape == (8, 6, 4)  # as in Keras, predict reads no targets


def test_a_model_is_usable_after_an_error():
    model = build()
    model.compile("adam")

    def fails(batch, logs):
        raise OverflowError("of a callback")

    with pytest.raises(OverflowError):
        model.fit(X, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_begin=fails)])
    refused(lambda: model.fit(X[:, :4], verbose=0), "x must have shape")
    refused(lambda: model.fit(batches(X + 1), verbose=0), "x must hold whole numbers")
    assert moved(model, lambda: model.fit(X, verbose=0)) > 0


def test_repeated_calls_are_traced_once():
    """TensorFlow's warning about retracing counts the functions of all models of a process as one."""
    model, traces = build(), []
    model.compile("sgd")
    step = model.test_step
    model.test_step = lambda data: traces.append(1) or step(data)
    for size in (8, 8, 5, 3):
        model.evaluate(X[:size], verbose=0)
        model.evaluate(batches(X[:size]), verbose=0)
        refused(lambda: model.evaluate(X + 1, verbose=0), BAD_DATA[0][1])
    assert len(traces) == 1


# === The cost of the check ===


def test_the_check_of_a_batch_costs_microseconds():
    """64 digits: 0.19 ms by itself where a step of the digits run takes 124 ms of a processor, 0.15%.

    In a data set 1.4 ms of 137 ms, 1.0%, the way through TensorFlow and back included. Here the bound is loose.
    """
    model = tfar.models.GatedPixelCNN(
        (8, 8, 1), tfar.heads.Categorical(17), filters=2, num_blocks=0, condition=tfar.conditions.Label(10)
    )
    x = np.random.default_rng(0).integers(0, 17, [64, 8, 8, 1]).astype(np.uint8)
    labels = (np.arange(64) % 10).astype(np.int32)
    times = []
    for _ in range(20):
        begin = time.perf_counter()
        model.check_batch(x, labels)
        times.append(time.perf_counter() - begin)
    assert min(times) < 2e-3


def test_batches_of_a_data_set_are_checked_once_each(model, monkeypatch):
    sizes = []
    monkeypatch.setattr(type(model), "check_batch", lambda self, x, condition: sizes.append(len(x)))
    data, _ = CheckedData(model).take(batches(X, size=3))
    assert [len(x) for x in data] == sizes == [3, 3, 2]


# === The rest of what Keras's models have ===


def test_presets_of_a_class():
    model = tfar.models.MADE.from_preset("made_tiny", event_shape=(4,), head=tfar.heads.Bernoulli())
    assert type(model) is tfar.models.MADE
    with pytest.raises(ValueError, match=r"preset must be one of \[.*'made_tiny'.*\] for MADE, got 'wavenet_tiny'"):
        tfar.models.MADE.from_preset("wavenet_tiny", event_shape=(4,), head=tfar.heads.Bernoulli())


def test_summary_tells_blocks_shapes_and_parameters(model):
    lines = []
    model.summary(expand_nested=True, print_fn=lines.append)
    text = "\n".join(lines)
    assert "?" not in text
    for name, shape, layer in (
        ("network (CausalConvNetwork)", "(1, 6, 4)", model.network),
        ("blocks.0 (CausalConvBlock)", "(1, 6, 4)", model.network.blocks[0]),
        ("convolution (CausalConv1D)", "(1, 6, 8)", model.network.blocks[0].convolution),
    ):
        line = next(line for line in lines if name in line)
        assert shape in line and line.endswith(f"{layer.count_params():,}")
    assert lines[-1].startswith(f"{model.count_params():,} parameters")
    short = []
    model.summary(print_fn=short.append)
    assert 3 < len(short) < len(lines) and not any("CausalConv1D" in line for line in short)
    assert "call" not in vars(model.network)  # nothing of it stays


def test_other_ways_out_are_named(model, tmp_path):
    refused(lambda: model.export(tmp_path / "out"), "export of a density is a command, python -m export --workdir=")
    refused(lambda: model.save(tmp_path / "model.h5"), 'filepath must end in ".keras"')
    assert not list(tmp_path.iterdir())


def test_weights_of_the_loss_are_bits(model):
    loss = float(model.compute_loss(x=X, y_pred=model(X)))
    nats = -float(tf.reduce_mean(model.log_prob(X)))
    assert loss == pytest.approx(nats / 6 / math.log(2), rel=1e-6)
