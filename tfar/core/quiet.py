"""The start of TensorFlow without its remarks: which drivers it has not found, which instructions it uses."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# There only where a driver for NVIDIA GPUs is loaded.
_DRIVER = "/proc/driver/nvidia"


def import_tensorflow() -> None:
    """Imports TensorFlow; who has imported it before, or has chosen TF_CPP_MIN_LOG_LEVEL, hears what it says.

    Errors are shown where there is a GPU. Elsewhere the lines that call themselves errors are remarks, too: that there
    is none. What really fails raises an exception, and an import that fails shows all that was said.
    """
    if "tensorflow" in sys.modules or _LEVEL in os.environ:
        return
    os.environ[_LEVEL] = "2" if os.path.exists(_DRIVER) else "3"
    try:
        sys.stderr.flush()
        stderr = os.dup(2)
    except (OSError, AttributeError):  # a process without a standard error
        return
    # Its C++ parts write before they know of any level.
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            importlib.import_module("tensorflow")
        except BaseException:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


# `tfar.core` imports this module first.
import_tensorflow()
