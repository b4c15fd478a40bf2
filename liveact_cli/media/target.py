"""The file that a render leaves: checked before the work, in place complete or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Final

from liveact_cli.core.errors import LiveActError, UsageError
from liveact_cli.core.units import format_bytes
from liveact_cli.media.ffmpeg import explain_os_error, sync_file

STAGING: Final = "video.mp4"
_BITS_PER_PIXEL: Final = 0.25
_SOUND_BYTES: Final = 48_000
_RESERVE: Final = 16_000_000
_LONGEST_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Target:
    """A video to be: `path` in the end, `directory` for this run's files beside it.

    `staging` is where the complete video is written before `commit` moves it.
    """

    path: Path
    directory: Path
    force: bool

    @property
    def staging(self) -> Path:
        """Name of the finished video inside `directory`."""
        return self.directory / STAGING

    @property
    def partial(self) -> Path:
        """Where an interrupted render is kept: `OUT.partial.mp4`."""
        return self.path.with_name(f"{self.path.stem}.partial.mp4")

    def commit(self, path: Path | None = None) -> Path:
        """Move `staging` to `path` (default: the target) and return that.

        Where a file of that name has appeared meanwhile and `force` is not set, the video goes to
        a free name beside it and UsageError says so; a partial video replaces an older one.
        """
        final = path or self.path
        try:
            sync_file(self.staging)
            if self.force or final == self.partial:
                os.replace(self.staging, final)
            else:
                _move_if_free(self.staging, final)
            sync_file(final.parent)
        except FileExistsError as error:
            kept = _move_to_free_name(self.staging, final)
            raise UsageError(
                f"{final} exists already: somebody made it meanwhile; the finished video is {kept}",
                f"mv {kept.name} to the name you want",
            ) from error
        except OSError as error:
            cause, hint = explain_os_error(error)
            raise LiveActError(f"{final} could not be written: {cause}", hint) from error
        return final


@contextmanager
def atomic_target(out: Path | str, force: bool = False, estimate: int = 0) -> Iterator[Target]:
    """Check `out`, and give a directory beside it that is gone afterwards, whatever happens.

    `estimate` is the size of the finished file in bytes; twice that must be free, for segments and
    video. Raises UsageError for an existing file without `force`, a folder, a name without .mp4;
    LiveActError for a folder that cannot be written or a disk that is too full.
    """
    path = Path(out)
    check_target(path, force, estimate)
    prefix = f".{path.name[:_LONGEST_NAME]}.liveact-"
    try:
        directory = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    except OSError as error:
        raise _unwritable(path.parent, error) from error
    try:
        yield Target(path, directory, force)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def check_target(path: Path, force: bool = False, estimate: int = 0) -> None:
    """Raise as `atomic_target` does, without making anything."""
    if path.suffix.lower() != ".mp4":
        raise UsageError(
            f"the video's name is {path.name or str(path)!r}, which does not end in .mp4",
            f"-o {path.stem or 'video'}.mp4",
        )
    if path.is_dir():
        raise UsageError(f"{path} is a folder", f"-o {path / 'video.mp4'}")
    if os.path.lexists(path):
        if not force:
            raise _exists(path)
        if not path.is_file():
            raise UsageError(f"{path} is not a regular file", "choose another name with -o")
    parent = path.parent
    if not parent.is_dir():
        what = "is not a folder" if parent.exists() else "does not exist"
        raise UsageError(f"the folder {parent} {what}", f"mkdir -p {parent}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise _unwritable(parent, PermissionError(13, "permission denied"))
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(parent).free
        if free < 2 * estimate + _RESERVE:
            raise LiveActError(
                f"{parent} has {format_bytes(free)} free; this video may need "
                f"{format_bytes(2 * estimate + _RESERVE)} while it is made",
                "free some space, write elsewhere with -o, or raise --crf",
            )


def estimate_bytes(width: int, height: int, fps: Fraction, seconds: float, crf: int) -> int:
    """Return a cautious size of a video in bytes: thrice what a portrait takes on average."""
    scale = 2 ** ((18 - crf) / 6)
    video = width * height * float(fps) * seconds * _BITS_PER_PIXEL * scale / 8
    return round(video + _SOUND_BYTES * seconds)


def _move_if_free(source: Path, final: Path) -> None:
    """Give a file another name without ever replacing one; FileExistsError when it is taken.

    The old name stays where the system allows: it proves later whose file this is.
    """
    try:
        os.link(source, final)
    except FileExistsError:
        raise
    except OSError:
        # No hard links here (FAT, some network drives): the next best has a short gap.
        if os.path.lexists(final):
            raise FileExistsError(final) from None
        os.replace(source, final)


def _move_to_free_name(source: Path, final: Path) -> Path:
    """Rename to `OUT-2.mp4`, or the next number that is free."""
    for number in count(2):
        path = final.with_stem(f"{final.stem}-{number}")
        with contextlib.suppress(FileExistsError):
            _move_if_free(source, path)
            return path
    raise AssertionError("numbers never end")


def _exists(path: Path) -> UsageError:
    return UsageError(f"{path} exists already", "--force replaces it, -o chooses another name")


def _unwritable(folder: Path, error: OSError) -> LiveActError:
    reason = (error.strerror or str(error)).lower()
    return LiveActError(
        f"the folder {folder} cannot be written: {reason}", "choose another with -o"
    )
