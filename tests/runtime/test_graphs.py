"""CUDA graphs: what is recorded, where inputs lie, and that replaying computes the same.

Capturing needs CUDA; in its place stands a graph that runs what it was given when it is replayed.
"""

from collections.abc import Callable, Iterator

import pytest
import torch

from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.model.config import TransformerConfig
from liveact_cli.model.memory import Storage
from liveact_cli.model.transformer import LiveActTransformer
from liveact_cli.runtime import build, fallbacks
from liveact_cli.runtime.build import Options, without_graphs
from liveact_cli.runtime.fp8_memory import FP8Storage
from liveact_cli.runtime.graphs import GraphedForward, graphs_of, use_graphs
from liveact_cli.runtime.offload import HostStorage

TOY = TransformerConfig(
    dim=32, ffn_dim=48, heads=4, layers=2, in_dim=20, out_dim=16, image_dim=18, text_dim=6,
    text_len=4, freq_dim=16, audio_layers=1, audio_channels=10, audio_hidden=12, audio_dim=14,
    audio_tokens=3,
)  # fmt: skip
CHUNKS = 6


class Recorded:
    """A `Graph` without CUDA."""

    made = 0

    def __init__(self, device: torch.device) -> None:
        Recorded.made += 1

    def capture(self, run: Callable[[], torch.Tensor]) -> torch.Tensor:
        self._run = run
        self._result = torch.full((1, 16, 8, 4, 6), float("nan"))
        return self._result

    def replay(self) -> None:
        self._result.copy_(self._run())


class Refused(Recorded):
    def capture(self, run: Callable[[], torch.Tensor]) -> torch.Tensor:
        raise RuntimeError("operation not permitted when stream is capturing")


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    Recorded.made = 0
    fallbacks.forget()
    yield
    fallbacks.forget()


def toy() -> LiveActTransformer:
    torch.manual_seed(0)
    model = LiveActTransformer(TOY).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@torch.inference_mode()
def roll_out(model: LiveActTransformer) -> list[torch.Tensor]:
    """Six chunks at two steps, another prompt for the last two; all velocities and the memory."""
    policy, random = MemoryPolicy(), torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random)

    memory, found = model.new_memory(policy, (4, 6), [0, 1]), []
    for chunk in range(CHUNKS):
        if chunk in (0, 4):
            context = model.encode_context(draw(1, 3, TOY.text_dim), draw(1, 7, TOY.image_dim))
        frames = policy.chunk_size(chunk)
        audio = model.encode_audio(draw(1, 4 * (frames - (chunk == 0)) + 4, 1, 10))
        y = draw(1, 4, frames, 4, 6)
        for step, time in ((0, 1000.0), (1, 900.0)):
            x = draw(1, 16, frames, 4, 6)
            found.append(model(x, time, context, audio if step else None, memory.bank(step), y))
    return [*found, *memory.state().values()]


@pytest.mark.parametrize("storage", [Storage, FP8Storage])
def test_replaying_computes_the_same(storage: type[Storage]) -> None:
    plain, graphed = toy(), toy()
    for model in (plain, graphed):
        model.set_storage(storage())
    use_graphs(graphed, Recorded)
    wanted, found = roll_out(plain), roll_out(graphed)
    assert len(found) == len(wanted) > 2 * CHUNKS
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a.float(), b.float())
    graphs = graphs_of(graphed)
    assert graphs is not None
    # Chunks 0 and 1 fill the window, chunk 2 is the first on a full one: the others are replayed.
    assert Recorded.made == 2
    assert graphs.replays == 2 * (CHUNKS - 3)


def test_inputs_are_copied_once_and_share_their_places() -> None:
    model = toy()
    use_graphs(model, Recorded)
    copied: list[tuple[int, ...]] = []
    graphs = graphs_of(model)
    assert graphs is not None
    roll_out(model)
    for key, place in graphs._places.items():
        put = place.tensor.copy_
        place.tensor.copy_ = lambda value, put=put, key=key: copied.append(key[1]) or put(value)
    roll_out(model)
    keys_of_text = [shape for shape in copied if shape[1:] == (4, 4, 8)]
    layers, keys_and_values, prompts = TOY.layers, 2, 2
    assert len(keys_of_text) == layers * keys_and_values * prompts, "once a prompt, not a step"


def test_another_memory_or_kernel_is_recorded_anew() -> None:
    model = toy()
    use_graphs(model, Recorded)
    graphs = graphs_of(model)
    assert graphs is not None
    roll_out(model)
    with graphs.paused():
        before = graphs.replays
        roll_out(model)
    assert (graphs.replays, Recorded.made) == (before, 2)
    roll_out(model)
    assert Recorded.made == 4, "every memory has its own"
    graphs.forget()
    assert len(graphs._graphs) == 0


def test_where_recording_fails_calls_are_made_as_before_and_it_is_told() -> None:
    plain, graphed = toy(), toy()
    use_graphs(graphed, Refused)
    for a, b in zip(roll_out(graphed), roll_out(plain), strict=True):
        assert torch.equal(a, b)
    assert Recorded.made == 1, "it is not tried again"
    (told,) = fallbacks.taken()
    assert told.startswith("CUDA graphs cannot run here, kernel after kernel instead")


def test_a_memory_that_moves_is_never_recorded() -> None:
    model = toy()
    model.set_storage(HostStorage())
    use_graphs(model, Recorded)
    roll_out(model)
    assert Recorded.made == 0


def test_graphs_are_for_one_gpu_that_keeps_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "use_graphs", lambda transformer: chosen.append(transformer))
    chosen: list[LiveActTransformer] = []
    cuda, model = torch.device("cuda"), toy()
    wanted = Options(torch.float32, graphs="on")
    assert build._use_graphs(model, wanted, cuda)
    assert chosen == [model]
    assert not build._use_graphs(model, Options(torch.float32), cuda), "auto is off until measured"
    assert fallbacks.taken() == []
    assert not build._use_graphs(model, Options(torch.float32, offload="all", graphs="on"), cuda)
    assert "--offload all moves things" in fallbacks.taken()[0]
    assert without_graphs(wanted).graphs == "off"


def test_a_graphed_forward_is_only_a_forward() -> None:
    model = toy()
    names = [name for name, _ in model.named_parameters()]
    use_graphs(model, Recorded)
    assert isinstance(model.forward, GraphedForward)
    assert [name for name, _ in model.named_parameters()] == names
