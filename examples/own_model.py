"""A model and a causal layer of your own, trained, sampled, exported and served by the same commands.

    python -m pipelines.train    --config=examples/own_model_config.py --workdir=runs/own_model
    python -m pipelines.sample   --workdir=runs/own_model --label=3 --out=threes.png
    python -m export             --workdir=runs/own_model
    python -m pipelines.serve    --model_name=own_model --model_base_path=runs/own_model/export --port=8500

The configuration names the class as `examples.own_model:DecayModel`, a module that Python can import from the folder in
which the command runs. `Decay` has state: in parallel it reads all elements of an image, while a sample is drawn it is
given one element at a time and keeps its means in between. docs/guides/own_layer.md explains each call.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

import tfar
from tfar.core.configured import Configured
from tfar.core.scope import current
from tfar.core.sizes import batch_size


@keras.saving.register_keras_serializable("own_model")
class Decay(Configured, keras.layers.Layer):
    """Running means of several speeds: m_t = d m_(t-1) + (1 - d) x_t, [B, T, C] -> the same shape.

    Args:
        exclusive: position t sees x strictly before t, as the first layer of a network has to.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, exclusive: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.exclusive = exclusive

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Creates one speed for each feature, from 0.1 to 0.95."""
        speeds = keras.initializers.Constant(tf.linspace(-2.2, 2.9, shape[-1]).numpy())
        self.logit = self.add_weight(shape=(shape[-1],), initializer=speeds, name="logit")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """All positions in parallel; inside of a scope those that follow the ones seen so far."""
        scope, shape = current(), [batch_size(x), x.shape[-1]]
        if scope is None:
            x = tf.pad(x[:, :-1], [[0, 0], [1, 0], [0, 0]]) if self.exclusive else x
            return self._means(x, tf.zeros(shape, x.dtype))
        state = scope.state_of(self)
        means = self._means(x, state.read("mean", shape, x.dtype))
        state.write("mean", means[:, -1])
        return means

    def _means(self, x: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
        decay, means = tf.sigmoid(tf.cast(self.logit, x.dtype)), []
        for element in tf.unstack(x, axis=1):
            mean = decay * mean + (1 - decay) * element
            means.append(mean)
        return tf.stack(means, 1)


class Network(keras.layers.Layer):
    """Encoded elements [B, T, F] -> the head's parameters [B, T, outputs].

    Args:
        outputs: numbers that the head asks for.
        units: width.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, outputs: int, units: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.widen = keras.layers.Dense(units)
        self.first, self.hidden = Decay(exclusive=True), keras.layers.Dense(units, activation="relu")
        self.second, self.outputs = Decay(), keras.layers.Dense(outputs)
        self.told = keras.layers.Dense(units, use_bias=False)

    def build(self, *shapes: Any) -> None:
        """Creates nothing: the layers create their weights."""

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """One `call` for training and sampling."""
        h = self.hidden(self.first(self.widen(x)))
        h = h if condition is None else h + self.told(condition)[:, None]
        return self.outputs(h + self.second(h))


@keras.saving.register_keras_serializable("own_model")
class DecayModel(tfar.models.AutoregressiveModel):
    """p(x | h) = prod_t p(x_t | running means of x before t, h).

    Args:
        event_shape: (T,), or (H, W, C), read row by row.
        head: such as `tfar.heads.Categorical(17)`.
        condition: such as `tfar.conditions.Label(10)`, or None.
        units: width of the network.
        **kwargs: of `AutoregressiveModel`.

    Example:
        >>> model = DecayModel((3, 3, 1), tfar.heads.Categorical(4), units=8)
        >>> model.sample(2, seed=0).shape
        TensorShape([2, 3, 3, 1])
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        head: tfar.heads.Head,
        condition: tfar.conditions.Condition | None = None,
        units: int = 32,
        **kwargs: Any,
    ):
        outputs = tfar.core.Event(event_shape, head, "sequence").num_outputs
        network = Network(outputs, units)
        super().__init__(network, event_shape, head, condition, layout="sequence", **kwargs)
