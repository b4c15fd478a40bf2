"""Attention in e4m3: the numerics, computed in float32, and cuDNN's kernel that has them.

One scale each for q, k and v. The mean of the keys is taken off first: it adds the same number to
every score of a query, which the softmax does not see, and the rest rounds better. The softmax's
weights lie in [0, 1] and are rounded at a fixed scale.

Shapes: B batch, T tokens, N heads, H head dim.
"""

import math
from functools import lru_cache
from typing import Any, Final

import torch
from torch import Tensor

from liveact_cli.runtime.fp8_numbers import E4M3, E4M3_MAX, Quantised, quantise_tensor

_ROWS: Final = 256
"""Queries whose scores are in memory at once in the emulation."""


def without_mean(k_BTNH: Tensor) -> Tensor:
    """Take the mean over the tokens off the keys; the result of attention stays the same."""
    k = k_BTNH.float()
    return k - k.mean(1, keepdim=True)


def emulated(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend as the FP8 kernel does, in float32 arithmetic on e4m3 values (a `Kernel`)."""
    q8, k8, v8 = (
        x.dequantised().transpose(1, 2) for x in map(quantise_tensor, (q, without_mean(k), v))
    )
    parts = []
    for rows in torch.split(q8, _ROWS, 2):
        scores = rows @ k8.transpose(2, 3) / math.sqrt(q.shape[-1])
        weights = (scores - scores.amax(-1, keepdim=True)).exp()
        # The sum is taken of the exact weights; what multiplies v is rounded.
        rounded = (weights * E4M3_MAX).to(E4M3).float() / E4M3_MAX
        parts.append(rounded @ v8 / weights.sum(-1, keepdim=True))
    return torch.cat(parts, 2).transpose(1, 2).to(q.dtype)


def cudnn_fp8(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend with cuDNN's FP8 kernel through its Python front end (a `Kernel`, CUDA only)."""
    q8, k8, v8 = (quantise_tensor(x) for x in (q, without_mean(k), v))
    plan = _plan(tuple(q.shape), tuple(k.shape), q.device.index or 0)
    return plan.run(q8, k8, v8).to(q.dtype)


class _Plan:
    """One built cuDNN graph for one pair of shapes, with the buffers that it works in."""

    def __init__(self, q: tuple[int, ...], k: tuple[int, ...], device: torch.device) -> None:
        import cudnn

        self._cudnn = cudnn
        self._handle = cudnn.create_handle()
        graph = cudnn.pygraph(
            io_data_type=cudnn.data_type.FP8_E4M3,
            intermediate_data_type=cudnn.data_type.FLOAT,
            compute_data_type=cudnn.data_type.FLOAT,
            handle=self._handle,
        )
        fp8, wide = cudnn.data_type.FP8_E4M3, cudnn.data_type.FLOAT

        def tensor(shape: tuple[int, ...]) -> Any:
            batch, tokens, heads, width = shape
            strides = (tokens * heads * width, width, heads * width, 1)
            return graph.tensor(
                dim=(batch, heads, tokens, width), stride=strides, data_type=fp8
            )  # memory stays token by token: only the order of the axes is another

        self._inputs = [tensor(q), tensor(k), tensor(k)]
        self._scales = [
            graph.tensor(dim=(1, 1, 1, 1), stride=(1, 1, 1, 1), data_type=wide) for _ in range(6)
        ]
        names = ("descale_q", "descale_k", "descale_v", "descale_s", "scale_s", "scale_o")
        out, _, amax_s, amax_o = graph.sdpa_fp8(
            **dict(zip(("q", "k", "v"), self._inputs, strict=True)),
            **dict(zip(names, self._scales, strict=True)),
            attn_scale=1 / math.sqrt(q[-1]),
            generate_stats=False,
            use_causal_mask=False,
        )
        batch, tokens, heads, width = q
        strides = (tokens * heads * width, width, heads * width, 1)
        out.set_output(True).set_dim((batch, heads, tokens, width)).set_stride(strides)
        out.set_data_type(cudnn.data_type.BFLOAT16)
        for amax in (amax_s, amax_o):
            amax.set_output(True).set_dim((1, 1, 1, 1)).set_stride((1, 1, 1, 1))
            amax.set_data_type(wide)
        self._outputs = (out, amax_s, amax_o)
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([cudnn.heur_mode.A])
        graph.check_support()
        graph.build_plans()
        self._graph, self._shape = graph, q
        self._work = torch.empty(graph.get_workspace_size(), device=device, dtype=torch.uint8)
        self._amax = torch.zeros(2, 1, 1, 1, 1, device=device)
        self._softmax = torch.tensor([1 / E4M3_MAX, E4M3_MAX, 1.0], device=device)

    def run(self, q: Quantised, k: Quantised, v: Quantised) -> Tensor:
        """Return bfloat16 `[B, T, N, H]`."""
        device = q.values.device
        self._cudnn.set_stream(
            handle=self._handle, stream=torch.cuda.current_stream(device).cuda_stream
        )
        out = torch.empty(self._shape, device=device, dtype=torch.bfloat16)
        scales = (q.scale, k.scale, v.scale, *(s.view(1, 1, 1, 1) for s in self._softmax))
        values = dict(zip(self._inputs, (q.values, k.values, v.values), strict=True))
        values |= dict(zip(self._scales, scales, strict=True))
        values |= dict(zip(self._outputs, (out.transpose(1, 2), *self._amax), strict=True))
        self._graph.execute(values, self._work, handle=self._handle)
        return out


@lru_cache(maxsize=16)
def _plan(q: tuple[int, ...], k: tuple[int, ...], device: int) -> _Plan:
    return _Plan(q, k, torch.device("cuda", device))
