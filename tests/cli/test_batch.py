"""A manifest worked through by real processes: broken jobs, changes, kills, two runs at once."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from liveact_cli.core.errors import ExitCode
from liveact_cli.diagnose.bench import repeat_sound
from liveact_cli.studio.batch import known_store
from liveact_cli.weights.resolve import example_file

SPEECH, FACE = example_file("audio.wav"), example_file("face.png")
HEAD = f"defaults: {{ref: '{FACE}', size: 64x64, duration: 0.5, start: 2, seed: 1}}\njobs:\n"


def write(path: Path, *jobs: str) -> Path:
    path.write_text(HEAD + "".join(f"  - {{{job}}}\n" for job in jobs), encoding="utf-8")
    return path


def state_of(shell, manifest: Path) -> dict[str, dict]:
    outcome = shell("batch", "status", manifest, "--json")
    assert outcome.code == 0, outcome.err
    return {job["name"]: job for job in outcome.json["jobs"]}


def wait_for(what: Callable[[], object], seconds: float = 240.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Page(HTMLParser):
    """Collects what a page shows and refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attributes) -> None:
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.multi
def test_only_what_is_missing_or_changed_is_done(studio, tmp_path: Path) -> None:
    jobs = [f"audio: '{SPEECH}', output: 'v/{name}.mp4'" for name in ("keep", "gone", "Ümlaut <b>")]
    jobs.append("audio: late.wav, output: v/late.mp4")
    manifest = write(tmp_path / "a b.yaml", *jobs)
    first = studio("batch", manifest, "--jobs", 1, "--json")
    assert first.code == ExitCode.BATCH_PARTIAL, first.err
    assert first.json["counts"] | {"done": 3, "failed": 1} == first.json["counts"]
    names = ["v/keep.mp4", "v/gone.mp4", "v/Ümlaut <b>.mp4", "v/late.mp4"]
    assert [job["name"] for job in first.json["jobs"]] == names
    assert "does not exist" in first.json["jobs"][3]["error"]

    page = Page()
    page.feed((tmp_path / "a b.yaml.report.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert page.tags.count("img") == 3
    assert all(source.startswith(("data:image/jpeg;base64,", "./v/")) for source in page.sources)
    assert "./v/%C3%9Cmlaut%20%3Cb%3E.mp4" in page.sources
    assert "late.wav does not exist" in page.text

    repeat_sound(SPEECH, tmp_path / "late.wav", 3.0)
    (tmp_path / "v" / "gone.mp4").unlink()
    write(manifest, *jobs[:2], jobs[2] + ", emotion: happy", jobs[3])
    kept = (tmp_path / "v" / "keep.mp4").stat().st_mtime_ns
    old = (tmp_path / names[2]).read_bytes()
    second = studio("batch", manifest, "--json", "--jobs", 1)
    assert second.code == 0, second.err
    assert (second.json["made"], second.json["kept"]) == (3, 1)
    assert (tmp_path / "v" / "keep.mp4").stat().st_mtime_ns == kept
    assert (tmp_path / names[2]).read_bytes() != old
    assert (tmp_path / "v" / "gone.mp4").read_bytes() == (tmp_path / "v" / "keep.mp4").read_bytes()

    third = studio("batch", manifest)
    assert third.code == 0
    assert third.out == ""
    with (tmp_path / "v" / "keep.mp4").open("r+b") as file:
        file.truncate(1000)
    fourth = studio("batch", manifest)
    assert fourth.code == ExitCode.BATCH_PARTIAL
    assert "keep.mp4 is not what was made: it was changed on" in fourth.err
    assert (tmp_path / "v" / "keep.mp4").stat().st_size == 1000


@pytest.mark.multi
def test_stopped_and_killed_runs_leave_nothing_behind_and_go_on(studio, tmp_path: Path) -> None:
    repeat_sound(SPEECH, tmp_path / "long.wav", 40.0)
    manifest = tmp_path / "night.yaml"
    manifest.write_text(
        f"defaults: {{ref: '{FACE}', size: 64x64, segment-seconds: 2}}\njobs: [long.wav]"
    )
    command = [sys.executable, "-m", "liveact_cli", "batch", str(manifest)]

    def states() -> list[str]:
        return sorted(path.name for path in tmp_path.glob(".long.mp4.liveact/state-*.liveact"))

    def begun() -> tuple[subprocess.Popen[str], int]:
        """Start the batch, and freeze its worker as soon as it has saved more progress."""
        before = states()
        process = subprocess.Popen(
            command, env={**os.environ, **studio.variables}, stderr=subprocess.PIPE, text=True
        )
        wait_for(lambda: states() > before)
        with known_store(manifest) as store:
            row = store.row("long.mp4")
        assert row is not None
        worker = int(row.worker or 0)
        os.kill(worker, signal.SIGSTOP)
        wait_for(lambda: frozen(worker))
        return process, worker

    def frozen(pid: int) -> bool:
        """Does every thread stand still? The system ends only what stood when its parent died."""
        threads = Path(f"/proc/{pid}/task").glob("*/stat")
        return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in threads)

    def gone(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    process, worker = begun()
    second = studio("batch", manifest)
    assert second.code == ExitCode.FAILURE
    assert f"another run (process {process.pid}) is working on this batch" in second.err
    process.send_signal(signal.SIGINT)
    os.kill(worker, signal.SIGCONT)
    said = process.communicate(timeout=180)[1]
    assert process.returncode == ExitCode.INTERRUPTED, said
    assert "the same command goes on" in said
    assert gone(worker)
    assert state_of(studio, manifest)["long.mp4"]["state"] == "waiting"

    process, worker = begun()
    process.kill()  # even the frozen worker must not stay behind
    process.communicate()
    wait_for(lambda: gone(worker))
    assert "1 stopped" in studio("batch", "status", manifest).out
    last = studio("batch", manifest, "--json")
    assert last.code == 0, last.err
    job = last.json["jobs"][0]
    assert job["attempts"] == 3
    assert 0 < job["frames_before"] < job["frames"]
    assert {path.name for path in tmp_path.iterdir() if path.suffix == ".mp4"} == {"long.mp4"}
    assert not (tmp_path / ".long.mp4.liveact").exists()


def test_check_opens_every_file_and_looks_for_faces(studio, tmp_path: Path) -> None:
    Image.new("RGB", (200, 200), (90, 120, 200)).save(tmp_path / "sky.png")
    (tmp_path / "text.wav").write_text("no sound")
    manifest = write(
        tmp_path / "m.yaml", f"audio: '{SPEECH}'", "audio: text.wav",
        f"audio: '{SPEECH}', ref: sky.png, output: new/sky.mp4",
    )  # fmt: skip
    outcome = studio("batch", "check", manifest)
    assert outcome.code == ExitCode.BAD_MEDIA
    assert "line 4, text.mp4: error: the recording" in outcome.err
    assert re.search("line 5, new/sky.mp4: error: .*face", outcome.err)
    assert "1 of 3 can be rendered" in outcome.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.yaml", "sky.png", "text.wav"]


def test_dry_run_tells_time_disk_and_memory(studio, tmp_path: Path) -> None:
    manifest = write(tmp_path / "m.yaml", f"audio: '{SPEECH}'")
    outcome = studio("batch", manifest, "--dry-run", "--json", "--set", "duration=4s")
    assert outcome.code == 0, outcome.err
    need = outcome.json["estimate"]
    assert need["jobs"] == 1
    assert need["video_seconds"] == pytest.approx(4.0)
    assert 0 < need["seconds"] < 60
    assert need["memory_bytes"] > 100_000_000
    assert 0 < need["disk_bytes"] < need["disk_free"]
    assert [path.name for path in tmp_path.iterdir()] == ["m.yaml"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("m.yaml", "--jobs", "0"), 2, "--jobs 0: write a number from 1 to"),
        (("m.yaml", "--retries", "x"), 2, "--retries x: write a number from 0 to"),
        (("m.yaml", "--timeout", "soon"), 2, "--timeout: 'soon' is not a time"),
        (("m.yaml", "--set", "sise=1x1"), 2, "did you mean 'size'?"),
        (("absent.yaml",), 3, "absent.yaml does not exist"),
        (("check", "absent.yaml"), 3, "absent.yaml does not exist"),
        (("status", "m.yaml"), 1, "nothing is known of m.yaml yet"),
        (("status", "absent.yaml"), 1, "does not exist"),
        (("cancel", "m.yaml"), 2, "cancel which jobs?"),
        ((), 2, "MANIFEST"),
    ],
)
def test_what_cannot_be(studio, tmp_path: Path, words: tuple, code: int, says: str) -> None:
    write(tmp_path / "m.yaml", f"audio: '{SPEECH}'")
    outcome = studio("batch", *words)
    assert outcome.code == code
    assert says in outcome.err
    assert "Traceback" not in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["m.yaml"]


def test_jobs_are_left_out_and_taken_in_again(studio, tmp_path: Path) -> None:
    """No worker is needed: the only jobs are cancelled, or have nothing to read."""
    manifest = write(tmp_path / "m.yaml", "audio: a.wav", "audio: b.wav")
    prepare_store(studio, manifest)
    assert studio("batch", "cancel", manifest, "2").out == "b.mp4\n"
    assert studio("batch", "cancel", manifest, "--all").out == "a.mp4\n"
    wrong = studio("batch", "retry", manifest, "c.mp4")
    assert wrong.code == ExitCode.USAGE
    assert "did you mean" in wrong.err
    left = studio("batch", manifest)
    assert left.code == ExitCode.BATCH_PARTIAL
    assert "0 of 2 done, 2 cancelled" in left.err
    assert studio("batch", "retry", manifest).out == "a.mp4\nb.mp4\n"
    assert {job["state"] for job in state_of(studio, manifest).values()} == {"waiting"}


def prepare_store(shell, manifest: Path) -> None:
    from liveact_cli.studio.batch import Batch, batch_store
    from liveact_cli.studio.manifest import read_manifest

    with batch_store(manifest) as store:
        Batch(read_manifest(manifest, shell.variables), store, shell.variables)


def test_a_damaged_store_is_told(studio, tmp_path: Path) -> None:
    manifest = write(tmp_path / "m.yaml", "audio: a.wav")
    prepare_store(studio, manifest)
    (tmp_path / ".m.yaml.liveact" / "jobs.sqlite").write_bytes(b"no database" * 100)
    outcome = studio("batch", manifest, "--json")
    assert outcome.code == ExitCode.FAILURE
    assert "jobs.sqlite cannot be used" in outcome.err
    assert not json.loads(outcome.out)["ok"]
