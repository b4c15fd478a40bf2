"""A manifest worked through: what is missing or has changed is rendered, and noted in the store."""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from liveact_cli.core.errors import ExitCode, LiveActError
from liveact_cli.core.events import Caution, ChunkDone, Resumed
from liveact_cli.media.ffmpeg import explain_os_error
from liveact_cli.media.workfolder import Purpose, WorkFolder, work_folder_of
from liveact_cli.studio.dispatch import (
    RETRIES,
    TIMEOUT,
    Begun,
    Done,
    Failed,
    Halted,
    Happening,
    Progress,
    dispatch,
)
from liveact_cli.studio.identity import Identities, is_as_made, is_finished, order_of
from liveact_cli.studio.jobrow import JobRow, State
from liveact_cli.studio.manifest import Manifest
from liveact_cli.studio.messages import Failure, Opened, Where
from liveact_cli.studio.orders import RenderOrder
from liveact_cli.studio.store import Store
from liveact_cli.studio.workers import Workers

_INSIDE: Final = ".batch.liveact"
_PURPOSE: Final = Purpose(
    "working on this batch", "liveact batch status MANIFEST shows what it does"
)
_PAUSE: Final = 1.0


def batch_folder(manifest: Path) -> Path:
    """Return where a batch keeps its job store: beside the manifest, or inside a folder."""
    return manifest / _INSIDE if manifest.is_dir() else work_folder_of(manifest)


@contextmanager
def batch_store(manifest: Path) -> Iterator[Store]:
    """Give the store of a manifest for one run, which has it for itself.

    Raises LiveActError while another run works on the manifest, or where nothing can be written.
    """
    path = batch_folder(manifest)
    try:
        folder = WorkFolder(path, _PURPOSE)
    except OSError as error:
        raise LiveActError(
            f"the job store {path} cannot be made: {explain_os_error(error)[0].lower()}",
            "make room there, or copy the manifest to a folder that can be written",
        ) from error
    try:
        with Store(path) as store:
            yield store
    finally:
        folder.release()


def known_store(manifest: Path) -> Store:
    """Open the store that a manifest has, to look or to order; LiveActError where none is."""
    if not manifest.exists():
        raise LiveActError(f"{manifest} does not exist", "check the name and the folder")
    path = batch_folder(manifest)
    if not path.is_dir():
        raise LiveActError(
            f"nothing is known of {manifest.name} yet", f"liveact batch {manifest.name} begins it"
        )
    return Store(path)


def is_running(store: Store) -> bool:
    """Whether the run that the store saw last goes on, as far as this machine can tell."""
    run = store.last_run()
    if run is None or run.ended is not None:
        return False
    if run.host != socket.gethostname():
        return True
    try:
        os.kill(run.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@dataclass(frozen=True, slots=True)
class Summary:
    """How many jobs are in which state after a run, and what the run made."""

    counts: Mapping[State, int]
    video_seconds: float
    wall_seconds: float
    made: int
    kept: int

    @property
    def exit_code(self) -> ExitCode:
        """OK when every job is done."""
        others = [state for state, count in self.counts.items() if count and state != State.DONE]
        if not others:
            return ExitCode.OK
        stopped = {State.WAITING, State.RUNNING} & set(others)
        return ExitCode.INTERRUPTED if stopped else ExitCode.BATCH_PARTIAL

    def sentence(self) -> str:
        """Return `38 of 40 done, 2 failed`."""
        total = sum(self.counts.values())
        parts = [f"{self.counts.get(State.DONE, 0)} of {total} done"]
        parts += [f"{n} {state}" for state, n in self.counts.items() if n and state != State.DONE]
        return ", ".join(parts)


class Batch:
    """One run over a manifest."""

    def __init__(
        self, manifest: Manifest, store: Store, variables: Mapping[str, str], *, force: bool = False
    ) -> None:
        """Take the manifest's jobs over into the store, and decide which are to be done."""
        self.store, self.force = store, force
        self._jobs = {job.name: job for job in manifest.jobs}
        self._orders = {
            job.name: order_of(job, manifest.folder, variables) for job in manifest.jobs
        }
        self._identities = Identities(store)
        self._handed: set[str] = set()
        self._refused: list[Failed] = []
        self._told: dict[str, float] = {}
        self._begun = time.monotonic()
        self._made, self._video = 0, 0.0
        self._looked, self._cancelled = 0.0, set[str]()
        with store.together():
            store.recover()
            store.sync((job.name, job.audio, job.reference, job.output) for job in manifest.jobs)
            self.kept = sum(not self._is_due(row) for row in store.rows())

    @property
    def waiting(self) -> int:
        """How many jobs wait now."""
        return sum(row.state == State.WAITING for row in self.store.rows())

    def run(
        self,
        workers: Workers,
        *,
        timeout: float = TIMEOUT,
        retries: int = RETRIES,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Happening]:
        """Do what is to be done and yield what happens, after it is noted in the store."""
        yield from self._refused
        try:
            while not stop() and self._next() is not None:
                for happening in dispatch(
                    workers,
                    self._due(),
                    timeout=timeout,
                    retries=retries,
                    stop=stop,
                    cancelled=self._unwanted,
                ):
                    self._note(happening)
                    yield happening
        finally:
            self.store.recover()

    def summary(self) -> Summary:
        """Return how things stand."""
        rows = self.store.rows()
        counts = {state: sum(row.state == state for row in rows) for state in State}
        seconds = time.monotonic() - self._begun
        return Summary(counts, self._video, seconds, self._made, self.kept)

    # What is to be done --------------------------------------------------------------------------

    def _is_due(self, row: JobRow) -> bool:
        """Decide whether a job is to be done, and let it wait for that."""
        if row.state == State.CANCELLED:
            return False
        if is_finished(self.store, row, self._identities.of(self._orders[row.name])):
            return False
        changed = _time_of(row.output) if row.state == State.DONE and not self.force else ""
        if changed and not is_as_made(self.store, row):
            message = f"{row.output} is not what was made: it was changed on {changed}"
            hint = "move it away, or --force, which makes it again"
            failure = Failure(message, hint, again=False)
            self.store.failed(row.name, failure, final=True)
            self._refused.append(Failed(row.name, failure, final=True))
        else:
            self.store.wait(row.name)
        return True

    def _next(self) -> str | None:
        return self.store.next_waiting(self._handed)

    def _due(self) -> Iterator[tuple[str, RenderOrder]]:
        while (name := self._next()) is not None:
            self._handed.add(name)
            yield name, self._order(name)

    def _order(self, name: str) -> RenderOrder:
        """Return the order, with whether what lies at its name may be replaced: only our own."""
        order, row = self._orders[name], self.store.row(name)
        assert row is not None
        ours = is_as_made(self.store, row) if order.output.exists() else row.attempts > 0
        with contextlib.suppress(OSError):  # the render says what is wrong with the folder
            order.output.parent.mkdir(parents=True, exist_ok=True)
        return replace(order, replace=self.force or ours, again=row.again)

    def _unwanted(self) -> Iterable[str]:
        now = time.monotonic()
        if now - self._looked >= _PAUSE:
            self._looked = now
            self._cancelled = self.store.names_in(State.CANCELLED)
        return self._cancelled

    # What has happened ---------------------------------------------------------------------------

    def _note(self, happening: Happening) -> None:
        name, store = happening.key, self.store
        if isinstance(happening, Begun):
            self._identities.of(self._orders[name])()
            store.begin(name, happening.worker)
        elif isinstance(happening, Done):
            store.done(name, happening.made, self._identities.of(self._orders[name])())
            self._handed.discard(name)
            if not happening.made.found:
                self._made += 1
                self._video += happening.made.duration
        elif isinstance(happening, Failed):
            store.failed(name, happening.failure, final=happening.final)
            if happening.final:
                self._handed.discard(name)
        elif isinstance(happening, Halted):
            store.halted(name)
            self._handed.discard(name)
        else:
            self._note_progress(happening)

    def _note_progress(self, happening: Progress) -> None:
        name, event = happening.key, happening.event
        if isinstance(event, Opened):
            self.store.opened(name, event)
        elif isinstance(event, Where):
            self.store.found_at(name, event.worker)
        elif isinstance(event, Caution):
            self.store.caution(name, event.message)
        elif isinstance(event, ChunkDone | Resumed):
            now = time.monotonic()
            if now - self._told.get(name, 0.0) >= _PAUSE:
                self._told[name] = now
                self.store.progress(name, event.frames)


def _time_of(path: str) -> str:
    """Return when a file was changed; nothing where there is none."""
    with contextlib.suppress(OSError):
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(Path(path).stat().st_mtime))
    return ""
