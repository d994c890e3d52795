"""Data of `fit`, `evaluate` and `predict`: taken in every form that Keras takes, checked batch by batch.

Arrays are checked once, before anything runs. What comes in batches (data sets, generators, a `keras.utils.PyDataset`)
is checked where it is read, outside of the compiled step, so that the same messages name the same arguments as those of
`log_prob`, whatever compiles the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfar.core.checks import as_tensor
from tfar.core.conditions import Label

_ROWS = 4096  # arrays are checked in blocks of rows, which bounds the memory of the check
_KEYS = ("x", "condition")


class CheckedData:
    """The checked data of one call of `fit`, `evaluate` or `predict`.

    Args:
        model: a `Density`.
        class_weight: {label: weight} for a model with `Label` conditions, as of `keras.Model.fit`.
        ignore_y: whether targets are left out, as `predict` does, and not refused.

    Attributes:
        error: what was wrong with a batch, found while the data were read; None if nothing was.

    Raises:
        ValueError: `class_weight` does not fit the model.
    """

    def __init__(self, model: Any, class_weight: Mapping[int, float] | None = None, ignore_y: bool = False):
        self.model, self.ignore_y = model, ignore_y
        self.table = None if class_weight is None else _weight_table(model, class_weight)
        self.error: Exception | None = None

    def take(self, x: Any, y: Any = None, sample_weight: Any = None) -> tuple[Any, Any]:
        """Returns data and weights in the form that Keras takes.

        Args:
            x: arrays, a `tf.data.Dataset`, a `keras.utils.PyDataset` or a generator of batches.
            y: None; there is no target besides x.
            sample_weight: None, or a number for every example of arrays.

        Returns:
            The data and None, or arrays and their weights.

        Raises:
            ValueError: an argument, or a value in an array, is not acceptable.
        """
        if isinstance(x, tf.distribute.DistributedDataset):
            return x, sample_weight  # is read on other threads, maybe on other machines
        batched = isinstance(x, tf.data.Dataset | keras.utils.PyDataset | Iterator)
        if batched:
            self._refuse_targets(y)
            if sample_weight is not None:
                raise ValueError(
                    "sample_weight must be None where x comes in batches, which are (x, None, sample_weight) instead"
                )
        if isinstance(x, tf.data.Dataset):
            return self._dataset(x), None
        if isinstance(x, keras.utils.PyDataset):
            return _CheckedPyDataset(x, self), None
        return (self._generator(x), None) if batched else self.arrays(x, y, sample_weight)

    # Arrays.

    def arrays(self, x: Any, y: Any = None, sample_weight: Any = None) -> tuple[Any, Any]:
        """Checks events and weights that are arrays of one length; returns them as `take` does."""
        self._refuse_targets(y)
        if x is None:
            raise ValueError('x must be given: events, or {"x": ..., "condition": ...}')
        parts = {key: _as_array(value, key) for key, value in self._parts(x).items()}
        values, condition = parts["x"], parts.get("condition")
        self.model.check_shape(values)
        num = len(values)
        if not num:
            raise ValueError("x must hold at least one event, got none")
        for part in tf.nest.flatten(condition):
            if part is not None and np.shape(part)[:1] != (num,):
                raise ValueError(f"condition must have one value per example ({num}), got shape {np.shape(part)}")
        for begin in range(0, num, _ROWS):
            rows = slice(begin, begin + _ROWS)
            self.model.check_batch(values[rows], _map(lambda part: part[rows], condition))  # noqa: B023
        if sample_weight is not None and self.table is not None:
            raise ValueError("class_weight and sample_weight exclude each other, got both")
        if sample_weight is not None:
            sample_weight = _weights(sample_weight, num)
        if self.table is not None:
            sample_weight = self.table[np.asarray(condition)]
        return (parts if isinstance(x, Mapping) else values), sample_weight

    def batch(self, data: Any) -> Any:
        """Checks a batch of a generator; returns it in the form that Keras takes."""
        try:
            x, sample_weight = self.arrays(*keras.utils.unpack_x_y_sample_weight(data))
        except ValueError as error:
            self.error = error
            raise
        return (x,) if sample_weight is None else (x, sample_weight, sample_weight)

    def _parts(self, x: Any) -> dict[str, Any]:
        """Returns events and the condition by their keys; other keys are not read."""
        condition = self.model.condition
        if not isinstance(x, Mapping):
            if condition is not None:
                raise ValueError(
                    f'x must be a dictionary with the keys "x" and "condition": this {type(self.model).__name__} was '
                    f"built with {condition!r}, and condition is required"
                )
            return {"x": x}
        for key in _KEYS[: 1 if condition is None else 2]:
            if key not in x:
                needed = 'the key "x"' if condition is None else f'the keys "x" and "condition" (for {condition!r})'
                raise ValueError(f"x must be a dictionary with {needed}, got the keys {sorted(map(str, x))}")
        if condition is None and x.get("condition") is not None:
            self.model.check_condition(x["condition"], None)  # which refuses it
        return {key: x[key] for key in _KEYS if x.get(key) is not None}

    def _refuse_targets(self, y: Any) -> None:
        if y is not None and not self.ignore_y:
            raise ValueError(
                "y must be None: a density is fitted to x itself; what it is conditioned on goes beside it, "
                '{"x": ..., "condition": ...}'
            )

    # Batches.

    def _generator(self, batches: Iterator[Any]) -> Iterator[Any]:
        for data in batches:
            yield self.batch(data)

    def _dataset(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Returns the data set with a check of every batch that is read."""
        spec = tf.nest.map_structure(_none_of, dataset.element_spec)
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(spec)
        self._refuse_targets(y)
        parts = self._parts(x)
        for part in tf.nest.flatten(parts):
            if not isinstance(part, tf.TensorSpec):
                raise ValueError(f"x must be a data set of tensors, got {type(part).__name__.removesuffix('Spec')}")
        if parts["x"].shape.rank == len(self.model.event_shape):
            raise ValueError(
                f"x must be a data set of batches, dataset.batch(size), got events of {parts['x'].shape} one by one"
            )
        self.model.check_shape(parts["x"])
        with tf.Graph().as_default():  # what can be said before a batch is read
            condition = _map(lambda s: tf.compat.v1.placeholder(s.dtype, s.shape), parts.get("condition"))
            self.model.check_condition(condition, None, parts["x"].shape[1:])
        if sample_weight is not None and self.table is not None:
            raise ValueError("class_weight and the weights of a data set exclude each other, got both")
        return dataset.map(lambda *element: self._checked_element(element[0] if len(element) == 1 else element))

    def _checked_element(self, element: Any) -> Any:
        x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(element)
        parts = self._parts(x)
        given = (parts["x"], parts.get("condition"), sample_weight)
        tensors = [part for part in tf.nest.flatten(given) if part is not None]

        def check(*arrays: np.ndarray) -> np.bool_:
            found = iter(arrays)
            values, condition, weights = _map(lambda _: next(found), given)
            try:
                self.model.check_batch(values, condition)
                if weights is not None:
                    _weights(weights, len(values))
            except ValueError as error:
                self.error = self.error or error  # the first one: batches are read ahead
                raise
            return np.bool_(True)

        with tf.control_dependencies([tf.numpy_function(check, tensors, tf.bool)]):
            x = tf.nest.map_structure(tf.identity, parts if isinstance(x, Mapping) else parts["x"])
        if self.table is not None:
            sample_weight = tf.gather(self.table, parts["condition"])
        # Weights for targets, which nothing reads: strategies of several replicas distribute no None.
        return x if sample_weight is None else (x, sample_weight, sample_weight)


class _CheckedPyDataset(keras.utils.PyDataset):
    """A `PyDataset` whose batches are checked."""

    def __init__(self, data: keras.utils.PyDataset, checked: CheckedData):
        super().__init__(data.workers, data.use_multiprocessing, data.max_queue_size)
        self._data, self._checked = data, checked

    def __getitem__(self, index: int) -> Any:
        return self._checked.batch(self._data[index])

    @property
    def num_batches(self) -> int | None:
        """Batches of an epoch; None where there is no end."""
        return self._data.num_batches

    def on_epoch_begin(self) -> None:
        """Tells the data set that an epoch begins."""
        self._data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tells the data set that an epoch ends."""
        self._data.on_epoch_end()


def _none_of(spec: tf.TypeSpec) -> tf.TypeSpec | None:
    """Returns the spec of an element; None where the data set holds None."""
    return None if spec.value_type.__name__ == "NoneTensor" else spec


def _map(function: Callable[[Any], Any], nested: Any) -> Any:
    """Applies a function to each of the nested values that is not None."""
    return tf.nest.map_structure(lambda part: None if part is None else function(part), nested)


def _as_array(value: Any, name: str) -> Any:
    """Returns a NumPy array of numbers as it is, other values as a tensor; a tuple holds several conditions."""
    if isinstance(value, tuple):
        return tuple(_as_array(part, name) for part in value)
    # Data sets may be larger than an accelerator's memory, where tensors are made.
    return value if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" else as_tensor(value, name)


def _weights(sample_weight: Any, num: int) -> np.ndarray:
    """Returns the weights as float32 [num]; raises ValueError unless they are one finite number per example."""
    weights = np.asarray(sample_weight)
    if weights.shape not in ((num,), (num, 1)) or weights.dtype.kind not in "biuf":
        raise ValueError(
            f"sample_weight must be one number per example, [{num}], got {weights.dtype} of shape {weights.shape}"
        )
    if not np.isfinite(weights).all():
        raise ValueError("sample_weight must be finite, got " + str(weights[~np.isfinite(weights)][0]))
    return weights.reshape(num).astype(np.float32)


def _weight_table(model: Any, class_weight: Mapping[int, float]) -> np.ndarray:
    """Returns the weight of every label, 1 where none is given, float32 [num_labels]."""
    condition = model.condition
    if not isinstance(condition, Label):
        raise ValueError(
            f"class_weight needs a model with labels, condition=tfar.conditions.Label(n), got {condition!r}; "
            "sample_weight weights any examples"
        )
    table = np.ones([condition.num_labels], np.float32)
    for label, weight in dict(class_weight).items():
        if isinstance(label, bool) or not isinstance(label, int | np.integer) or not 0 <= label < len(table):
            raise ValueError(f"class_weight must have the labels 0 to {len(table) - 1} for its keys, got {label!r}")
        if not isinstance(weight, int | float | np.number) or not np.isfinite(weight):
            raise ValueError(f"class_weight must be finite numbers, got {weight!r} for label {label}")
        table[label] = weight
    return table
