"""FP8 linear layers, emulated on the CPU: rounding, plans, errors over a roll-out, the cache."""

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from liveact_cli.core.verification import Verified
from liveact_cli.engine.verify import CheckpointSubject, verify_file
from liveact_cli.model.config import LIVEACT_18B
from liveact_cli.runtime.fp8 import (
    FP8Linear,
    FP8Plan,
    fp8_layers,
    keep_precision,
    measured_errors,
    plan_fp8,
    quantise,
)
from liveact_cli.runtime.fp8_cache import FOLDER, LOCK, WEIGHTS, FP8Cache, save_plan, stored_plan
from liveact_cli.runtime.fp8_numbers import E4M3, Quantised, quantise_rows, quantise_tensor
from liveact_cli.runtime.loader import (
    load_transformer,
    original_weight,
    read_config,
    transformer_files,
)

GOLDEN = Path(__file__).parent.parent / "golden"
TINY = GOLDEN / "tiny-liveact"
ROLLOUT = GOLDEN / "golden_rollout.safetensors"
LATENT_BOUND = 0.05
"""Largest error of a latent, relative to the largest latent, over five chunks in FP8."""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TINY, tmp_path / "tiny", ignore=shutil.ignore_patterns("*.pth")))


@pytest.fixture(scope="module")
def plan() -> FP8Plan:
    """The toy has two blocks; both are the first or the last."""
    return plan_fp8(read_config(TINY), edge_blocks=0)


def rollout(plan: FP8Plan | None) -> Verified:
    subject = CheckpointSubject(TINY)
    if plan is not None:
        quantise(subject.transformer, plan)
    return verify_file(subject, ROLLOUT, tolerance=LATENT_BOUND)


def test_rows_are_rounded_to_the_nearest_of_their_own_scale() -> None:
    x = torch.randn(7, 48) * torch.logspace(-6, 6, 7)[:, None]
    x[3] = 0
    rounded = quantise_rows(x)
    assert rounded.values.dtype == E4M3
    largest = rounded.values.float().abs().amax(-1)
    assert largest.tolist() == [448.0] * 3 + [0.0] + [448.0] * 3
    # e4m3 has 3 bits after the point: half a step is 1/16 of the power of two below.
    error = (rounded.dequantised() - x).abs()
    assert (error <= x.abs() / 16 + x.abs().amax(-1, keepdim=True) / 448 * 2**-10).all()
    assert rounded.scale[3] == 1
    assert quantise_tensor(x).scale.shape == (1, 1)


def test_a_layer_is_the_product_of_what_was_rounded() -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(48, 32), torch.randn(2, 5, 48)
    layer = FP8Linear.of(linear)
    w, a = quantise_rows(linear.weight.data), quantise_rows(x)
    wanted = a.dequantised().double() @ w.dequantised().double().t() + linear.bias
    torch.testing.assert_close(layer(x).double(), wanted, rtol=1e-5, atol=1e-5)
    assert torch.equal(layer(a), layer(x)), "rows that a kernel has rounded give the same"
    error = (layer(x) - linear(x)).norm() / linear(x).norm()
    assert 0.005 < error < 0.05
    assert layer(x.bfloat16()).shape == (2, 5, 32)


def test_the_plan_of_the_full_model_keeps_its_ends() -> None:
    plan = plan_fp8(LIVEACT_18B)
    assert len(plan.names) == 38 * 8
    assert len(plan.kept) == 2 * 8
    assert plan.kept["blocks.39.ffn.2"] == "first or last block"
    assert plan.record()["layers"] == 304
    assert not any(part in name for name in plan.names for part in ("time", "head", ".kv", "norm"))


def test_shapes_that_do_not_divide_keep_their_precision(checkpoint: Path) -> None:
    odd = plan_fp8(replace(read_config(checkpoint), ffn_dim=100), edge_blocks=0)
    assert odd.kept["blocks.0.ffn.0"] == "100x48: no multiples of 16"
    assert odd.kept["blocks.1.ffn.2"] == "48x100: no multiples of 16"
    assert "blocks.0.self_attn.qkv" in odd.names


def test_a_roll_out_stays_within_a_few_per_cent(plan: FP8Plan) -> None:
    result = rollout(plan)
    latents = [c.error for c in result.comparisons if c.name.endswith(".latent")]
    assert len(latents) == 5
    assert 1e-3 < max(latents) < LATENT_BOUND
    assert rollout(None).max_rel_error < 1e-5


def test_weights_take_half_the_bytes(checkpoint: Path, plan: FP8Plan) -> None:
    wide = load_transformer(checkpoint, dtype=torch.bfloat16)
    narrow = load_transformer(checkpoint, dtype=torch.bfloat16, fp8=plan)
    saved = sum(p.nbytes for p in wide.parameters()) - sum(p.nbytes for p in narrow.parameters())
    layers = fp8_layers(narrow)
    assert set(layers) == set(plan.names)
    assert saved == sum(m.weight.numel() - 4 * len(m.scale) for m in layers.values())
    assert {p.device.type for p in narrow.parameters()} == {"cpu"}, "nothing is left on meta"


def test_what_the_cache_gives_equals_what_was_made(checkpoint: Path, plan: FP8Plan) -> None:
    made = load_transformer(checkpoint, fp8=plan)
    stored = checkpoint / FOLDER / WEIGHTS
    assert len(load_file(stored)) == 2 * len(plan.names)
    written = stored.stat().st_mtime_ns
    again = load_transformer(checkpoint, fp8=plan)
    assert stored.stat().st_mtime_ns == written
    loaded = load_transformer(checkpoint)
    quantise(loaded, plan)
    for name, parameter in made.named_parameters():
        for other in (again, loaded):
            assert torch.equal(parameter.float(), other.get_parameter(name).float()), name
    assert not list(stored.parent.glob("*.part"))


def test_other_weights_or_layers_are_not_taken_from_the_cache(
    checkpoint: Path, plan: FP8Plan
) -> None:
    load_transformer(checkpoint, fp8=plan)
    file = next(f for f in transformer_files(checkpoint) if "blocks.0.ffn.0.weight" in load_file(f))
    tensors = load_file(file)
    tensors["blocks.0.ffn.0.weight"] = tensors["blocks.0.ffn.0.weight"] * 2
    save_file(tensors, file)
    doubled = load_transformer(checkpoint, fp8=plan).get_submodule("blocks.0.ffn.0")
    fresh = quantise_rows(tensors["blocks.0.ffn.0.weight"])
    assert torch.equal(doubled.scale, fresh.scale)
    fewer = FP8Plan(plan.names[:3])
    assert set(fp8_layers(load_transformer(checkpoint, fp8=fewer))) == set(plan.names[:3])


def test_a_damaged_cache_is_made_again(checkpoint: Path, plan: FP8Plan) -> None:
    made = load_transformer(checkpoint, fp8=plan)
    stored = checkpoint / FOLDER / WEIGHTS
    stored.write_bytes(stored.read_bytes()[:100])
    again = load_transformer(checkpoint, fp8=plan)
    name = plan.names[0] + ".weight"
    assert torch.equal(made.get_parameter(name).float(), again.get_parameter(name).float())
    assert len(load_file(stored)) == 2 * len(plan.names)


def test_one_writes_and_the_others_read_what_it_wrote(checkpoint: Path) -> None:
    files, shapes = transformer_files(checkpoint), {"one": (32, 16), "two": (16, 16)}
    random = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}
    found: list[Quantised] = []

    def second() -> None:
        with FP8Cache(checkpoint, files, shapes) as cache:
            assert cache.hit, "it waits for the first and makes nothing itself"
            found.extend(cache.get(name, lambda: torch.zeros(0)) for name in shapes)

    other = threading.Thread(target=second)
    with FP8Cache(checkpoint, files, shapes) as first:
        made = [first.get("one", lambda: weights["one"])]
        other.start()
        other.join(0.3)
        assert other.is_alive()
        assert len(list((checkpoint / FOLDER).glob("*.part"))) == 1
        made.append(first.get("two", lambda: weights["two"]))
    other.join(10)
    assert not first.hit
    for ours, theirs in zip(made, found, strict=True):
        assert torch.equal(ours.dequantised(), theirs.dequantised())


def test_nobody_waits_for_one_that_stands_still_or_has_failed(checkpoint: Path) -> None:
    files, shapes, weight = transformer_files(checkpoint), {"one": (16, 16)}, torch.eye(16)
    failing = FP8Cache(checkpoint, files, shapes)
    with failing, FP8Cache(checkpoint, files, shapes, patience=0.2) as impatient:
        assert torch.equal(impatient.get("one", lambda: weight).dequantised(), weight)
    # Neither stored anything: one had not the turn, the other did not come to its end.
    assert [file.name for file in (checkpoint / FOLDER).iterdir()] == [LOCK]
    with FP8Cache(checkpoint, files, shapes) as after:
        after.get("one", lambda: weight)
    assert sorted(file.name for file in (checkpoint / FOLDER).iterdir()) == [LOCK, WEIGHTS]


def test_layers_with_large_errors_go_back_and_the_plan_says_so(
    checkpoint: Path, plan: FP8Plan
) -> None:
    subject = CheckpointSubject(checkpoint)
    transformer = load_transformer(checkpoint, fp8=plan)
    subject.transformer = transformer

    def original(name: str) -> torch.Tensor:
        return original_weight(checkpoint, name)

    errors = measured_errors(transformer, lambda: verify_file(subject, ROLLOUT), original)
    assert set(errors) == set(plan.names)
    assert all(0.001 < error < 0.08 for error in errors.values())
    assert plan.without(errors).names == plan.names

    strict = FP8Plan(plan.names, limit=sorted(errors.values())[-3])
    measured = strict.without(errors)
    gone = set(plan.names) - set(measured.names)
    assert len(gone) == 2
    assert all("above" in measured.kept[name] for name in gone)
    keep_precision(transformer, measured, original)
    assert set(fp8_layers(transformer)) == set(measured.names)
    exact = load_transformer(checkpoint)
    for name in gone:
        kept = transformer.get_submodule(name)
        assert torch.equal(kept.weight, exact.get_submodule(name).weight)
        assert torch.equal(kept.bias, exact.get_submodule(name).bias)

    files = transformer_files(checkpoint)
    save_plan(checkpoint, files, measured)
    assert stored_plan(checkpoint, files, measured.limit) == measured
    assert stored_plan(checkpoint, files, 0.5) is None
    (checkpoint / FOLDER / "plan.json").write_text("{", encoding="utf-8")
    assert stored_plan(checkpoint, files, measured.limit) is None


def test_a_layer_that_saw_nothing_has_no_error(plan: FP8Plan) -> None:
    transformer = load_transformer(TINY)
    quantise(transformer, plan)
    errors = measured_errors(transformer, lambda: None, lambda name: torch.zeros(1))
    assert set(errors.values()) == {0.0}


def test_a_number_that_is_none_is_never_kept_in_fp8(plan: FP8Plan) -> None:
    name = plan.names[0]
    assert name in plan.without({name: float("nan")}).kept


def test_quantised_numbers_stand_for_themselves() -> None:
    x = Quantised(torch.tensor([[2.0]]).to(E4M3), torch.tensor([[0.5]]))
    assert x.dequantised().tolist() == [[1.0]]
