"""What a device gives at the model's own shapes: matrix products, attention, convolutions, norms.

Each is a Rate: how fast, by which formula of work. These are what a stage's time is compared with.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.diagnose.probe import median_seconds
from liveact_cli.model.attention import Kernel, sdpa
from liveact_cli.model.config import TransformerConfig
from liveact_cli.runtime.attention import cudnn_first, flash_interface
from liveact_cli.runtime.attention_fp8 import cudnn_fp8
from liveact_cli.runtime.fp8_numbers import Quantised, quantise_rows, quantise_tensor, scaled_matmul
from liveact_cli.runtime.kernels import Kernels
from liveact_cli.runtime.kernels.video import VideoKernels
from liveact_cli.wan.keymaps import VaeSizes

PEAK_SIDE: Final = 8192
"""Side of the square matrices whose product gives the peak, as in published figures."""

Make = Callable[..., Tensor]


@dataclass(frozen=True)
class Rate:
    """One measurement: TFLOP/s of a product, GB/s of a pass over memory."""

    name: str
    shape: str
    milliseconds: float
    value: float
    unit: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "name": self.name,
            "shape": self.shape,
            "ms": round(self.milliseconds, 4),
            self.unit: round(self.value, 2),
        }


@dataclass(frozen=True)
class Shapes:
    """The sizes that the shapes follow from."""

    config: TransformerConfig
    policy: MemoryPolicy
    tokens_per_frame: int

    @property
    def rows(self) -> int:
        """Tokens of a chunk."""
        return self.policy.chunk * self.tokens_per_frame

    @property
    def window(self) -> int:
        """Tokens that a chunk attends to."""
        return self.policy.window * self.tokens_per_frame

    def products(self) -> dict[str, tuple[int, int]]:
        """Return K and N of the products that every step runs over all tokens."""
        d, hidden = self.config.dim, self.config.ffn_dim
        return {"qkv": (d, 3 * d), "o": (d, d), "ffn in": (d, hidden), "ffn out": (hidden, d)}


def peak(device: torch.device, dtype: torch.dtype, side: int = PEAK_SIDE) -> Rate:
    """Measure the product of two square matrices of Gaussian numbers: the peak to compare with."""
    return product("peak", side, side, side, device, dtype)


def product(name: str, m: int, k: int, n: int, device: torch.device, dtype: torch.dtype) -> Rate:
    """Measure `[M, K] @ [N, K].T` in a precision; e4m3 by rows as the model runs it."""
    eight = dtype == torch.float8_e4m3fn
    wide = torch.bfloat16 if eight else dtype
    a, b = (torch.randn(rows, k, device=device, dtype=wide) for rows in (m, n))
    run: Callable[[], Tensor]
    if eight:
        run = partial(scaled_matmul, quantise_rows(a), quantise_rows(b), None, wide)
    else:
        run = partial(F.linear, a, b)
    seconds = median_seconds(run, device)
    label = f"{name} {_short(dtype)}"
    return Rate(label, f"{m}x{k}x{n}", 1e3 * seconds, 2 * m * k * n / seconds / 1e12, "tflops")


def products(shapes: Shapes, device: torch.device, dtype: torch.dtype) -> Iterator[Rate]:
    """Measure all products of a block."""
    for name, (k, n) in shapes.products().items():
        yield product(name, shapes.rows, k, n, device, dtype)


def fp8_tensor_wise(shapes: Shapes, device: torch.device) -> Iterator[Rate]:
    """Measure the same with one scale for a whole tensor, which some libraries do faster."""
    for name, (k, n) in shapes.products().items():
        m = shapes.rows
        a, b = (quantise_tensor(torch.randn(r, k, device=device)) for r in (m, n))
        one = Quantised(a.values, a.scale.reshape(1, 1)), Quantised(b.values, b.scale.reshape(1, 1))
        seconds = median_seconds(partial(scaled_matmul, *one, None, torch.bfloat16), device)
        rate = 2 * m * k * n / seconds / 1e12
        yield Rate(f"{name} e4m3 tensor", f"{m}x{k}x{n}", 1e3 * seconds, rate, "tflops")


def attention_kernels(device: torch.device) -> dict[str, Kernel]:
    """Return the attention kernels that can be tried on a device."""
    if device.type != "cuda":
        return {"sdpa": sdpa}
    kernels: dict[str, Kernel] = {"sdpa as torch chooses": sdpa, "cudnn": cudnn_first}
    if find_spec("flash_attn_interface") is not None:
        kernels["flash 3"] = flash_interface
    if find_spec("cudnn") is not None:
        kernels["cudnn e4m3"] = cudnn_fp8
    return kernels


def attention(
    name: str, kernel: Kernel, shapes: Shapes, device: torch.device, dtype: torch.dtype
) -> Rate:
    """Measure one kernel with a chunk's queries and a full window."""
    heads, width = shapes.config.heads, shapes.config.head_dim
    q, k, v = (
        torch.randn(1, tokens, heads, width, device=device, dtype=dtype)
        for tokens in (shapes.rows, shapes.window, shapes.window)
    )
    seconds = median_seconds(lambda: kernel(q, k, v), device)
    work = 4 * shapes.rows * shapes.window * heads * width
    shape = f"{shapes.rows} of {shapes.window}, {heads}x{width}"
    return Rate(f"attention {name}", shape, 1e3 * seconds, work / seconds / 1e12, "tflops")


def attention_error(
    kernel: Kernel, shapes: Shapes, device: torch.device, dtype: torch.dtype
) -> float:
    """Return a kernel's relative error against float64, on one head and few queries."""
    width = shapes.config.head_dim
    q, k, v = (
        torch.randn(1, tokens, shapes.config.heads, width, device=device, dtype=dtype)
        for tokens in (shapes.rows, shapes.window, shapes.window)
    )
    ours = kernel(q, k, v)[:, :64, :1].double()
    wanted = sdpa(q[:, :64, :1].double(), k[:, :, :1].double(), v[:, :, :1].double())
    return float((ours - wanted).norm() / wanted.norm())


def convolutions(
    sizes: VaeSizes, latent_size: tuple[int, int], device: torch.device, dtype: torch.dtype
) -> Iterator[Rate]:
    """Measure the decoder's 3x3x3 convolution at each of its scales, a chunk at a time."""
    height, width = latent_size
    frames, policy = MemoryPolicy().chunk, sizes.temporal[::-1]
    for level, factor in enumerate(reversed(sizes.multipliers)):
        channels = sizes.decoder_base * factor
        shape = (1, channels, frames + 2, height, width)
        x = torch.randn(shape, device=device, dtype=dtype)
        w = torch.randn(channels, channels, 3, 3, 3, device=device, dtype=dtype) / channels**0.5
        if device.type == "cuda":
            x = x.contiguous(memory_format=torch.channels_last_3d)
            w = w.contiguous(memory_format=torch.channels_last_3d)
        seconds = median_seconds(partial(F.conv3d, x, w, padding=(0, 1, 1)), device, 5, 2)
        work = 2 * 27 * channels**2 * frames * height * width
        label = f"{channels} channels, {frames}x{height}x{width}"
        yield Rate(f"conv3d {_short(dtype)}", label, 1e3 * seconds, work / seconds / 1e12, "tflops")
        if level < len(policy):
            frames *= 2 if policy[level] else 1
            height, width = 2 * height, 2 * width


def video_kernels(
    kernels: VideoKernels,
    sizes: VaeSizes,
    latent_size: tuple[int, int],
    device: torch.device,
    dtype: torch.dtype,
) -> Iterator[Rate]:
    """Measure what lies between two convolutions at the largest scale, half of a chunk's frames."""
    scale, channels = sizes.spatial_stride, sizes.decoder_base
    frames = max(1, MemoryPolicy().chunk * sizes.temporal_stride // 2)
    shape = (1, channels, frames, latent_size[0] * scale, latent_size[1] * scale)
    y = torch.randn(shape, device=device, dtype=dtype)
    y = y.contiguous(memory_format=torch.channels_last_3d)
    gamma = torch.ones(channels, device=device)
    past = y[:, :, :2].clone()
    seconds = median_seconds(
        lambda: kernels.prepare(y, gamma, y, gamma, past, 2, True), device, 5, 2
    )
    yield _pass(f"video norm {kernels.name}", shape, 4 * y.nbytes, seconds)


def norms(
    kernels: Kernels, shapes: Shapes, device: torch.device, dtype: torch.dtype
) -> Iterator[Rate]:
    """Measure the fused passes between two matrix products, and a plain copy beside them."""
    rows, d = shapes.rows, shapes.config.dim
    x = torch.randn(1, rows, d, device=device)
    y = torch.randn(1, rows, d, device=device, dtype=dtype)
    one = torch.ones(1, 1, d, device=device)
    seconds = median_seconds(lambda: x.clone(), device)
    yield _pass("copy", tuple(x.shape), 2 * x.nbytes, seconds)
    for out in (dtype, None):
        seconds = median_seconds(
            partial(kernels.residual_norm, x, y, one, one, one, 1e-6, out=out), device
        )
        written = rows * d * (1 if out is None else y.itemsize)
        name = f"residual norm {kernels.name} {'e4m3' if out is None else _short(out)}"
        yield _pass(name, tuple(x.shape), 2 * x.nbytes + y.nbytes + written, seconds)


def _pass(name: str, shape: tuple[int, ...], nbytes: int, seconds: float) -> Rate:
    label = "x".join(map(str, shape))
    return Rate(name, label, 1e3 * seconds, nbytes / seconds / 1e9, "gb_per_s")


def _short(dtype: torch.dtype) -> str:
    names = {torch.bfloat16: "bf16", torch.float8_e4m3fn: "e4m3", torch.float32: "float32"}
    return names.get(dtype, str(dtype).removeprefix("torch."))
