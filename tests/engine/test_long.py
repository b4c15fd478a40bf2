"""What docs/reliability.md shows for an hour, at small size."""

import json
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "hour_test.py"


def test_clicks_and_flashes_meet_in_a_finished_file(tmp_path: Path) -> None:
    """Picture events are where sound events are, in every segment; nothing is left beside."""
    out = tmp_path / "long.mp4"
    done = subprocess.run(
        [sys.executable, TOOL, "--minutes", "0.6", "--size", "96x96", "--out", out],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["frames"] == result["frames_in_file"] == 900
    assert result["stream_seconds"] == [36.0, 36.0]
    assert result["flashes"] == {"expected": 4, "seen": 4, "in_place": True}
    assert abs(result["picture_minus_sound_ms"]["largest"]) < 1
    assert [path.name for path in tmp_path.iterdir()] == ["long.mp4"]
