"""Compile the blocks of a finished transformer with torch's own compiler, block by block.

All blocks share their graphs: weights are inputs of a graph, so 40 blocks cost as much compiling
as one, once for each shape (two sizes of a chunk, with and without sound). What joins keys and
values to the past stays outside: it changes the memory, and it may talk to other processes.
"""

from typing import Any, Final

import torch
from torch import Tensor

from liveact_cli.model.attention import Attend
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.fallbacks import fall_back

BACKEND: Final = "inductor"


def compiler_works(device: torch.device, backend: Any = BACKEND) -> bool:
    """Whether torch's compiler makes something that runs here; it needs other programs for that."""
    try:
        made = torch.compile(_twice, backend=backend, dynamic=False)
        works = bool((made(torch.ones(8, device=device)) == 2).all())
        if not works:
            raise RuntimeError("what it makes gives wrong numbers")
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001  (compilers have many kinds of errors)
        fall_back("torch's compiler", "the layers as they are written", error)
        return False
    return True


def _twice(x: Tensor) -> Tensor:
    return x + x


class _Opaque:
    """An `Attend` that the compiler calls and does not look into.

    It joins the past once: asked again it gives what it gave.
    """

    def __init__(self, attend: Attend) -> None:
        self._attend = attend
        self._given: Tensor | None = None
        self.error: BaseException | None = None

    @torch.compiler.disable
    def __call__(self, *tensors: Tensor) -> Tensor:
        if self._given is None:
            try:
                self._given = self._attend(*tensors)
            except BaseException as error:
                self.error = error
                raise
        return self._given


class _Compiler:
    """Compiles blocks until that fails once."""

    def __init__(self, backend: Any) -> None:
        self.backend, self.failed = backend, False


class CompiledBlock:
    """`Block.forward`, compiled for static shapes; as it is written where that fails."""

    def __init__(self, forward: Any, compiler: _Compiler) -> None:
        self._forward, self._compiler = forward, compiler
        # torch leaves what it returns without types.
        self._run: Any = torch.compile(forward, backend=compiler.backend, dynamic=False)

    def __call__(self, x: Tensor, time: Tensor, attend: Attend, *more: Any) -> Tensor:
        """Run the block; see `Block.forward`."""
        once = _Opaque(attend)
        if not self._compiler.failed:
            try:
                out: Tensor = self._run(x, time, once, *more)
                return out
            except (torch.OutOfMemoryError, MemoryError):
                raise
            except Exception as error:
                if once.error is not None:  # it has nothing to do with compiling
                    raise
                fall_back("compiled blocks", "the blocks as they are written", error)
                self._compiler.failed = True
        out = self._forward(x, time, once, *more)
        return out


def compile_blocks(transformer: LiveActTransformer, backend: Any = BACKEND) -> None:
    """Run the blocks compiled; parameters and names stay."""
    compiler = _Compiler(backend)
    for block in transformer.blocks:
        # An instance's own `forward` is what a module's call runs.
        object.__setattr__(block, "forward", CompiledBlock(block.forward, compiler))
