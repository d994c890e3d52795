"""Commands run in this process, as `python -m MODULE FLAGS` runs them in one of their own: that costs seconds each."""

import contextlib
import io
import logging
import runpy
import sys
import warnings
from unittest import mock

from absl import flags


def step_aside():
    """Takes the flags of commands, not those of absl itself, out of FLAGS, and returns them."""
    defined = {name: flags.FLAGS.find_module_defining_flag(name) or "" for name in flags.FLAGS}
    # Those of absl have no dots; ml_collections defines "config.train.steps" in its name.
    taken = {
        name: flags.FLAGS[name] for name, module in defined.items() if "." in name or not module.startswith("absl")
    }
    for name in taken:
        delattr(flags.FLAGS, name)
    return taken


@contextlib.contextmanager
def own_flags():
    """Flags of one name are defined by many commands, so those of others step aside meanwhile."""
    saved = step_aside()
    try:
        yield
    finally:
        step_aside()
        for name, flag in saved.items():
            flags.FLAGS[name] = flag


def run(module, *arguments):
    """Runs a command; returns its exit code and what it wrote to stdout and to stderr."""
    handlers, level = logging.root.handlers[:], logging.root.level
    out, err, code = io.StringIO(), io.StringIO(), None
    try:
        with (
            own_flags(),
            mock.patch.object(sys, "argv", [module, *map(str, arguments)]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(),
        ):
            # The module is there already, and is executed anew as the main one.
            warnings.filterwarnings("ignore", "'.*' found in sys.modules", RuntimeWarning)
            # ml_collections reads configurations by it.
            warnings.filterwarnings("ignore", r"the load_module\(\) method", DeprecationWarning)
            runpy.run_module(module, run_name="__main__")
    except SystemExit as error:
        code = error.code
    finally:
        # absl puts a handler of its own in their place.
        logging.root.handlers[:], logging.root.level = handlers, level
    return code or 0, out.getvalue(), err.getvalue()
