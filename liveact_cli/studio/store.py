"""The job store: what is known of every job of a manifest, in one SQLite file beside it.

Every change is a transaction of its own, on the disk before the next step is taken: whatever is
killed, what the store says has happened. Readers (`liveact batch status`) never block the writer.
"""

import json
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from liveact_cli.core.errors import LiveActError
from liveact_cli.media.ffmpeg import explain_os_error
from liveact_cli.studio.jobrow import JobRow, RunRow, State, row_of
from liveact_cli.studio.messages import Failure, Made, Opened

NAME: Final = "jobs.sqlite"
_FORMAT: Final = 1
_PATIENCE: Final = 30.0
_TABLES: Final = """
CREATE TABLE job (
    name TEXT PRIMARY KEY,
    position INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'waiting',
    again INTEGER NOT NULL DEFAULT 0,
    audio TEXT, reference TEXT, output TEXT,
    identity TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    worker TEXT, begun REAL, ended REAL,
    frames INTEGER NOT NULL DEFAULT 0, total_frames INTEGER, fps REAL, seconds REAL,
    work_seconds REAL, frames_before INTEGER NOT NULL DEFAULT 0, seed INTEGER,
    exit_code INTEGER, error TEXT, hint TEXT, trace TEXT, notes TEXT,
    sha256 TEXT, size INTEGER, mtime_ns INTEGER, thumbnail BLOB
);
CREATE INDEX job_turn ON job (state, position);
CREATE TABLE attempt (
    name TEXT NOT NULL, begun REAL NOT NULL, ended REAL, worker TEXT, outcome TEXT, error TEXT
);
CREATE TABLE file (
    path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, sha256 TEXT
);
CREATE TABLE run (
    number INTEGER PRIMARY KEY, pid INTEGER, host TEXT, begun REAL, ended REAL, about TEXT
);
"""


class Store:
    """The store of one manifest."""

    def __init__(self, folder: Path) -> None:
        """Open the store in `folder`, or make it; raises LiveActError where it cannot be used."""
        self.path = folder / NAME
        try:
            with self._told():
                self._base = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
                self._base.row_factory = sqlite3.Row
                self._base.execute("PRAGMA journal_mode = WAL")
                self._base.execute("PRAGMA synchronous = FULL")
                self._prepare()
        except OSError as error:
            cause, hint = explain_os_error(error)
            raise LiveActError(f"{self.path} cannot be made: {cause}", hint) from error

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Close the file."""
        self._base.close()

    def _prepare(self) -> None:
        with self.together():
            (found,) = self._base.execute("PRAGMA user_version").fetchone()
            if found == _FORMAT:
                return
            if found:
                raise LiveActError(
                    f"{self.path} was written by another version of liveact (form {found})",
                    "use that version, or move the file away: finished videos are found again",
                )
            for statement in _TABLES.split(";"):
                self._base.execute(statement)
            self._base.execute(f"PRAGMA user_version = {_FORMAT}")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what SQLite says into our words."""
        try:
            yield
        except sqlite3.Error as error:
            raise LiveActError(
                f"the job store {self.path} cannot be used: {error}",
                "check the disk and who may write there; if the file is damaged move it away: "
                "finished videos are found again",
            ) from error

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do all changes of the block as one step, or none of them."""
        if self._base.in_transaction:
            yield
            return
        with self._told():
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._base.execute("ROLLBACK")
                raise
            self._base.execute("COMMIT")

    def _all(self, query: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        with self._told():
            return self._base.execute(query, values).fetchall()

    # The jobs ------------------------------------------------------------------------------------

    def rows(self) -> list[JobRow]:
        """Return the jobs of the manifest as it was read last, in its order."""
        query = "SELECT * FROM job WHERE position > 0 ORDER BY position"
        return [row_of(found) for found in self._all(query)]

    def row(self, name: str) -> JobRow | None:
        """Return a job by its name, also one that the manifest does not have any more."""
        found = self._all("SELECT * FROM job WHERE name = ?", (name,))
        return row_of(found[0]) if found else None

    def sync(self, jobs: Iterable[tuple[str, Path, Path, Path]]) -> None:
        """Take over the manifest's jobs: name, audio, reference, output. Others are left out."""
        with self.together():
            self._base.execute("UPDATE job SET position = 0")
            self._base.executemany(
                "INSERT INTO job (position, name, audio, reference, output) VALUES (?,?,?,?,?) "
                "ON CONFLICT (name) DO UPDATE SET position = excluded.position, "
                "audio = excluded.audio, reference = excluded.reference, output = excluded.output",
                [
                    (number, name, *map(str, paths))
                    for number, (name, *paths) in enumerate(jobs, start=1)
                ],
            )

    def next_waiting(self, beside: Collection[str]) -> str | None:
        """Return the first job that waits and is not among `beside`, of which there are few."""
        query = (
            "SELECT name FROM job WHERE state = 'waiting' AND position > 0 "
            "ORDER BY position LIMIT ?"
        )
        found = self._all(query, (len(beside) + 1,))
        return next((name for (name,) in found if name not in beside), None)

    def names_in(self, state: State) -> set[str]:
        """Return the names of all jobs in a state."""
        return {name for (name,) in self._all("SELECT name FROM job WHERE state = ?", (state,))}

    def wait(self, name: str) -> None:
        """Let a job wait for its turn."""
        self._set(name, state=State.WAITING, frames=0)

    def begin(self, name: str, worker: str) -> None:
        """Note that an attempt has begun; a job that was cancelled meanwhile stays so."""
        now = time.time()
        with self.together():
            self._base.execute(
                "UPDATE job SET state = 'running', worker = ?, begun = ?, ended = NULL, "
                "frames = 0, total_frames = NULL, attempts = attempts + 1 "
                "WHERE name = ? AND state != 'cancelled'",
                (worker, now, name),
            )
            self._base.execute(
                "INSERT INTO attempt (name, begun, worker) VALUES (?,?,?)", (name, now, worker)
            )

    def opened(self, name: str, opened: Opened) -> None:
        """Note how much there is to do."""
        self._set(
            name,
            total_frames=opened.frames,
            fps=opened.fps,
            seconds=opened.seconds,
            seed=opened.seed,
            notes=json.dumps(opened.notes, ensure_ascii=False),
        )

    def found_at(self, name: str, worker: str) -> None:
        """Note who has a job."""
        self._set(name, worker=worker)
        with self.together():
            self._base.execute(
                "UPDATE attempt SET worker = ? WHERE name = ? AND ended IS NULL", (worker, name)
            )

    def progress(self, name: str, frames: int) -> None:
        """Note how many frames there are."""
        self._set(name, frames=frames)

    def caution(self, name: str, message: str) -> None:
        """Note something doubtful."""
        row = self.row(name)
        notes = [*(row.notes if row else ()), message]
        self._set(name, notes=json.dumps(notes, ensure_ascii=False))

    def done(self, name: str, made: Made, identity: str | None) -> None:
        """Note that the video is in place."""
        self._end(
            name,
            "found" if made.found else "done",
            None,
            state=State.DONE,
            again=0,
            identity=identity,
            frames=made.frames,
            total_frames=made.frames,
            seconds=made.duration,
            seed=made.seed,
            sha256=made.sha256,
            size=made.size,
            mtime_ns=made.mtime_ns,
            thumbnail=made.thumbnail,
            **({} if made.found else _pace(made)),
            **_no_failure(),
        )

    def failed(self, name: str, failure: Failure, *, final: bool) -> None:
        """Note a failed attempt; the job waits for another one unless it was the final one."""
        self._end(
            name,
            "failed",
            failure.message,
            state=State.FAILED if final else State.WAITING,
            exit_code=failure.exit_code,
            error=failure.message,
            hint=failure.hint,
            trace=failure.trace,
        )

    def halted(self, name: str) -> None:
        """Note that a job was stopped; it waits, unless it was cancelled."""
        self._end(name, "stopped", None)
        with self.together():
            self._base.execute(
                "UPDATE job SET state = 'waiting' WHERE name = ? AND state = 'running'", (name,)
            )

    def still_good(self, name: str, size: int, mtime_ns: int) -> None:
        """Note what `stat` says of a video whose bytes are the ones that were made."""
        self._set(name, size=size, mtime_ns=mtime_ns)

    def recover(self) -> None:
        """Let jobs wait that a run which was killed has left running."""
        with self.together():
            self._base.execute("UPDATE job SET state = 'waiting' WHERE state = 'running'")
            self._base.execute(
                "UPDATE attempt SET ended = ?, outcome = 'killed' WHERE ended IS NULL",
                (time.time(),),
            )

    def cancel(self, names: Iterable[str]) -> list[str]:
        """Cancel those of the jobs that wait or run, and return their names."""
        return self._move(names, (State.WAITING, State.RUNNING), State.CANCELLED)

    def retry(self, names: Iterable[str]) -> list[str]:
        """Let failed, cancelled and finished jobs wait; return their names, in this order.

        A finished video will be made anew.
        """
        wanted = list(names)
        failed = self._move(wanted, (State.FAILED, State.CANCELLED), State.WAITING)
        done = self._move(wanted, (State.DONE,), State.WAITING)
        for name in (*failed, *done):
            self._set(name, again=name in done, frames=0, **_no_failure())
        return [*failed, *done]

    def _move(self, names: Iterable[str], old: Sequence[State], new: State) -> list[str]:
        moved = []
        with self.together():
            for name in names:
                marks = ",".join("?" * len(old))
                done = self._base.execute(
                    f"UPDATE job SET state = ? WHERE name = ? AND state IN ({marks})",  # noqa: S608
                    (new, name, *old),
                )
                if done.rowcount:
                    moved.append(name)
        return moved

    def _set(self, name: str, **values: object) -> None:
        columns = ", ".join(f"{column} = ?" for column in values)
        with self.together():
            self._base.execute(
                f"UPDATE job SET {columns} WHERE name = ?",  # noqa: S608  (our own column names)
                (*values.values(), name),
            )

    def _end(self, name: str, outcome: str, cause: str | None, **values: object) -> None:
        now = time.time()
        self._set(name, ended=now, **values)
        with self.together():
            self._base.execute(
                "UPDATE attempt SET ended = ?, outcome = ?, error = ? "
                "WHERE name = ? AND ended IS NULL",
                (now, outcome, cause, name),
            )

    # Files and runs ------------------------------------------------------------------------------

    def known_hash(self, path: Path, size: int, mtime_ns: int) -> str | None:
        """Return the SHA-256 that a file had when it had this size and time."""
        query = "SELECT sha256 FROM file WHERE path = ? AND size = ? AND mtime_ns = ?"
        found = self._all(query, (str(path), size, mtime_ns))
        return found[0][0] if found else None

    def keep_hash(self, path: Path, size: int, mtime_ns: int, sha256: str) -> None:
        """Remember the SHA-256 of a file."""
        with self.together():
            self._base.execute(
                "INSERT OR REPLACE INTO file VALUES (?,?,?,?)", (str(path), size, mtime_ns, sha256)
            )

    def begin_run(self, pid: int, host: str, about: str) -> None:
        """Note that a run has begun."""
        with self.together():
            self._base.execute(
                "INSERT INTO run (pid, host, begun, about) VALUES (?,?,?,?)",
                (pid, host, time.time(), about),
            )

    def end_run(self) -> None:
        """Note that the newest run has ended."""
        with self.together():
            self._base.execute(
                "UPDATE run SET ended = ? WHERE number = (SELECT max(number) FROM run)",
                (time.time(),),
            )

    def last_run(self) -> RunRow | None:
        """Return the newest run, if there was one."""
        query = "SELECT pid, host, begun, ended, about FROM run ORDER BY number DESC LIMIT 1"
        found = self._all(query)
        return RunRow(*found[0]) if found else None


def _pace(made: Made) -> dict[str, object]:
    return {"work_seconds": made.work_seconds, "frames_before": made.before}


def _no_failure() -> dict[str, object]:
    return dict.fromkeys(("exit_code", "error", "hint", "trace"))
