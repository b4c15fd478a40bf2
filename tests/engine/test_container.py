"""A damaged state is noticed, wherever it is damaged."""

import random
from pathlib import Path

import pytest
import torch

from liveact_cli.engine.container import (
    DamagedError,
    read_container,
    read_facts,
    write_container,
)
from liveact_cli.engine.resume import blob_of, tensor_of

FACTS = {"chunk": 7, "segments": [{"path": "run-x/000001.mp4", "frames": 50}], "ü": 0.1}
TENSORS = {
    "bfloat": torch.arange(3000).to(torch.bfloat16).reshape(3, 1000),
    "float": torch.linspace(0, 1, 77),
    "counts": torch.tensor([3, 2**40]),
    "one": torch.tensor(5),
    "none": torch.zeros(1, 0, 4),
}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "x.liveact"
    blobs = {name: blob_of(value) for name, value in TENSORS.items()}
    assert write_container(path, FACTS, blobs) == path.stat().st_size
    return path


def test_what_is_written_is_read(state: Path) -> None:
    content = read_container(state)
    assert content.facts == FACTS == read_facts(state)
    for name, value in TENSORS.items():
        back = tensor_of(content.blobs[name])
        assert back.dtype == value.dtype
        assert torch.equal(back, value)
    assert [path.name for path in state.parent.iterdir()] == ["x.liveact"]


def damaged(state: Path, position: int, flip: int) -> Path:
    data = bytearray(state.read_bytes())
    data[position] ^= flip
    path = state.with_name("damaged")
    path.write_bytes(data)
    return path


def test_every_byte_of_the_header(state: Path) -> None:
    size = state.stat().st_size
    header = size - 32 - sum(value.nbytes for value in TENSORS.values())
    chance = random.Random(1)
    for position in range(header):
        path = damaged(state, position, 1 << chance.randrange(8))
        with pytest.raises(DamagedError):
            read_facts(path)
        with pytest.raises(DamagedError):
            read_container(path)


def test_500_places_of_the_contents(state: Path) -> None:
    size = state.stat().st_size
    start = size - 32 - sum(value.nbytes for value in TENSORS.values())
    chance = random.Random(2)
    for _ in range(500):
        path = damaged(state, chance.randrange(start, size), 1 << chance.randrange(8))
        with pytest.raises(DamagedError, match="checksum"):
            read_container(path)


def test_truncations_and_additions(state: Path) -> None:
    whole = state.read_bytes()
    lengths = {0, 1, 8, 16, 47, 48, 49, len(whole) - 1, len(whole) - 32, len(whole) - 33}
    lengths |= set(range(0, len(whole), 211))
    for length in sorted(lengths):
        state.write_bytes(whole[:length])
        with pytest.raises(DamagedError):
            read_container(state)
    state.write_bytes(whole + b"x")
    with pytest.raises(DamagedError):
        read_facts(state)


def test_a_write_that_is_stopped_leaves_the_old_one(state: Path) -> None:
    before = state.read_bytes()
    blobs = {"float": blob_of(TENSORS["float"])}
    with pytest.raises(InterruptedError):
        write_container(state, {}, blobs, stop=lambda: True)
    assert state.read_bytes() == before
    assert [path.name for path in state.parent.iterdir()] == ["x.liveact"]
