"""Blocks run by torch's compiler: the same numbers, and few graphs for many blocks."""

from pathlib import Path

import pytest
import torch

from liveact_cli.engine.verify import CheckpointSubject, verify_file
from liveact_cli.runtime import fallbacks
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


@pytest.mark.parametrize("working", [0, 1], ids=["at once", "behind the attention"])
def test_a_compiler_that_fails_changes_no_number(working: int) -> None:
    """Also where the attention has joined the past already, which it must not do twice."""
    graphs = []

    def fails(graph, inputs):
        graphs.append(graph)
        if len(graphs) > working:
            raise RuntimeError("out of registers")
        return graph.forward

    path = GOLDEN / "golden_rollout.safetensors"
    torch.compiler.reset()
    fallbacks.forget()
    compiled = CheckpointSubject(GOLDEN / "tiny-liveact")
    compile_blocks(compiled.transformer, fails)
    assert verify_file(compiled, path).max_rel_error <= 1e-5
    assert len(graphs) == working + 1
    (told,) = fallbacks.taken()
    assert "out of registers" in told
    torch.compiler.reset()
    fallbacks.forget()


def test_what_goes_wrong_in_the_attention_is_told_as_it_is() -> None:
    def lost(*_, **__):
        raise RuntimeError("the other process is gone")

    torch.compiler.reset()
    compiled = CheckpointSubject(GOLDEN / "tiny-liveact")
    compiled.transformer.attend = lost
    compile_blocks(compiled.transformer, "eager")
    with pytest.raises(RuntimeError, match="the other process is gone"):
        verify_file(compiled, GOLDEN / "golden_rollout.safetensors")
    torch.compiler.reset()
