"""Batches as a function of the step: a run resumed at step s gets the batches that it would have got.

The training stream is the concatenation of one permutation of the data per epoch,

    epoch 0: p_0[0] p_0[1] ... p_0[N-1]   epoch 1: p_1[0] ... p_1[N-1]   ...

cut into consecutive batches of equal size. A batch may therefore begin in one epoch and end in the
next; in return no example is ever dropped, every example is used once an epoch, and all batches
have the same shape.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from tfar.data import streams, values
from tfar.data import transforms as transforms_lib


def _check_arrays(arrays: Mapping[str, np.ndarray]) -> int:
    sizes = {key: len(array) for key, array in arrays.items()}
    if "x" not in sizes or len(set(sizes.values())) > 1 or not sizes["x"]:
        raise ValueError(f"arrays must hold 'x' and arrays of the same length, at least 1, got lengths {sizes}")
    return sizes["x"]


class Batches:
    """Endless training batches; batch s depends on (arrays, batch_size, seed, s) alone.

    Nothing needs to be stored to resume: ask for the batch of the next step. Random transforms are
    drawn from a generator seeded by [seed, step].

    Args:
        arrays: `{"x": [N, *event_shape], ...}`, all of length N.
        batch_size: B, may exceed N.
        seed: Int >= 0, of the order and of random transforms.
        shuffle: False keeps the order of the arrays in every epoch.
        transforms: Objects or strings, see `tfar.data.transforms`.
        levels: Number of levels of x in `arrays`; needed with transforms.

    Attributes:
        num_examples: N.
        levels: Number of levels of x in a batch, `None` for continuous data or if not given.
        transforms: Descriptions of the transforms, for reports.

    Raises:
        ValueError: Arrays of unequal or zero length, or a bad batch_size, seed or transform.

    Example:
        >>> batches = Batches({"x": np.arange(5)[:, None]}, batch_size=2, seed=0)
        >>> used = np.concatenate([batches.batch(step)["x"] for step in range(5)])
        >>> np.bincount(used[:, 0]).tolist()            # 10 draws, two epochs of 5 examples
        [2, 2, 2, 2, 2]
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        transforms: str | transforms_lib.Transform | Iterable[str | transforms_lib.Transform] = (),
        levels: int | None = None,
    ):
        """See the class."""
        self.num_examples = _check_arrays(arrays)
        self.batch_size = values.check_integer("batch_size", batch_size, 1)
        self.seed = streams.check_seed(seed)
        self.shuffle = bool(shuffle)
        self._arrays = dict(arrays)
        self._input_levels = levels
        self._transforms = transforms_lib.resolve(transforms)
        self.levels = transforms_lib.output_levels(self._transforms, levels)
        self.transforms = transforms_lib.describe(self._transforms, f"redrawn every step, seed={self.seed}")
        # A cache, not state: two epochs, since a batch may lie in both.
        self._permutation = functools.lru_cache(maxsize=2)(
            lambda epoch: streams.permutation(self.num_examples, streams.ORDER, self.seed, epoch)
        )

    def indices(self, step: int) -> np.ndarray:
        """Indices of the examples of a step.

        Args:
            step: Int >= 0.

        Returns:
            int64 array, [B].

        Raises:
            ValueError: The step is negative or not an integer.
        """
        position, left, pieces = values.check_integer("step", step, 0) * self.batch_size, self.batch_size, []
        while left:
            epoch, offset = divmod(position, self.num_examples)
            count = min(left, self.num_examples - offset)
            piece = np.arange(offset, offset + count)
            pieces.append(self._permutation(epoch)[piece] if self.shuffle else piece)
            position, left = position + count, left - count
        return np.concatenate(pieces)

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Returns the batch of a step.

        Args:
            step: Int >= 0, counted from the start of the run.

        Returns:
            The arrays' keys, each [B, ...].

        Raises:
            ValueError: The step is negative or not an integer.
        """
        indices = self.indices(step)
        batch = {key: array[indices] for key, array in self._arrays.items()}
        if self._transforms:
            generator = streams.generator(streams.STEP_NOISE, self.seed, int(step))
            batch["x"] = transforms_lib.apply(self._transforms, batch["x"], self._input_levels, generator)
        return batch

    def stream(self, start: int = 0) -> Iterator[dict[str, np.ndarray]]:
        """Yields `batch(start)`, `batch(start + 1)`, ... without end."""
        step = start
        while True:
            yield self.batch(step)
            step += 1


def sequential(arrays: Mapping[str, np.ndarray], batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """All examples once, in order, for evaluation; the last batch may be smaller.

    Args:
        arrays: `{"x": [N, *event_shape], ...}`, all of length N.
        batch_size: B.

    Returns:
        An iterator of dictionaries of [B, ...] views; of the last one the length is N mod B, if
        not 0.

    Raises:
        ValueError: Arrays of unequal or zero length, or a bad batch_size.

    Example:
        >>> [len(batch["x"]) for batch in sequential({"x": np.zeros([5, 2])}, 2)]
        [2, 2, 1]
    """
    num, batch_size = _check_arrays(arrays), values.check_integer("batch_size", batch_size, 1)

    # A generator of its own, so that bad arguments raise at the call and not at the first batch.
    def batches() -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, num, batch_size):
            yield {key: array[start : start + batch_size] for key, array in arrays.items()}

    return batches()
