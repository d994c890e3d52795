"""One small network per conditional: net i computes the parameters of p(x_i | parents of i) from its parents alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.orderings import Ordering, raster
from tfar.core.sizes import batch_size
from tfar.core.slicing import entry, put, take
from tfar.layers.weighted import WeightedLayer


@keras.saving.register_keras_serializable("tfar")
class ConditionalNetworks(WeightedLayer):
    """A network of its own for every node of a directed acyclic graph, each over the node's parents.

        a_i = f(b_i + sum_(j in parents(i)) W_ij x_j + V_i h)        hidden layer (there may be none, or several)
        y_i = c_i + U_i a_i + T_i h                                  a node without parents: y_i = c_i + T_i h

    Kernels are packed: W holds the rows of the graph's edges and nothing else, net by net in the order of drawing, so
    that net i of the complete graph begins at row i(i - 1)/2. The parallel pass places them into a dense kernel whose
    other entries are 0 (weights only, once per batch) and multiplies once; a step reads the rows of one net.

        edges of the complete graph on 4 nodes         dense kernel (to the right: target)
        row  0    1 2    3 4 5                         .  0  1  3
        net  1    2 2    3 3 3                         .  .  2  4
                                                       .  .  .  5
                                                       .  .  .  .

    Args:
        num_nodes: number of nodes D.
        units: outputs of every net.
        parents: for every node the nodes that it sees, all of them earlier in `ordering`; None: every earlier node.
        hidden: sizes of the hidden layers of every net; () gives linear nets.
        activation: f, a name or a function of Keras.
        ordering: order of drawing over the nodes (any shape of D elements); raster by default.

    Input shape `[B, D, F]` and, where there is a condition, `[B, C]`; output shape `[B, D, units]`.

    Raises:
        ValueError: a parent does not exist, is named twice or does not come before its child.

    Example:
        >>> import tensorflow as tf
        >>> layer = ConditionalNetworks(3, 1, parents=[[], [0], [0]])
        >>> y = layer(tf.zeros([2, 3, 1]))
        >>> tuple(y.shape), layer.count_params()      # 2 edges and 3 biases
        ((2, 3, 1), 5)
    """

    exclusive = True  # in a step the input is the element before

    positions_share_weights = False  # see `tfar.sampling.side_by_side`

    def __init__(
        self,
        num_nodes: int,
        units: int,
        parents: Sequence[Sequence[int]] | None = None,
        hidden: Sequence[int] = (),
        activation: Any = "relu",
        ordering: Ordering | Sequence[int] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        for name, value in (("num_nodes", num_nodes), ("units", units), *(("hidden", size) for size in hidden)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        ordering = raster(num_nodes) if ordering is None else ordering
        ordering = ordering if isinstance(ordering, Ordering) else Ordering(ordering)
        if ordering.ranks.size != num_nodes:
            raise ValueError(f"ordering must have {num_nodes} elements, got {ordering.ranks.size}")
        self.num_nodes, self.units, self.hidden = num_nodes, units, list(hidden)
        self.activation = keras.activations.get(activation)
        self._parents = None if parents is None else [list(map(int, row)) for row in parents]
        self._ranks, self._permutation = ordering.ranks.reshape(-1), ordering.permutation
        self._ordering = self._ranks  # of nodes, whatever the shape of their elements
        # From here on a node is its rank. An edge leads from source to target; edges are sorted by target, source.
        before = self._edges_by_rank()
        counts = np.array([len(row) for row in before], np.int32)
        self._sources = np.concatenate([np.asarray(row, np.int32) for row in before]).astype(np.int32)
        self._targets = np.repeat(np.arange(num_nodes, dtype=np.int32), counts)
        self._num_edges, self._most = int(counts.sum()), int(counts.max())
        # A step slices `most` rows whatever the net; the slice of a late net is moved so that it ends with the kernel.
        self._starts = np.minimum(np.cumsum(counts) - counts, self._num_edges - self._most).astype(np.int32)
        self._fan_in = np.repeat(counts, counts)
        # Nodes without parents have no net, only a bias: nets are numbered by `slots`.
        self._nets = np.flatnonzero(counts).astype(np.int32)
        self._slots = np.where(counts > 0, np.cumsum(counts > 0) - 1, -1).astype(np.int32)

    def _edges_by_rank(self) -> list[np.ndarray]:
        if self._parents is None:
            return [np.arange(rank) for rank in range(self.num_nodes)]
        if len(self._parents) != self.num_nodes:
            raise ValueError(f"parents must have a row for each of {self.num_nodes} nodes, got {len(self._parents)}")
        before: list[np.ndarray] = [np.zeros(0, np.int32)] * self.num_nodes
        for node, row in enumerate(self._parents):
            if any(not 0 <= parent < self.num_nodes for parent in row) or len(set(row)) != len(row):
                raise ValueError(f"parents of node {node} must be different nodes below {self.num_nodes}, got {row}")
            ranks = np.sort(self._ranks[row]) if row else np.zeros(0, np.int32)
            if row and ranks[-1] >= self._ranks[node]:
                late = int(self._permutation[ranks[-1]])
                raise ValueError(f"parents must come before their children: {late} is drawn after its child {node}")
            before[self._ranks[node]] = ranks
        return before

    def build(self, x_shape: tuple[int | None, ...], condition_shape: tuple[int | None, ...] | None = None) -> None:
        """Creates the packed kernel, the kernels of the later layers, the biases and the condition's kernels."""
        if condition_shape is not None and len(condition_shape) != 2:
            raise ValueError(f"a condition of {type(self).__name__} must be [batch, features], got {condition_shape}")
        features, nets = x_shape[-1], len(self._nets)
        sizes = (*self.hidden, self.units)
        self.kernel = self.hidden_condition_kernel = self.condition_kernel = None
        self.hidden_biases, self.hidden_kernels = [], []
        if nets:
            fan_in = self._fan_in[:, None, None] * features
            shape = (self._num_edges, features, sizes[0])
            self.kernel = self.add_weight(shape=shape, initializer=_uniform(fan_in), name="kernel")
            for i, size in enumerate(self.hidden):
                bias = self.add_weight(shape=(nets, size), initializer="zeros", name=f"hidden_bias_{i}")
                shape = (nets, size, sizes[i + 1])
                kernel = self.add_weight(shape=shape, initializer=_uniform(size), name=f"hidden_kernel_{i}")
                self.hidden_biases.append(bias)
                self.hidden_kernels.append(kernel)
        self.bias = self.add_weight(shape=(self.num_nodes, self.units), initializer="zeros", name="bias")
        if condition_shape is not None:
            width = condition_shape[-1]
            shape = (self.num_nodes, width, self.units)
            self.condition_kernel = self.add_weight(shape=shape, initializer=_uniform(width), name="condition_kernel")
            if nets and self.hidden:
                shape = (nets, width, sizes[0])
                self.hidden_condition_kernel = self.add_weight(
                    shape=shape, initializer=_uniform(width), name="hidden_condition_kernel"
                )

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None) -> tf.Tensor:
        """[B, D, F] -> [B, D, units]."""
        condition = None if condition is None else tf.cast(condition, x.dtype)
        scope = scopes.current()
        if scope is None:
            y = self._all_nets(tf.gather(x, self._permutation, axis=1), condition)
            return tf.gather(y, self._ranks, axis=1)
        if scope.phase != "step":
            raise RuntimeError(f"layer {self.name!r} works on sequences and has no {scope.phase} phase")
        state = scope.state_of(self)
        seen = state.read("seen", [self.num_nodes, batch_size(x), x.shape[-1]], x.dtype)
        # The element before the first goes into the place of the last node, which is no node's parent.
        places = (scope.positions - 1) % self.num_nodes
        if scope.varies:
            seen = put(seen, entry(places[:, 0]), x[:, 0])
        else:
            seen = tf.tensor_scatter_nd_update(seen, places[:, None], tf.transpose(x, [1, 0, 2]))
        state.write("seen", seen)
        if scope.length > 1 or scope.varies:  # every example has another net
            return take(self._all_nets(tf.transpose(seen, [1, 0, 2]), condition), 1, scope.at, scope.length)
        return self._one_net(seen, scope.at, condition)[:, None]

    def _all_nets(self, x: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
        """Cells in the order of drawing [B, D, F] -> outputs in the same order [B, D, units]."""
        y = tf.cast(self.bias, x.dtype)
        if condition is not None:
            y += tf.einsum("bc,dcu->bdu", condition, tf.cast(self.condition_kernel, x.dtype))
        if self.kernel is None:
            return y if condition is not None else tf.repeat(y[None], batch_size(x), 0)
        nets, units = len(self._nets), self.kernel.shape[-1]
        flat = tf.reshape(x, [-1, self.num_nodes * x.shape[-1]])
        a = tf.reshape(tf.matmul(flat, tf.cast(self._dense_kernel(), x.dtype)), [-1, nets, units])
        for i, (bias, kernel) in enumerate(zip(self.hidden_biases, self.hidden_kernels, strict=True)):
            a += tf.cast(bias, x.dtype)
            if i == 0 and condition is not None:
                a += tf.einsum("bc,ncu->bnu", condition, tf.cast(self.hidden_condition_kernel, x.dtype))
            a = tf.einsum("bnh,nhu->bnu", self.activation(a), tf.cast(kernel, x.dtype))
        return y + _place(a, self._slots, self._nets, axis=1)

    def _dense_kernel(self) -> tf.Tensor:
        """Unpacks the kernel: [D * F, nets * units of the first layer], 0 where there is no edge."""
        nets = len(self._nets)
        places = self._sources.astype(np.int64) * nets + self._slots[self._targets]
        rows = np.full(self.num_nodes * nets, -1, np.int32)
        rows[places] = np.arange(self._num_edges)
        _, features, units = self.kernel.shape
        dense = _place(tf.convert_to_tensor(self.kernel), rows, places.astype(np.int32), axis=0)
        if features > 1:
            dense = tf.transpose(tf.reshape(dense, [self.num_nodes, nets, features, units]), [0, 2, 1, 3])
        return tf.reshape(dense, [self.num_nodes * features, nets * units])

    def _one_net(self, seen: tf.Tensor, rank: Any, condition: tf.Tensor | None) -> tf.Tensor:
        """Outputs [B, units] of the net of one rank from the cells seen so far, [D, B, F]."""
        dtype = seen.dtype
        y = tf.cast(tf.gather(self.bias, rank), dtype)[None]
        if condition is not None:
            y += tf.matmul(condition, tf.cast(tf.gather(self.condition_kernel, rank), dtype))
        if self.kernel is None:
            return y if condition is not None else tf.repeat(y, tf.shape(seen)[1], 0)
        start = tf.gather(self._starts, rank)
        own = take(tf.constant(self._targets), 0, start, self._most) == rank
        sources = take(tf.constant(self._sources), 0, start, self._most)
        rows = take(tf.convert_to_tensor(self.kernel), 0, start, self._most)
        rows = tf.cast(tf.where(own[:, None, None], rows, tf.zeros_like(rows)), dtype)
        a = tf.einsum("mbf,mfu->bu", tf.gather(seen, sources), rows)
        slot = tf.gather(self._slots, rank)
        net = tf.maximum(slot, 0)
        for i, (bias, kernel) in enumerate(zip(self.hidden_biases, self.hidden_kernels, strict=True)):
            a += tf.cast(tf.gather(bias, net), dtype)
            if i == 0 and condition is not None:
                a += tf.matmul(condition, tf.cast(tf.gather(self.hidden_condition_kernel, net), dtype))
            a = tf.matmul(self.activation(a), tf.cast(tf.gather(kernel, net), dtype))
        return y + tf.where(slot >= 0, a, tf.zeros_like(a))

    def compute_output_shape(
        self, x_shape: tuple[int | None, ...], condition_shape: tuple[int | None, ...] | None = None
    ) -> tuple[int | None, ...]:
        """[B, D, units]."""
        return (*x_shape[:-1], self.units)


def _uniform(fan_in: Any) -> Any:
    """Initializer of variance 1 / fan_in, where the fan-in counts the edges that exist (an array: one per row)."""
    uniform = keras.initializers.RandomUniform(-1.0, 1.0)
    limit = np.sqrt(3.0 / np.asarray(fan_in, np.float32))

    def initialize(shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
        return uniform(shape, dtype=dtype) * tf.cast(limit, dtype)

    return initialize


def _place(x: tf.Tensor, index: np.ndarray, places: np.ndarray, axis: int) -> tf.Tensor:
    """y[k] = x[index[k]] along `axis`, 0 where index[k] < 0; `places` is the inverse, x[j] = y[places[j]].

    TensorFlow would differentiate the gather into a scatter, which runs one row after the other; since no row is
    used twice the gradient is a gather as well.
    """
    index = np.where(index < 0, x.shape[axis], index).astype(np.int32)
    one_zero = [[0, int(i == axis)] for i in range(x.shape.rank)]

    @tf.custom_gradient
    def place(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return tf.gather(tf.pad(x, one_zero), index, axis=axis), lambda dy: tf.gather(dy, places, axis=axis)

    return place(x)
