import importlib
import sys

import numpy as np
import pytest
from absl import flags
from PIL import Image


def _step_aside():
    """Takes the flags of commands, not those of absl itself, out of FLAGS, and returns them."""
    defined = {name: flags.FLAGS.find_module_defining_flag(name) or "" for name in flags.FLAGS}
    taken = {name: flags.FLAGS[name] for name, module in defined.items() if not module.startswith("absl")}
    for name in taken:
        delattr(flags.FLAGS, name)
    return taken


@pytest.fixture
def example(tmp_path, capsys):
    """Imports an example as `python -m examples.NAME FLAGS` would, flags parsed; `.run()` returns what it prints.

    Flags of one name are defined by many commands, so those of others step aside while a test runs.
    """
    saved, imported = _step_aside(), []

    def load(name, *arguments):
        _step_aside()
        sys.modules.pop(f"examples.{name}", None)
        module = importlib.import_module(f"examples.{name}")
        imported.append(f"examples.{name}")
        picture = tmp_path / f"{name}.png"
        flags.FLAGS([name, f"--out={picture}", *arguments])

        def run():
            capsys.readouterr()
            module.main([name])
            # It is a picture of something: many colours, and no flag decides its size.
            assert len(np.unique(np.asarray(Image.open(picture).convert("L")))) > 10
            return capsys.readouterr().out

        module.run = run
        return module

    yield load
    _step_aside()
    for name, flag in saved.items():
        flags.FLAGS[name] = flag
    for name in imported:
        sys.modules.pop(name, None)
