"""Weights and memory in host memory change no bit; what is on the device is two layers."""

from pathlib import Path

import pytest
import torch

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.engine.verify import CheckpointSubject, read_golden, verify_file
from liveact_cli.model.config import TransformerConfig
from liveact_cli.model.memory import Storage
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime import offload
from liveact_cli.runtime.fp8 import plan_fp8, quantise
from liveact_cli.runtime.fp8_memory import FP8Storage
from liveact_cli.runtime.fuse import fuse
from liveact_cli.runtime.kernels import eager
from liveact_cli.runtime.loader import load_transformer
from liveact_cli.runtime.offload import HostStorage, Lane, OffloadedBlocks

GOLDEN = Path(__file__).parent.parent / "golden"
TINY = GOLDEN / "tiny-liveact"
CPU = torch.device("cpu")
ROLLOUT = GOLDEN / "golden_rollout.safetensors"
GUIDED = GOLDEN / "golden_rollout_audio_cfg.safetensors"


def transformer_of(kind: str) -> LiveActTransformer:
    made = load_transformer(TINY)
    if "fp8" in kind:
        quantise(made, plan_fp8(made.config, edge_blocks=0))
        made.set_storage(FP8Storage())
    if "fused" in kind:
        fuse(made, eager)
    return made


def results(transformer: LiveActTransformer, path: Path) -> list[torch.Tensor]:
    """All that a roll-out gives: velocities, latents, and the whole memory in the end."""
    subject = CheckpointSubject(TINY)
    subject.transformer = transformer
    verified: list[torch.Tensor] = []
    golden = read_golden(path)
    from liveact_cli.engine.verify import _rollout_inputs

    for step in subject.roll_out(golden, _rollout_inputs(golden)):
        verified += step.values()
    return verified


@pytest.mark.parametrize("kind", ["plain", "fp8 fused"])
@pytest.mark.parametrize("offload", ["blocks", "cache", "all"])
def test_offloading_changes_no_bit(kind: str, offload: str) -> None:
    path = GUIDED if kind == "plain" else ROLLOUT
    wanted = results(transformer_of(kind), path)
    transformer = transformer_of(kind)
    if offload != "blocks":
        transformer.set_storage(HostStorage(transformer.storage))
    if offload != "cache":
        blocks = OffloadedBlocks(transformer, CPU)
        assert blocks.device_bytes == blocks.host_bytes, "the toy has two blocks, and two places"
    found = results(transformer, path)
    assert len(found) == len(wanted) > 20
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a, b)


TOY = TransformerConfig(
    dim=32, ffn_dim=48, heads=4, layers=5, in_dim=20, out_dim=16, image_dim=18, text_dim=6,
    text_len=4, freq_dim=16, audio_layers=1, audio_channels=10, audio_hidden=12, audio_dim=14,
    audio_tokens=3,
)  # fmt: skip


@torch.inference_mode()
def roll_out(model: LiveActTransformer) -> list[torch.Tensor]:
    """Three chunks at two steps, another prompt for the last; all velocities, and the memory."""
    policy, random = MemoryPolicy(), torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random)

    memory, found = model.new_memory(policy, (4, 6), [0, 1]), []
    for chunk in range(3):
        if chunk != 1:
            context = model.encode_context(draw(1, 3, TOY.text_dim), draw(1, 7, TOY.image_dim))
        frames = policy.chunk_size(chunk)
        audio = model.encode_audio(draw(1, 4 * (frames - (chunk == 0)) + 4, 1, 10))
        for step in (0, 1):
            x, y = draw(1, 16, frames, 4, 6), draw(1, 4, frames, 4, 6)
            heard = audio if step else None
            found.append(model(x, 900.0, context, heard, memory.bank(step), y))
    return [*found, *memory.state().values()]


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_five_blocks_take_turns_in_two_places(fused: bool) -> None:
    torch.manual_seed(0)
    model = LiveActTransformer(TOY).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    wanted = roll_out(model)
    if fused:
        fuse(model, eager)
    blocks = OffloadedBlocks(model, CPU)
    model.set_storage(HostStorage())
    found = roll_out(model)
    exact = not fused  # another way of computing adds in another order
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a, b) if exact else torch.allclose(a, b, atol=1e-4)
    assert 5 * blocks.steps.device_bytes == 2 * blocks.steps.host_bytes
    assert blocks.steps.device_bytes > 90_000


def test_the_first_block_is_fetched_while_the_last_one_computes(monkeypatch) -> None:
    """As events in the order in which they are given to the device, over two steps."""
    model = LiveActTransformer(TOY).eval().requires_grad_(False)
    events: list[str] = []
    bytes_of_a_block = []

    class Recording(Lane):
        def copy(self, target: torch.Tensor, source: torch.Tensor) -> None:
            super().copy(target, source)
            if source.numel() == bytes_of_a_block[0]:
                events.append(f"fetch {homes.index(source.data_ptr())}")

    monkeypatch.setattr(offload, "Lane", Recording)
    blocks = OffloadedBlocks(model, CPU)
    homes = [home.data_ptr() for home in blocks.steps._homes]
    bytes_of_a_block.append(blocks.steps._homes[0].numel())
    for index, block in enumerate(model.blocks):
        block.register_forward_hook(lambda *_, index=index: events.append(f"computed {index}"))
    with torch.inference_mode():
        context = model.encode_context(torch.zeros(1, 3, 6), torch.zeros(1, 7, 18))
        memory, x = model.new_memory(MemoryPolicy(), (4, 6), [0, 1]), torch.zeros(1, 16, 6, 4, 6)
        for step in (0, 1):
            model(x, 900.0, context, None, memory.bank(step), torch.zeros(1, 4, 6, 4, 6))
    step = ["fetch 1", "computed 0", "fetch 2", "computed 1", "fetch 3", "computed 2", "fetch 4"]
    step += ["computed 3", "fetch 0", "computed 4"]
    assert events == ["fetch 0", *step, *step]


def test_weights_come_home_and_can_be_changed() -> None:
    transformer, exact = transformer_of("plain"), transformer_of("plain")
    blocks = OffloadedBlocks(transformer, CPU)
    verify_file(subject_of(transformer), ROLLOUT)
    blocks.undo()
    for name, parameter in exact.named_parameters():
        assert torch.equal(transformer.get_parameter(name), parameter), name
    transformer.get_parameter("blocks.1.ffn.0.weight").zero_()
    again = OffloadedBlocks(transformer, CPU)
    assert verify_file(subject_of(transformer), ROLLOUT).max_rel_error > 1e-3
    assert again.host_bytes == blocks.host_bytes


@pytest.mark.parametrize("inner", [Storage(), FP8Storage()], ids=["exact", "fp8"])
def test_a_state_of_an_offloaded_memory_is_that_of_another(inner: Storage) -> None:
    def memory(storage: Storage):
        transformer = load_transformer(TINY)
        transformer.set_storage(storage)
        return transformer.new_memory(MemoryPolicy(), (4, 6), [0, 1])

    g = torch.Generator().manual_seed(0)
    one, other = memory(inner), memory(HostStorage(inner))
    for chunk in range(4):
        for step in (0, 1):
            for layer in (0, 1):
                tokens = MemoryPolicy().chunk_size(chunk) * 6
                shape = (2, 1, tokens, *one.bank(0).layer(0).k.shape[2:])
                k, v = torch.randn(shape, generator=g)
                wanted = one.bank(step).layer(layer).append(k, v)
                found = other.bank(step).layer(layer).append(k, v)
                assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))
        if chunk == 2:
            state = other.state()
            other = memory(HostStorage(inner))
            other.load_state(state)
    assert one.nbytes == other.nbytes
    ours, theirs = one.state(), other.state()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value.float(), theirs[name].float()) for name, value in ours.items())


def subject_of(transformer: LiveActTransformer) -> CheckpointSubject:
    subject = CheckpointSubject(TINY)
    subject.transformer = transformer
    return subject
