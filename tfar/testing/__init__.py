"""Assertions for models and layers: call them on your own.

tfar.testing.randomize_weights(model)                    # zero biases hide bugs
tfar.testing.assert_causal(model)                        # no leak, nothing visible missing
tfar.testing.assert_incremental_matches_parallel(model)  # eager, graph, XLA; blocks; constant state
tfar.testing.assert_positions_per_example(model)         # examples at different positions advance together
tfar.testing.assert_samples_agree(model)                 # naive and incremental, same noise, same events
tfar.testing.assert_sample_independent_of_batch(model)   # an event depends on its own seed alone
tfar.testing.assert_normalized(model)                    # probabilities of a tiny space sum to 1
tfar.testing.assert_saves(model, tmp_path)               # a .keras file gives the model back
"""

from tfar.testing.causality import assert_causal, dependencies
from tfar.testing.eagerly import eagerly
from tfar.testing.incremental import assert_incremental_matches_parallel, assert_positions_per_example
from tfar.testing.inputs import random_condition, random_events, randomize_weights
from tfar.testing.likelihood import assert_normalized
from tfar.testing.samples import (
    Agreement,
    assert_fixed_point,
    assert_sample_independent_of_batch,
    assert_samples_agree,
)
from tfar.testing.saving import assert_saves

__all__ = [
    "Agreement",
    "assert_causal",
    "assert_fixed_point",
    "assert_incremental_matches_parallel",
    "assert_normalized",
    "assert_positions_per_example",
    "assert_sample_independent_of_batch",
    "assert_samples_agree",
    "assert_saves",
    "dependencies",
    "eagerly",
    "random_condition",
    "random_events",
    "randomize_weights",
]
