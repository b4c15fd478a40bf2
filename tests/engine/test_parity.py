"""Parity with the released code's recorded numbers: the project's first promise."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from liveact_cli.core.errors import MediaError
from liveact_cli.core.verification import Comparison, Verified
from liveact_cli.engine.verify import CheckpointSubject, read_golden, verify_file

GOLDEN = Path(__file__).parent.parent / "golden"
ROLLOUTS = sorted(GOLDEN.glob("golden_rollout*.safetensors"))


@pytest.fixture(scope="module")
def subject():
    return CheckpointSubject(GOLDEN / "tiny-liveact")


def test_the_three_rollouts_are_there():
    assert len(ROLLOUTS) == 3


@pytest.mark.parametrize("path", ROLLOUTS, ids=lambda path: path.stem)
def test_rollouts_agree_in_every_velocity_latent_and_memory(subject, path):
    result = verify_file(subject, path)
    recorded = {
        name
        for name in read_golden(path).tensors
        if name.endswith((".velocity", ".latent")) or name.startswith("final_cache.")
    }
    assert {comparison.name for comparison in result.comparisons} == recorded
    assert result.kind == "rollout"
    assert result.tolerance == 1e-4
    assert result.max_rel_error <= 1e-5, result.worst
    assert result.ok


def test_bfloat16_stays_near_and_is_seen_to_differ():
    subject = CheckpointSubject(GOLDEN / "tiny-liveact", dtype=torch.bfloat16)
    result = verify_file(subject, ROLLOUTS[0])
    assert not result.ok
    assert 1e-4 < result.max_rel_error < 0.1


def test_a_changed_number_is_found(subject, tmp_path):
    golden = read_golden(ROLLOUTS[1])
    tensors = dict(golden.tensors)
    tensors["chunk1.latent"] = tensors["chunk1.latent"].clone()
    tensors["chunk1.latent"][0, 0, 0, 0] += 0.01
    save_file(tensors, tmp_path / "changed.safetensors", metadata=dict(golden.settings))
    result = verify_file(subject, tmp_path / "changed.safetensors")
    assert not result.ok
    assert result.worst.name == "chunk1.latent"
    assert verify_file(subject, tmp_path / "changed.safetensors", tolerance=0.5).ok


def test_what_is_not_a_golden_file_is_said(subject, tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(MediaError, match="cannot be read as a golden file"):
        verify_file(subject, path)
    path.write_text("hello", encoding="utf-8")
    with pytest.raises(MediaError, match="cannot be read as a golden file"):
        verify_file(subject, path)
    save_file({"something": torch.zeros(1)}, path)
    with pytest.raises(MediaError, match=r"no known kind .*rollout"):
        verify_file(subject, path)


def test_an_incomplete_or_foreign_golden_file_is_said(subject, tmp_path):
    golden = read_golden(ROLLOUTS[1])
    path = tmp_path / "x.safetensors"
    tensors = dict(golden.tensors)
    del tensors["chunk1.step0.renoise"]
    save_file(tensors, path)
    with pytest.raises(MediaError, match=r"lacks 'chunk1.step0.renoise'"):
        verify_file(subject, path)
    save_file({**golden.tensors, "context_a": torch.zeros(3, 41)}, path)
    with pytest.raises(MediaError, match=r"the text has size 41, the model takes 40"):
        verify_file(subject, path)
    save_file({**golden.tensors, "chunk1.noise_init": torch.zeros(16, 6, 8, 12)}, path)
    with pytest.raises(MediaError, match=r"the noise of chunk 1 has size \(16, 6\)"):
        verify_file(subject, path)
    save_file(dict(golden.tensors), path, metadata={"audio_cfg": "much"})
    with pytest.raises(MediaError, match="settings that cannot be read"):
        verify_file(subject, path)
    inputs = {k: v for k, v in golden.tensors.items() if "velocity" not in k and "latent" not in k}
    save_file(inputs, path)
    with pytest.raises(MediaError, match="records no results"):
        verify_file(subject, path)


def test_not_a_number_is_the_worst_error():
    rows = (Comparison("a", 0.5), Comparison("b", float("nan")), Comparison("c", 0.1))
    result = Verified(Path("x"), "rollout", 1.0, rows)
    assert result.worst.name == "b"
    assert not result.ok
    assert json.dumps(result.tolerance) == "1.0"
