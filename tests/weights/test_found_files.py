"""Models by name and by path."""

import json
from pathlib import Path

import pytest

from liveact_cli.core.errors import UsageError, WeightsError
from liveact_cli.weights.lock import Lock, LockedFile, LockedRepository, write_lock
from liveact_cli.weights.registry import FULL, MINI, MODELS, find_model
from liveact_cli.weights.resolve import (
    FACE_FILE,
    data_file,
    models_folder,
    presets_folder,
    resolve_model,
)


def header_only(path: Path, names: list[str]) -> Path:
    table = {name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for name in names}
    text = json.dumps(table).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    return path


def test_names_are_found_and_typos_get_a_suggestion() -> None:
    assert [find_model(name) for name in MODELS] == [MINI, FULL]
    for typo, meant in {"mini": MINI, "liveact-mni": MINI, "LiveAct-18B": FULL}.items():
        with pytest.raises(UsageError) as caught:
            find_model(typo)
        assert f"did you mean --model {meant.name}?" == caught.value.hint
    with pytest.raises(UsageError, match="there are liveact-mini, liveact-18b"):
        find_model("zzz")


def test_data_files() -> None:
    assert data_file(FACE_FILE).stat().st_size > 1_000_000
    assert presets_folder().is_dir()
    with pytest.raises(WeightsError, match="is missing"):
        data_file("nothing.bin")


def test_the_full_model_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        resolve_model(FULL.name, {"LIVEACT_MODELS": str(tmp_path)})
    assert "55 GB" in caught.value.message
    assert str(tmp_path) in caught.value.message
    assert "--model liveact-mini" in caught.value.hint


def test_paths(tmp_path: Path) -> None:
    mini = header_only(tmp_path / "mine.safetensors", ["audio_encoder.a", "transformer.b"])
    assert resolve_model(str(mini), {}).row is MINI
    assert resolve_model("./mine.safetensors", {}, tmp_path).path == mini
    folder = tmp_path / "released"
    folder.mkdir()
    with pytest.raises(WeightsError, match=r"holds no \.safetensors"):
        resolve_model("released", {}, tmp_path)
    header_only(folder / "part-1.safetensors", ["blocks.0"])
    assert resolve_model("released", {}, tmp_path).row is FULL
    header_only(folder / "liveact-mini.safetensors", ["audio_encoder.a"])
    assert resolve_model("released", {}, tmp_path).row is MINI
    other = header_only(tmp_path / "other.safetensors", ["blocks.0"])
    for name, error in {str(other): WeightsError, "./absent": UsageError}.items():
        with pytest.raises(error):
            resolve_model(name, {}, tmp_path)
    for junk in (b"", b"text that is long enough to be a header length", b"\xff" * 64):
        other.write_bytes(junk)
        with pytest.raises(WeightsError, match="not a checkpoint"):
            resolve_model(str(other), {})


def test_a_repository_that_was_downloaded_is_found_by_its_id(tmp_path: Path) -> None:
    home = {"LIVEACT_MODELS": str(tmp_path / "models")}
    folder = tmp_path / "models" / "Someone--Their-Model"
    with pytest.raises(WeightsError, match="weights of Someone/Their-Model are not in") as caught:
        resolve_model("Someone/Their-Model", home, tmp_path)
    assert "liveact model download Someone/Their-Model" in caught.value.hint
    folder.mkdir(parents=True)
    header_only(folder / "part-1.safetensors", ["blocks.0"])
    found = resolve_model("Someone/Their-Model", home, tmp_path)
    assert (found.row, found.path) == (FULL, folder)
    repository = LockedRepository("Someone/Their-Model", "c0ffee", None, "", {})
    repository.files["config.json"] = LockedFile(10)
    write_lock(folder, Lock({"Someone/Their-Model": repository}))
    with pytest.raises(WeightsError, match="are not complete"):
        resolve_model("Someone/Their-Model", home, tmp_path)
    here = tmp_path / "Someone" / "Their-Model"
    here.mkdir(parents=True)
    header_only(here / "part-1.safetensors", ["blocks.0"])
    assert resolve_model("Someone/Their-Model", home, tmp_path).path == here


def test_models_folder(tmp_path: Path) -> None:
    assert models_folder({"LIVEACT_MODELS": str(tmp_path)}) == tmp_path
    assert models_folder({"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "liveact" / "models"
