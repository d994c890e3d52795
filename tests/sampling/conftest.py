"""Settings of the tests of sampling."""

from tests.conformance.conftest import without_graph_optimizer  # noqa: F401  (for every test: graphs run once or twice)
