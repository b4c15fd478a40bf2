"""A model of the large family that a CPU runs in moments."""

import json
from pathlib import Path

import pytest

from liveact_cli.diagnose.rig import Sizes

SMALL = {
    "transformer": {
        "dim": 48, "ffn_dim": 64, "heads": 2, "layers": 3, "text_dim": 16, "text_len": 8,
        "freq_dim": 16, "image_dim": 16, "audio_layers": 2, "audio_channels": 24,
        "audio_hidden": 16, "audio_dim": 16, "audio_tokens": 4,
    },
    "vae": {"base": 4, "decoder_base": 4, "res_blocks": 1},
}  # fmt: skip


@pytest.fixture(scope="session")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sizes") / "small.json"
    path.write_text(json.dumps(SMALL), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def small(small_file: Path) -> Sizes:
    return Sizes.read(small_file)
