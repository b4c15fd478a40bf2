"""Blocks run by torch's compiler: the same numbers, and few graphs for many blocks."""

from pathlib import Path

import pytest
import torch

from liveact_cli.engine.verify import CheckpointSubject, verify_file
from liveact_cli.runtime.compiled import CompiledBlock, compile_blocks
from liveact_cli.runtime.fp8 import plan_fp8, quantise
from liveact_cli.runtime.fp8_memory import FP8Storage

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.mark.parametrize("fp8", [False, True], ids=["exact", "fp8"])
def test_compiled_blocks_give_the_same_from_few_graphs(fp8: bool) -> None:
    """The graphs are traced and run as they are: generating code from them is the compiler's."""
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    def subject():
        made = CheckpointSubject(GOLDEN / "tiny-liveact")
        if fp8:
            quantise(made.transformer, plan_fp8(made.transformer.config, edge_blocks=0))
            made.transformer.set_storage(FP8Storage())
        return made

    path = GOLDEN / "golden_rollout.safetensors"
    torch.compiler.reset()
    compiled = subject()
    compile_blocks(compiled.transformer, count)
    assert isinstance(compiled.transformer.blocks[0].forward, CompiledBlock)
    ours, plain = verify_file(compiled, path), verify_file(subject(), path)
    assert ours.max_rel_error == pytest.approx(plain.max_rel_error, rel=1e-3, abs=1e-6)
    # Before and after the attention, two sizes of a chunk, with and without sound; both blocks.
    assert 4 <= len(graphs) <= 12
    torch.compiler.reset()
