"""P ranks compute what one computes, in real processes on the CPU."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from liveact_cli.core.errors import UsageError
from liveact_cli.core.sharing import check_heads, shares
from liveact_cli.runtime.ulysses import attend_shared

RANKS = 4
SCRIPT = Path(__file__).with_name("ulysses_ranks.py")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each rank found."""
    folder = tmp_path_factory.mktemp("ranks")
    subprocess.run([sys.executable, SCRIPT, folder, str(RANKS)], check=True, timeout=120)
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(RANKS)]


@pytest.mark.multi
def test_several_ranks_equal_one_with_an_uneven_split(found) -> None:
    assert all(rank["scale"] > 0.1 for rank in found)
    assert max(rank["4"] for rank in found) <= 1e-5
    assert max(rank["2"] for rank in found[:2]) <= 1e-5
    assert max(rank["2 fused"] for rank in found[:2]) <= 1e-5
    # A sum in another order may put a number on the other side of a rounding edge.
    assert max(rank["2 fp8"] for rank in found[:2]) <= 1e-2


@pytest.mark.multi
def test_ranks_that_share_the_rows_of_a_picture_draw_what_one_draws(found) -> None:
    assert max(rank["4 draw"] for rank in found) <= 1e-5
    assert max(rank["2 draw"] for rank in found[:2]) <= 1e-5


@pytest.mark.multi
def test_exchanging_while_computing_changes_no_bit(found) -> None:
    assert max(rank["2 at once"] for rank in found[:2]) <= 1e-5
    for name in ("plain", "fused", "rounded"):
        assert [rank[f"overlap {name}"] for rank in found[:2]] == [0.0, 0.0], name


def test_v_travels_while_q_is_projected_and_q_while_k_is() -> None:
    events: list[str] = []

    @dataclass
    class Waiting:
        name: str

        def arrived(self) -> torch.Tensor:
            events.append(f"{self.name} has arrived")
            return torch.zeros(1)

    class Listening:
        def begin_to_heads(self, x: torch.Tensor, size: int) -> Waiting:
            name = "qkv"[int(x)]
            events.append(f"{name} is sent")
            return Waiting(name)

        def to_tokens(self, x: torch.Tensor, size: int) -> torch.Tensor:
            return x

    def made(name: str):
        def make() -> torch.Tensor:
            events.append(f"{name} is made")
            return torch.tensor("qkv".index(name))

        return make

    def attention(q: torch.Tensor, *_: torch.Tensor, **more: object) -> torch.Tensor:
        events.append("attention")
        return q

    memory = SimpleNamespace(tokens_per_frame=1)
    makers = [made(name) for name in "qkv"]
    attend_shared(
        *makers, team=Listening(), attend=attention, memory=memory, rope=None, kernel=None
    )
    made_and_sent = [f"{name} is {what}" for name in "vqk" for what in ("made", "sent")]
    arrived = [f"{name} has arrived" for name in "qkv"]
    assert events == [*made_and_sent, *arrived, "attention"]


@pytest.mark.multi
def test_two_ranks_reproduce_the_recorded_rollouts(found) -> None:
    for rank in found[:2]:
        errors = {name: error for name, error in rank.items() if name.startswith("golden_")}
        assert len(errors) == 3
        assert max(errors.values()) <= 1e-5, errors


@pytest.mark.multi
def test_heads_that_do_not_divide_are_refused_with_the_numbers(found) -> None:
    assert {rank["refusal"] for rank in found} == {
        "6 attention heads cannot be shared evenly by 4 GPUs; "
        "--gpus takes 1, 2, 3 or 6 for this model"
    }
    check_heads(40, 8)
    with pytest.raises(UsageError, match=r"40 attention heads .* by 3 GPUs") as refused:
        check_heads(40, 3)
    assert refused.value.hint == "--gpus takes 1, 2, 4, 5, 8 or 10 for this model"


def test_the_tokens_of_a_frame_are_shared_as_evenly_as_possible() -> None:
    assert shares(1170, 2) == [585, 585]
    assert shares(1170, 4) == [293, 293, 292, 292]
    assert sum(shares(1024, 7)) == 1024
