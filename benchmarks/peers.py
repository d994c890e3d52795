"""Compares PixelCNN++ with `tfp.distributions.PixelCNN`, the same network in TensorFlow Probability.

    python -m benchmarks.peers [--batch=16] [--json=FILE] [--repeats=3] [--tiny]

Both have TensorFlow Probability's default topology (three resolutions, concat-ELU, weight normalization) with 32
filters and 2 residual blocks, on 28x28x1 images with 8 bits, 5 logistics.

    sample     `sample(16)`: XLA and plain graph here, plain graph there, where a loop runs the network anew for every
               position; measured once, being slow
    first call tracing and compiling, then drawing
    step       log-likelihood, gradient and Adam for the same batch, in a plain graph, medians of alternating rounds

The two networks have different numbers of weights: tfp's shortcuts and shifted stacks are wired differently.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags

from benchmarks import results
from pipelines import command

_MIXTURES = 5


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_integer("batch", 16, "Images drawn together, and trained on together.", lower_bound=1)
    flags.DEFINE_integer("repeats", 3, "Rounds of which the medians are taken.", lower_bound=1)
    flags.DEFINE_bool("tiny", False, "Networks of a size that says nothing about speed, for tests.")
    flags.DEFINE_string("json", None, "File to write the numbers to.")


def main() -> int:
    """Runs the command; returns the exit code."""
    values = flags.FLAGS
    command.import_quietly()
    sizes = (
        {"size": 8, "filters": 4, "num_resnets": 1} if values.tiny else {"size": 28, "filters": 32, "num_resnets": 2}
    )
    result = measure(values.batch, values.repeats, **sizes)
    print(table(result))
    results.write(values.json, figures(result), result, quick=values.tiny)
    return 0


def measure(batch: int, repeats: int, size: int, filters: int, num_resnets: int) -> dict[str, Any]:
    """Measures both networks; returns seconds."""
    import tensorflow as tf

    import tfar

    head = tfar.heads.DiscretizedLogisticMixture(_MIXTURES)
    model = tfar.models.PixelCNNPP((size, size, 1), head, filters, num_resnets, dropout=0.0)
    peer = _peer(size, filters, num_resnets)
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 1)).astype(np.float32)
    peer.log_prob(images)  # creates its weights

    draws: dict[str, Callable[[], Any]] = {
        "xla": lambda: model.sample(batch, seed=0, batch_size=batch).numpy(),
        "plain": lambda: model.sample(batch, seed=0, batch_size=batch, jit_compile=False).numpy(),
    }
    result: dict[str, Any] = {
        "batch": batch,
        "image": [size, size, 1],
        "filters": filters,
        "num_resnets": num_resnets,
        "load_average_before": os.getloadavg()[0],
        "num_cpus": os.cpu_count(),
        "weights": model.count_params(),
        "peer_weights": int(sum(np.prod(v.shape) for v in peer.trainable_variables)),
    }
    for name, draw in draws.items():
        result[f"{name}_first_call_s"] = _seconds(draw)
    rounds = {name: [_seconds(draw) for _ in range(repeats)] for name, draw in draws.items()}
    result.update({f"{name}_sample_s": statistics.median(seconds) for name, seconds in rounds.items()})
    sample_peer = tf.function(lambda: peer.sample(batch))
    sample_peer.get_concrete_function()
    result["peer_sample_s"] = _seconds(lambda: sample_peer().numpy())
    result["times_faster"] = result["peer_sample_s"] / result["xla_sample_s"]

    steps = {
        "step_s": _training_step(_log_prob(model), model.trainable_variables, images),
        "peer_step_s": _training_step(lambda x: peer.log_prob(x, training=True), peer.trainable_variables, images),
    }
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(max(repeats, 5)):
        for name, step in steps.items():
            times[name].append(_seconds(step))
    result.update({name: statistics.median(seconds) for name, seconds in times.items()})
    result["step_ratio"] = result["step_s"] / result["peer_step_s"]
    return result


def _peer(size: int, filters: int, num_resnets: int) -> Any:
    from tensorflow_probability import distributions as tfd

    return tfd.PixelCNN(
        image_shape=(size, size, 1),
        num_resnet=num_resnets,
        num_hierarchies=3,
        num_filters=filters,
        num_logistic_mix=_MIXTURES,
        dropout_p=0.0,
    )


def _log_prob(model: Any) -> Callable[[Any], Any]:
    """As `model.log_prob`, in training and for a graph."""
    import tensorflow as tf

    def log_prob(x: Any) -> Any:
        nats = model.head.log_prob(model(x, training=True), model.event.to_head(x))
        return tf.reduce_sum(tf.reshape(nats, [tf.shape(x)[0], -1]), -1)

    return log_prob


def _training_step(log_prob: Callable[[Any], Any], variables: Any, images: np.ndarray) -> Callable[[], Any]:
    """One step of Adam, written out alike for both: neither Keras's nor tf_keras's optimizer is compared."""
    import tensorflow as tf

    moments = [[tf.Variable(tf.zeros(variable.shape)) for variable in variables] for _ in range(2)]

    @tf.function
    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(log_prob(x))
        gradients = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        for variable, gradient, first, second in zip(variables, gradients, *moments, strict=True):
            first.assign(0.95 * first + 0.05 * gradient)
            second.assign(0.9995 * second + 0.0005 * tf.square(gradient))
            variable.assign(variable - 1e-6 * first / (tf.sqrt(second) + 1e-8))
        return loss

    x = tf.constant(images)
    return lambda: step(x).numpy()


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def figures(result: dict[str, Any]) -> dict[str, results.Figure]:
    """Returns the figures: sampling, and a training step."""
    image = "x".join(str(size) for size in result["image"][:2])
    network = f"PixelCNN++ of {result['filters']} filters and {result['num_resnets']} blocks"
    both = f"{result['xla_sample_s']:.2f} s, {result['peer_sample_s']:.0f} s"
    sample = results.figure(
        f"{result['batch']} images {image} from a {network} / `tfp.distributions.PixelCNN` of that depth and width",
        f"{result['times_faster']:.0f} times faster ({both}); first call {result['xla_first_call_s']:.1f} s",
        {name: result[name] for name in ("times_faster", "xla_sample_s", "peer_sample_s", "xla_first_call_s")},
        "200 times faster",
    )
    step = results.figure(
        "a training step of the same two",
        f"{result['step_ratio']:.2f} of its time ({result['step_s']:.3f} s, {result['peer_step_s']:.3f} s); "
        f"{result['weights']:,} weights here, {result['peer_weights']:,} there",
        {name: result[name] for name in ("step_ratio", "step_s", "peer_step_s")},
        "0.8 of its time",
    )
    return {"peers/sample": sample, "peers/step": step}


def table(result: dict[str, Any]) -> str:
    """Returns the figures for people."""
    return "\n".join(
        [
            f"PixelCNN++ {result['filters']} filters, {result['num_resnets']} blocks, {tuple(result['image'])}, batch "
            f"{result['batch']}, {result['num_cpus']} cores, load {result['load_average_before']:.1f} before",
            f"weights     {result['weights']:,} here, {result['peer_weights']:,} in tfp",
            f"sample      {result['xla_sample_s']:.3f} s XLA, {result['plain_sample_s']:.2f} s plain, "
            f"{result['peer_sample_s']:.1f} s tfp: {result['times_faster']:.0f} times faster",
            f"first call  {result['xla_first_call_s']:.1f} s XLA, {result['plain_first_call_s']:.1f} s plain",
            f"step        {result['step_s']:.3f} s here, {result['peer_step_s']:.3f} s tfp: {result['step_ratio']:.2f}",
        ]
    )


if __name__ == "__main__":
    command.run(main, define_flags)
