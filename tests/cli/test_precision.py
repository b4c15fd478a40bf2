"""Precision and offloading of a render, on the processor with the toy checkpoint."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from liveact_cli.config.settings import RenderSettings
from liveact_cli.core.errors import ExitCode
from liveact_cli.core.placement import GIB, Machine
from liveact_cli.core.units import Size
from liveact_cli.engine import placement, render
from liveact_cli.engine.placement import place
from liveact_cli.runtime import attention, fallbacks
from liveact_cli.weights.resolve import example_file, resolve_model

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
RENDER = (
    "render", example_file("audio.wav"), "--ref", example_file("face.png"), "--model",
    GOLDEN / "tiny-liveact", "--size", "64x96", "--seed", "5", "--crf", "0", "--duration", "1.7",
)  # fmt: skip
"""Two chunks: what one remembers is read by the next."""


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as film:
        return np.stack([f.to_ndarray(format="rgb24") for f in film.decode(video=0)]).astype(int)


def test_offloading_draws_the_same_and_rounding_nearly(shell, tmp_path: Path) -> None:
    ways = {
        "plain.mp4": (),
        "away.mp4": ("--offload", "all"),
        "rounded.mp4": ("--kv-precision", "fp8", "--offload", "cache"),
        "tiled.mp4": ("--tiles", "64"),
    }
    for name, options in ways.items():
        outcome = shell(*RENDER, "-o", name, *options)
        assert outcome.code == 0, outcome.err
    plain, away, rounded, tiled = (frames_of(tmp_path / name) for name in ways)
    assert np.array_equal(plain, away)
    assert 0 < abs(plain - rounded).mean() < 3
    assert abs(plain - tiled).max() <= 4  # two grey levels before 4:2:0, as everywhere
    records = [shell("inspect", name, "--json").json["liveact"] for name in ways]
    assert records[0] == records[1], "where weights lie is no part of what is recorded"
    assert records[0]["arithmetic"] == {"precision": "fp32", "kv_precision": "bf16"}
    assert records[2]["arithmetic"]["kv_precision"] == "fp8"
    assert records[3]["arithmetic"]["tile"] == 64
    assert records[2]["computed"]["fp8_memory"] is True
    assert records[0]["computed"]["attention"]["kernel"] == "sdpa"


def fake_gpus(monkeypatch: pytest.MonkeyPatch, *cards: float, host: float = 256) -> None:
    """Let the planning, and only that, believe in GPUs of these sizes in GiB."""
    machine = Machine(tuple(round(card * GIB) for card in cards), round(host * GIB))
    monkeypatch.setattr(placement, "examine_machine", lambda: machine)
    cuda = [torch.device("cuda", index) for index in range(len(cards))]
    monkeypatch.setattr(placement, "choose_devices", lambda gpus, kind: cuda[: gpus or 1])


def test_the_choice_is_told_before_anything_is_loaded(
    shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_gpus(monkeypatch, 3)
    outcome = shell(*RENDER, "--dry-run", "-o", "x.mp4")
    assert outcome.code == 0, outcome.err
    assert "bf16 weights and memory, nothing offloaded, 1 GPU: " in outcome.out
    assert "nothing needs to be rounded or offloaded" in outcome.out
    planned = shell(*RENDER, "--dry-run", "--json", "-o", "x.mp4", "--precision", "fp8").json
    assert planned["placement"]["precision"] == "fp8"
    assert planned["placement"]["device_bytes"]["VAE"] > 0
    fake_gpus(monkeypatch, 1)
    refused = shell(*RENDER, "-o", "x.mp4", "--offload", "none")
    assert refused.code == ExitCode.DEVICE
    assert "the model does not fit: it takes at least" in refused.err
    assert "reserve 1.5 GB" in refused.err
    assert "leave --offload to be chosen" in refused.err


def test_a_render_that_goes_on_keeps_its_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_gpus(monkeypatch, 3)
    model = resolve_model(str(GOLDEN / "tiny-liveact"), {})
    begun: dict[str, dict[str, object]] = {
        "arithmetic": {"precision": "fp8", "kv_precision": "fp8"}
    }
    fresh = place(model, RenderSettings(), Size(64, 64)).layout
    later = place(model, RenderSettings(), Size(64, 64), begun).layout
    assert (fresh.precision, fresh.kv_precision) == ("bf16", "bf16")
    assert (later.precision, later.kv_precision) == ("fp8", "fp8")
    assert later.tile is None, "tiles are not chosen for a render that began without them"
    begun["arithmetic"]["tile"] = 256
    assert place(model, RenderSettings(), Size(64, 64), begun).layout.tile == 256
    other = place(model, RenderSettings(kv_precision="bf16"), Size(64, 64), begun).layout
    assert other.kv_precision == "bf16", "what is asked for is done, and refused as another render"


def test_running_out_all_the_same_tells_what_was_planned(
    shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*arguments: object, **options: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    fake_gpus(monkeypatch, 3)
    monkeypatch.setattr(render, "load_speaker", no_memory)
    monkeypatch.setattr("liveact_cli.engine.run.choose_devices", lambda *_: [torch.device("cpu")])
    outcome = shell(*RENDER, "-o", "x.mp4")
    assert outcome.code == ExitCode.DEVICE
    assert "the GPU's memory is used up; planned were" in outcome.err
    assert "(weights " in outcome.err
    assert not list(tmp_path.glob("*x.mp4*"))


def test_a_kernel_that_fails_is_told_and_recorded_and_the_video_is_made(
    shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setitem(attention.KERNELS, "flash", (broken, lambda device: None))
    command = (*RENDER[:-1], "0.4")
    fallbacks.forget()
    assert shell(*command, "-o", "plain.mp4").code == 0
    outcome = shell(*command, "-o", "x.mp4", LIVEACT_ATTENTION="flash")
    fallbacks.forget()
    assert outcome.code == 0, outcome.err
    told = "the attention kernel flash cannot run here, torch's own choice instead: RuntimeError: "
    assert outcome.err.count(f"{told}no kernel image is available") == 1
    assert np.array_equal(frames_of(tmp_path / "x.mp4"), frames_of(tmp_path / "plain.mp4"))
    records = [shell("inspect", n, "--json").json["liveact"] for n in ("x.mp4", "plain.mp4")]
    assert records[0]["computed"]["fallbacks"] == [f"{told}no kernel image is available"]
    assert "fallbacks" not in records[1]["computed"]


@pytest.mark.parametrize("options", [("--kv-precision", "fp8"), ("--offload", "blocks")])
def test_verify_proves_other_ways_to_run(shell, options: tuple[str, ...]) -> None:
    command = ("verify", GOLDEN / "tiny-liveact", GOLDEN / "golden_rollout.safetensors")
    outcome = shell(*command, *options, "--tolerance", "0.05", "--json")
    assert outcome.code == 0, outcome.err
    error = outcome.json["files"][0]["max_rel_error"]
    assert (error < 1e-5) == (options[0] == "--offload")
    refused = shell(*command, options[0], "much")
    assert refused.code == ExitCode.USAGE
    assert f"{options[0]} much: choose" in refused.err
