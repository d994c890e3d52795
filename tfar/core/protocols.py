"""What a model asks of its parts, as types: a network, a head, a condition; public as `tfar.typing`.

An own part needs no base class for a type checker, only what its protocol lists. `tfar.heads.Head` and
`tfar.core.Condition` implement most of theirs; a network is a `keras.layers.Layer` with the `call` of `NetworkCall`.

    B examples, C values per cell, F features per cell, G positions per cell, P parameters per position, k noise numbers

    x [B, *event_shape]  --head.encode-->  [B, *grid, F]  --network-->  [B, *grid, G * P]  = params [B, *positions, P]
    head.log_prob(params, x) -> nats [B, *positions]            head.sample(params, noise [..., k]) -> values
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import tensorflow as tf

if TYPE_CHECKING:
    from tfar.core.compiled import CompiledFunctions
    from tfar.core.request import Request
    from tfar.core.stage import Stage

# TensorFlow and Keras come without types, so a checker takes any object for a tensor; readers know better.
Tensor: TypeAlias = tf.Tensor
ArrayLike: TypeAlias = Any
"""An array that comes in: NumPy array, tensor, number, or a nested sequence of numbers."""

Shape: TypeAlias = tuple[int | None, ...]
"""A shape with what is left open as None."""

EventShape: TypeAlias = Sequence[int | None]
"""Shape of one example as an argument: (height, width, channels), (length,), or (None,) for any length."""


class NetworkCall(Protocol):
    """What the author of a network writes: `call`.

    A type checker takes a Keras layer for anything, since Keras comes without types, but it knows the layer's own
    methods: `call: NetworkCall = network.call` checks what `network: Network` cannot.

    Args:
        x: encoded cells [B, *grid, F]; in a step of a sequence [B, n, F], of an image [B, n, W, F] or [B, 1, 1, F].
        condition: features of the condition as `Condition.encode` makes them; None without one.

    Returns:
        [B, *grid, `event.num_outputs`], G * P numbers per cell: the parameters of the head.

    `order` (int32 [B, N]) and `member` (int32) are further arguments where a network evaluates several orders, and
    `training` where it has dropout.
    """

    def __call__(self, x: Tensor, condition: Any = None, /) -> Tensor:
        """Numbers for the head from encoded cells, causal in the order of drawing."""


class Network(Protocol):
    """A causal network: a `keras.layers.Layer` whose causal layers are attributes, or stand in lists and dictionaries.

    A stage calls it in parallel and inside of the incremental scope, finds the layers inside by their attributes (which
    name their state), reads `period` of those that have one, and `compute_dtype`.

    Example:
        >>> import keras, tfar
        >>> class Network(keras.layers.Layer):
        ...     def __init__(self, outputs: int):
        ...         super().__init__()
        ...         self.first = tfar.layers.CausalConv1D(8, 2, exclusive=True)
        ...         self.outputs = keras.layers.Dense(outputs)
        ...
        ...     def build(self, *shapes: object) -> None:
        ...         "Nothing to create."
        ...
        ...     def call(self, x: tfar.typing.Tensor, condition: object = None) -> tfar.typing.Tensor:
        ...         return self.outputs(self.first(x))
        >>> network: tfar.typing.Network = Network(4)
        >>> tfar.models.AutoregressiveModel(network, (3,), tfar.heads.Categorical(4), layout="sequence").event_shape
        (3,)
    """

    @property
    def compute_dtype(self) -> str:
        """Type that the layers compute in, "float32"."""

    @property
    def call(self) -> NetworkCall:
        """The function that the author writes."""

    def __call__(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Keras's call: `call` with the layer's dtype policy; it drops `training` where `call` does not name it."""


class Head(Protocol):
    """The distribution of every position, from P network outputs.

    It is bound to the channels of an event by `with_channels`, and saved by `get_config` and
    `keras.saving.register_keras_serializable`. `tfar.heads.Head` lacks `params_size`, `encode`, `distribution`,
    `mode`, `check`, `_draw` and `_boundary_distance`.
    """

    @property
    def autoregressive_channels(self) -> bool:
        """Whether every channel of a cell is a position of its own, ordered by the network."""

    @property
    def event_ndims(self) -> int:
        """0 where a position holds a scalar, 1 where it holds the channels of a cell, [C]."""

    @property
    def dtype(self) -> tf.DType:
        """Type of the data values, tf.int32 or tf.float32."""

    @property
    def levels(self) -> int | None:
        """Number of values 0, 1, ... of a discrete variable; None for continuous data."""

    @property
    def params_size(self) -> int:
        """P, network outputs per position."""

    @property
    def noise_size(self) -> int:
        """Uniform numbers that a draw of one position takes, k."""

    def with_channels(self, channels: int) -> Head:
        """The head for cells of so many channels; the configuration stays the same."""

    def encode(self, x: ArrayLike) -> Tensor:
        """Data values of any numeric type -> float input of the network, of the same shape or with more features."""

    def distribution(self, params: ArrayLike) -> Any:
        """`tfp.distributions.Distribution` of data values, batch [...], from params [..., P]."""

    def log_prob(self, params: ArrayLike, x: ArrayLike) -> Tensor:
        """Nats [...] of data values [...] (or [..., C]) from params [..., P]."""

    def logits(self, params: ArrayLike) -> Tensor:
        """Unnormalized log-probabilities [..., levels] from params [..., P]; ValueError without levels."""

    def mode(self, params: ArrayLike) -> Tensor:
        """A most probable value per position, [...] (or [..., C])."""

    def sample(
        self,
        params: ArrayLike,
        noise: ArrayLike,
        temperature: ArrayLike = 1.0,
        *,
        value: ArrayLike | None = None,
        observed: ArrayLike | None = None,
    ) -> Tensor:
        """A draw of type `dtype`, [...] (or [..., C]), from params [..., P] and noise [..., k] in (0, 1).

        `value` is kept where `observed` is True.
        """

    def boundary_distance(self, params: ArrayLike, noise: ArrayLike, temperature: ArrayLike = 1.0) -> Tensor:
        """Least distance [...] of the noise to a boundary between two draws."""

    def check(self, x: ArrayLike, name: str = "x") -> None:
        """Raises ValueError for concrete values outside of the support, naming `name` and the first of them."""

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal head."""


@runtime_checkable
class Condition(Protocol):
    """A kind of side information h of p(x | h): which values are accepted, and how they become features.

    It is saved as a head is. `tfar.core.Condition` has all of it for values of a fixed `shape`; a subclass sets
    `shape`, `dtype`, `meaning`, `accepted` and writes `encode`.
    """

    @property
    def dtype(self) -> tf.DType:
        """Type of the values."""

    @property
    def shape(self) -> Shape:
        """Shape of one value; None where it follows from the event."""

    @property
    def meaning(self) -> str:
        """What a value is, in a line for the users of a model."""

    @property
    def accepted(self) -> str:
        """Which values are accepted, as it stands behind "condition must"."""

    @property
    def num_labels(self) -> int | None:
        """Number of labels where values are labels 0, 1, ..."""

    @property
    def hop(self) -> int | None:
        """Elements of the event for each frame, where a value is a sequence of frames."""

    @property
    def parts(self) -> tuple[Condition, ...]:
        """The conditions that it consists of: itself, where it is one."""

    def encode(self, value: Any) -> Any:
        """Values [B, *shape] -> float features, a tensor [B, ...] or a nesting of such."""

    def prepare(self, value: Any, num: Any, event_shape: Any = None) -> Any:
        """Checks the values of `num` events (one for each, or one for all); returns them as tensors."""

    def wrong(self, value: Tensor) -> Tensor:
        """True where an entry of a batch of values is not accepted; for checks inside of a graph."""

    def value_shape(self, event_shape: EventShape) -> Shape:
        """Shape of one value beside an event of this shape."""

    def describe(self) -> dict[str, Any]:
        """Kind and arguments, for JSON."""

    def example(self, event_shape: EventShape, num: int = 1, seed: int | None = None, open_size: int = 2) -> Any:
        """Accepted values of `num` events, [num, *value_shape]; zeros, or random where a seed is given."""

    def get_config(self) -> dict[str, Any]:
        """Arguments that make an equal condition."""


class Model(Protocol):
    """What `tfar.sampling` asks of a model."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The parts of the model in the order in which they are drawn."""

    @property
    def longest_event(self) -> int | None:
        """Elements of the longest event; None where the event has a length, or there is no limit."""

    @property
    def compiled_functions(self) -> CompiledFunctions:
        """The functions that were compiled for this model."""

    def for_drawing(self) -> Model:
        """The model in the precision in which it is drawn: itself, or a copy."""

    def request(self, condition: Any = None, num: Any = None, event_shape: Any = None) -> Request:
        """The arguments of a call besides the event, checked."""

    def context(self, request: Request) -> Request:
        """The request with features for its condition."""
