"""Small decoders for the same latents: streams, layouts, and files that do not fit."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest_wan import CHECKPOINT, relative
from safetensors.torch import save_file
from torch import Tensor

from liveact_cli.config.settings import RenderSettings
from liveact_cli.core.errors import UsageError, WeightsError
from liveact_cli.engine.prepare import check_decoder
from liveact_cli.wan import checkpoint
from liveact_cli.wan.bundle import load_wan
from liveact_cli.wan.frames import TinyFrameDecoder, WanFrameDecoder
from liveact_cli.wan.tiny_decoder import TINY_WIDTHS, TinyDecoder, _places, shapes
from liveact_cli.wan.vae import WanVae
from liveact_cli.wan.vae_decoder import WanDecoder

WIDTHS = (10, 8, 6, 4)


@pytest.fixture(scope="module")
def tiny() -> TinyDecoder:
    torch.manual_seed(3)
    return TinyDecoder.random("cpu", torch.float64, WIDTHS)


@pytest.fixture(scope="module")
def latent() -> Tensor:
    torch.manual_seed(4)
    return 2 * torch.randn(16, 6, 3, 5, dtype=torch.float64)


def frame_by_frame(tensors: dict[str, Tensor], latent: Tensor) -> Tensor:
    """TAEHV as its author words it: layer after layer for one moment, each with its memory."""
    memory: dict[int, Tensor] = {}

    def conv(name: str, x: Tensor) -> Tensor:
        weight = tensors[f"{name}.weight"]
        pad = weight.shape[-1] // 2
        return F.conv2d(x, weight, tensors.get(f"{name}.bias"), padding=pad)

    def run(x: Tensor, at: int) -> list[Tensor]:
        if at == 23:
            return [x.clamp(0, 1)]
        if at == 0:
            return run(torch.tanh(x / 3) * 3, 1)
        if at in (2, 21):
            return run(F.relu(x), at + 1)
        if at in (1, 8, 14, 20, 22):
            return run(conv(f"decoder.{at}", x), at + 1)
        if at in (6, 12, 18):
            return run(x.repeat_interleave(2, 2).repeat_interleave(2, 3), at + 1)
        if at in (7, 13, 19):
            grown = conv(f"decoder.{at}.conv", x)
            parts = grown.split(x.shape[1], 1)
            return [frame for part in parts for frame in run(part, at + 1)]
        past = memory.get(at, torch.zeros_like(x))
        memory[at] = x
        y = F.relu(conv(f"decoder.{at}.conv.0", torch.cat([x, past], 1)))
        y = conv(f"decoder.{at}.conv.4", F.relu(conv(f"decoder.{at}.conv.2", y)))
        return run(F.relu(y + x), at + 1)

    frames = [f for moment in latent.unbind(1) for f in run(moment[None], 0)]
    return torch.cat(frames)[3:].movedim(0, 1) * 2 - 1


def stream(decoder, latent: Tensor, cuts: list[int]) -> Tensor:
    return torch.cat([decoder.video(part) for part in latent.split(cuts, 1)], 1)


@pytest.mark.parametrize("cuts", [[6], [1, 5], [2, 1, 3], [1] * 6])
def test_a_stream_equals_the_published_order_of_work(
    tiny: TinyDecoder, latent: Tensor, cuts: list[int]
) -> None:
    wanted = frame_by_frame(tiny._tensors, latent)
    ours = stream(TinyFrameDecoder(tiny, latents_per_call=4), latent, cuts)
    assert ours.shape == (3, 21, 24, 40)
    assert ours.std() > 0.05
    assert relative(ours, wanted) < 1e-6


def test_a_saved_state_goes_on(tiny: TinyDecoder, latent: Tensor) -> None:
    decoder, resumed = TinyFrameDecoder(tiny), TinyFrameDecoder(tiny)
    list(decoder.decode(latent[:, :2]))
    resumed.load_state({name: value.clone() for name, value in decoder.state().items()})
    ours, wanted = (np.stack(list(d.decode(latent[:, 2:]))) for d in (resumed, decoder))
    assert np.array_equal(ours, wanted)
    assert len(wanted) == 16


def test_published_sizes() -> None:
    wanted = shapes(16, tuple(_places(TINY_WIDTHS)), (1, 2, 2))
    numbers = sum(math.prod(shape) for shape in wanted.values())
    assert 9_500_000 < numbers < 11_300_000  # 11.3 million with its encoder


def published(tiny: TinyDecoder, path: Path, **changes: Tensor | None) -> Path:
    tensors = {**tiny._tensors, "encoder.0.weight": torch.ones(4, 3, 3, 3), **changes}
    save_file({name: v.contiguous() for name, v in tensors.items() if v is not None}, path)
    return path


def test_the_file_is_read_without_its_encoder(
    tiny: TinyDecoder, latent: Tensor, tmp_path: Path
) -> None:
    path = published(tiny, tmp_path / "taew2_1.safetensors")
    read = TinyDecoder.from_file(path, "cpu", torch.float64)
    ours, wanted = (TinyFrameDecoder(d).video(latent[:, :2]) for d in (read, tiny))
    assert torch.equal(ours, wanted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoder.4.conv.2.bias": None}, r"decoder\.4\.conv\.2\.bias is missing"),
        ({"decoder.4.skip.weight": torch.ones(3)}, r"decoder\.4\.skip\.weight has no place"),
        ({"decoder.8.weight": None}, r"lacks the tensor 'decoder\.8\.weight'"),
        ({"decoder.22.bias": torch.ones(12)}, r"decoder\.22\.bias \[12\] instead of \[3\]"),
        ({"decoder.7.conv.weight": torch.ones(20, 10, 1, 1)}, "makes 8 video frames"),
        ({"decoder.1.weight": torch.ones(10, 48, 3, 3)}, "48 latent channels"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(
    tiny: TinyDecoder, tmp_path: Path, changes: dict[str, Tensor | None], message: str
) -> None:
    path = published(tiny, tmp_path / "taew2_1.safetensors", **changes)
    with pytest.raises(WeightsError, match=message):
        TinyDecoder.from_file(path, "cpu", torch.float32)


# --- lightvae: the layers of the Wan VAE with fewer channels --------------------------------------


LATENT_AXES = (r"conv[12]\.|encoder\.head\.2\.", r"conv[12]\.|decoder\.conv1\.")
"""Tensors whose outputs, and whose inputs, are latents."""


def narrowed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give a quarter of the toy VAE's channels random weights; latents and colours stay."""
    torch.manual_seed(6)

    def keep(name: str, value: Tensor) -> Tensor:
        for axis in range(min(2, value.dim())):
            latents = re.match(LATENT_AXES[axis], name)
            if not latents and value.shape[axis] % 4 == 0:
                value = value.narrow(axis, 0, value.shape[axis] // 4)
        if name.endswith("weight"):
            return torch.randn(value.shape) * value[0].numel() ** -0.5
        return torch.full(value.shape, 1.0 if name.endswith("gamma") else 0.0)

    return {name: keep(name, value) for name, value in tensors.items()}


@pytest.fixture(scope="module")
def lightvae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    released = checkpoint.read_tensors(CHECKPOINT / "Wan2.1_VAE.pth")
    path = tmp_path_factory.mktemp("light") / "lightvaew2_1.pth"
    torch.save(narrowed(released), path)
    return path


def test_a_narrower_vae_draws_the_same_shapes(lightvae: Path, latent: Tensor) -> None:
    light = WanDecoder.from_file(lightvae, "cpu", torch.float64)
    full = WanDecoder.from_file(CHECKPOINT / "Wan2.1_VAE.pth", "cpu", torch.float64)
    assert 4 * light.sizes.decoder_base == full.sizes.decoder_base
    one_shot = stream(WanFrameDecoder(light), latent, [6])
    assert one_shot.shape == (3, 21, 24, 40)
    assert relative(stream(WanFrameDecoder(light), latent, [2, 3, 1]), one_shot) < 1e-6


def test_the_wrong_decoder_for_a_file_is_told(
    lightvae: Path, tiny: TinyDecoder, tmp_path: Path
) -> None:
    other = published(tiny, tmp_path / "taew2_1.safetensors")
    with pytest.raises(WeightsError, match=r"lacks the tensor 'encoder\.conv1\.weight'"):
        WanDecoder.from_file(other, "cpu", torch.float32)
    with pytest.raises(WeightsError, match=r"lacks the tensor 'decoder\.1\.weight'"):
        TinyDecoder.from_file(lightvae, "cpu", torch.float32)


# --- which one draws ------------------------------------------------------------------------------


def test_the_model_draws_with_the_decoder_that_is_asked_for(
    lightvae: Path, tiny: TinyDecoder, latent: Tensor, tmp_path: Path
) -> None:
    files = {"taew2_1": published(tiny, tmp_path / "mine.safetensors"), "lightvae": lightvae}
    for name, path in files.items():
        model = load_wan(CHECKPOINT, decoder=name, decoder_weights=path)
        drawn = np.stack(list(model.frame_decoder().decode(latent[:, :1])))
        assert drawn.shape == (1, 24, 40, 3)
        assert isinstance(model.frame_decoder(), TinyFrameDecoder) == (name == "taew2_1")


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"decoder": "taew2_1"}, WeightsError, "lacks taew2_1.safetensors or taew2_1.pth"),
        ({"decoder": "lightvae", "decoder_weights": Path("no.pth")}, WeightsError, "no.pth is no"),
        ({"decoder_weights": Path("x.pth")}, UsageError, "wan comes with the model"),
        ({"decoder": "taew2_1", "vae_overlap": True}, UsageError, "--vae-overlap has no effect"),
        ({"decoder": "taew2_1", "tiles": 256}, UsageError, "--tiles 256 has no effect"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_loaded(settings, error, message) -> None:
    with pytest.raises(error, match=message):
        check_decoder(RenderSettings(**settings), CHECKPOINT)


def test_of_the_vae_only_what_encodes_is_loaded(lightvae: Path) -> None:
    model, full = (
        load_wan(CHECKPOINT, decoder="lightvae", decoder_weights=lightvae),
        WanVae(CHECKPOINT / "Wan2.1_VAE.pth", "cpu", torch.float32),
    )
    assert model.vae.decoder is None
    held = sum(p.numel() for p in model.vae._model.parameters())
    assert 0 < held < sum(p.numel() for p in full._model.parameters()) / 2
    image = torch.rand(3, 32, 48) * 2 - 1
    assert torch.equal(model.vae.encode_reference(image, 9), full.encode_reference(image, 9))


def test_a_decoder_for_other_latents_is_refused_by_its_name(
    tiny: TinyDecoder, tmp_path: Path
) -> None:
    path = published(tiny, tmp_path / "lighttaew2_1.safetensors")
    TinyDecoder.from_file(path, "cpu", torch.float32)  # nothing in it tells
    settings = RenderSettings(decoder="taew2_1", decoder_weights=path)
    with pytest.raises(WeightsError, match=r"lighttaew2_1\.safetensors .* of another scale"):
        check_decoder(settings, CHECKPOINT)


def test_a_file_in_the_models_folder_is_found(lightvae: Path) -> None:
    check_decoder(RenderSettings(decoder="lightvae"), lightvae.parent)
