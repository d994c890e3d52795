"""Keeps TensorFlow's remarks on its own start out of a command's output."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

# There only where a driver for NVIDIA GPUs is loaded.
_DRIVER = "/proc/driver/nvidia"


def set_log_level() -> None:
    """Chooses what TensorFlow's C++ parts may say, unless the environment variable TF_CPP_MIN_LOG_LEVEL does.

    Call it before TensorFlow is imported. Errors and failed checks are shown (level 2). Without a driver for GPUs even
    the lines that call themselves errors are remarks: that there is no GPU, and which integers oneDNN does not multiply
    (level 3). What really fails raises an exception in Python at any level, and failed checks are always shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if os.path.exists(_DRIVER) else "3")


def quietly(load: Callable[[], Any]) -> Any:
    """`load()`, which imports TensorFlow, without what its C++ parts write before they hear any log level.

    Where it fails they are shown.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            return load()
        except BaseException:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
