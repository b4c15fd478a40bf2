"""Files from elsewhere: nothing in them runs, and damage is told."""

import pickle
from pathlib import Path

import pytest
import torch
from conftest_wan import CHECKPOINT

from liveact_cli.core.errors import ExitCode, WeightsError
from liveact_cli.wan import checkpoint
from liveact_cli.wan.vae import WanVae

RAN: list[str] = []


class Harmless:
    """A pickle of this would call `RAN.append` when it is read without care."""

    def __reduce__(self) -> tuple[object, ...]:
        return RAN.append, ("code ran",)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "Wan2.1_VAE.pth"
    content = {"weight": torch.ones(2), "extra": Harmless()}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match="could run code") as caught:
        checkpoint.read_tensors(path)
    assert caught.value.exit_code == ExitCode.MISSING_WEIGHTS
    assert RAN == []


def test_a_plain_pickle_with_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(pickle.dumps(Harmless()))
    with pytest.raises(WeightsError):
        checkpoint.read_tensors(path)
    assert RAN == []


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_are_read_from_both_pickle_layouts(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"a": torch.arange(3)}, path, _use_new_zipfile_serialization=not legacy)
    assert checkpoint.read_tensors(path)["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04 cut off"])
def test_damage_is_told(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"{name} \({len(content)} bytes\)|could run code"):
        checkpoint.read_tensors(path)


def test_a_file_cut_short_is_told(tmp_path: Path) -> None:
    path = tmp_path / "Wan2.1_VAE.pth"
    whole = (CHECKPOINT / path.name).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=path.name):
        checkpoint.read_tensors(path)


def test_a_file_that_is_not_a_table_is_told(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save([torch.ones(1)], path)
    with pytest.raises(WeightsError, match="holds list"):
        checkpoint.read_tensors(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        checkpoint.read_tensors(tmp_path / "weights.pth")


def test_another_layout_is_told(tmp_path: Path) -> None:
    tensors = checkpoint.read_tensors(CHECKPOINT / "Wan2.1_VAE.pth")
    path = tmp_path / "Wan2.1_VAE.pth"
    torch.save({"some.weight": torch.ones(2)}, path)
    with pytest.raises(WeightsError, match="lacks the tensor"):
        WanVae(path, "cpu", torch.float32)
    del tensors["decoder.middle.1.proj.bias"]
    torch.save(tensors, path)
    with pytest.raises(WeightsError, match=r"attentions\.0\.proj\.bias"):
        WanVae(path, "cpu", torch.float32)
