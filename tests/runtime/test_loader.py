import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from liveact_cli.core.errors import WeightsError
from liveact_cli.model.config import LIVEACT_18B
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.adapter import config_of, sources_of
from liveact_cli.runtime.loader import KEEP_FLOAT32, load_transformer, precision_of, set_precision

TINY = Path(__file__).parent.parent / "golden" / "tiny-liveact"


@pytest.fixture(scope="module")
def released():
    """All tensors of the tiny checkpoint under their released names."""
    return {k: v for file in sorted(TINY.glob("*.safetensors")) for k, v in load_file(file).items()}


class OneFile:
    """A one-file checkpoint that a test may damage: change `tensors`, then call `write`."""

    def __init__(self, folder, tensors):
        self.folder, self.tensors = folder, dict(tensors)

    def write(self):
        shutil.copy(TINY / "config.json", self.folder)
        save_file(self.tensors, self.folder / "diffusion_pytorch_model.safetensors")
        return self.folder


@pytest.fixture
def checkpoint(tmp_path, released):
    return OneFile(tmp_path, released)


def test_sizes_are_read_from_the_tensors():
    config = load_transformer(TINY).config
    assert (config.dim, config.ffn_dim, config.heads, config.layers) == (48, 96, 2, 2)
    assert (config.in_dim, config.out_dim, config.y_dim, config.patch) == (36, 16, 20, (1, 2, 2))
    assert (config.text_dim, config.text_len, config.image_dim) == (40, 24, 64)
    assert (config.audio_window, config.audio_layers * config.audio_channels) == (5, 3 * 24)
    assert (config.audio_hidden, config.audio_dim, config.audio_tokens) == (8, 20, 6)
    assert (config.freq_dim, config.fold_ratio) == (32, 5)


def test_one_file_and_shards_give_the_same_weights(checkpoint):
    sharded, single = load_transformer(TINY), load_transformer(checkpoint.write())
    for (name, a), (_, b) in zip(
        sharded.named_parameters(), single.named_parameters(), strict=True
    ):
        assert torch.equal(a, b), name
    assert not any(p.requires_grad for p in single.parameters())
    assert not single.training


def test_every_weight_is_the_released_one(released):
    model = load_transformer(TINY)
    unused = dict(released)
    for name, parameter in model.named_parameters():
        parts = [unused.pop(source) for source in sources_of(name)[0]]
        assert parameter.numel() == sum(part.numel() for part in parts), name
        total = sum(part.float().sum() for part in parts)
        torch.testing.assert_close(parameter.sum(), total)
    assert set(unused) == {"audio_proj.proj1.weight", "audio_proj.proj1.bias"}


def test_the_released_config_gives_the_released_sizes(released):
    """The published config.json with the published shapes, without the 37 GB."""
    with torch.device("meta"):
        full = LiveActTransformer(LIVEACT_18B)
    shapes = {name: list(value.shape) for name, value in released.items()}
    shapes |= {
        "patch_embedding.weight": [5120, 36, 1, 2, 2],
        "audio_proj.proj1.weight": [512, 5 * 12 * 768],
        "audio_proj.proj1_vf.weight": [512, 8 * 12 * 768],
        "audio_proj.proj3.weight": [32 * 768, 512],
        "blocks.0.audio_cross_attn.kv_linear.weight": [10240, 768],
        "blocks.0.ffn.0.weight": [13824, 5120],
        "blocks.39.modulation": [1, 6, 5120],
        "head.head.weight": [64, 5120],
        "text_embedding.0.weight": [5120, 4096],
        "time_embedding.0.weight": [5120, 256],
        "img_emb.proj.0.weight": [1280],
        **{f"blocks.{i}.modulation": [1, 6, 5120] for i in range(40)},
    }
    settings = {"num_heads": 40, "text_len": 512, "vae_scale": 4, "eps": 1e-6}
    config = config_of(shapes, settings)
    assert config.parameters() == LIVEACT_18B.parameters()
    assert sum(p.numel() for p in full.parameters()) == sum(config.parameters())
    assert (config.heads, config.audio_window, config.audio_tokens) == (40, 5, 32)


def test_gaps_and_leftovers_are_listed(checkpoint):
    del checkpoint.tensors["blocks.1.norm3.weight"]
    checkpoint.tensors["blocks.0.extra.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError) as caught:
        load_transformer(checkpoint.write())
    assert "1 tensors are missing: blocks.1.norm3.weight" in caught.value.message
    assert "1 tensors have no place: blocks.0.extra.weight" in caught.value.message


def test_a_wrong_shape_is_named(checkpoint):
    checkpoint.tensors["blocks.1.cross_attn.k.weight"] = torch.zeros(47, 48)
    with pytest.raises(WeightsError, match=r"blocks.1.cross_attn.k.weight.*\[95, 48\].*\[96, 48\]"):
        load_transformer(checkpoint.write())


def test_what_is_no_checkpoint_is_said(tmp_path, checkpoint):
    with pytest.raises(WeightsError, match=r"config.json cannot be read"):
        load_transformer(tmp_path)
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(WeightsError, match="is not JSON"):
        load_transformer(tmp_path)
    (tmp_path / "config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(WeightsError, match="holds no settings"):
        load_transformer(tmp_path)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(WeightsError, match="holds no diffusion_pytorch_model"):
        load_transformer(tmp_path)
    checkpoint.tensors = {"some.weight": torch.zeros(2)}
    with pytest.raises(WeightsError, match=r"'patch_embedding.weight' is missing"):
        load_transformer(checkpoint.write())


def test_heads_that_do_not_divide_are_said(checkpoint):
    folder = checkpoint.write()
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**settings, "num_heads": 5}), encoding="utf-8")
    with pytest.raises(WeightsError, match="dim 48 does not split into 5 heads"):
        load_transformer(folder)


def test_a_damaged_or_absent_shard_is_named(tmp_path):
    for file in TINY.glob("*.*"):
        shutil.copy(file, tmp_path)
    shard = tmp_path / "diffusion_pytorch_model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"00002-of-00002.safetensors cannot be read"):
        load_transformer(tmp_path)
    shard.unlink()
    with pytest.raises(WeightsError, match=r"lacks 1 of 2 shards: .*00002-of-00002"):
        load_transformer(tmp_path)


def test_precision_keeps_what_the_residual_stream_follows():
    model = load_transformer(TINY, dtype=torch.bfloat16)
    kept = {n for n, p in model.named_parameters() if p.dtype == torch.float32}
    assert model.dtype == torch.bfloat16
    assert "blocks.0.modulation" in kept
    assert "head.modulation" in kept
    assert all(precision_of(n, torch.bfloat16) == p.dtype for n, p in model.named_parameters())
    assert sum(model.get_parameter(n).numel() for n in kept) == model.config.parameters()[1]
    same = load_transformer(TINY)
    set_precision(same, torch.bfloat16)
    for name, parameter in same.named_parameters():
        assert torch.equal(parameter, model.get_parameter(name))
    assert len(KEEP_FLOAT32) == 5
