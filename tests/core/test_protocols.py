"""Own parts of a model, written without the library's base classes: mypy reads this file in `make check`.

A line with `type: ignore` is one that mypy has to refuse: where it does not, it reports the comment as unused.
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import tfar
from tfar.models.causal_conv_net import CausalConvNetwork
from tfar.models.causal_transformer import CausalTransformerNetwork
from tfar.models.char_rnn import CharRNNNetwork
from tfar.models.gated_pixel_cnn import GatedPixelCNNNetwork
from tfar.models.image_transformer import ImageTransformerNetwork
from tfar.models.locally_masked_pixel_cnn import LocallyMaskedNetwork
from tfar.models.made import MADENetwork
from tfar.models.masked_attention import MaskedAttentionNetwork
from tfar.models.pixel_cnn import PixelCNNNetwork
from tfar.models.pixel_cnn_pp import PixelCNNPPNetwork
from tfar.models.pixel_rnn import PixelRNNNetwork
from tfar.models.pixel_snail import PixelSNAILNetwork
from tfar.models.wavenet import WaveNetNetwork
from tfar.typing import ArrayLike, Condition, EventShape, Head, Model, Network, NetworkCall, Shape, Tensor


@keras.saving.register_keras_serializable("own")
class Coin:
    """A head of binary values, p(x = 1) = sigmoid(parameter)."""

    autoregressive_channels, event_ndims, dtype, levels, params_size, noise_size = True, 0, tf.int32, 2, 1, 1

    def with_channels(self, channels: int) -> "Coin":
        return self

    def encode(self, x: ArrayLike) -> Tensor:
        return 2.0 * tf.cast(x, tf.float32) - 1.0

    def distribution(self, params: ArrayLike) -> tfp.distributions.Distribution:
        return tfp.distributions.Bernoulli(params[..., 0])

    def log_prob(self, params: ArrayLike, x: ArrayLike) -> Tensor:
        return tf.math.log_sigmoid(params[..., 0] * self.encode(x))

    def logits(self, params: ArrayLike) -> Tensor:
        return tf.concat([tf.zeros_like(params), params], -1)

    def mode(self, params: ArrayLike) -> Tensor:
        return tf.cast(params[..., 0] > 0, tf.int32)

    def sample(
        self,
        params: ArrayLike,
        noise: ArrayLike,
        temperature: ArrayLike = 1.0,
        *,
        value: ArrayLike | None = None,
        observed: ArrayLike | None = None,
    ) -> Tensor:
        drawn = tf.cast(noise[..., 0] >= tf.sigmoid(-params[..., 0] / temperature), tf.int32)
        return drawn if observed is None else tf.where(observed, value, drawn)

    def boundary_distance(self, params: ArrayLike, noise: ArrayLike, temperature: ArrayLike = 1.0) -> Tensor:
        return tf.abs(noise[..., 0] - tf.sigmoid(-params[..., 0] / temperature))

    def check(self, x: ArrayLike, name: str = "x") -> None:
        if not np.isin(x, (0, 1)).all():
            raise ValueError(f"{name} must hold 0 and 1, got {x}")

    def get_config(self) -> dict[str, Any]:
        return {}


@keras.saving.register_keras_serializable("own")
class Angle:
    """A condition: an angle in radians, whose features are its sine and cosine."""

    dtype, shape, num_labels, hop = tf.float32, (), None, None
    meaning, accepted = "angle", "hold finite numbers"

    @property
    def parts(self) -> tuple["Angle", ...]:
        return (self,)

    def encode(self, value: Any) -> Tensor:
        return tf.stack([tf.sin(value), tf.cos(value)], -1)

    def prepare(self, value: Any, num: Any, event_shape: Any = None) -> Tensor:
        value = tf.convert_to_tensor(value, tf.float32)
        return value if value.shape.rank else tf.repeat(value[None], num, 0)

    def wrong(self, value: Tensor) -> Tensor:
        return ~tf.math.is_finite(value)

    def value_shape(self, event_shape: EventShape) -> Shape:
        return ()

    def describe(self) -> dict[str, Any]:
        return {"kind": "Angle"}

    def example(self, event_shape: EventShape, num: int = 1, seed: int | None = None, open_size: int = 2) -> np.ndarray:
        return np.linspace(0, 0 if seed is None else 3, num, dtype=np.float32)

    def get_config(self) -> dict[str, Any]:
        return {}


class Means(keras.layers.Layer):
    """A network of two layers."""

    def __init__(self, outputs: int):
        super().__init__()
        self.first, self.told = tfar.layers.CausalConv1D(4, 2, exclusive=True), keras.layers.Dense(4, use_bias=False)
        self.outputs = keras.layers.Dense(outputs)

    def build(self, *shapes: Any) -> None:
        """Nothing to create."""

    def call(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        h = self.first(x)
        return self.outputs(tf.nn.elu(h if condition is None else h + self.told(condition)[:, None]))


def test_parts_need_no_base_class() -> None:
    network: Network = Means(1)
    call: NetworkCall = Means(1).call
    head: Head = Coin()
    condition: Condition = Angle()
    assert callable(call) and isinstance(condition, Condition) and not isinstance(head, Condition)
    model = tfar.models.AutoregressiveModel(network, (4,), head, condition, layout="sequence")
    sampled_by: Model = model
    with tfar.testing.eagerly():
        tfar.testing.randomize_weights(model)
        tfar.testing.assert_normalized(model)
        tfar.testing.assert_samples_agree(model, num=2)
        decoded = tfar.sampling.decode(sampled_by, 2, condition=0.5, seed=0, jit_compile=False)
    assert decoded.x.shape == (2, 4)


def library() -> tuple[list[Head], list[Condition], list[type[Model]]]:
    """Parts of the library, for mypy."""
    heads: list[Head] = [tfar.heads.Bernoulli(), tfar.heads.Categorical(4), tfar.heads.Mixture("Normal", 2)]
    heads += [tfar.heads.DiscretizedLogisticMixture(2)]
    conditions: list[Condition] = [tfar.conditions.Label(3), tfar.conditions.Vector(2), tfar.conditions.Spatial(1)]
    local = tfar.conditions.Local(2, hop=4)
    conditions += [local, tfar.conditions.Joint([tfar.conditions.Label(3), local])]
    return heads, conditions, [tfar.models.AutoregressiveModel]


def networks(
    n0: CausalConvNetwork,
    n1: CausalTransformerNetwork,
    n2: CharRNNNetwork,
    n3: GatedPixelCNNNetwork,
    n4: ImageTransformerNetwork,
    n5: LocallyMaskedNetwork,
    n6: MADENetwork,
    n7: MaskedAttentionNetwork,
    n8: PixelCNNNetwork,
    n9: PixelCNNPPNetwork,
    n10: PixelRNNNetwork,
    n11: PixelSNAILNetwork,
    n12: WaveNetNetwork,
    other: tfar.layers.ConditionalNetworks,
) -> list[NetworkCall]:
    """Networks of the library, for mypy."""
    return [
        n0.call,
        n1.call,
        n2.call,
        n3.call,
        n4.call,
        n5.call,
        n6.call,
        n7.call,
        n8.call,
        n9.call,
        n10.call,
        n11.call,
        n12.call,
        other.call,
    ]


# Counter-examples.


class NoNoise:
    """A head that cannot be sampled."""

    dtype, levels = tf.int32, 2


class Unconditional(keras.layers.Layer):
    """A network whose second argument is something else."""

    def call(self, x: Tensor, mask: bool) -> Tensor:
        return x


def refused() -> tuple[Head, Condition, NetworkCall, tfar.core.Event]:
    """What mypy refuses; never called."""
    head: Head = NoNoise()  # type: ignore[assignment]
    condition: Condition = Coin()  # type: ignore[assignment]
    call: NetworkCall = Unconditional().call  # type: ignore[assignment]
    return head, condition, call, tfar.core.Event((4,), Angle(), "sequence")  # type: ignore[arg-type]
