"""Starts TensorFlow in a command: sets up its cache on disk, and hides its start-up messages."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from pipelines import disk_cache

# There only where a driver for NVIDIA GPUs is loaded.
_DRIVER = "/proc/driver/nvidia"


def set_log_level() -> None:
    """Chooses what TensorFlow's C++ parts may say, unless the environment variable TF_CPP_MIN_LOG_LEVEL does.

    Call it before TensorFlow is imported. Errors and failed checks are shown (level 2). Without a driver for GPUs even
    the lines that call themselves errors are remarks: that there is no GPU, and which integers oneDNN does not multiply
    (level 3). What really fails raises an exception in Python at any level, and failed checks are always shown.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if os.path.exists(_DRIVER) else "3")


def start_tensorflow(module: str) -> Any:
    """Imports a module that imports TensorFlow, once the disk cache is set up, without TensorFlow's start-up messages.

    A command calls it behind the checks of its flags: the import takes seconds.
    """
    disk_cache.use()
    return quietly(lambda: importlib.import_module(module))


def quietly(load: Callable[[], Any]) -> Any:
    """Returns `load()`; what it writes to standard error is shown only where it fails.

    For C++ parts of TensorFlow, which write before they know of any log level.
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


@contextlib.contextmanager
def errors_only() -> Iterator[None]:
    """Silences TensorFlow's remarks in Python on saving and on v1 sessions, which are what the released server uses."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
