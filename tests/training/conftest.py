import keras
import numpy as np
import pytest

import tfar
from tfar import training
from tfar.data import Batches


def _step(
    cls=training.TrainStep, dropout=0.5, ema_decay=0.8, batch_size=8, clip_norm=1.0, seed=3, filters=2, rate=0.05
):
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
        optimizer = training.optimizer("adam", training.schedule("cosine", rate, 100, warmup_steps=2))
    return cls(model, optimizer, strategy, batch_size, clip_norm, ema_decay, seed)


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
