"""Types for annotations: what a model takes as its parts, and the arrays and shapes of every signature.

tfar.typing.Network, NetworkCall     a causal network, and the `call` that its author writes
tfar.typing.Head                     the distribution of every position
tfar.typing.Condition                side information h of p(x | h)
tfar.typing.Model                    what decoding asks of a model
tfar.typing.ArrayLike, Tensor        arrays that come in, tensors that go out
tfar.typing.EventShape, Shape        shape of an event as an argument, shape of anything
"""

from tfar.core.protocols import ArrayLike, Condition, EventShape, Head, Model, Network, NetworkCall, Shape, Tensor

__all__ = ["ArrayLike", "Condition", "EventShape", "Head", "Model", "Network", "NetworkCall", "Shape", "Tensor"]
