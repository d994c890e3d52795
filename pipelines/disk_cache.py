"""The cache on disk that makes the first sample of every process but the first fast.

    DIR/graphs    traced graphs (`tfar.core.kept_graphs`)
    DIR/xla       XLA's compiled programs (TensorFlow's persistent compilation cache)

DIR is the flag --cache_dir, else the variable TFAR_CACHE_DIR, else `tfar` in the user's cache directory
($XDG_CACHE_HOME, ~/.cache). "off" keeps nothing. Programs of other processors and versions lie in folders of their own;
folders that no command has used for a month go, and so do the oldest files where all of them pass 2 GiB.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import pathlib
import shutil
import sys
import tempfile
import time

MOST_BYTES = 2 * 2**30
LEAST_FREE_BYTES = 512 * 2**20
UNUSED_SECONDS = 30 * 86400
_OFF = ("", "off")
_XLA_FLAG = "--tf_xla_persistent_cache_directory"
_MARK = "used"


def define_flag() -> None:
    """Defines the flag --cache_dir of every command."""
    from absl import flags  # here: an environment of the client alone has no absl

    if "cache_dir" not in flags.FLAGS:
        flags.DEFINE_string(
            "cache_dir",
            None,
            'Folder of compiled samplers, "off" for none; by default $TFAR_CACHE_DIR or ~/.cache/tfar.',
        )


def use(chosen: str | None = None) -> pathlib.Path | None:
    """Lets this process keep compiled samplers on disk; call it before TensorFlow is imported.

    Where the folder cannot be used one line says so, and nothing is kept.

    Args:
        chosen: the folder, "off" for none; None reads the environment.

    Returns:
        The folder; None where nothing is kept.
    """
    if chosen is None:
        chosen = _flag()
    if chosen is None:
        chosen = os.environ.get("TFAR_CACHE_DIR", str(_default()))
    os.environ["TFAR_CACHE_DIR"] = "off"
    if chosen in _OFF:
        return None
    folder = pathlib.Path(chosen).expanduser().absolute()
    try:
        programs = folder / "xla" / _processor_and_version()
        programs.mkdir(parents=True, exist_ok=True)
        (folder / "graphs").mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=programs) as file:
            file.write(b"can be written")
        (programs / _MARK).touch()
        prune(folder)
        free = shutil.disk_usage(folder).free
        if free < LEAST_FREE_BYTES:
            raise OSError(0, f"{free / 2**20:.0f} MiB are free, {LEAST_FREE_BYTES / 2**20:.0f} are needed")
    except OSError as error:
        print(
            f"compiled samplers are not kept, the first sample takes longer: {folder}: {error.strerror} "
            "(--cache_dir or TFAR_CACHE_DIR names another folder)",
            file=sys.stderr,
        )
        return None
    os.environ["TFAR_CACHE_DIR"] = str(folder)
    known = os.environ.get("TF_XLA_FLAGS", "")
    if _XLA_FLAG not in known:
        os.environ["TF_XLA_FLAGS"] = f"{known} {_XLA_FLAG}={programs}".strip()
    return folder


def prune(folder: pathlib.Path, most_bytes: int = MOST_BYTES) -> None:
    """Removes folders that were not used for long, then the oldest files until `most_bytes` are left."""
    for other in (folder / "xla").iterdir():
        mark = other / _MARK
        if not mark.exists() or time.time() - mark.stat().st_mtime > UNUSED_SECONDS:
            shutil.rmtree(other, ignore_errors=True)
    files = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # another process may have removed it
            if path.is_file() and path.name != _MARK:
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= most_bytes:
            break
        path.unlink(missing_ok=True)
        total -= size


def _flag() -> str | None:
    """Returns the value of --cache_dir; None outside of commands, and where it is not given."""
    absl_flags = sys.modules.get("absl.flags")
    if absl_flags is None or "cache_dir" not in absl_flags.FLAGS or not absl_flags.FLAGS.is_parsed():
        return None
    return absl_flags.FLAGS.cache_dir


def _default() -> pathlib.Path:
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "tfar"


def _processor_and_version() -> str:
    """Returns the name of the folder of programs: TensorFlow's version, a digest of the processor and of settings."""
    try:
        info = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
        features = next((line for line in info.splitlines() if line.startswith(("flags", "Features"))), "")
    except OSError:
        import platform

        features = f"{platform.machine()} {platform.processor()}"
    settings = " ".join(
        os.environ.get(name, "") for name in ("XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA")
    )
    digest = hashlib.sha256(f"{features} {settings}".encode()).hexdigest()[:12]
    return f"{importlib.metadata.version('tensorflow')}-{digest}"
