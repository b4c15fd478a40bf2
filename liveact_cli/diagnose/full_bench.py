"""How fast a model of the large family is on this machine, stage by stage, without its weights.

Four runs: one that warms everything up, one as a render runs it, one stage after the other, and one
with a stopwatch around every matrix product, attention and fold (which costs a little itself).
"""

import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import torch

from liveact_cli.core.units import format_bytes
from liveact_cli.diagnose.bench import peak_rss
from liveact_cli.diagnose.flops import chunk_work, vae_work
from liveact_cli.diagnose.probe import Probe, synchronise
from liveact_cli.diagnose.rates import peak
from liveact_cli.diagnose.rig import FPS, Rig, Setup
from liveact_cli.engine.ahead import work_ahead
from liveact_cli.engine.decode import DecodedChunk
from liveact_cli.model.memory import ConvMemory
from liveact_cli.runtime import fallbacks
from liveact_cli.runtime.fp8 import CANDIDATES
from liveact_cli.runtime.graphs import graphs_of
from liveact_cli.runtime.streams import WorkStream
from liveact_cli.wan.vae import to_frames

LEAST_CHUNKS: Final = 3
"""The first chunk is shorter, the second folds nothing: the third is the first like all others."""

_MOST_STAGED: Final = 8
"""Chunks that are also measured stage by stage: medians need no more."""

_PEAK_SIDE_ON_CPU: Final = 256


@dataclass
class FullResult:
    """All that was measured; `stages` are medians over full chunks, `wall` their mean; in
    milliseconds per chunk."""

    setup: Setup
    attention: str
    kernels: str
    graphs: bool
    parameters: int
    chunks: int
    frames_per_chunk: int
    build_seconds: float = 0.0
    warm_up_seconds: float = 0.0
    first_chunk_seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    wall: float = 0.0
    peaks: dict[str, float] = field(default_factory=dict)
    tflops: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def frames_per_second(self) -> float:
        """Frames per second from the sound to pictures in the host's memory and the encoder."""
        return 1000 * self.frames_per_chunk / self.wall

    @property
    def transformer_frames_per_second(self) -> float:
        """Frames per second if there were nothing but the denoising steps."""
        steps = sum(ms for name, ms in self.stages.items() if name.startswith("step "))
        return 1000 * self.frames_per_chunk / steps

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        setup = self.setup
        return {
            "size": str(setup.size),
            "gpus": len(setup.devices),
            "device": device_name(setup.device),
            "torch": torch.__version__,
            "precision": setup.precision,
            "attention": self.attention,
            "kernels": self.kernels,
            "memory": setup.kv_precision if setup.precision != "fp32" else "fp32",
            "offload": setup.offload,
            "decoder": setup.decoder,
            "decoder_compiled": setup.compiled_decoder,
            "cuda_graphs": self.graphs,
            "overlap": setup.overlap if len(setup.devices) > 1 else None,
            "draws_together": setup.draws_together if len(setup.devices) > 1 else None,
            "parameters": self.parameters,
            "chunks": self.chunks,
            "frames_per_chunk": self.frames_per_chunk,
            "frames_per_second": round(self.frames_per_second, 2),
            "transformer_frames_per_second": round(self.transformer_frames_per_second, 2),
            "chunk_ms": round(self.wall, 2),
            "first_chunk_seconds": round(self.first_chunk_seconds, 4),
            "build_seconds": round(self.build_seconds, 2),
            "warm_up_seconds": round(self.warm_up_seconds, 2),
            "stage_ms_per_chunk": {name: round(ms, 3) for name, ms in self.stages.items()},
            "tflops": {name: round(rate, 2) for name, rate in self.tflops.items()},
            "gemm_peak_tflops": {name: round(rate, 2) for name, rate in self.peaks.items()},
            "peak_memory_bytes": self.peak_memory,
            "notes": self.notes,
        }

    def table(self) -> str:
        """Return the rows of a Markdown table for people."""
        rows = [
            ("end to end", f"{self.frames_per_second:.2f} frames/s"),
            ("transformer alone", f"{self.transformer_frames_per_second:.2f} frames/s"),
            ("first chunk after", f"{self.first_chunk_seconds:.3f} s"),
            ("warm-up, once", f"{self.warm_up_seconds:.1f} s"),
            ("peak memory", format_bytes(self.peak_memory)),
        ]
        best = max(self.peaks.values())
        for name, ms in self.stages.items():
            rate = self.tflops.get(name)
            share = f", {rate:.3g} TFLOP/s, {rate / best:.0%} of the peak" if rate else ""
            rows.append((f"{name}, per chunk", f"{ms:.2f} ms{share}"))
        rows += [(f"peak of {name}", f"{rate:.3g} TFLOP/s") for name, rate in self.peaks.items()]
        lines = [f"| {name} | {value} |" for name, value in rows]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def run_full_bench(
    setup: Setup, chunks: int, tell: Callable[[str], None] = lambda text: None
) -> FullResult:
    """Build the model and measure `chunks` chunks (at least 3)."""
    begun = time.perf_counter()
    tell(f"building the model on {device_name(setup.device)} ...")
    with Rig(setup) as rig:
        synchronise(setup.device)
        return measure(rig, chunks, time.perf_counter() - begun, tell)


def measure(
    rig: Rig,
    chunks: int,
    build_seconds: float = 0.0,
    tell: Callable[[str], None] = lambda text: None,
) -> FullResult:
    """Measure a model that is there."""
    setup = rig.setup
    result = FullResult(
        setup,
        rig.transformer.facts["attention"]["kernel"],
        rig.transformer.facts["kernels"],
        rig.transformer.facts["graphs"],
        rig.parameters,
        chunks,
        setup.policy.chunk * setup.sizes.vae.temporal_stride,
        build_seconds=build_seconds,
        notes=list(rig.notes),
    )
    reset_peak_memory(setup.device)
    tell("warming up ...")
    begun = time.perf_counter()
    # Graphs are recorded at the second chunk like all others.
    few = LEAST_CHUNKS + (graphs_of(rig.transformer) is not None)
    for _ in _pictures(rig, rig.start(few), Probe(setup.device)):
        pass
    result.warm_up_seconds = time.perf_counter() - begun
    tell(f"measuring {chunks} chunks ...")
    with _encoder(setup, result.notes) as sink:
        _measure_whole(rig, chunks, result, sink)
        _measure_stages(rig, min(chunks, _MOST_STAGED), result, sink)
    if len(setup.devices) == 1:
        _measure_parts(rig, result)
    result.peak_memory = peak_memory(setup.device)
    result.notes += fallbacks.taken()
    _compare(result)
    return result


Sink = Callable[[Any], None]


def _pictures(
    rig: Rig, chunks: Iterator[DecodedChunk], probe: Probe, sink: Sink | None = None
) -> Iterator[int]:
    """Bring chunks as pictures to the host's memory and the encoder; yield their numbers."""
    decoder = rig.frame_decoder()
    for chunk in chunks:
        with torch.inference_mode():
            video = probe.around("vae decode", decoder.video)(chunk.latent)
            frames = probe.around("transfer", to_frames)(video)
        if sink is not None:
            start = time.perf_counter()
            for frame in frames:
                sink(frame)
            probe.add("encode", 1000 * (time.perf_counter() - start))
        yield chunk.span.index


def _measure_whole(rig: Rig, chunks: int, result: FullResult, sink: Sink | None) -> None:
    """Run as a render runs, a chunk ahead of the drawing; only the clock on the wall is read."""
    ahead = work_ahead(lambda: _beside(rig, chunks))
    ends = [time.perf_counter() for _ in _pictures(rig, ahead, Probe(rig.setup.device), sink)]
    full = ends[LEAST_CHUNKS - 2 :]
    result.wall = 1000 * (full[-1] - full[0]) / (len(full) - 1)


def _beside(rig: Rig, chunks: int) -> Iterator[DecodedChunk]:
    """Generate on a stream of its own, so that drawing goes on meanwhile."""
    stream, generated = WorkStream(rig.setup.device), rig.start(chunks)
    for _ in range(chunks):
        with stream.work():
            chunk = next(generated)
        yield chunk


def _measure_stages(rig: Rig, chunks: int, result: FullResult, sink: Sink | None) -> None:
    """Run chunk after chunk, each stage between two marks."""
    setup, probe = rig.setup, Probe(rig.setup.device)
    steps = len(setup.settings.schedule.steps)
    times: dict[str, list[float]] = defaultdict(list)
    forward = rig.transformer.forward
    rig.transformer.forward = probe.around("steps", forward)  # type: ignore[method-assign]
    begun = time.perf_counter()
    try:
        generated = rig.start(chunks)
        for index in _pictures(rig, generated, probe, sink):
            spans = probe.take()
            if index == 0:
                result.first_chunk_seconds = time.perf_counter() - begun
                gather = rig.conditioner.chunk
                rig.conditioner.chunk = probe.around("audio", gather)  # type: ignore[method-assign]
            elif index >= LEAST_CHUNKS - 1:
                calls = spans.pop("steps")
                for step in range(steps):
                    times[f"step {step + 1}"].append(calls[step])
                for name, values in spans.items():
                    times[name].append(sum(values))
    finally:
        rig.transformer.forward = forward  # type: ignore[method-assign]
    order = ["audio", *(f"step {i + 1}" for i in range(steps)), "vae decode", "transfer", "encode"]
    result.stages = {name: statistics.median(times[name]) for name in order if name in times}


def _measure_parts(rig: Rig, result: FullResult) -> None:
    """Put stopwatches inside the transformer, for one video of few chunks."""
    probe = Probe(rig.setup.device)
    times: dict[str, list[float]] = defaultdict(list)
    with _stopwatches(rig, probe):
        for chunk in rig.start(LEAST_CHUNKS + 1):
            spans = probe.take()
            if chunk.span.index >= LEAST_CHUNKS - 1:
                for name, values in spans.items():
                    times[name].append(sum(values))
    for name in ("linear", "attention", "memory fold"):
        if name in times:
            result.stages[name] = statistics.median(times[name])


@contextmanager
def _stopwatches(rig: Rig, probe: Probe) -> Iterator[None]:
    transformer = rig.transformer
    with ExitStack() as stack:
        if (graphs := graphs_of(transformer)) is not None:
            stack.enter_context(graphs.paused())
        for block in transformer.blocks:
            for name in CANDIDATES:
                linear = block.get_submodule(name)
                marks: list[Any] = []
                stack.callback(
                    linear.register_forward_pre_hook(
                        lambda _m, _a, marks=marks: marks.append(probe.mark())
                    ).remove
                )
                stack.callback(
                    linear.register_forward_hook(
                        lambda _m, _a, _o, marks=marks: probe.span("linear", marks.pop())
                    ).remove
                )
        chosen, at = transformer.kernel, transformer.kernel_at
        timed = probe.around("attention", chosen)
        transformer.set_kernel(timed)
        stack.callback(transformer.set_kernel, chosen)

        def kernel_at(memory: Any) -> Any:
            kernel = at(memory)
            return timed if kernel is timed else probe.around("attention", kernel)

        transformer.kernel_at = kernel_at  # type: ignore[method-assign]
        stack.callback(setattr, transformer, "kernel_at", at)
        assert rig.memory is not None
        for layer in _layers(rig.memory.main):
            layer.make_room = probe.around("memory fold", layer.make_room)
            stack.callback(layer.__dict__.pop, "make_room")
        yield


def _layers(memory: ConvMemory) -> Iterator[Any]:
    for bank in memory.banks.values():
        yield from bank.layers


@contextmanager
def _encoder(setup: Setup, notes: list[str]) -> Iterator[Callable[[Any], None] | None]:
    """Give what takes frames into a video file, or None where ffmpeg's packages are missing."""
    try:
        from liveact_cli.media.video import SegmentWriter
    except ImportError as error:
        notes.append(f"encoding is not measured: {error.name} is not installed")
        yield None
        return
    width, height = setup.size
    with (
        tempfile.TemporaryDirectory(prefix="liveact-bench-") as folder,
        SegmentWriter(Path(folder), width, height, Fraction(FPS)) as writer,
    ):
        yield writer.write


def _compare(result: FullResult) -> None:
    """Set the stages' times against their work and against the measured peak."""
    setup = result.setup
    side = {} if setup.device.type == "cuda" else {"side": _PEAK_SIDE_ON_CPU}
    result.peaks[setup.precision] = peak(setup.device, setup.dtype, **side).value
    if setup.precision == "fp8":
        result.peaks = {"bf16": result.peaks["fp8"]}
        result.peaks["fp8"] = peak(setup.device, torch.float8_e4m3fn, **side).value
    work = chunk_work(
        setup.sizes.transformer, setup.policy, setup.tokens_per_frame, setup.settings.schedule
    )
    steps = [name for name in result.stages if name.startswith("step ")]
    counted: Mapping[str, int] = {"linear": work.linear, "attention": work.attention}
    if setup.decoder == "wan":
        decoded = vae_work(setup.sizes.vae, setup.policy.chunk, setup.latent_size)
        counted = {**counted, "vae decode": decoded}
    for name, flops in counted.items():
        if name in result.stages:
            result.tflops[name] = flops / result.stages[name] / 1e9
    milliseconds = len(setup.devices) * sum(result.stages[step] for step in steps)
    result.tflops["transformer"] = work.total / milliseconds / 1e9


def device_name(device: torch.device) -> str:
    """Return what a device is called."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return "CPU"


def peak_memory(device: torch.device) -> int:
    """Return the largest amount of memory used so far on a device (on a CPU by the process)."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else peak_rss()


def reset_peak_memory(device: torch.device) -> None:
    """Count the largest amount of memory from here on."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
