"""What was meant to run on this machine and could not: told once, recorded, and done otherwise.

Whatever is only faster has something beside it that is as right. When it fails, that takes over for
good, in this process, and whoever shows things to the user finds it in `untold`.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from liveact_cli.core.errors import LiveActError

_LONGEST = 160


@dataclass(frozen=True, slots=True)
class Fallback:
    """One thing that could not run, what does its work now, and why."""

    what: str
    instead: str
    why: str

    def __str__(self) -> str:
        """Write it for people, in one line."""
        return f"{self.what} cannot run here, {self.instead} instead: {self.why}"


_taken: dict[str, Fallback] = {}
_told: set[str] = set()
_lock = threading.Lock()


def fall_back(what: str, instead: str, why: BaseException | str) -> None:
    """Remember that something could not run; the same thing counts once."""
    reason = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
    words = " ".join(reason.split())
    with _lock:
        short = words if len(words) <= _LONGEST else f"{words[:_LONGEST]} ..."
        _taken.setdefault(what, Fallback(what, instead, short))


def taken() -> list[str]:
    """Return all that this process has fallen back from, for its records."""
    with _lock:
        return [str(each) for each in _taken.values()]


def untold() -> list[Fallback]:
    """Return what the user has not been told yet; the next call will not return it."""
    with _lock:
        news = [each for what, each in _taken.items() if what not in _told]
        _told.update(each.what for each in news)
    return news


def forget() -> None:
    """Begin anew, for tests."""
    with _lock:
        _taken.clear()
        _told.clear()


class Guarded:
    """A pure function that another one, as right, replaces for good when it fails.

    Running out of memory is no such failure, nor is an error that is meant for the user.
    """

    def __init__(
        self, fast: Callable[..., Any], slow: Callable[..., Any], what: str, instead: str
    ) -> None:
        """Run `fast` as long as it works, then `slow`; the words are for the user."""
        self._fast, self._slow, self._what, self._instead = fast, slow, what, instead
        self.failed = False

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Run the one or the other."""
        if not self.failed:
            try:
                return self._fast(*arguments, **options)
            except (torch.OutOfMemoryError, MemoryError, LiveActError):
                raise
            except Exception as error:  # noqa: BLE001  (any: compilers and drivers have many kinds)
                fall_back(self._what, self._instead, error)
                self.failed = True
        return self._slow(*arguments, **options)
