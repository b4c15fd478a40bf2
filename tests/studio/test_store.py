"""The job store keeps what has happened, whoever writes and whoever is killed."""

import sqlite3
from pathlib import Path

import pytest

from liveact_cli.core.errors import LiveActError
from liveact_cli.studio.jobrow import JobRow, State
from liveact_cli.studio.messages import Failure, Made
from liveact_cli.studio.store import NAME, Store

MADE = Made(50, 2.0, 4.0, 7, "ab" * 32, 1000, 123, b"\xff\xd8")


@pytest.fixture
def store(tmp_path: Path):
    with Store(tmp_path) as opened:
        opened.sync((name, Path("a"), Path("b"), tmp_path / name) for name in ("1", "2", "3"))
        yield opened


def row_of(store: Store, name: str) -> JobRow:
    row = store.row(name)
    assert row is not None
    return row


def test_jobs_take_their_turns(store: Store) -> None:
    assert store.next_waiting(()) == "1"
    assert store.next_waiting({"1", "3"}) == "2"
    store.begin("2", "99")
    assert store.next_waiting({"1"}) == "3"
    store.failed("2", Failure("no"), final=False)
    assert store.next_waiting({"1"}) == "2"
    store.begin("2", "99")
    store.done("2", MADE, "identity")
    assert (row_of(store, "2").attempts, row_of(store, "2").error) == (2, None)
    assert row_of(store, "2").speed == pytest.approx(0.5)


def test_a_cancelled_job_stays_so_whatever_comes_in(store: Store) -> None:
    store.begin("1", "99")
    assert store.cancel(["1", "2", "1"]) == ["1", "2"]
    store.halted("1")
    store.begin("2", "99")
    store.recover()
    assert store.names_in(State.CANCELLED) == {"1", "2"}
    assert store.retry(["1", "2", "3"]) == ["1", "2"]
    assert not row_of(store, "1").again


def test_a_finished_job_is_made_anew_only_when_asked(store: Store) -> None:
    store.done("1", MADE, "identity")
    store.recover()
    assert row_of(store, "1").state == State.DONE
    assert store.retry(["1"]) == ["1"]
    assert row_of(store, "1").again
    store.done("1", MADE, "identity")
    assert not row_of(store, "1").again


def test_jobs_that_left_the_manifest_are_remembered(store: Store, tmp_path: Path) -> None:
    store.done("2", MADE, "identity")
    store.sync([("3", Path("a"), Path("b"), tmp_path / "3")])
    assert [row.name for row in store.rows()] == ["3"]
    store.sync((name, Path("a"), Path("b"), tmp_path / name) for name in ("3", "2"))
    assert [(row.name, row.state) for row in store.rows()] == [("3", "waiting"), ("2", "done")]


def test_a_step_is_done_whole_or_not_at_all(store: Store, tmp_path: Path) -> None:
    class Crash(Exception):
        pass

    def interrupted() -> None:
        with store.together():
            store.wait("1")
            store.cancel(["2"])
            raise Crash

    with pytest.raises(Crash):
        interrupted()
    assert store.names_in(State.CANCELLED) == set()
    with Store(tmp_path) as second:
        assert len(second.rows()) == 3


def test_another_form_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / NAME) as base:
        base.execute("PRAGMA user_version = 99")
    base.close()
    with pytest.raises(LiveActError, match="written by another version of liveact"):
        Store(tmp_path)
