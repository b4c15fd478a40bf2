"""The lock file beside downloaded weights: which commit they are, and every file's SHA-256.

Nothing about a repository is known in advance. The first download writes down what it resolved;
from then on that is what counts, for a resumed download as for `liveact model verify`.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from liveact_cli.core.errors import WeightsError

LOCK_FILE: Final = "liveact.lock.json"
FORMAT: Final = 1
_BLOCK: Final = 1 << 22


@dataclass
class LockedFile:
    """A file: its size, what the Hub says its SHA-256 is (large files only), and what we found."""

    size: int
    published: str | None = None
    sha256: str | None = None


@dataclass
class LockedRepository:
    """A repository at one commit; `licence` as its card states it. Paths are below `folder`."""

    repository: str
    commit: str
    licence: str | None
    folder: str
    files: dict[str, LockedFile] = field(default_factory=dict)


@dataclass
class Lock:
    """All repositories that one model's folder holds."""

    repositories: dict[str, LockedRepository] = field(default_factory=dict)

    def paths(self) -> Iterator[tuple[str, LockedFile]]:
        """Yield every file's path, relative to the model's folder."""
        for repository in self.repositories.values():
            for name, file in repository.files.items():
                yield (f"{repository.folder}/{name}" if repository.folder else name), file


@dataclass(frozen=True)
class Problem:
    """A file that is not as it was locked, and in what way."""

    path: str
    what: str


def read_lock(folder: Path) -> Lock | None:
    """Return the lock in `folder`, None where there is none; WeightsError when it is damaged."""
    path = folder / LOCK_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, {FORMAT} is known")
        repositories = {
            name: LockedRepository(
                **{**entry, "files": {n: LockedFile(**f) for n, f in entry["files"].items()}}
            )
            for name, entry in content["repositories"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} cannot be read: {error}", "delete it, and download the model again"
        ) from error
    return Lock(repositories)


def write_lock(folder: Path, lock: Lock) -> None:
    """Write the lock whole or not at all."""
    content = {"format": FORMAT, **asdict(lock)}
    partial = folder / f"{LOCK_FILE}.{os.getpid()}.partial"
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(folder / LOCK_FILE)


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def is_complete(folder: Path, lock: Lock) -> bool:
    """Whether every locked file was finished and has its size; contents are not read."""
    return bool(lock.repositories) and all(
        file.sha256 and (folder / path).is_file() and (folder / path).stat().st_size == file.size
        for path, file in lock.paths()
    )


def check_files(
    folder: Path, lock: Lock, watch: Callable[[str], None] = lambda path: None
) -> Iterator[Problem]:
    """Read every locked file and yield what is not as it was; `watch` hears each path first."""
    for path, file in lock.paths():
        watch(path)
        place = folder / path
        if not place.is_file():
            yield Problem(path, "is missing")
        elif file.sha256 is None:
            yield Problem(path, "was never downloaded to its end")
        elif (size := place.stat().st_size) != file.size:
            yield Problem(path, f"has {size} bytes instead of {file.size}")
        elif (found := sha256_of(place)) != file.sha256:
            yield Problem(path, f"has SHA-256 {found[:12]}…, locked was {file.sha256[:12]}…")
