"""Dense layers of MADE: masked by degrees; each weight is used once while a sample is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core import scope as scopes
from tfar.core.invariants import invariant
from tfar.core.sizes import batch_size
from tfar.layers.weighted import WeightedLayer

# Outputs of up to so many numbers per element are pushed: the sums of all elements still fit into a cache, and a pull
# would multiply by matrices too narrow to be fast.
_PUSHED_FEATURES = 8


@keras.saving.register_keras_serializable("tfar")
class MaskedDense(WeightedLayer):
    """y = b + x (K * M) + h V, masked by degrees; layers of MADE.

    A degree is the rank of the last element that something depends on. An element x_d has the rank of its place in
    the order, a hidden unit of degree m knows the elements of ranks 0, ..., m. A layer maps elements [B, N, F] or
    units [B, in] to

        units [B, out]                M[i, j] = 1 where out_degrees[j] >= in_degrees[i]
        elements [B, N, features]     M[i, j] = 1 where out_degrees[j] >  in_degrees[i]

    and all features of an element share its degree. The mask is multiplied into the kernel in every forward pass.
    For the order x2, x3, x1 and hidden units of degrees 0, 1, 0, 1:

                      hidden                             output
        degree       0 1 0 1                degree      2 0 1
          2    x1    . . . .                  0         x . x
          0    x2    x x x x                  1         x . .
          1    x3    . x . x                  0         x . x
                                              1         x . .        p(x2) p(x3 | x2) p(x1 | x2, x3)

    At step t the input elements are those of ranks t - 1, ..., t + n - 2 (for n positions), the output elements those
    of ranks t, ..., t + n - 1, both [B, n, F]. Units stay [B, units]: those of degrees up to t + n - 2 are complete,
    the others hold partial sums that are not read. Every weight works once in N steps:

        push     acc += x[:, fresh] (K * M)[fresh, :]     fresh = inputs of degree t - 1; the state is acc
        pull     y_t = b_t + x (K * M)[:, t]              to elements of many features, whose sums would not fit into a
                                                          cache; no state, or the elements seen so far

    Args:
        in_degrees: int [N] or [in]; [M, ...] gives the layer M members, one of which `call` uses.
        out_degrees: int [out] or [N]; or [M, ...].
        features: numbers per output element; None where the outputs are units.
        use_bias: whether to add b.
        kernel_initializer: of the kernel [in * F, out * features]; by default Glorot's uniform distribution with the
            mean number of unmasked inputs and outputs.

    Raises:
        ValueError: degrees of a wrong shape; ranks of elements that are not a permutation.

    Example:
        >>> layer = MaskedDense([2, 0, 1], [0, 1, 0, 1])
        >>> layer.mask().numpy().astype(int).tolist()
        [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1]]

    References:
        Germain, Gregor, Murray, Larochelle, MADE: Masked Autoencoder for Distribution Estimation, 2015.
    """

    positions_share_weights = False  # see `tfar.sampling.side_by_side`

    def __init__(
        self,
        in_degrees: Sequence[Any] | np.ndarray,
        out_degrees: Sequence[Any] | np.ndarray,
        features: int | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.in_degrees = _degrees("in_degrees", in_degrees)
        self.out_degrees = _degrees("out_degrees", out_degrees)
        if len(self.in_degrees) != len(self.out_degrees):
            raise ValueError(
                f"out_degrees must have as many members as in_degrees, {len(self.in_degrees)}, "
                f"got {len(self.out_degrees)}"
            )
        if features is not None:
            if features < 1:
                raise ValueError(f"features must be at least 1, or None for units, got {features}")
            _check_ranks("out_degrees", self.out_degrees)
        self.features, self.use_bias = features, use_bias
        self.kernel_initializer = None if kernel_initializer is None else keras.initializers.get(kernel_initializer)

    @property
    def num_members(self) -> int:
        """Number of mask sets M."""
        return len(self.in_degrees)

    @property
    def exclusive(self) -> bool:
        """Whether outputs see strictly smaller degrees, as elements do; a step then gets the element before."""
        return self.features is not None

    def build(
        self,
        x_shape: tuple[int | None, ...],
        condition_shape: tuple[int | None, ...] | None = None,
        member_shape: tuple[int | None, ...] | None = None,
    ) -> None:
        """Creates kernel and bias, and V where there is a condition."""
        del member_shape
        inputs, outputs = self.in_degrees.shape[1], self.out_degrees.shape[1]
        self._from_elements = len(x_shape) == 3
        if self._from_elements:
            _check_ranks("in_degrees", self.in_degrees)
        if x_shape[1] != inputs:
            raise ValueError(f"the input must be [B, {inputs}] or [B, {inputs}, F] as in_degrees, got {x_shape}")
        self._in_features = x_shape[2] if self._from_elements else 1
        rows, columns = inputs * self._in_features, outputs * (self.features or 1)
        initializer = self.kernel_initializer or self._glorot(rows, columns)
        self.kernel = self.add_weight(shape=(rows, columns), initializer=initializer, name="kernel", used=self._used())
        self.bias = self.add_weight(shape=(columns,), initializer="zeros", name="bias") if self.use_bias else None
        self.condition_kernel = None
        if condition_shape is not None:
            shape = (condition_shape[-1], columns)
            self.condition_kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="condition_kernel")
        # The units that become known at every step, and the cell of every rank.
        self._fresh, self._fresh_degrees = _fresh_units(np.repeat(self.in_degrees, self._in_features, 1))
        self._in_cells = np.argsort(self.in_degrees, 1).astype(np.int32)
        self._out_cells = np.argsort(self.out_degrees, 1).astype(np.int32)

    def _used(self) -> np.ndarray:
        """The entries of the kernel that a member uses, bool [in * F, out * features]."""
        pairs = zip(self.in_degrees, self.out_degrees, strict=True)
        used = np.any([self._sees(i[:, None], o) for i, o in pairs], 0)
        return np.repeat(np.repeat(used, self._in_features, 0), self.features or 1, 1)

    def _glorot(self, rows: int, columns: int) -> keras.initializers.Initializer:
        pairs = zip(self.in_degrees, self.out_degrees, strict=True)
        below = [np.searchsorted(np.sort(i), o, "left" if self.exclusive else "right") / len(i) for i, o in pairs]
        limit = np.sqrt(6.0 / (max(float(np.mean(below)), 1.0 / rows) * (rows + columns)))
        return keras.initializers.RandomUniform(-limit, limit)

    def mask(self, member: int | tf.Tensor | None = None) -> tf.Tensor:
        """Returns the mask of a member, bool [in, out], one entry per pair of degrees.

        Args:
            member: index of the member; None where there is one only.
        """
        return self._sees(self._of(self.in_degrees, member)[:, None], self._of(self.out_degrees, member))

    def _sees(self, in_degrees: tf.Tensor, out_degrees: tf.Tensor) -> tf.Tensor:
        return out_degrees > in_degrees if self.exclusive else out_degrees >= in_degrees

    def _of(self, table: np.ndarray, member: Any) -> tf.Tensor:
        """Returns the entry of a table [M, ...] that belongs to a member, or one per example [B, ...]."""
        if member is not None:
            return tf.gather(table, member)
        if self.num_members > 1:
            raise ValueError(f"member is needed: the layer has {self.num_members} members")
        return tf.constant(table[0])

    def call(self, x: tf.Tensor, condition: tf.Tensor | None = None, member: tf.Tensor | None = None) -> tf.Tensor:
        """Elements or units in, elements or units out.

        Args:
            x: [B, N, F] or [B, in].
            condition: h [B, d], which every unit sees.
            member: index of the member, a scalar or one per example [B]; None where there is one only.

        Returns:
            [B, out] or [B, N, features].
        """
        scope = scopes.current()
        if scope is not None:
            if scope.phase != "step":
                raise RuntimeError(f"layer {self.name!r} belongs to flat events and has no phase {scope.phase!r}")
            pull = self.features is not None and self.features > _PUSHED_FEATURES
            return tf.cast((self._pull if pull else self._push)(x, condition, member, scope), x.dtype)
        y = self._multiply(tf.reshape(x, [-1, self.kernel.shape[0]]), member)
        y = self._add(y, self.bias, self._project(condition, self.condition_kernel, y.dtype))
        return y if self.features is None else tf.reshape(y, [-1, self.out_degrees.shape[1], self.features])

    def _multiply(self, x: tf.Tensor, member: Any) -> tf.Tensor:
        def masked(member: Any) -> tf.Tensor:
            mask = tf.cast(self.mask(member), x.dtype)
            mask = tf.repeat(mask, self._in_features, 0) if self._in_features > 1 else mask
            mask = tf.repeat(mask, self.features, 1) if (self.features or 1) > 1 else mask
            return tf.cast(self.kernel, x.dtype) * mask

        if member is None:
            return tf.matmul(x, invariant(self, ("masked", x.dtype), lambda: masked(None)))
        if member.shape.rank == 0:
            return tf.matmul(x, masked(member))
        # Masks of all examples at once would take B times the memory of the kernel.
        one = lambda pair: tf.matmul(pair[0][None], masked(pair[1]))[0]  # noqa: E731
        return tf.map_fn(one, (x, member), fn_output_signature=tf.TensorSpec([self.kernel.shape[1]], x.dtype))

    def _push(self, x: tf.Tensor, condition: Any, member: Any, scope: scopes.Incremental) -> tf.Tensor:
        """[B, n, F] or [B, in] -> [B, out] or [B, n, features]."""
        state, dtype = scope.state_of(self), _sum_dtype(x.dtype)
        # Beyond the last row of the tables nothing is fresh.
        steps = tf.minimum(_positions(scope), self._fresh.shape[1] - 1)
        tables = (self._of(table, member) for table in (self._fresh, self._fresh_degrees))
        fresh, degrees = (self._at(table, steps, member) for table in tables)
        if scope.length > 1:
            fresh, degrees = _merge(fresh), _merge(degrees[..., 0])[..., None]
        out_degrees = self._of(self.out_degrees, member)
        mask = self._sees(degrees, out_degrees if out_degrees.shape.rank == 1 else out_degrees[:, None])
        if (self.features or 1) > 1:
            mask = tf.repeat(mask, self.features, -1)
        # Fresh rows are gathered first: masking the whole kernel in every step would cost more than all the rest.
        kernel = tf.cast(tf.gather(self.kernel, fresh), dtype)
        kernel = tf.where(mask, kernel, tf.zeros([], dtype))
        if self._from_elements:
            x = tf.reshape(x, [-1, scope.length * self._in_features])
        else:
            x = tf.gather(x, fresh, axis=1, batch_dims=fresh.shape.rank - 1)
        acc = state.read("acc", [batch_size(x), self.kernel.shape[1]], dtype)
        acc += _product(tf.cast(x, dtype), kernel)
        state.write("acc", acc)
        if self.features is not None:
            cells = self._cells(scope, member)
            y = tf.gather(self._elements(acc), cells, axis=1, batch_dims=self._own_tables(scope, member))
            return self._finish(y, cells, condition, member, scope)
        return self._add(acc, self.bias, self._project(condition, self.condition_kernel, dtype))

    def _pull(self, x: tf.Tensor, condition: Any, member: Any, scope: scopes.Incremental) -> tf.Tensor:
        """[B, n, F] or [B, in] -> [B, n, features]."""
        if self._from_elements:
            x = self._remember(x, member, scope)
        cells, positions = self._cells(scope, member), _positions(scope)
        positions = positions[:, None, None] if scope.varies else tf.reshape(positions, [-1])
        mask = self._sees(self._of(self.in_degrees, member)[..., None], positions)
        mask = tf.cast(tf.repeat(mask, self._in_features, -2) if self._in_features > 1 else mask, x.dtype)
        # [in, n, P], or [in, B, n, P] where every example has its own cells; n is missing where it is 1.
        kernel = tf.cast(tf.gather(self._elements(self.kernel), cells, axis=1), x.dtype)
        if not self._own_tables(scope, member):
            kernel = tf.reshape(kernel, [self.kernel.shape[0], scope.length, self.features]) * mask[..., None]
            y = tf.matmul(x, tf.reshape(kernel, [self.kernel.shape[0], -1]))
        else:
            kernel = tf.reshape(kernel, [self.kernel.shape[0], -1, scope.length, self.features])
            y = tf.einsum("bi,ibnp,bin->bnp", x, kernel, mask)
        return self._finish(y, cells, condition, member, scope)

    def _finish(
        self, y: tf.Tensor, cells: tf.Tensor, condition: Any, member: Any, scope: scopes.Incremental
    ) -> tf.Tensor:
        """Adds what elements get besides their inputs: [B, ...] -> [B, n, features]."""
        y = tf.reshape(y, [-1, scope.length, self.features])
        if self.bias is not None:
            bias = tf.gather(tf.reshape(self.bias, [-1, self.features]), cells)
            y += tf.cast(tf.reshape(bias, [-1, scope.length, self.features]), y.dtype)
        if condition is not None:
            every = self._elements(self._project(condition, self.condition_kernel, y.dtype))
            own = tf.gather(every, cells, axis=1, batch_dims=self._own_tables(scope, member))
            y += tf.reshape(own, [-1, scope.length, self.features])
        return y

    @staticmethod
    def _own_orders(member: Any) -> int:
        """1 where every example has its own member, that is its own tables, otherwise 0."""
        return 0 if member is None else member.shape.rank

    def _own_tables(self, scope: scopes.Incremental, member: Any) -> int:
        """1 where every example has its own member or its own position, otherwise 0."""
        return max(self._own_orders(member), int(scope.varies))

    def _at(self, table: tf.Tensor, positions: tf.Tensor, member: Any) -> tf.Tensor:
        """Entries of a table [T, ...], or of one per example [B, T, ...], at positions; one per example where [B]."""
        own = self._own_orders(member)
        return tf.gather(table, positions, axis=own, batch_dims=own if scopes.current().varies else 0)

    def _cells(self, scope: scopes.Incremental, member: Any) -> tf.Tensor:
        """Returns the cells of the output elements at the current positions: [n] or [B, n], without n where it is 1."""
        return self._at(self._of(self._out_cells, member), _positions(scope), member)

    def _elements(self, x: tf.Tensor) -> tf.Tensor:
        """[rows, N * features] -> [rows, N, features]."""
        return tf.reshape(x, [-1, self.out_degrees.shape[1], self.features])

    def _remember(self, x: tf.Tensor, member: Any, scope: scopes.Incremental) -> tf.Tensor:
        """Adds the new elements to those seen so far: [B, n, F] -> [B, N * F]."""
        state, batch = scope.state_of(self), batch_size(x)
        # Before step 0 there is no element: its zeros are added to the first one's place.
        ranks = tf.maximum(scope.positions - 1, 0)
        cells = self._at(self._of(self._in_cells, member), ranks, member)
        seen = state.read("seen", [self.in_degrees.shape[1], batch, self._in_features], x.dtype)
        if self._own_tables(scope, member):
            examples = tf.repeat(tf.range(batch)[:, None], scope.length, 1)
            seen = tf.tensor_scatter_nd_add(seen, tf.stack([cells, examples], -1), x)
        else:
            seen = tf.tensor_scatter_nd_add(seen, cells[:, None], tf.transpose(x, [1, 0, 2]))
        state.write("seen", seen)
        return tf.reshape(tf.transpose(seen, [1, 0, 2]), [batch, self.kernel.shape[0]])

    @staticmethod
    def _project(condition: Any, kernel: Any, dtype: tf.DType) -> tf.Tensor | None:
        return None if condition is None else tf.matmul(tf.cast(condition, dtype), tf.cast(kernel, dtype))

    @staticmethod
    def _add(y: tf.Tensor, *terms: Any) -> tf.Tensor:
        for term in terms:
            y = y if term is None else y + tf.cast(term, y.dtype)
        return y

    def compute_output_shape(self, x_shape: tuple[int | None, ...], *unused: Any) -> tuple[int | None, ...]:
        """[B, out] or [B, N, features]."""
        outputs = self.out_degrees.shape[1]
        return (x_shape[0], outputs) if self.features is None else (x_shape[0], outputs, self.features)


def _degrees(name: str, degrees: Any) -> np.ndarray:
    """Degrees as int32 [M, units]."""
    degrees = np.asarray(degrees)
    if degrees.ndim not in (1, 2) or not degrees.size or degrees.dtype.kind not in "iu" or degrees.min() < 0:
        raise ValueError(f"{name} must be integers, at least 0, of shape [units] or [members, units], got {degrees!r}")
    return np.atleast_2d(degrees).astype(np.int32)


def _check_ranks(name: str, degrees: np.ndarray) -> None:
    if (np.sort(degrees, 1) != np.arange(degrees.shape[1])).any():
        raise ValueError(f"{name} of elements must be a permutation of 0, ..., {degrees.shape[1] - 1}, got {degrees!r}")


def _fresh_units(degrees: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs that become known at every step t, those of degree t - 1, padded.

    Args:
        degrees: int [M, in].

    Returns:
        Their indices [M, T, G] and their degrees [M, T, G, 1], int32. Padding is input 0 with a degree that no output
        sees; the last step is all padding and stands for all that follow.
    """
    steps = int(degrees.max()) + 3
    width = max(int(np.bincount(row).max()) for row in degrees)
    fresh = np.zeros((len(degrees), steps, width), np.int32)
    known = np.full((*fresh.shape, 1), np.iinfo(np.int32).max, np.int32)
    for member, row in enumerate(degrees):
        order = np.argsort(row, kind="stable")
        sizes = np.bincount(row)
        place = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        fresh[member, row[order] + 1, place] = order
        known[member, row[order] + 1, place, 0] = row[order]
    return fresh, known


def _positions(scope: scopes.Incremental) -> tf.Tensor:
    """Positions t, ..., t + n - 1 of a scope, [n]; t where n = 1, a scalar or [B]."""
    return tf.convert_to_tensor(scope.at) if scope.length == 1 else scope.positions


def _merge(x: tf.Tensor) -> tf.Tensor:
    """[..., n, G] -> [..., n * G]."""
    return tf.reshape(x, [*([-1] if x.shape.rank == 3 else []), x.shape[-2] * x.shape[-1]])


def _product(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """[B, G] times [G, out], or times one kernel per example [B, G, out]."""
    return tf.matmul(x, kernel) if kernel.shape.rank == 2 else tf.einsum("bg,bgo->bo", x, kernel)


def _sum_dtype(dtype: tf.DType) -> tf.DType:
    """Sums that grow over many steps are kept in at least float32, as inside of a matrix product."""
    return dtype if dtype in (tf.float32, tf.float64) else tf.float32
