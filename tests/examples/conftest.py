import importlib
import sys

import numpy as np
import pytest
from absl import flags
from PIL import Image

from tests.commands import own_flags, step_aside


@pytest.fixture
def example(tmp_path, capsys):
    """Imports an example as `python -m examples.NAME FLAGS` would, flags parsed; `.run()` returns what it prints.

    Flags of other commands step aside while a test runs.
    """
    imported = []

    def load(name, *arguments):
        step_aside()
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

    with own_flags():
        yield load
    for name in imported:
        sys.modules.pop(name, None)
