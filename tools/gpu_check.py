"""Everything that only a GPU can say about liveact-18b, in under ten minutes, without its weights.

    tools/gpu_check.sh [--minutes 10] [--output gpu_check.jsonl]

The rates at the model's shapes come first, then proofs on recorded numbers, then speed and memory
of the whole model with random weights. Every stage appends a line of JSON to the output as soon as
it is done, and a stage that fails says so and lets the next one go on.
"""

import argparse
import gc
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import torch

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.core.units import Size
from liveact_cli.core.verification import relative_error
from liveact_cli.diagnose import rates
from liveact_cli.diagnose.flops import vae_work
from liveact_cli.diagnose.full_bench import FullResult, device_name, measure, peak_memory
from liveact_cli.diagnose.probe import median_seconds, synchronise
from liveact_cli.diagnose.rig import (
    DECODERS,
    Decoder,
    Precision,
    Rig,
    Setup,
    Sizes,
    one_video,
    placed,
    random_decoder,
)
from liveact_cli.diagnose.stages import Check, Stage
from liveact_cli.diagnose.velocities import Recording, record, velocity_errors
from liveact_cli.engine.verify import CheckpointSubject, exact_products, read_golden, verify_file
from liveact_cli.model.config import LIVEACT_18B
from liveact_cli.runtime import fallbacks, kernels
from liveact_cli.runtime.build import Options
from liveact_cli.runtime.fp8_numbers import prove_products
from liveact_cli.runtime.kernels import video
from liveact_cli.wan.frames import WanFrameDecoder
from liveact_cli.wan.keymaps import VaeSizes
from liveact_cli.wan.vae_decoder import WAN_SIZES, WanDecoder

GOLDEN: Final = Path(__file__).parents[1] / "tests" / "golden"
PACKAGES: Final = ("torch", "triton", "transformers", "diffusers", "nvidia-cudnn-frontend")

VELOCITY_ERROR: Final = 0.03
BUDGET: Final = 24_000_000_000
LONG_RUN: Final = 200
OPTIONAL: Final = 150.0
"""Seconds that are left where a stage is run that nothing waits for; others come after it."""
COMPILING: Final = 120.0
"""Seconds that compiling the decoder may take."""

TOY = replace(
    LIVEACT_18B, dim=48, ffn_dim=64, heads=2, layers=3, text_dim=16, text_len=8, freq_dim=16,
    image_dim=16, audio_layers=2, audio_channels=24, audio_hidden=16, audio_dim=16, audio_tokens=4,
)  # fmt: skip
TOY_VAE = VaeSizes(4, 4, 16, (1, 2, 4, 4), 1, (False, True, True))


@dataclass(frozen=True)
class Plan:
    """What is checked: sizes, places, and how much of it."""

    device: torch.device
    sizes: Sizes
    videos: tuple[Size, ...]
    short: Size
    chunks: int
    long_run: int
    peak_side: int
    precisions: tuple[Precision, ...]

    def aim(self, value: float) -> float | None:
        """Return an aim of speed, which only the released sizes on a GPU are meant to reach."""
        return value if self.device.type == "cuda" and self.sizes == Sizes() else None

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the plain runs."""
        return torch.bfloat16 if self.device.type == "cuda" else torch.float32

    def setup(self, precision: Precision, size: Size | None = None, **more: Any) -> Setup:
        """Return a whole model to measure."""
        return Setup(size or self.videos[0], (self.device,), precision, self.sizes, **more)

    @property
    def shapes(self) -> rates.Shapes:
        """Shapes at the first size."""
        tokens = self.setup(self.precisions[0]).tokens_per_frame
        return rates.Shapes(self.sizes.transformer, MemoryPolicy(), tokens)


# Rates --------------------------------------------------------------------------------------------


def machine(plan: Plan, stage: Stage) -> None:
    """Say what is measured on."""
    stage.details["device"] = device_name(plan.device)
    stage.details["packages"] = {name: _version(name) for name in PACKAGES}
    stage.details["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    if plan.device.type == "cuda":
        properties = torch.cuda.get_device_properties(plan.device)
        stage.add("memory", properties.total_memory / 1e9, "GB")
        stage.add("multiprocessors", properties.multi_processor_count, "")
        stage.details["capability"] = [properties.major, properties.minor]


def proofs(plan: Plan, stage: Stage) -> None:
    """Let every fused kernel and the FP8 product prove themselves; what fails is told."""
    if "fp8" in plan.precisions:
        prove_products(plan.device)
    for chosen in (kernels.resolve(plan.device), video.resolve(plan.device)):
        stage.details.setdefault("kernels", []).append(chosen.name)
    stage.add("replaced by their twins", len(fallbacks.taken()), "", 0, "less")


def gemm(plan: Plan, stage: Stage) -> None:
    """Measure the matrix products of a block, on one GPU and with half of the rows on two."""
    stage.rate(rates.peak(plan.device, plan.dtype, plan.peak_side))
    types = [plan.dtype]
    if "fp8" in plan.precisions:
        stage.rate(rates.peak(plan.device, torch.float8_e4m3fn, plan.peak_side))
        types.append(torch.float8_e4m3fn)
    for dtype in types:
        for found in rates.products(plan.shapes, plan.device, dtype):
            stage.rate(found)
    if "fp8" in plan.precisions:
        for found in rates.fp8_tensor_wise(plan.shapes, plan.device):
            stage.rate(found)
        half = plan.shapes.rows // 2
        for name, (k, n) in plan.shapes.products().items():
            stage.rate(rates.product(f"{name} of two", half, k, n, plan.device, types[-1]))


def attention(plan: Plan, name: str, stage: Stage) -> None:
    """Measure one attention kernel and how exact it is."""
    kernel = rates.attention_kernels(plan.device)[name]
    stage.rate(rates.attention(name, kernel, plan.shapes, plan.device, plan.dtype))
    error = rates.attention_error(kernel, plan.shapes, plan.device, plan.dtype)
    stage.add("relative error against float64", error, "", 0.1 if "e4m3" in name else 0.02, "less")


def convolutions(plan: Plan, stage: Stage) -> None:
    """Measure the decoder's convolutions and what lies between them."""
    size, sizes = plan.setup(plan.precisions[0]).latent_size, plan.sizes.vae
    for found in rates.convolutions(sizes, size, plan.device, plan.dtype):
        stage.rate(found)
    chosen = video.resolve(plan.device)
    for found in rates.video_kernels(chosen, sizes, size, plan.device, plan.dtype):
        stage.rate(found)


def norms(plan: Plan, stage: Stage) -> None:
    """Measure the passes over memory between two matrix products."""
    chosen = kernels.resolve(plan.device)
    for found in rates.norms(chosen, plan.shapes, plan.device, plan.dtype):
        stage.rate(found)


def decoder(plan: Plan, name: Decoder, compiled: bool, stage: Stage) -> None:
    """Measure one decoder alone, a chunk at a time."""
    setup = plan.setup(plan.precisions[0], decoder=name, compiled_decoder=compiled)
    made = one_video(random_decoder(setup), setup)
    latent = torch.randn(16, MemoryPolicy().chunk, *setup.latent_size, device=plan.device)
    begun = time.monotonic()
    made.video(latent)
    synchronise(plan.device)
    stage.add("first call", time.monotonic() - begun, "s")
    seconds = median_seconds(lambda: made.video(latent), plan.device, 5, 2)
    stage.add("one chunk", 1000 * seconds, "ms", plan.aim(370 if name == "wan" else 60), "less")
    if name == "wan":
        work = vae_work(plan.sizes.vae, MemoryPolicy().chunk, setup.latent_size)
        stage.add("rate", work / seconds / 1e12, "TFLOP/s")
    stage.add("peak memory", peak_memory(plan.device) / 1e9, "GB")


def tiles(plan: Plan, stage: Stage) -> None:
    """Draw in tiles, as where memory is short: how much less memory, how much longer, how near."""
    setup = plan.setup(plan.precisions[0])
    made, side = random_decoder(setup), min(plan.videos[0]) // 2
    latent = torch.randn(16, 2, *setup.latent_size, device=plan.device)
    whole = one_video(made, setup).video(latent).cpu()
    _empty(plan.device)
    cut = one_video(made, replace(setup, tile=side, latents_per_call=1))
    begun = time.monotonic()
    video_of_tiles = cut.video(latent).cpu()
    stage.add("two latent frames", 1000 * (time.monotonic() - begun), "ms")
    stage.add("peak memory", peak_memory(plan.device) / 1e9, "GB")
    difference = float((video_of_tiles - whole).abs().max()) * 127.5
    stage.add("largest difference", difference, "grey levels of random weights")


# Proofs -------------------------------------------------------------------------------------------


def golden_rollouts(plan: Plan, between: str, stage: Stage) -> None:
    """Replay the recorded roll-outs on this device, with kernels by a name of `Options`."""
    options = Options(torch.float32, kernels=between)
    checkpoint = GOLDEN / "tiny-liveact"
    with CheckpointSubject(checkpoint, (plan.device,), torch.float32, options) as subject:
        stage.details["kernels"] = subject.transformer.facts["kernels"]
        for path in sorted(GOLDEN.glob("golden_rollout*.safetensors")):
            found = verify_file(subject, path)
            stage.add(path.stem, found.max_rel_error, "", found.tolerance, "less")


def golden_video(plan: Plan, stage: Stage) -> None:
    """Decode the recorded latents on this device."""
    golden = read_golden(GOLDEN / "golden_components.safetensors").tensors
    path = GOLDEN / "tiny-liveact" / "Wan2.1_VAE.pth"
    made = WanFrameDecoder(WanDecoder.from_file(path, plan.device, torch.float32))
    parts = torch.split(golden["vae.latent"][0], [6, 8, 8], 1)
    with exact_products():
        ours = torch.cat([made.video(part).cpu() for part in parts], 1)
    stage.add("vae.decoded", relative_error(ours, golden["vae.decoded"][0]), "", 1e-4, "less")


def golden_pipeline(plan: Plan, stage: Stage) -> None:
    """Replay encoders and the whole pipeline, where their packages are installed."""
    try:
        from liveact_cli.wan.verify import wan_kinds

        kinds = wan_kinds()
        with CheckpointSubject(GOLDEN / "tiny-liveact", (plan.device,)) as subject:
            for kind in ("components", "pipeline"):
                found = verify_file(subject, GOLDEN / f"golden_{kind}.safetensors", None, kinds)
                stage.add(kind, found.max_rel_error, "", found.tolerance, "less")
    except ImportError as error:
        stage.details["skipped"] = f"{error.name} is not installed"


# The whole model ----------------------------------------------------------------------------------


def bench(rig: Rig, plan: Plan, aim: float, stage: Stage) -> FullResult:
    """Measure the model as it is set up."""
    result = measure(rig, plan.chunks)
    stage.details["bench"] = result.to_dict()
    stage.add("end to end", result.frames_per_second, "frames/s", plan.aim(aim))
    stage.add("transformer alone", result.transformer_frames_per_second, "frames/s")
    stage.add("first chunk", result.first_chunk_seconds, "s", plan.aim(1.0), "less")
    stage.add("peak memory", result.peak_memory / 1e9, "GB")
    for name, milliseconds in result.stages.items():
        stage.add(name, milliseconds, "ms a chunk")
    for name, rate in result.tflops.items():
        stage.add(f"{name}, rate", rate, "TFLOP/s")
    return result


def flat_memory(rig: Rig, plan: Plan, stage: Stage) -> None:
    """Generate and draw many short chunks; memory must stay where it was after the first few."""
    rig.draw_at(plan.short)
    decoder, held = rig.frame_decoder(), []
    for chunk in rig.start(plan.long_run):
        decoder.video(chunk.latent)
        if plan.device.type == "cuda":
            held.append(torch.cuda.memory_allocated(plan.device))
        else:
            held.append(peak_memory(plan.device))
    settled = held[min(5, len(held) - 2) :]
    stage.add("chunks", len(held), "")
    stage.add("held", settled[-1] / 1e9, "GB")
    allowed = 1e6 if plan.device.type == "cuda" else 3e8  # a process's heap is not that exact
    stage.add("growth", float(max(settled) - settled[0]), "bytes", allowed, "less")


def full_model(check: Check, plan: Plan, size_aims: dict[Precision, float]) -> None:
    """Measure the whole model at each precision and size; compare FP8 with what bf16 said."""
    kept: Recording | None = None
    for precision in plan.precisions:
        built: list[Rig] = []

        def build(stage: Stage, precision: Precision = precision, built: list[Rig] = built) -> None:
            begun = time.monotonic()
            built.append(Rig(plan.setup(precision)))
            synchronise(plan.device)
            stage.add("build", time.monotonic() - begun, "s")
            stage.details["notes"] = built[0].notes

        if check.run(f"build {precision}", 60, build):
            with built[0] as rig:
                kept = _one_precision(check, plan, rig, size_aims[precision], kept)
                if precision == plan.precisions[-1]:
                    _last_precision(check, plan, rig)
            del rig
        built.clear()
        _empty(plan.device)


def _one_precision(
    check: Check, plan: Plan, rig: Rig, aim: float, kept: Recording | None
) -> Recording | None:
    precision = rig.setup.precision
    found: list[Recording] = []
    if kept is None:
        check.run(f"record {precision}", 20, lambda stage: found.append(record(rig, 3)))
    else:

        def compare(stage: Stage) -> None:
            for step, error in enumerate(velocity_errors(rig, kept, 3)):
                name = f"velocity error, step {step + 1}"
                stage.add(name, error, "", VELOCITY_ERROR, "less")

        check.run(f"{precision} against {plan.precisions[0]}", 20, compare)
    for size in plan.videos:
        if size != rig.setup.size:
            rig.draw_at(size)
        check.run(f"{size} {precision}", 45, partial(bench, rig, plan, aim))
    return found[0] if found else kept


def _last_precision(check: Check, plan: Plan, rig: Rig) -> None:
    rig.draw_at(plan.videos[0])
    for name in ("taew2_1", "lightvae"):

        def drawn(stage: Stage, name: Decoder = name) -> None:
            rig.draw_with(name)
            bench(rig, plan, 25.0, stage)

        check.run(f"{plan.videos[0]} {rig.setup.precision} {name}", 45, drawn)
    rig.draw_with("wan")

    def rounded(stage: Stage) -> None:
        rig.attend_with("fp8" if plan.device.type == "cuda" else "fp8-emulated")
        bench(rig, plan, 20.0, stage)

    def recorded(stage: Stage) -> None:
        rig.draw_at(plan.videos[0])
        rig.record_graphs(True)
        try:
            bench(rig, plan, 20.0, stage)
        finally:
            rig.record_graphs(False)

    check.run(f"{plan.videos[0]} {rig.setup.precision}, attention too", 45, rounded)
    rig.attend_with("auto")
    check.run("flat memory", 60, partial(flat_memory, rig, plan))
    check.run(f"{plan.videos[0]} {rig.setup.precision}, CUDA graphs", OPTIONAL, recorded)


def several(plan: Plan, overlap: bool, together: bool, stage: Stage) -> None:
    """Share the work between two devices: exchanging while computing or at once, both drawing or
    the first alone."""
    devices = (plan.device,) * 2
    if plan.device.type == "cuda":
        devices = (torch.device("cuda", 0), torch.device("cuda", 1))
    setup = replace(plan.setup(plan.precisions[-1]), devices=devices)
    setup = replace(setup, overlap=overlap, draws_together=together)
    with Rig(setup) as rig:
        bench(rig, plan, 25.0, stage)
        stage.details["exchange"] = rig.transformer.facts["exchange"]


def small_card(plan: Plan, stage: Stage) -> None:
    """Run in the memory of a 24 GB card, as the budget chooses for one."""
    setup, how = placed(plan.setup(plan.precisions[-1]), BUDGET)
    stage.details["choice"] = how
    cuda = plan.device.type == "cuda"
    if cuda:
        total = torch.cuda.get_device_properties(plan.device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, BUDGET / total), plan.device)
    try:
        with Rig(setup) as rig:
            result = measure(rig, 3)
        stage.details["bench"] = result.to_dict()
        stage.add("end to end", result.frames_per_second, "frames/s")
        stage.add("peak memory", result.peak_memory / 1e9, "GB", BUDGET / 1e9, "less")
    finally:
        if cuda:
            torch.cuda.set_per_process_memory_fraction(1.0, plan.device)
        _empty(plan.device)


# The order of it all ------------------------------------------------------------------------------


def everything(check: Check, plan: Plan) -> None:
    """Run all stages, the quickest answers first."""
    run = check.run
    run("machine", 0, partial(machine, plan))
    run("proofs", 20, partial(proofs, plan))
    run("gemm", 10, partial(gemm, plan))
    for name in rates.attention_kernels(plan.device):
        run(f"attention {name}", 10, partial(attention, plan, name))
    run("convolutions", 10, partial(convolutions, plan))
    run("norms", 5, partial(norms, plan))
    run("golden roll-outs", 20, partial(golden_rollouts, plan, "eager"))
    run("golden roll-outs, fused", 30, partial(golden_rollouts, plan, "auto"))
    run("golden video", 10, partial(golden_video, plan))
    run("golden pipeline", 30, partial(golden_pipeline, plan))
    _empty(plan.device)
    for drawn in DECODERS:
        run(f"decoder {drawn}", 10, partial(decoder, plan, drawn, False))
        _empty(plan.device)
    run("decoder wan, in tiles", 10, partial(tiles, plan))
    _empty(plan.device)
    full_model(check, plan, {"fp32": 14.0, "bf16": 14.0, "fp8": 20.0})
    run("24 GB", 60, partial(small_card, plan))
    if plan.device.type == "cpu" or torch.cuda.device_count() > 1:
        run("two devices", 60, partial(several, plan, True, True))
    if torch.cuda.device_count() > 1:
        run("two devices, exchanging at once", 60, partial(several, plan, False, True))
        run("two devices, the first draws", 60, partial(several, plan, True, False))
    if plan.device.type == "cuda":
        run("decoder wan, compiled", COMPILING, partial(decoder, plan, "wan", True))


def _empty(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _plan(device: str, toy: bool) -> Plan:
    place = torch.device(device)
    eight = place.type == "cpu" or torch.cuda.get_device_capability(place) >= (8, 9)
    plain: Precision = "bf16" if place.type == "cuda" else "fp32"
    precisions: tuple[Precision, ...] = (plain, "fp8") if eight else (plain,)
    if toy:
        sizes = Sizes(TOY, TOY_VAE, (8, 8, 8, 8))
        videos = (Size(32, 48), Size(32, 32))
        return Plan(place, sizes, videos, Size(32, 32), 3, 7, 64, precisions)
    videos = (Size(416, 720), Size(512, 512))
    sizes = Sizes(LIVEACT_18B, WAN_SIZES)
    return Plan(place, sizes, videos, Size(64, 64), 6, LONG_RUN, rates.PEAK_SIDE, precisions)


def main(arguments: list[str] | None = None) -> int:
    """Run from a command line; 1 if a stage failed, whatever the speeds are."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=9.5, help="time for everything (9.5)")
    parser.add_argument("--output", type=Path, default=Path("gpu_check.jsonl"))
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--toy", action="store_true", help="a tiny model, to try this program")
    options = parser.parse_args(arguments)
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("there is no GPU that torch can use; --device cpu --toy tries this program")
        return 5
    check = Check(options.output, options.minutes, partial(print, flush=True))
    everything(check, _plan(options.device, options.toy))
    print(f"\nevery stage is a line of {options.output}")
    for text in check.missed:
        print(f"missed: {text}")
    for name in check.failed:
        print(f"failed: {name}")
    return 1 if check.failed else 0


if __name__ == "__main__":
    sys.exit(main())
