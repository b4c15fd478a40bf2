"""The target: refused before the work, or complete; and its metadata and label."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest_media import ffmpeg

from liveact_cli.core.errors import ExitCode, LiveActError, MediaError, UsageError
from liveact_cli.media.label import Label
from liveact_cli.media.metadata import (
    DIGITAL_SOURCE_TYPE,
    RenderInfo,
    append_mark,
    comment_of,
    read_metadata,
)
from liveact_cli.media.target import atomic_target, check_target, estimate_bytes


def test_a_finished_video_is_moved_and_nothing_else_stays(tmp_path):
    with atomic_target(tmp_path / "x.mp4") as target:
        assert target.directory.parent == tmp_path
        assert target.directory.name.startswith(".x.mp4.liveact-")
        target.staging.write_bytes(b"film")
        assert not target.path.exists()
        assert target.commit() == tmp_path / "x.mp4"
    assert os.listdir(tmp_path) == ["x.mp4"]
    assert target.path.read_bytes() == b"film"


@pytest.mark.parametrize("error", [LiveActError("x"), KeyboardInterrupt()])
def test_a_failure_leaves_nothing(error, tmp_path):
    def fail() -> None:
        with atomic_target(tmp_path / "x.mp4") as target:
            target.staging.write_bytes(b"film")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert os.listdir(tmp_path) == []


def test_two_runs_do_not_meet(tmp_path):
    with atomic_target(tmp_path / "x.mp4") as one, atomic_target(tmp_path / "x.mp4") as two:
        assert one.directory != two.directory
        for target in (one, two):
            target.staging.write_bytes(b"film")
        one.commit()
        with pytest.raises(UsageError, match="exists already"):
            two.commit()


def test_no_hard_links_here(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with atomic_target(tmp_path / "x.mp4") as target:
        target.staging.write_bytes(b"film")
        target.commit()
        target.staging.write_bytes(b"film")
        with pytest.raises(UsageError, match="exists already"):
            target.commit()


def test_force_replaces(tmp_path):
    (tmp_path / "x.mp4").write_bytes(b"old")
    with atomic_target(tmp_path / "x.mp4", force=True) as target:
        target.staging.write_bytes(b"new")
        assert target.path.read_bytes() == b"old"
        target.commit()
    assert target.path.read_bytes() == b"new"


def test_an_interrupted_render_has_another_name(tmp_path):
    (tmp_path / "x.partial.mp4").write_bytes(b"older")
    with atomic_target(tmp_path / "x.mp4") as target:
        target.staging.write_bytes(b"film")
        target.commit(target.partial)
    assert os.listdir(tmp_path) == ["x.partial.mp4"]


def existing(folder: Path) -> Path:
    (folder / "x.mp4").write_bytes(b"")
    return folder / "x.mp4"


def folder_of_that_name(folder: Path) -> Path:
    (folder / "x.mp4").mkdir()
    return folder / "x.mp4"


def dangling(folder: Path) -> Path:
    (folder / "x.mp4").symlink_to(folder / "gone")
    return folder / "x.mp4"


def under_a_file(folder: Path) -> Path:
    (folder / "x").write_bytes(b"")
    return folder / "x" / "y.mp4"


BAD = {
    "exists": (existing, False, "exists already"),
    "a dangling link": (dangling, False, "exists already"),
    "a dangling link, forced": (dangling, True, "not a regular file"),
    "a folder": (folder_of_that_name, True, "is a folder"),
    "a folder without a suffix": (lambda d: d, True, "does not end in .mp4"),
    "another suffix": (lambda d: d / "x.mov", False, "-o x.mp4"),
    "no suffix": (lambda d: d / "x", False, "-o x.mp4"),
    "no folder": (lambda d: d / "no" / "x.mp4", False, "does not exist"),
    "under a file": (under_a_file, False, "is not a folder"),
    "a device": (lambda d: Path("/dev/null.mp4/x.mp4"), False, "does not exist"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_targets_are_refused_before_anything_is_made(case, tmp_path):
    make, force, words = BAD[case]
    path = make(tmp_path)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(UsageError) as caught, atomic_target(path, force):
        pytest.fail("it was accepted")
    assert words in f"{caught.value.message} {caught.value.hint}"
    assert caught.value.hint
    assert sorted(os.listdir(tmp_path)) == before


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(LiveActError, match="cannot be written") as caught:
        check_target(tmp_path / "x.mp4")
    assert caught.value.exit_code == ExitCode.FAILURE


def test_a_disk_that_is_too_full(tmp_path):
    with pytest.raises(LiveActError, match="free; this video may need") as caught:
        check_target(tmp_path / "x.mp4", estimate=10**18)
    assert caught.value.hint


def test_a_long_name(tmp_path):
    name = "ü" * 110 + ".mp4"
    with atomic_target(tmp_path / name) as target:
        target.staging.write_bytes(b"film")
        target.commit()
    assert os.listdir(tmp_path) == [name]


def test_the_estimate_follows_length_size_and_quality():
    base = estimate_bytes(512, 512, Fraction(25), 60, 18)
    assert 5e6 < base < 30e6
    assert estimate_bytes(512, 512, Fraction(25), 120, 18) == pytest.approx(2 * base)
    assert estimate_bytes(512, 512, Fraction(25), 60, 30) < base / 2


# Metadata.

PICTURES = ("-f", "lavfi", "-i", "testsrc=d=1:s=64x64")


def test_a_stranger_is_not_ours_and_not_marked(tmp_path):
    ffmpeg(*PICTURES, "-metadata", "comment=hi", tmp_path / "x.mp4")
    info = read_metadata(tmp_path / "x.mp4")
    assert info == RenderInfo(None, None)
    assert not info.generated


def test_the_mark_survives_in_the_comment_when_a_program_rewrites_the_file(tmp_path):
    one, two = tmp_path / "1.mp4", tmp_path / "2.mp4"
    comment = comment_of({"seed": 1})
    ffmpeg(*PICTURES, "-metadata", f"comment={comment}", one)
    append_mark(one)
    ffmpeg("-i", one, "-c", "copy", two)
    assert read_metadata(two) == RenderInfo({"seed": 1}, DIGITAL_SOURCE_TYPE)


def test_the_mark_of_other_programs_is_read(tmp_path):
    path = tmp_path / "x.mp4"
    ffmpeg(*PICTURES, path)
    append_mark(path)
    as_attribute = (
        path.read_bytes()
        .replace(b"<Iptc4xmpExt:DigitalSourceType>", b'     Iptc4xmpExt:DigitalSourceType="')
        .replace(b"</Iptc4xmpExt:DigitalSourceType>", b'"'.ljust(32))
    )
    path.write_bytes(as_attribute)
    assert read_metadata(path) == RenderInfo(None, DIGITAL_SOURCE_TYPE)
    assert read_metadata(path).generated
    path.write_bytes(as_attribute.replace(b"trainedAlgorithmic", b"humanAndNotMachine"))
    assert read_metadata(path).digital_source_type.endswith("humanAndNotMachineMedia")
    assert not read_metadata(path).generated


@pytest.mark.parametrize(
    "content", [b"", b"hello, this is text", b"\0" * 64, b"\0\0\0\x08ftyp" * 2]
)
def test_other_files_are_refused_or_empty(content, tmp_path):
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    if content[4:8] == b"ftyp":
        assert read_metadata(path) == RenderInfo(None, None)
    else:
        with pytest.raises(MediaError, match="not an MP4"):
            read_metadata(path)
    with pytest.raises(MediaError, match="cannot be read"):
        read_metadata(tmp_path / "none.mp4")


def test_spoilt_boxes_end_the_search(tmp_path):
    path = tmp_path / "x.mp4"
    comment = comment_of({"seed": 1})
    ffmpeg(*PICTURES, "-metadata", f"comment={comment}", path)
    append_mark(path)
    sound = path.read_bytes()
    noise = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(sound)
        for at in noise.integers(8, len(data), 20):
            data[at] = noise.integers(256)
        path.write_bytes(data[: noise.integers(8, len(data))])
        try:
            read_metadata(path)
        except MediaError:
            continue


# The label.


@pytest.mark.parametrize(
    ("width", "height"), [(512, 512), (64, 64), (1024, 576), (416, 720), (16, 16)]
)
def test_the_label_is_small_readable_and_in_its_corner(width, height):
    frame = np.full((height, width, 3), 120, np.uint8)
    Label(width, height).apply(frame)
    changed = np.argwhere((frame != 120).any(axis=2))
    assert len(changed)
    assert changed[:, 0].min() >= height / 2 - 8
    assert len(changed) < 0.1 * width * height or width <= 64
    assert (frame[: height // 2 - 8] == 120).all()
    if width > 64:
        assert frame.max() > 240
        assert frame.min() < 70


def test_the_label_lets_the_picture_through():
    dark, light = np.zeros((512, 512, 3), np.uint8), np.full((512, 512, 3), 255, np.uint8)
    label = Label(512, 512)
    label.apply(dark)
    label.apply(light)
    plate = (light < 200) & (dark < 10)
    assert plate.any()  # half dark on white, dark on black
    assert (light[plate] > 80).all()
