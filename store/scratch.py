"""Folders on local disk for what is being gathered. One that a killed process has left is removed by the next one."""

import contextlib
import fcntl
import shutil
import tempfile
from pathlib import Path

_PREFIX = "clipsieve-"
_LOCK = ".lock"


class ScratchFolder:
    """A temporary folder that its process holds a lock on for as long as it needs it."""

    def __init__(self, kind: str) -> None:
        """Make `clipsieve-<kind>-…` where temporary files go, and remove those whose processes are gone."""
        with contextlib.suppress(OSError):
            _remove_abandoned(Path(tempfile.gettempdir()))
        self._folder = tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{kind}-")
        self.name = self._folder.name
        made = Path(self.name, f"{_LOCK}.made")
        self._lock = made.open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        made.rename(Path(self.name, _LOCK))  # seen by others only when it is held

    def cleanup(self) -> None:
        """Remove the folder with all that it holds."""
        self._folder.cleanup()
        self._lock.close()


def _remove_abandoned(parent: Path) -> None:
    """Remove the folders of ours on whose lock nobody is: the kernel drops a lock with its process."""
    for lock in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError), lock.open("rb") as file:  # held, somebody else's, or just removed
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
