"""Compile every Triton kernel for Hopper, as a GPU would get it: no GPU is needed for that.

The interpreter, in which the other tests run, takes more than the compiler does. Besides, trace the
video decoder with its kernels inside as torch's compiler does, up to the graphs.
"""

import json
import sys

import torch
import torch.utils._triton
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from liveact_cli.runtime.kernels import fused, video_fused
from liveact_cli.wan.keymaps import VaeSizes
from liveact_cli.wan.vae_decoder import WanDecoder

TARGET = GPUTarget("cuda", 90, 32)
FLOATS = {
    "bias", "gamma", "scale", "gate", "mul", "add", "cos", "sin", "norm_q", "norm_k", "scale_k",
    "scale_v",
}  # fmt: skip
"""Pointers to float32; the other pointers are bfloat16."""
NUMBERS = {"eps": "fp32", "root": "fp32"}
ROW = {"BLOCK": 8192}
PIXELS = {"ROWS": 32, "BLOCK": 128}
EVERY = {"HAS_BIAS": True, "HAS_SKIP": True}
CASES = [
    (fused, "_residual_norm", {"HAS_Y": True, "HAS_GATE": True, "NORM": True, "FP8": False} | ROW),
    (fused, "_residual_norm", {"HAS_Y": True, "HAS_GATE": True, "NORM": True, "FP8": True} | ROW),
    (fused, "_remember", ROW),
    (fused, "_read_window", ROW),
    (fused, "_rms_pair", ROW),
    (fused, "_gelu", {"ACT": True, "FP8": False, "BLOCK": 16384}),
    (fused, "_gelu", {"ACT": True, "FP8": True, "BLOCK": 16384}),
    (fused, "_gelu", {"ACT": False, "FP8": True} | ROW),
    (fused, "_compress", {"LEARNED": True, "RATIO": 5, "ROWS": 32, "CHANNELS": 32}),
    (fused, "_compress", {"LEARNED": False, "RATIO": 5, "ROWS": 32, "CHANNELS": 32}),
    (fused, "_partial_sums", {"ROWS": 128, "CHANNELS": 32}),
    (video_fused, "_prepare",
     {"FRAMES": 2, "HAS_PAST": True, "NORM": True, "TOTAL": True} | EVERY | PIXELS),
    (video_fused, "_prepare",
     {"FRAMES": 0, "HAS_PAST": False, "NORM": True, "TOTAL": False} | EVERY | PIXELS),
    (video_fused, "_enlarge", {"DOUBLED": True} | EVERY | PIXELS),
    (video_fused, "_enlarge", {"DOUBLED": False} | EVERY | PIXELS),
]  # fmt: skip
COUNTS = {
    "tokens", "width", "gate_batch", "mul_batch", "head", "anchor", "folded", "source", "recent",
    "recent_source", "recent_target", "pixels", "count", "height", "across",
}  # fmt: skip
ALSO_COUNTS = {"_residual_norm": {"skip"}, "_remember": {"past"}, "_read_window": {"past"}}
"""Names that are a tensor's in other kernels."""


def kind(kernel: str, argument: str, constants: dict[str, object]) -> str:
    """Return the type of a kernel's argument."""
    if argument in constants:
        return "constexpr"
    if argument in NUMBERS:
        return NUMBERS[argument]
    if argument in COUNTS | ALSO_COUNTS.get(kernel, set()):
        return "i32"
    if argument == "out" and constants.get("FP8"):
        return "*fp8e4nv"
    if kernel == "_read_window" and argument.startswith("memory"):
        return "*fp8e4nv"
    if argument == "out" and kernel == "_partial_sums":
        return "*fp32"
    if kernel == "_residual_norm" and argument in ("x", "new_x"):
        return "*fp32"
    return "*fp32" if argument in FLOATS else "*bf16"


def compiled(module: object, name: str, constants: dict[str, object]) -> dict[str, object]:
    """Compile one kernel with pointers and counts that divide by 16, as they do at our sizes."""
    kernel = getattr(module, name)
    names = kernel.arg_names
    signature = {argument: kind(name, argument, constants) for argument in names}
    places = {argument: (index,) for index, argument in enumerate(names)}
    aligned = [a for a, k in signature.items() if k.startswith("*") or a in ("width", "head")]
    source = ASTSource(
        kernel,
        signature,
        constexprs={places[argument]: value for argument, value in constants.items()},
        attrs={places[argument]: [["tt.divisibility", 16]] for argument in aligned},
    )
    made = triton.compile(source, target=TARGET)
    lines = made.asm["ptx"].splitlines()
    wide = [line for line in lines if ".v4." in line and ("ld.global" in line or "st.g" in line)]
    return {"kernel": name, "bytes": len(made.asm["cubin"]), "wide_accesses": len(wide)}


def traced() -> dict[str, int]:
    """Trace four calls of a small decoder; return how many graphs they took, and their kernels."""
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        graphs.append(graph)
        outputs = next(node for node in graph.graph.nodes if node.op == "output").args[0]
        shown = [node.meta["example_value"] for node in outputs]
        # Nothing can run here: zeros in the place of the results.
        return lambda *_: [
            torch.empty_strided(x.shape, x.stride(), dtype=x.dtype).zero_() for x in shown
        ]

    # Without a GPU torch would look into the kernels as if they were Python.
    torch.utils._triton.has_triton = lambda: True
    sizes = VaeSizes(4, 4, 16, (1, 2, 4, 4), 1, (False, True, True))
    body = WanDecoder.random(sizes, "cpu", torch.float32)._weights.decoder.body
    run = torch.compile(body, backend=backend, fullgraph=True, dynamic=False)
    state: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        for index, frames in enumerate((1, 3, 3, 3)):
            x = torch.randn(1, 16, frames, 2, 2).contiguous(memory_format=torch.channels_last_3d)
            video, state = run(video_fused, x, state, index == 0)
            assert video.shape == (1, 3, 4 * frames if index else 1, 16, 16)
    nodes = [str(node.target) for graph in graphs for node in graph.graph.nodes]
    return {"graphs": len(graphs), "kernels": sum("triton_kernel" in node for node in nodes)}


if __name__ == "__main__":
    made = [compiled(*case) for case in CASES]
    json.dump({"kernels": made, "decoder": traced()}, sys.stdout)
