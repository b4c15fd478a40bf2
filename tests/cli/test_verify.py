"""`liveact verify` on the small released-layout checkpoint and its recorded roll-outs."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from liveact_cli.core.errors import ExitCode

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
CHECKPOINT = GOLDEN / "tiny-liveact"
ROLLOUTS = sorted(GOLDEN.glob("golden_rollout*.safetensors"))


def test_parity(shell) -> None:
    assert len(ROLLOUTS) == 3
    outcome = shell("verify", CHECKPOINT, *ROLLOUTS, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["ok"] is True
    assert [row["file"] for row in outcome.json["files"]] == [str(path) for path in ROLLOUTS]
    assert all(row["max_rel_error"] <= 1e-5 for row in outcome.json["files"])


def test_lines_for_people(shell) -> None:
    outcome = shell("verify", CHECKPOINT, ROLLOUTS[0])
    assert outcome.code == 0
    assert ROLLOUTS[0].name in outcome.out
    assert outcome.out.strip().endswith("ok")


def test_above_the_tolerance_is_a_failure(shell) -> None:
    outcome = shell("verify", CHECKPOINT, ROLLOUTS[0], "--tolerance", "1e-12")
    assert outcome.code == ExitCode.FAILURE
    assert "BAD" in outcome.out


def test_nan_is_a_failure_and_valid_json(shell, tmp_path: Path) -> None:
    with safe_open(ROLLOUTS[0], framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    velocity = next(name for name in tensors if name.endswith(".velocity"))
    tensors[velocity] = torch.full_like(tensors[velocity], torch.nan)
    save_file(tensors, tmp_path / "nan.safetensors", metadata)
    outcome = shell("verify", CHECKPOINT, "nan.safetensors", "--json")
    assert outcome.code == ExitCode.FAILURE
    assert outcome.json["files"][0]["max_rel_error"] is None


@pytest.mark.parametrize(
    ("checkpoint", "golden", "code"),
    [
        (CHECKPOINT, "absent.safetensors", ExitCode.BAD_MEDIA),
        (CHECKPOINT, "text.safetensors", ExitCode.BAD_MEDIA),
        ("nowhere", ROLLOUTS[0], ExitCode.MISSING_WEIGHTS),
    ],
)
def test_wrong_files(shell, tmp_path: Path, checkpoint, golden, code: ExitCode) -> None:
    (tmp_path / "text.safetensors").write_text("not tensors at all, but long enough")
    outcome = shell("verify", checkpoint, golden, "--json")
    assert outcome.code == code
    assert outcome.json["error"]["hint"]
