"""The examples in docstrings run and print what they say.

They run op by op: that models do the same in graphs is the business of tests/conformance.
"""

import doctest
import importlib
import pkgutil

import pytest

import tfar
from tfar.testing import eagerly

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(tfar.__path__, "tfar.") if not module.name.endswith("__main__")
)


# What `fit` checks is read by tf.data, which says that it is not run op by op.
@pytest.mark.filterwarnings("ignore:Even though the .tf.config.experimental_run_functions_eagerly:UserWarning")
@pytest.mark.parametrize("name", MODULES)
def test_doctests(name):
    module = importlib.import_module(name)
    with eagerly():
        result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_examples_are_found():
    finder = doctest.DocTestFinder()
    examples = sum(len(test.examples) for name in MODULES for test in finder.find(importlib.import_module(name)))
    assert examples > 20
