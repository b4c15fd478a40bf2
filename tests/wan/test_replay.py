"""Components and the whole toy pipeline, replayed against the released code's numbers."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest_wan import AUDIO, CHECKPOINT, GOLDEN
from safetensors.torch import load_file, save_file

from liveact_cli.core.errors import MediaError
from liveact_cli.engine.verify import CheckpointSubject, read_golden, verify_file
from liveact_cli.wan.verify import wan_kinds


@dataclass
class Subject(CheckpointSubject):
    """The toy checkpoint; `bias` is added to every latent that the transformer makes."""

    checkpoint: Path = CHECKPOINT
    bias: float = 0.0
    seen: list[str] = field(default_factory=list)

    def roll_out(self, golden, inputs):
        for results in super().roll_out(golden, inputs):
            self.seen += results
            yield {name: value + self.bias for name, value in results.items()}


def test_components_match_the_released_code() -> None:
    result = verify_file(Subject(), GOLDEN / "golden_components.safetensors", kinds=wan_kinds())
    assert (result.kind, result.tolerance) == ("components", 1e-4)
    assert result.max_rel_error < 5e-5
    names = {comparison.name for comparison in result.comparisons}
    recorded = read_golden(GOLDEN / "golden_components.safetensors").tensors
    assert names == set(recorded) - {"audio.wave", "image", "vae.latent"}


def test_the_pipeline_matches_the_released_code() -> None:
    result = verify_file(Subject(), GOLDEN / "golden_pipeline.safetensors", kinds=wan_kinds(AUDIO))
    assert (result.kind, result.tolerance) == ("pipeline", 1e-3)
    assert result.max_rel_error < 1e-5
    frames = [c for c in result.comparisons if c.name.startswith("frame ")]
    assert len(frames) == 85


@pytest.fixture(scope="module")
def one_chunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline's first chunk alone."""
    path = tmp_path_factory.mktemp("golden") / "golden_short.safetensors"
    tensors = load_file(GOLDEN / "golden_pipeline.safetensors")
    kept = {n: v for n, v in tensors.items() if not n.startswith(("chunk1", "chunk2"))}
    kept["frames_u8"] = kept["frames_u8"][:21].contiguous()
    settings = read_golden(GOLDEN / "golden_pipeline.safetensors").settings
    save_file(kept, path, {**settings, "chunks": "1"})
    return path


def test_wrong_latents_and_frames_are_seen(one_chunk: Path) -> None:
    right = verify_file(Subject(), one_chunk, kinds=wan_kinds())
    assert right.ok
    wrong = verify_file(Subject(bias=0.05), one_chunk, kinds=wan_kinds())
    assert not wrong.ok
    errors = {comparison.name: comparison.error for comparison in wrong.comparisons}
    assert errors["chunk0.latent"] > 1e-3
    assert max(error for name, error in errors.items() if name.startswith("frame")) >= 1


def test_a_file_without_its_settings_is_told(tmp_path: Path) -> None:
    tensors = load_file(GOLDEN / "golden_components.safetensors")
    path = tmp_path / "golden.safetensors"
    save_file(tensors, path)
    with pytest.raises(MediaError, match="names no prompts"):
        verify_file(Subject(), path, kinds=wan_kinds())
