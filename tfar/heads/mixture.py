"""Mixture head: continuous variables from a mixture of any one-dimensional family of TFP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from tfar.core.checks import checked_integer
from tfar.core.protocols import ArrayLike, Tensor
from tfar.heads.head import Head, index_boundary_distance, index_from_uniform

tfd = tfp.distributions

# === The normal quantile in elementary operations ===

# Algorithm AS 241, routine PPND7 [1]: rational functions for the centre, the tails, the far tails.
_CENTRE = (59.109374720, 159.29113202, 50.434271938, 3.3871327179)
_CENTRE_BELOW = (67.187563600, 78.757757664, 17.895169469, 1.0)
_TAIL = (0.17023821103, 1.3067284816, 2.7568153900, 1.4234372777)
_TAIL_BELOW = (0.12021132975, 0.73700164250, 1.0)
_FAR = (0.017337203997, 0.42868294337, 3.0812263860, 6.6579051150)
_FAR_BELOW = (0.012258202635, 0.24197894225, 1.0)


def _normal_quantile(u: Tensor) -> Tensor:
    """Inverse distribution function of N(0, 1) to 7 digits.

    `tf.math.ndtri`, which TFP calls, is no builtin operation of LiteRT.
    """

    def ratio(above: Sequence[float], below: Sequence[float], r: Tensor) -> Tensor:
        return tf.math.polyval(list(above), r) / tf.math.polyval(list(below), r)

    q = u - 0.5
    centre = q * ratio(_CENTRE, _CENTRE_BELOW, 0.180625 - q * q)  # |q| <= 0.425
    r = tf.sqrt(-tf.math.log(tf.minimum(u, 1.0 - u)))
    tail = tf.where(r <= 5.0, ratio(_TAIL, _TAIL_BELOW, r - 1.6), ratio(_FAR, _FAR_BELOW, r - 5.0))
    return tf.where(tf.abs(q) <= 0.425, centre, tf.sign(q) * tail)


# === The head ===


@keras.saving.register_keras_serializable("tfar")
class Mixture(Head):
    """Continuous variables: per position a mixture of K members of a one-dimensional `family`.

        p(x) = sum_k pi_k family(x; theta_k)
        draw: k by inverse cdf at noise[..., 0], then x = quantile_k(noise[..., 1])

    `params` are the K logits of pi, then K numbers for each parameter of the family in TFP's order
    (for `tfd.Normal`: K locations, K scales), brought into range by the bijector that TFP declares
    for it (`default_constraining_bijector_fn`: softplus for scales).

    Data values are float32 and pass to the network unchanged. `log_prob` is a density on the data's
    own scale: in bits per dimension it is comparable between models of the same data only, may be
    negative, and data dequantized from integers divided by 256 needs 8 bits more to compare with
    discrete heads.

    `sample` converts to LiteRT where the quantile is elementary: Normal, Logistic, Laplace, Gumbel,
    Exponential, Weibull; the quantiles of Gamma, Beta or StudentT iterate and do not.

    Args:
        family: distribution class of `tfp.distributions` with scalar parameters and a quantile, or
            its name, e.g. `tfd.Normal` or "Logistic".
        num_components: int, K.

    Raises:
        ValueError: if the family is unknown, not scalar, has a parameter without a constraining
            bijector, or no quantile.

    Example:
        >>> head = Mixture("Normal", num_components=5)
        >>> head.params_size, head.noise_size
        (15, 2)

    References:
        [1] Wichura. Algorithm AS 241: The Percentage Points of the Normal Distribution. Applied
            Statistics 37(3), 1988.
    """

    dtype = tf.float32

    def __init__(self, family: str | type, num_components: int):
        name = family if isinstance(family, str) else getattr(family, "__name__", repr(family))
        self._class = getattr(tfd, name, None)
        if not (isinstance(self._class, type) and issubclass(self._class, tfd.Distribution)) or (
            not isinstance(family, str) and family is not self._class
        ):
            raise ValueError(f"family must be a distribution of tfp.distributions or its name, got {family!r}")
        self.family = name
        self.num_components = checked_integer("num_components", num_components, low=1)
        self._num_parameters = len(self._constraints(tf.float32))
        self._try_quantile()

    @property
    def params_size(self) -> int:
        """P = K (1 + number of the family's parameters)."""
        return self.num_components * (1 + self._num_parameters)

    @property
    def noise_size(self) -> int:
        """Uniforms per position, 2: the component, then the value."""
        return 2

    def encode(self, x: ArrayLike) -> Tensor:
        """Casts the data values to float32."""
        return tf.cast(x, tf.float32)

    def distribution(self, params: ArrayLike) -> tfp.distributions.Distribution:
        """`tfd.MixtureSameFamily`, batch_shape [...], from params [..., P]."""
        logits, *blocks = self._split(self._params(params))
        return tfd.MixtureSameFamily(tfd.Categorical(logits=logits), self._member(blocks))

    def log_prob(self, params: ArrayLike, x: ArrayLike) -> Tensor:
        """Log density of each position in nats on the data's own scale.

        Args:
            params: [..., P].
            x: data values [...].

        Returns:
            float32 [...] (float64 when params are).
        """
        distribution = self.distribution(params)
        return distribution.log_prob(tf.cast(x, distribution.dtype))

    def mode(self, params: ArrayLike) -> Tensor:
        """Returns the densest of the components' modes: float32 [...].

        An approximation where components overlap: a mixture's own modes have no closed form. The
        median stands in for a mode that the family does not define.
        """
        params = self._params(params)
        logits, *blocks = self._split(params)
        member = self._member(blocks)
        medians = member.quantile(tf.constant(0.5, params.dtype))
        try:
            modes = member.mode()
            candidates = tf.where(tf.math.is_finite(modes), modes, medians)  # [..., K]
        except NotImplementedError:
            candidates = medians
        mixture = tfd.MixtureSameFamily(
            tfd.Categorical(logits=logits[..., tf.newaxis, :]),
            self._member([block[..., tf.newaxis, :] for block in blocks]),
        )
        best = tf.argmax(mixture.log_prob(candidates), axis=-1, output_type=tf.int32)
        return tf.cast(self._pick(candidates, best), self.dtype)

    def check(self, x: ArrayLike, name: str = "x") -> None:
        """Refuses NaN and infinities.

        Raises:
            ValueError: naming the first such value.
        """
        x = self._concrete(x, name)
        if x is None or x.dtype.kind != "f":
            return
        bad = ~(abs(x) < float("inf"))
        if bad.any():
            raise ValueError(f"{name} must hold finite numbers for {self!r}, got {x[bad][0]}")

    # --- parts ---

    def _constraints(self, dtype: tf.DType) -> dict[str, Any]:
        """Bijector of each parameter of the family, in TFP's order."""
        try:
            properties = self._class.parameter_properties(dtype=dtype)
        except NotImplementedError:
            raise ValueError(f"family {self.family} does not declare its parameters") from None
        bijectors = {}
        for name, spec in properties.items():
            if not (spec.is_preferred and spec.is_tensor):
                continue  # e.g. `rate` beside `log_rate`
            try:
                scalar = spec.event_ndims == 0
                bijector = spec.default_constraining_bijector_fn() if scalar else None
            except (NotImplementedError, TypeError):
                bijector = None
            if bijector is None:
                raise ValueError(f"family {self.family} has no automatic constraint for its parameter {name!r}")
            bijectors[name] = bijector
        if not bijectors:
            raise ValueError(f"family {self.family} has no scalar parameters")
        return bijectors

    def _try_quantile(self) -> None:
        """Refuses a family without a quantile, tried in a scratch graph, which computes nothing."""
        with tf.Graph().as_default():
            try:
                member = self._member([tf.zeros([1])] * self._num_parameters)
            except TypeError as error:
                raise ValueError(f"family {self.family} cannot be made: {error}") from error
            if not member.dtype.is_floating or member.event_shape.rank != 0:
                raise ValueError(f"family must be of continuous scalars, got {self.family}")
            try:
                member.quantile(tf.constant([0.5]))
            except NotImplementedError:
                raise ValueError(
                    f"family {self.family} has no quantile, so it cannot be sampled from noise; "
                    "use one that has, e.g. Normal, Logistic or Laplace"
                ) from None

    def _split(self, params: Tensor) -> list[Tensor]:
        """`params` [..., P] -> logits [..., K], then one [..., K] for each parameter."""
        return tf.split(params, 1 + self._num_parameters, axis=-1)

    def _member(self, blocks: list[Tensor], temperature: Tensor | None = None) -> Any:
        """Returns the family's distribution at unconstrained parameters; a `scale` is multiplied by T."""
        bijectors = self._constraints(blocks[0].dtype)
        arguments = {name: bijector(block) for (name, bijector), block in zip(bijectors.items(), blocks, strict=True)}
        if temperature is not None and "scale" in arguments:
            arguments["scale"] *= temperature
        return self._class(**arguments)

    def _pick(self, values: Tensor, index: Tensor) -> Tensor:
        """Entry `index` [...] of `values` [..., K]."""
        chosen = tf.equal(index[..., tf.newaxis], tf.range(self.num_components))
        return tf.reduce_sum(tf.where(chosen, values, tf.zeros_like(values)), axis=-1)

    def _draw(self, params: Tensor, noise: Tensor, temperature: Tensor) -> Tensor:
        logits, *blocks = self._split(params)
        index = index_from_uniform(logits / temperature[..., tf.newaxis], noise[..., 0])
        member = self._member([self._pick(block, index) for block in blocks], temperature)
        if self._class is tfd.Normal and params.dtype == tf.float32:
            value = member.loc + member.scale * _normal_quantile(noise[..., 1])
        else:
            value = member.quantile(noise[..., 1])
        return tf.cast(value, self.dtype)

    def _boundary_distance(self, params: Tensor, noise: Tensor, temperature: Tensor) -> Tensor:
        # The value itself is continuous in noise[..., 1]: only the component has boundaries.
        logits, *_ = self._split(params)
        return index_boundary_distance(logits / temperature[..., tf.newaxis], noise[..., 0])
