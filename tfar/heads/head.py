"""The base class of heads, which map network outputs to one distribution per position.

    p(x | h) = prod_i p(x_i | params_i)          params_i = network(x_1, ..., x_{i-1}, h)_i

The loss and the sampler read the parameters through the same head, so they cannot disagree about
them. A draw is a deterministic function of uniform noise (inverse distribution function), made of
plain arithmetic only: the eager, compiled, SavedModel and LiteRT samplers draw the same value from
the same noise.

This file also holds the one inverse distribution function over indices that all heads share.
"""

from __future__ import annotations

import copy

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from tfar.core.checks import checked_integer
from tfar.core.configured import Configured
from tfar.core.protocols import ArrayLike, Tensor

# Temperature 0 means the limit. This is small enough for it, yet logits up to 1e18 stay finite.
_MIN_TEMPERATURE = 1e-20


# === Inverse distribution function over indices ===


def cumulative_weights(logits: tf.Tensor) -> tuple[Tensor, Tensor]:
    """Unnormalised probabilities of the indices and their running sum.

    The sum is a doubling scan (s = 1, 2, 4, ...: c[i] += c[i - s]) rather than `tf.cumsum`. Its
    additions are spelled out, so every backend adds in the same order, the error grows with
    log2(n), and XLA on CPU runs it 4 times faster (16 x 256: 27 us against 99 us, equal in a plain
    graph).

    Args:
        logits: [..., n], n static.

    Returns:
        exp(logits - max) [..., n] and its inclusive running sum [..., n].
    """
    weights = tf.exp(logits - tf.reduce_max(logits, axis=-1, keepdims=True))
    total, shift = weights, 1
    front = [[0, 0]] * (logits.shape.rank - 1)
    while shift < logits.shape[-1]:
        total += tf.pad(total[..., :-shift], [*front, [shift, 0]])
        shift *= 2
    return weights, total


def index_from_uniform(logits: tf.Tensor, uniform: tf.Tensor) -> Tensor:
    """Inverse distribution function of softmax(logits): the first index with cdf above `uniform`.

        index = #{i < n-1 : cdf_i <= u},     cdf_i = sum_{j <= i} softmax(logits)_j

    written so that rounding can never select an index of probability zero (logit -inf).

    Args:
        logits: [..., n], n static.
        uniform: [...] in the open interval (0, 1).

    Returns:
        int32 [...].
    """
    weights, total = cumulative_weights(logits)
    indices = tf.range(logits.shape[-1], dtype=tf.int32)
    possible = weights > 0.0
    # Where rounding leaves no cdf above u, the interval that holds u is the last possible index's.
    last = tf.reduce_max(tf.where(possible, indices, 0), axis=-1, keepdims=True)
    above = possible & (total > uniform[..., tf.newaxis] * total[..., -1:])
    return tf.reduce_min(tf.where(above, indices, last), axis=-1)


def index_boundary_distance(logits: tf.Tensor, uniform: tf.Tensor) -> Tensor:
    """Distance [...] of `uniform` [...] to the nearest inner boundary of `index_from_uniform`."""
    if logits.shape[-1] == 1:
        return tf.ones_like(uniform)  # no boundary: nothing in (0, 1) is further than 1
    _, total = cumulative_weights(logits)
    boundaries = total[..., :-1] / total[..., -1:]
    return tf.reduce_min(tf.abs(uniform[..., tf.newaxis] - boundaries), axis=-1)


# === The base class ===


class Head(Configured):
    """One distribution per position, from `params_size` network outputs per position.

    A head is immutable, equal to another of the same class and configuration, and saved with its
    model by `get_config`. All arithmetic is float32 whatever the precision policy (bfloat16
    parameters are widened first), or float64 when the parameters are.

    Subclasses set the class attributes, keep the arguments of their constructors as `Configured`
    says, implement `params_size`, `encode`, `distribution`, `mode`, `check`, `_draw` and `_boundary_distance`.

    Attributes:
        autoregressive_channels: True when every channel of a pixel is a position of its own,
            ordered by the network. False when one position is a pixel with all its channels, which
            the head orders itself.
        event_ndims: 0 when a position holds a scalar, 1 when it holds a vector of channels.
        dtype: dtype of data values, tf.int32 or tf.float32.
        levels: number of values that a discrete variable can take, 0 ... levels-1; None for
            continuous data.
        bits_offset: bits per dimension to add to -log2 p. 0 for every head: discrete likelihoods
            need none, and densities are reported on the data's own scale.
    """

    autoregressive_channels: bool = True
    event_ndims: int = 0
    dtype: tf.DType = tf.int32
    levels: int | None = None
    bits_offset: float = 0.0

    _channels: int | None = None

    # --- configuration ---

    def with_channels(self, channels: int) -> Head:
        """Returns a copy bound to data of `channels` channels (1 for vectors and sequences).

        The binding follows from the event shape, so it is no part of the configuration.
        """
        bound = copy.copy(self)
        bound._channels = checked_integer("channels", channels, low=1)
        return bound

    def __eq__(self, other: object) -> bool:
        """Same class and configuration; the binding to channels does not count."""
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"

    # --- the distribution ---

    @property
    def params_size(self) -> int:
        """P, network outputs per position."""
        raise NotImplementedError

    @property
    def noise_size(self) -> int:
        """k, uniform numbers consumed per position; 1 unless a head says otherwise."""
        return 1

    def encode(self, x: ArrayLike) -> Tensor:
        """Data values of any numeric dtype -> float32 network input of the same shape."""
        raise NotImplementedError

    def distribution(self, params: ArrayLike) -> tfp.distributions.Distribution:
        """Returns the distributions of data values, batch_shape [...], from params [..., P]."""
        raise NotImplementedError

    def log_prob(self, params: ArrayLike, x: ArrayLike) -> Tensor:
        """Log probability of each position in nats.

        Args:
            params: [..., P].
            x: data values [...] (or [..., C]), any numeric dtype.

        Returns:
            float32 [...] (float64 when params are).
        """
        return self.distribution(params).log_prob(tf.cast(x, self.dtype))

    def logits(self, params: ArrayLike) -> Tensor:
        """Unnormalized log-probabilities of all values of a position, [..., levels], from params [..., P].

        Raises:
            ValueError: a position holds no single value of so many levels.
        """
        if self.levels is None or self.event_ndims:
            raise ValueError(f"logits are of heads with levels and one value per position, this is {self!r}")
        return self.log_prob(self._params(params)[..., None, :], tf.range(self.levels))

    def mode(self, params: ArrayLike) -> Tensor:
        """Returns a most probable value per position, [...] (or [..., C]), from params [..., P]."""
        raise NotImplementedError

    # --- sampling from noise ---

    def sample(
        self,
        params: ArrayLike,
        noise: ArrayLike,
        temperature: ArrayLike = 1.0,
        *,
        value: ArrayLike | None = None,
        observed: ArrayLike | None = None,
    ) -> Tensor:
        """Draws a value per position: the inverse distribution function at `noise`.

        Args:
            params: [..., P].
            noise: [..., k], uniform in the open interval (0, 1).
            temperature: scalar or broadcastable to [...], at least 0. Logits are divided by it (and
                scales of mixtures multiplied by it); 0 is the limit: the greatest logit wins (ties
                split).
            value: data values [...] (or [..., C]) to keep where `observed`.
            observed: bool, shape of `value`.

        Returns:
            `dtype` [...] (or [..., C]).
        """
        params, noise, temperature = self._arguments(params, noise, temperature)
        draw = self._draw(params, noise, temperature)
        if observed is None:
            return draw
        return tf.where(observed, tf.cast(value, self.dtype), draw)

    def boundary_distance(self, params: ArrayLike, noise: ArrayLike, temperature: ArrayLike = 1.0) -> Tensor:
        """Least distance of a noise number to a boundary between two draws.

        Two samplers whose parameters differ by rounding may draw different values only where this
        is tiny: there the difference is a tie of rounding, elsewhere a bug.

        Args:
            params: [..., P].
            noise: [..., k], uniform in the open interval (0, 1).
            temperature: as for `sample`.

        Returns:
            float [...], in units of probability.
        """
        return self._boundary_distance(*self._arguments(params, noise, temperature))

    def _draw(self, params: Tensor, noise: Tensor, temperature: Tensor) -> Tensor:
        raise NotImplementedError

    def _boundary_distance(self, params: Tensor, noise: Tensor, temperature: Tensor) -> Tensor:
        raise NotImplementedError

    # --- validation ---

    def check(self, x: ArrayLike, name: str = "x") -> None:
        """Raises ValueError for concrete values outside the support; symbolic tensors pass."""
        raise NotImplementedError

    def _concrete(self, x: ArrayLike, name: str) -> np.ndarray | None:
        """`x` as a numeric array, or None when it is symbolic or empty."""
        if keras.utils.is_keras_tensor(x) or (tf.is_tensor(x) and tf.is_symbolic_tensor(x)):
            return None
        x = np.asarray(x)
        if x.dtype == tf.bfloat16.as_numpy_dtype:
            x = x.astype(np.float32)
        if x.dtype.kind not in "biuf":
            raise ValueError(f"{name} must be numeric, got dtype {x.dtype}")
        return x if x.size else None

    def _check_levels(self, x: ArrayLike, name: str, hint: str = "") -> None:
        """Refuses anything but whole numbers 0 ... levels-1."""
        x, levels = self._concrete(x, name), self.levels
        if x is None or levels is None or x.dtype.kind == "b":
            return
        accepted = "0 and 1" if levels == 2 else f"whole numbers from 0 to {levels - 1}"
        bad = (x < 0) | (x > levels - 1)
        if x.dtype.kind == "f":
            bad |= x != np.floor(x)  # NaN differs from itself
        if bad.any():
            raise ValueError(f"{name} must hold {accepted} for {self!r}, got {x[bad][0]}{hint}")

    def _params(self, params: ArrayLike) -> Tensor:
        """`params` in at least float32, refused unless [..., P]."""
        params = tf.convert_to_tensor(params)
        if params.shape.rank == 0 or params.shape[-1] != self.params_size:
            raise ValueError(f"params must have shape [..., {self.params_size}] for {self!r}, got {params.shape}")
        return params if params.dtype == tf.float64 else tf.cast(params, tf.float32)

    def _arguments(self, params: ArrayLike, noise: ArrayLike, temperature: ArrayLike) -> tuple[Tensor, Tensor, Tensor]:
        """`params` [..., P], `noise` [..., k] and a positive `temperature`, of one dtype."""
        params = self._params(params)
        noise = tf.convert_to_tensor(noise)
        if noise.shape.rank == 0 or noise.shape[-1] != self.noise_size:
            raise ValueError(f"noise must have shape [..., {self.noise_size}] for {self!r}, got {noise.shape}")
        if isinstance(temperature, (int, float)) and not temperature >= 0:
            raise ValueError(f"temperature must be at least 0, got {temperature}")
        temperature = tf.maximum(tf.cast(temperature, params.dtype), _MIN_TEMPERATURE)
        return params, tf.cast(noise, params.dtype), temperature
