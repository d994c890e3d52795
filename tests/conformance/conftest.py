"""Settings of the conformance suite."""

import pytest
import tensorflow as tf

_OPTION = "disable_meta_optimizer"


@pytest.fixture(autouse=True)
def without_graph_optimizer(request):
    """Runs graphs as they are traced: they run once or twice here, and to optimize one takes longer than that.

    Tests of training, exports and commands, and the large tests, run what the optimizer makes of them.
    """
    before = tf.config.optimizer.get_experimental_options().get(_OPTION, False)
    tf.config.optimizer.set_experimental_options({_OPTION: request.node.get_closest_marker("large") is None})
    yield
    tf.config.optimizer.set_experimental_options({_OPTION: before})
