"""Things that the tests of a session share, made once by whichever process needs them first."""

import contextlib
import fcntl
import pathlib


class Once:
    """A folder of such things.

    Args:
        folder: common to the test processes.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)

    @contextlib.contextmanager
    def once(self, name):
        """Gives the path `name`, and whether it is to be made now; other processes wait meanwhile.

        What is not made to the end, because of an error, is made again by the next one.
        """
        done = self.folder / f"{name}.done"
        with open(self.folder / f"{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self.folder / name, not done.exists()
            done.touch()
