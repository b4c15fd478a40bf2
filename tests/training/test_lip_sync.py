"""The judge: perfect motion passes, the same motion at the wrong time is chance."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data" / "speech"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lip_sync", ROOT / "tools" / "lip_sync.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["lip_sync"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def clips(tool: ModuleType) -> list[Any]:
    return [
        tool.read_clip(p.with_suffix(".wav"), p.read_text())
        for p in sorted(DATA.glob("sense_*.txt"))
    ]


def oracle(tool: ModuleType, clip: Any, fps: float = 25.0) -> np.ndarray:
    """Motion read off the alignment."""
    frames = round(clip.seconds * fps)
    truth = tool.Truth(clip, fps, frames)
    motion = np.zeros((frames, 40))
    motion[:, 0] = np.maximum(truth.jaw, 0.08)
    motion[:, tool.MOTION.index("mouthPucker")] = truth.rounding
    middles = (np.arange(frames) + 0.5) / fps
    for spans, name, reach in (
        (truth.bilabials, "mouthClose", 0.02), (truth.labiodentals, "mouthRollLower", 0.02),
    ):  # fmt: skip
        for start, stop in spans:
            inside = (middles >= start - reach) & (middles <= stop + reach)
            motion[inside, tool.MOTION.index(name)] = 1.0
            if name == "mouthRollLower":
                motion[inside, 0] = np.minimum(motion[inside, 0], 0.15)
    return motion


def test_oracle_motion_passes(tool: ModuleType, clips: list[Any]) -> None:
    figures = tool.judge(clips, [oracle(tool, clip) for clip in clips], 25.0)
    assert figures["closure_recall"]["value"] == 1.0
    assert figures["closure_precision"]["value"] == 1.0
    assert figures["labiodental_recall"]["value"] == 1.0
    assert figures["jaw_correlation"]["value"] > 0.95
    assert figures["rounding_correlation"]["value"] > 0.99
    assert abs(figures["lag_ms"]["value"]) < 5
    assert figures["closure_recall"]["count"] >= 12
    assert figures["closure_recall"]["chance"] < 0.5
    assert abs(figures["jaw_correlation"]["chance"]) < 0.2


def test_shifted_motion_is_chance(tool: ModuleType, clips: list[Any]) -> None:
    motions = [np.roll(oracle(tool, clip), len(oracle(tool, clip)) // 2, 0) for clip in clips]
    figures = tool.judge(clips, motions, 25.0)
    assert figures["closure_recall"]["value"] < 0.5
    assert abs(figures["jaw_correlation"]["value"]) < 0.4


def test_late_motion_is_measured_in_milliseconds(tool: ModuleType, clips: list[Any]) -> None:
    motions = [np.roll(oracle(tool, clip), 2, 0) for clip in clips]
    assert tool.judge(clips, motions, 25.0)["lag_ms"]["value"] == pytest.approx(80, abs=12)


def test_other_frame_rates(tool: ModuleType, clips: list[Any]) -> None:
    figures = tool.judge(clips, [oracle(tool, clip, 30.0) for clip in clips], 30.0)
    assert figures["closure_recall"]["value"] == 1.0


def test_a_closed_mouth_has_recall_without_precision(tool: ModuleType, clips: list[Any]) -> None:
    shut = [np.zeros((round(clip.seconds * 25), 40)) for clip in clips]
    figures = tool.judge(clips, shut, 25.0)
    assert figures["closure_recall"]["value"] == 1.0
    assert figures["jaw_correlation"]["value"] == 0.0


def test_command_line_reads_motion_files(
    tool: ModuleType, clips: list[Any], tmp_path: Path
) -> None:
    clip = clips[1]
    np.savez(tmp_path / "motion.npz", motion=oracle(tool, clip), fps=25.0)
    audio = DATA / f"{clip.name}.wav"
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "lip_sync.py", "--audio", audio, "--text",
         audio.with_suffix(".txt"), "--motion", tmp_path / "motion.npz", "--json"],
        capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    assert json.loads(done.stdout)["figures"]["closure_recall"]["value"] == 1.0
