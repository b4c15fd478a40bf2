"""The folder beside a file where it is being made: found again by name, used by one run at a time.

Every run writes into a part of its own, so that an encoder which a killed run left behind for a
moment cannot write into the files of the next.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Final, NamedTuple

from liveact_cli.core.errors import LiveActError
from liveact_cli.media.target import STAGING

_NAME: Final = "lock"
_LONGEST_NAME: Final = 200


def work_folder_of(target: Path) -> Path:
    """Return where the work on `target` lies: `.OUT.liveact` beside it."""
    name = target.name
    if len(name.encode()) > _LONGEST_NAME:
        name = hashlib.sha256(name.encode()).hexdigest()[:16] + target.suffix
    return target.with_name(f".{name}.liveact")


def sweep(target: Path) -> None:
    """Remove the work folder of a video that is in place: its run was killed just before that."""
    path = work_folder_of(target)
    if not (path.is_dir() and target.is_file()):
        return
    if any(file.samefile(target) for file in path.glob(f"run-*/{STAGING}")):
        with contextlib.suppress(LiveActError, OSError):
            WorkFolder(path).remove()


class Purpose(NamedTuple):
    """What a run does with its folder, and what helps whoever wants to do it too."""

    doing: str
    hint: str


MAKING: Final = Purpose("making this video", "wait for it, or choose another name with -o")


class WorkFolder:
    """A work folder that this process has for itself; the system frees it however we end."""

    def __init__(self, path: Path, purpose: Purpose = MAKING) -> None:
        """Make the folder, or take the one that is there.

        Raises LiveActError while another run uses it, OSError where it cannot be made.
        """
        self.path = path
        self._lock = _locked(path, purpose)

    def new_run(self) -> Path:
        """Return an empty folder inside for this run's files."""
        return Path(tempfile.mkdtemp(prefix="run-", dir=self.path))

    def clear(self, keep: Collection[Path] = ()) -> None:
        """Remove what runs left, but for the files `keep` and the folders they are in."""
        for entry in self.path.iterdir():
            if entry.name == _NAME or entry in keep:
                continue
            for file in entry.iterdir() if entry.is_dir() else (entry,):
                if file not in keep:
                    file.unlink(missing_ok=True)
            if entry.is_dir():
                with contextlib.suppress(OSError):
                    entry.rmdir()

    def remove(self) -> None:
        """Remove the folder, and let go of it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def release(self) -> None:
        """Leave the folder as it is for a later run."""
        os.close(self._lock)


def _locked(path: Path, purpose: Purpose) -> int:
    """Return the descriptor of a lock on the folder `path`, which is made where it is missing."""
    while True:
        path.mkdir(exist_ok=True)
        try:
            lock = os.open(path / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except FileNotFoundError:
            continue  # the run before has just cleaned up
        try:
            _lock(lock)
            if os.path.samestat(os.fstat(lock), os.stat(path / _NAME)):
                os.ftruncate(lock, 0)
                os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
                return lock
        except BlockingIOError:
            owner = os.pread(lock, 20, 0).decode("ascii", "replace").strip()
            os.close(lock)
            raise _busy(path, owner, purpose) from None
        except FileNotFoundError:
            pass
        os.close(lock)


def _lock(descriptor: int) -> None:
    """Lock an open file; BlockingIOError when another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Some network drives have no locks: two runs at once are not noticed there.
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise


def _busy(path: Path, owner: str, purpose: Purpose) -> LiveActError:
    process = f" (process {owner})" if owner else ""
    return LiveActError(
        f"another run{process} is {purpose.doing} just now, in {path}", purpose.hint
    )
