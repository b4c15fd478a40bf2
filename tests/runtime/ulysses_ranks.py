"""The ranks of the tests of Ulysses; started by test_ulysses.py, results go to JSON files.

Arguments: folder, ranks. All processes make one group; the first two make another one. They are
forked from this one, which has loaded torch: that is the slow part.
"""

import json
import multiprocessing
import sys
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from liveact_cli.core.errors import UsageError
from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.engine.verify import CheckpointSubject, verify_file
from liveact_cli.model.config import TransformerConfig
from liveact_cli.model.memory import Storage
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime.fp8 import plan_fp8, quantise
from liveact_cli.runtime.fp8_memory import FP8Storage
from liveact_cli.runtime.fuse import FusedBlock, fuse
from liveact_cli.runtime.kernels import eager
from liveact_cli.runtime.ulysses import Team, parallelize
from liveact_cli.wan.frames import WanFrameDecoder
from liveact_cli.wan.keymaps import VaeSizes
from liveact_cli.wan.shared_frames import PictureShare
from liveact_cli.wan.vae_decoder import WanDecoder

GOLDEN = Path(__file__).parents[1] / "golden"
TOY = TransformerConfig(
    dim=32, ffn_dim=48, heads=4, layers=2, in_dim=20, out_dim=16, image_dim=18, text_dim=6,
    text_len=4, freq_dim=16, audio_layers=1, audio_channels=10, audio_hidden=12, audio_dim=14,
    audio_tokens=3,
)  # fmt: skip
UNEVEN = (6, 10)
"""A latent size of 15 tokens: neither 2 nor 4 ranks share them evenly."""


def toy() -> LiveActTransformer:
    torch.manual_seed(0)
    model = LiveActTransformer(TOY)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval().requires_grad_(False)


def fp8_roll_out() -> list[torch.Tensor]:
    model = toy()
    model.set_storage(FP8Storage())
    return roll_out(model)


def roll_out(model: LiveActTransformer) -> list[torch.Tensor]:
    """Decode four chunks, the last two after a reload of the memory; return all results."""
    policy, random = MemoryPolicy(), torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random)

    context = model.encode_context(draw(1, 3, TOY.text_dim), draw(1, 7, TOY.image_dim))
    memory, results = model.new_memory(policy, UNEVEN, [0], "separate"), []
    for chunk in range(4):
        if chunk == 2:
            state = memory.state()
            memory = model.new_memory(policy, UNEVEN, [0], "separate")
            memory.load_state(state)
        frames = policy.chunk_size(chunk)
        listening = frames - (chunk == 0)  # the still first frame hears nothing
        rows = draw(1, 4 * listening + 4, TOY.audio_layers, TOY.audio_channels)
        x, y = draw(1, TOY.out_dim, frames, *UNEVEN), draw(1, TOY.y_dim, frames, *UNEVEN)
        audio = model.encode_audio(rows) if chunk != 1 else None
        results.append(model(x, 900.0, context, audio, memory.bank(0), y))
    return [*results, *memory.state().values()]


def shared_roll_out(
    group: dist.ProcessGroup,
    *,
    fused: bool = False,
    rounded: bool = False,
    overlap: bool = True,
    storage: Storage | None = None,
) -> list[torch.Tensor]:
    model = toy()
    model.set_storage(storage or Storage())
    if rounded:
        quantise(model, plan_fp8(model.config, edge_blocks=0))
    if fused:
        fuse(model, eager)
    team = parallelize(model, group, overlap=overlap)
    assert team.overlap == overlap
    assert isinstance(model.blocks[0].forward, FusedBlock) == fused
    return roll_out(model)


def bits_that_overlap_changes(group: dist.ProcessGroup, **how: bool) -> float:
    """Return the largest difference between exchanging part by part and at once."""
    ways = [shared_roll_out(group, overlap=overlap, **how) for overlap in (True, False)]
    return max(float((a - b).abs().max()) for a, b in zip(*ways, strict=True))


def largest_difference(
    group: dist.ProcessGroup,
    expected: list[torch.Tensor],
    *,
    storage: Storage | None = None,
    **how: bool,
) -> float:
    ours = shared_roll_out(group, storage=storage, **how)
    return max(
        float((a.float() - b.float()).abs().max())
        for a, b in zip(ours, expected, strict=True)
        if storage is None or a.dtype != torch.float8_e4m3fn
    )


SMALL_VAE = VaeSizes(4, 4, 16, (1, 2, 4, 4), 1, (False, True, True))


@torch.inference_mode()
def drawn_together(group: dist.ProcessGroup) -> float:
    """Return by how much pictures differ that the ranks draw together, and that one draws.

    Seven rows of latents are shared unevenly. The stream is cut, goes on from a state that one
    process alone has taken, and then from one that the ranks have.
    """
    torch.manual_seed(3)
    decoder = WanDecoder.random(SMALL_VAE, "cpu", torch.float32)
    parts = torch.randn(16, 7, 7, 3).split([2, 2, 3], 1)
    alone, team = WanFrameDecoder(decoder), Team(group)
    together, states = PictureShare(decoder, team, 2), []
    wanted, found = [], []
    for part in parts:
        states.append(alone.state())
        wanted.append(alone.video(part))
    for part, start in zip(parts, [{}, states[1], None], strict=True):
        together.begin(together.state() if start is None else start)
        found.append(together.video(part))
    whole = torch.cat(wanted, 1)
    assert {name: x.shape for name, x in together.state().items()} == {
        name: x.shape for name, x in alone.state().items()
    }
    if team.rank:  # its own rows only
        return 0.0 if found[0].shape[2] < whole.shape[2] else float("inf")
    return float((torch.cat(found, 1) - whole).abs().max() / whole.abs().max())


def refusal(group: dist.ProcessGroup) -> str:
    try:
        parallelize(LiveActTransformer(replace(TOY, dim=36, heads=6)), group)
    except UsageError as error:
        return f"{error.message}; {error.hint}"
    return ""


def work(folder: Path, rank: int, ranks: int) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), ranks)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks)
    everybody, pair = dist.group.WORLD, dist.new_group([0, 1])
    expected = roll_out(toy())
    found = {
        str(ranks): largest_difference(everybody, expected),
        "scale": min(float(x.abs().max()) for x in expected),
        "refusal": refusal(everybody),
        f"{ranks} draw": drawn_together(everybody),
    }
    if rank < 2:
        found["2"] = largest_difference(pair, expected)
        found["2 fused"] = largest_difference(pair, expected, fused=True)
        found["2 draw"] = drawn_together(pair)
        found["2 at once"] = largest_difference(pair, expected, overlap=False)
        for name in ("plain", "fused", "rounded"):
            how = {} if name == "plain" else {name: True}
            found[f"overlap {name}"] = bits_that_overlap_changes(pair, **how)
        rounded = FP8Storage()
        found["2 fp8"] = largest_difference(pair, fp8_roll_out(), storage=rounded)
        subject = CheckpointSubject(GOLDEN / "tiny-liveact")
        parallelize(subject.transformer, pair)
        for path in sorted(GOLDEN.glob("golden_rollout*.safetensors")):
            found[path.stem] = verify_file(subject, path).max_rel_error
    (folder / f"rank{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    dist.destroy_process_group()


def main(folder: Path, ranks: int) -> int:
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=work, args=(folder, rank, ranks)) for rank in range(ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return max(abs(process.exitcode) for process in processes)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
