"""XLA is off in the released server unless a flag says otherwise; this process does the same."""

from __future__ import annotations

import ctypes
from pathlib import Path

import tensorflow as tf


def disable_xla() -> bool:
    """Makes functions with `jit_compile=True` fail with INTERNAL "XLA compilation disabled", in this whole process.

    Returns:
        Whether this build of TensorFlow has the switch.
    """
    for path in sorted(Path(tf.__file__).parent.glob("libtensorflow_cc*")):
        try:
            # void tensorflow::DisableXlaCompilation(), which the released server calls.
            switch = ctypes.CDLL(str(path))._ZN10tensorflow21DisableXlaCompilationEv
        except (OSError, AttributeError):
            continue
        switch.restype = None
        switch()
        return True
    return False
