"""Cuts windows from long sequences for training, as a function of the step.

Random windows (batch s holds B windows that begin anywhere):

    |....[-----]....[-----]......[-----]..............[-----]....|

Contiguous ones (B rows, each a stretch of the sequence; batch s + 1 goes on where batch s ended, so that a recurrent
state can be carried from one to the next):

    row 1 |[s=0][s=1][s=2]...|row 2 [s=0][s=1][s=2]...|row 3 ...
"""

from collections.abc import Mapping

import numpy as np

from tfar.data import streams, values


class WindowBatches:
    """Endless training batches of windows; batch s depends on (arrays, batch_size, window, seed, s) alone.

    Every place where a window fits into one of the sequences is equally probable. Contiguous batches pass through one
    sequence; each epoch begins at another of the first `window` elements, chosen at random, so that the borders of
    windows move, and drops the less than `batch_size * window` elements at the end that make no whole batch.

    Args:
        arrays: `{"x": [N, T]}`, further `"length"`: [N] where rows are padded on the right, and
            `"condition"`: [N, ...].
        batch_size: B.
        window: Elements of a window.
        seed: Int >= 0, of the places.
        contiguous: Batches follow one another along a single sequence; they then hold `"offset"`, an int32
            scalar: elements since the state was zero.
        hop: Where the condition is a sequence of frames [N, frames, C], elements of a frame; windows begin
            with a frame, and the condition is cut alike.

    Attributes:
        num_examples: N.
        steps_per_epoch: Batches after which as many elements were seen as there are.

    Raises:
        ValueError: No sequence is as long as a window (or too short for contiguous rows), a window that is no
            multiple of hop, several sequences where they should be contiguous, or a bad batch_size or seed.

    Example:
        >>> batches = WindowBatches({"x": np.arange(20)[None]}, batch_size=2, window=3, contiguous=True)
        >>> first, second = batches.batch(0), batches.batch(1)
        >>> (second["x"][:, 0] - first["x"][:, -1]).tolist(), int(second["offset"])
        ([1, 1], 3)
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        batch_size: int,
        window: int,
        seed: int = 0,
        contiguous: bool = False,
        hop: int = 1,
    ):
        """See the class."""
        for name, value in (("batch_size", batch_size), ("window", window), ("hop", hop)):
            values.check_integer(name, value, 1)
        self.batch_size, self.window, self.seed, self.hop = batch_size, window, streams.check_seed(seed), hop
        self.contiguous = contiguous
        self._x, self._condition = arrays["x"], arrays.get("condition")
        self.num_examples = len(self._x)
        lengths = np.asarray(arrays.get("length", [self._x.shape[1]] * self.num_examples), np.int64)
        if window % hop:
            raise ValueError(f"window must be a multiple of hop={hop}, got {window}")
        longest = int(lengths.max(initial=0))
        if longest < window:
            raise ValueError(f"window must be at most the length of a sequence, {longest}, got {window}")
        if contiguous:
            if self.num_examples != 1:
                raise ValueError(f"contiguous windows need one sequence, got {self.num_examples}")
            # The start of an epoch moves by less than one window.
            self.steps_per_epoch = (longest - window + 1) // batch_size // window
            if not self.steps_per_epoch:
                raise ValueError(
                    f"a sequence of {longest} elements is too short for {batch_size} contiguous rows of windows of "
                    f"{window}; at least {window * (batch_size + 1)} are needed"
                )
        else:
            # Places where a window may begin, counted over all sequences.
            self._places = np.cumsum(np.maximum(lengths - window, -1) // hop + 1)
            self.steps_per_epoch = max(1, int(lengths.sum()) // (batch_size * window))

    def batch(self, step: int) -> dict[str, np.ndarray]:
        """Returns the batch of a step.

        Args:
            step: Int >= 0, counted from the start of the run.

        Returns:
            `"x"`: [B, window]; `"condition"` where there is one; `"offset"` where batches are contiguous.

        Raises:
            ValueError: The step is negative or not an integer.
        """
        values.check_integer("step", step, 0)
        if self.contiguous:
            epoch, index = divmod(int(step), self.steps_per_epoch)
            first = int(streams.sort_keys(1, streams.WINDOWS, self.seed, epoch)[0] % np.uint64(self.window))
            rows = np.zeros(self.batch_size, np.int64)
            starts = first + (np.arange(self.batch_size) * self.steps_per_epoch + index) * self.window
            offset = {"offset": np.int32(index * self.window)}
        else:
            raw = streams.sort_keys(self.batch_size, streams.WINDOWS, self.seed, int(step))
            places = (raw % np.uint64(self._places[-1])).astype(np.int64)
            rows = np.searchsorted(self._places, places, side="right")
            starts = (places - np.where(rows > 0, self._places[rows - 1], 0)) * self.hop
            offset = {}
        batch = {"x": self._x[rows[:, None], starts[:, None] + np.arange(self.window)], **offset}
        if self._condition is not None:
            batch["condition"] = self._condition[rows]
            if self.hop > 1:
                frames = starts[:, None] // self.hop + np.arange(self.window // self.hop)
                batch["condition"] = self._condition[rows[:, None], frames]
        return batch
