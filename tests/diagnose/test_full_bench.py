"""The bench of the large family: the real code at a small size."""

import json
from pathlib import Path

import pytest
import torch

from liveact_cli.cli.context import Environment
from liveact_cli.cli.main import main
from liveact_cli.core.errors import UsageError
from liveact_cli.core.units import Size
from liveact_cli.diagnose.rig import Rig, Setup, Sizes, placed
from liveact_cli.model.config import LIVEACT_18B
from liveact_cli.runtime.build import Options, build_random
from liveact_cli.runtime.fp8 import fp8_layers, plan_fp8
from liveact_cli.runtime.fp8_numbers import quantise_rows

CPU = (torch.device("cpu"),)
STAGES = [
    "audio", "step 1", "step 2", "step 3", "vae decode", "transfer", "encode", "linear",
    "attention", "memory fold",
]  # fmt: skip


@pytest.fixture(scope="module")
def report(small_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the command prints."""
    folder = tmp_path_factory.mktemp("bench")
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        environment = Environment(out, err, {"LIVEACT_DEVICE": "cpu"}, folder)
        command = ["bench", "--model", "liveact-18b", "--random-weights", "--size", "64x64"]
        command += ["--config", str(small_file), "--chunks", "4", "--precision", "fp8", "--json"]
        assert main(command, environment) == 0, (folder / "err").read_text()
    return json.loads((folder / "out").read_text())


def test_every_stage_is_measured(report: dict) -> None:
    assert report["notes"] == []
    assert list(report["stage_ms_per_chunk"]) == STAGES
    assert all(ms > 0 for ms in report["stage_ms_per_chunk"].values())
    assert set(report["tflops"]) == {"linear", "attention", "vae decode", "transformer"}
    assert set(report["gemm_peak_tflops"]) == {"bf16", "fp8"}
    assert report["peak_memory_bytes"] > 100_000_000


def test_the_figures_agree_with_each_other(report: dict) -> None:
    stages = report["stage_ms_per_chunk"]
    steps = sum(stages[f"step {i}"] for i in (1, 2, 3))
    assert report["transformer_frames_per_second"] == pytest.approx(32_000 / steps, rel=1e-2)
    assert report["frames_per_second"] == pytest.approx(32_000 / report["chunk_ms"], rel=1e-2)
    assert report["frames_per_second"] < report["transformer_frames_per_second"]
    assert report["first_chunk_seconds"] > 0.021 * steps / 32


def test_the_stopwatches_are_taken_away_again(small: Sizes) -> None:
    from liveact_cli.diagnose.full_bench import measure

    with Rig(Setup(Size(64, 64), CPU, "fp32", small, decoder="lightvae")) as rig:
        before = [chunk.latent for chunk in rig.start(3)]
        kernel = rig.transformer.kernel
        result = measure(rig, 3)
        assert rig.transformer.kernel is kernel
        linear = rig.transformer.get_submodule("blocks.0.ffn.0")
        assert not linear._forward_hooks
        after = [chunk.latent for chunk in rig.start(3)]
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        assert "| end to end |" in result.table()
        assert "TFLOP/s" in result.table()
        rig.draw_at(Size(32, 64))
        assert [chunk.latent.shape for chunk in rig.start(2)] == [(16, 6, 8, 4), (16, 8, 8, 4)]


def test_random_weights_are_the_same_at_both_precisions(small: Sizes) -> None:
    config = small.transformer
    plan = plan_fp8(config)
    plain, rounded = (
        build_random(config, Options(torch.bfloat16, fp8), device=CPU[0], seed=3)
        for fp8 in (None, plan)
    )
    assert set(fp8_layers(rounded)) == set(plan.names) != set()
    for name, layer in fp8_layers(rounded).items():
        wanted = quantise_rows(plain.get_parameter(f"{name}.weight"))
        assert torch.equal(layer.weight.float(), wanted.values.float())
    assert torch.equal(plain.head.linear.weight, rounded.head.linear.weight)
    assert not any(parameter.is_meta for parameter in rounded.parameters())


def test_numbers_keep_their_size(small: Sizes) -> None:
    with Rig(Setup(Size(64, 64), CPU, "fp32", small)) as rig:
        for chunk in rig.start(3):
            assert 0.2 < chunk.velocities[0].std() < 5
            assert 0.1 < chunk.latent.std() < 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--chunks", "2"], "--chunks 2: write a whole number from 3"),
        (["--precision", "int4"], "--precision int4 is unknown"),
        (["--decoder", "none"], "--decoder none is unknown"),
        (["--size", "410x720"], "sides are multiples of 16"),
        (["--size", "big"], "is not a picture size"),
        (["--model", "liveact-mini"], "measures liveact-18b, not liveact-mini"),
        (["--seconds", "4"], "counts chunks"),
        (["--config", "absent.json"], "cannot be read"),
    ],
)
def test_what_cannot_be_measured_is_told(
    small_file: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    with (tmp_path / "out").open("w+") as out, (tmp_path / "err").open("w+") as err:
        environment = Environment(out, err, {"LIVEACT_DEVICE": "cpu"}, tmp_path)
        command = ["bench", "--model", "liveact-18b", "--random-weights"]
        command += ["--config", str(small_file), *arguments]
        assert main(command, environment) == 2
    assert message in (tmp_path / "err").read_text()


def test_options_of_the_other_bench_are_refused(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+") as out, (tmp_path / "err").open("w+") as err:
        assert main(["bench", "--chunks", "4"], Environment(out, err, {}, tmp_path)) == 2
    assert "--chunks belongs to --random-weights" in (tmp_path / "err").read_text()


@pytest.mark.parametrize(
    "text", ["[1]", '{"transformer": {"layer": 2}}', '{"transformer": {"dim": 7}}', "{", "[]"]
)
def test_sizes_that_are_none_are_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sizes.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"sizes\.json has no sizes"):
        Sizes.read(path)


@pytest.mark.parametrize(
    ("card", "memory", "offload"),
    [(141, "bf16", "none"), (80, "fp8", "none"), (24, "bf16", "all")],
)
def test_the_model_is_placed_where_it_fits(card: int, memory: str, offload: str) -> None:
    setup, how = placed(Setup(Size(416, 720), (torch.device("cuda"),), "bf16"), card * 10**9)
    assert (setup.kv_precision, setup.offload) == (memory, offload), how


def test_the_released_sizes_are_the_default() -> None:
    assert Sizes().transformer == LIVEACT_18B
    with torch.device("meta"):
        setup = Setup(Size(720, 416), CPU, "bf16")
    assert setup.tokens_per_frame == 1170
    assert setup.latent_size == (52, 90)
