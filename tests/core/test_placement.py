"""What is chosen for which machine, and what is said where nothing fits."""

from dataclasses import replace

import pytest

from liveact_cli.core.budget import (
    DRAWING,
    CodecSizes,
    Layout,
    drawing_sizes,
    host_budget,
    vae_bytes,
)
from liveact_cli.core.errors import DeviceError
from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.core.placement import (
    GIB,
    KNOWN_CARDS,
    Machine,
    Wishes,
    choose,
    layouts,
    needs_of,
)
from liveact_cli.core.units import Size
from liveact_cli.model.config import LIVEACT_18B

SIZE = Size(720, 416)
SIZES = LIVEACT_18B.decode_sizes(MemoryPolicy(), (SIZE.height // 8, SIZE.width // 8))
CODECS = CodecSizes(SIZE, 254_000_000, 11_400_000_000, 880_000_000)


def machine(*cards: int, host: int | None = 256, fp8: bool = True) -> Machine:
    return Machine(tuple(card * GIB for card in cards), None if host is None else host * GIB, fp8)


def chosen(there: Machine, **wishes: object) -> Layout:
    return choose(SIZES, CODECS, there, Wishes(**wishes)).layout


@pytest.mark.parametrize(
    ("cards", "wanted"),
    [
        ((141,), ("bf16", "bf16", "none", 1)),
        ((80,), ("bf16", "fp8", "none", 1)),
        ((48,), ("bf16", "bf16", "cache", 1)),
        ((32,), ("fp8", "bf16", "cache", 1)),
        ((24,), ("bf16", "bf16", "all", 1)),
        ((141, 141), ("bf16", "bf16", "none", 1)),
        ((80, 80), ("bf16", "bf16", "none", 2)),
        ((48, 48), ("fp8", "fp8", "none", 2)),
        ((32, 32), ("fp8", "bf16", "cache", 2)),
        ((24, 24), ("bf16", "fp8", "blocks", 2)),
    ],
    ids=str,
)
def test_the_least_offloading_then_the_least_rounding(cards, wanted) -> None:
    layout = chosen(machine(*cards))
    assert (layout.precision, layout.kv_precision, layout.offload, layout.gpus) == wanted


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("card", KNOWN_CARDS)
@pytest.mark.parametrize("host", [64, 128, 512])
def test_what_is_chosen_fits_and_nothing_better_does(card: int, count: int, host: int) -> None:
    there = machine(*[card] * count, host=host)
    choice = choose(SIZES, CODECS, there, Wishes())
    assert choice.needs.device.total <= card * GIB
    assert choice.needs.host.total <= host * GIB
    for layout in layouts(SIZES.heads, CODECS, there, Wishes()):
        if layout == choice.layout:
            break
        needs = needs_of(SIZES, CODECS, layout, Wishes())
        assert needs.device.total > card * GIB or needs.host.total > host * GIB, layout


def test_the_hosts_memory_counts() -> None:
    assert chosen(machine(24, host=128)).precision == "bf16"
    little = chosen(machine(24, host=64))
    assert (little.precision, little.kv_precision, little.offload) == ("fp8", "fp8", "all")
    with pytest.raises(DeviceError, match=r"on the host, where 34\.4 GB are free"):
        chosen(machine(24, host=32))
    assert chosen(machine(24, host=None)).precision == "bf16", "unknown is not little"
    saved, unsaved = (host_budget(SIZES, Layout(), saving=s).total for s in (True, False))
    assert (saved - unsaved) / 1e9 == pytest.approx(40.25 * 6 / 14, abs=0.1)


def test_every_process_has_its_own_copy_of_offloaded_weights() -> None:
    one, two = (host_budget(SIZES, Layout(offload="blocks", gpus=n)) for n in (1, 2))
    weights = {part.name: part.nbytes for part in (*one.parts, *two.parts)}
    assert weights["weights (2 copies, one a process)"] == 2 * weights["weights"] > 70e9
    with pytest.raises(DeviceError, match=r"weights \(2 copies, one a process\) 73 GB"):
        chosen(machine(32, 32, host=64), gpus=2, precision="bf16", offload="blocks")


def test_wishes_are_followed() -> None:
    layout = chosen(machine(141), precision="fp8", offload="blocks")
    assert (layout.precision, layout.kv_precision, layout.offload) == ("fp8", "bf16", "blocks")
    assert chosen(machine(80, 80, 80), gpus=2).gpus == 2
    assert chosen(machine(80, 80, 80)).gpus in (1, 2), "40 heads are not shared by 3"
    with pytest.raises(DeviceError, match=r"least 73\.1 GB .* a GPU, where 25\.8 GB") as refused:
        chosen(machine(24), offload="none", kv_precision="bf16")
    assert "leave --kv-precision, --offload to be chosen" in refused.value.hint


def test_a_gpu_without_fp8_arithmetic_keeps_its_weights_and_may_round_the_memory() -> None:
    layout = chosen(machine(80, fp8=False))
    assert (layout.precision, layout.kv_precision) == ("bf16", "fp8")
    with pytest.raises(DeviceError, match="no FP8 arithmetic"):
        chosen(machine(80, fp8=False), precision="fp8")


def test_the_vae_works_in_smaller_pieces_before_anything_is_offloaded() -> None:
    tight = choose(SIZES, CODECS, machine(88), Wishes())
    assert tight.layout == Layout(latents_per_call=tight.layout.latents_per_call)
    assert tight.layout.latents_per_call < 8
    assert choose(SIZES, LARGE, machine(141), Wishes()).layout.latents_per_call in (1, 2, 4)
    assert choose(SIZES, CODECS, machine(141), Wishes(tile=320)).layout.tile == 320


LARGE = replace(CODECS, size=Size(2560, 1440))


def test_the_vae_draws_in_tiles_where_the_fewest_latents_per_call_do_not_fit() -> None:
    choice = choose(SIZES, LARGE, machine(48), Wishes())
    layout = choice.layout
    assert (layout.tile, layout.latents_per_call) == (512, 1)
    assert ", drawn in tiles of 512 pixels, 1 GPU" in str(choice)
    assert "; without tiles it would take " in choice.reason
    untiled = replace(layout, tile=None)
    assert needs_of(SIZES, LARGE, untiled, Wishes()).device.total > 48 * GIB
    assert {part.name: part.nbytes for part in choice.needs.host.parts}["tiles"] > 10e9
    with pytest.raises(DeviceError, match=r"VAE [3-5]\d"):
        choose(SIZES, LARGE, machine(24), Wishes(tile=0))
    # More is offloaded only when no tile helps, and a small decoder is never cut up.
    levels = [each.offload for each in layouts(SIZES.heads, LARGE, machine(32), Wishes())]
    assert levels == sorted(levels, key=["none", "cache", "blocks", "all"].index)
    small = replace(LARGE, drawing=DRAWING["taew2_1"])
    assert {each.tile for each in layouts(SIZES.heads, small, machine(32), Wishes())} == {None}


def test_without_triton_the_vae_needs_more() -> None:
    plain = replace(CODECS, drawing=drawing_sizes("wan", fused=False))
    assert vae_bytes(plain, Layout()) > 1.3 * vae_bytes(CODECS, Layout())
    assert drawing_sizes("wan", fused=True) == CODECS.drawing
    least = [
        vae_bytes(replace(CODECS, drawing=DRAWING[name]), Layout())
        for name in ("wan", "lightvae", "taew2_1")
    ]
    assert least == sorted(least, reverse=True)


def test_it_says_what_and_why() -> None:
    text = str(choose(SIZES, CODECS, machine(80), Wishes()))
    assert text == (
        "bf16 weights, fp8 memory, nothing offloaded, 1 GPU: 79.2 GB of 85.9 GB on the GPU; "
        "bf16 weights and memory, nothing offloaded, 1 GPU: that would take 98.4 GB"
    )
    assert str(choose(SIZES, CODECS, machine(141), Wishes())).endswith(
        "nothing needs to be rounded or offloaded"
    )
