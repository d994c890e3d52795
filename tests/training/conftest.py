import functools

import keras
import numpy as np
import pytest

import tfar
from tfar import training
from tfar.data import Batches


class Anew:
    """A `TrainStep` whose variables can be put back to what they were when it was built.

    So several runs share what was traced; each starts as in a process of its own.
    """

    def __init__(self, step):
        self.step = step
        self.variables = [*step.model.weights, *step.optimizer.variables, *step.averages]
        self.values = [np.asarray(variable).copy() for variable in self.variables]

    def __call__(self):
        for variable, value in zip(self.variables, self.values, strict=True):
            variable.assign(value)
        self.step.restore_carried({})
        return self.step


@functools.cache
def _built(dropout, ema_decay, batch_size, clip_norm, filters, seed=3):
    keras.utils.set_random_seed(seed)
    strategy = training.strategy("one")
    with strategy.scope():
        model = tfar.models.GatedPixelCNN(
            (3, 3, 1),
            tfar.heads.Bernoulli(),
            filters=filters,
            num_blocks=0,
            first_kernel_size=3,
            dropout=dropout,
            condition=tfar.conditions.Label(2),
        )
        optimizer = training.optimizer("adam", training.schedule("cosine", 0.05, 100, warmup_steps=2))
    return Anew(training.TrainStep(model, optimizer, strategy, batch_size, clip_norm, ema_decay, seed))


def _step(dropout=0.5, ema_decay=0.8, batch_size=8, clip_norm=1.0, filters=2):
    """One object for each set of arguments, with new weights: it must not be used for two runs at once."""
    return _built(dropout, ema_decay, batch_size, clip_norm, filters)()


@pytest.fixture(scope="session")
def anew():
    return Anew


@pytest.fixture(scope="session")
def arrays():
    generator = np.random.default_rng(0)
    label = generator.integers(0, 2, 20).astype(np.int32)
    x = (generator.random([20, 3, 3, 1]) < 0.2 + 0.6 * label[:, None, None, None]).astype(np.uint8)
    return {"x": x, "condition": label}


@pytest.fixture(scope="session")
def make_step():
    return _step


@pytest.fixture(scope="session")
def make_loop(arrays):
    """A run whose intervals do not divide each other: running sums and line counts must survive."""

    def make(workdir, batches=None, step=None, **settings):
        settings = {"steps": 13, "log_every": 5, "eval_every": 6, "checkpoint_every": 2} | settings
        batches = batches or Batches(arrays, 8, seed=1)
        return training.TrainingLoop(step or _step(), batches, arrays, training.Settings(**settings), workdir)

    return make
