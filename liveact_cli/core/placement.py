"""Choose where and how exactly a model computes, from its bytes, before any is allocated.

As little as possible is offloaded, then as little as possible rounded, on as few GPUs as possible.
Before more is offloaded, the VAE draws in tiles.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from liveact_cli.core.budget import (
    Budget,
    CodecSizes,
    DecodeSizes,
    Layout,
    Offload,
    Precision,
    decode_budget,
    encoder_budget,
    host_budget,
    smaller_vae,
    tiled_vae,
)
from liveact_cli.core.errors import DeviceError
from liveact_cli.core.units import format_bytes

OFFLOADS: Final[tuple[Offload, ...]] = ("none", "cache", "blocks", "all")
ROUNDINGS: Final[tuple[tuple[Precision, Precision], ...]] = (
    ("bf16", "bf16"), ("bf16", "fp8"), ("fp8", "bf16"), ("fp8", "fp8"),
)  # fmt: skip
KNOWN_CARDS: Final = (24, 32, 48, 80, 141)
"""Sizes of well-known GPUs, as they are printed on the box (in GiB, nearly)."""
GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is: bytes free on each GPU and on the host (None: unknown); `fp8` arithmetic."""

    cards: tuple[int, ...]
    host: int | None
    fp8: bool = True


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user has decided himself; None leaves the choice (`tile` 0: no tiles).

    `resident` weights stay on the GPU, whatever that costs.
    """

    precision: Precision | None = None
    kv_precision: Precision | None = None
    offload: Offload | None = None
    gpus: int | None = None
    tile: int | None = None
    saving: bool = True
    resident: bool = False

    @property
    def given(self) -> list[str]:
        """The names of the options that are set."""
        options = ("precision", "kv_precision", "offload", "gpus", "tile")
        return [f"--{name.replace('_', '-')}" for name in options if getattr(self, name)]


class Bytes(NamedTuple):
    """What a layout takes on the first device, and on the host."""

    device: Budget
    host: Budget


@dataclass(frozen=True, slots=True)
class Choice:
    """A layout that fits, what it takes, what there is, and why it is that one."""

    layout: Layout
    needs: Bytes
    card: int
    reason: str

    def __str__(self) -> str:
        """Write it for people, in one line."""
        need = f"{format_bytes(self.needs.device.total)} of {format_bytes(self.card)}"
        return f"{self.layout}: {need} on the GPU; {self.reason}"


def needs_of(sizes: DecodeSizes, codecs: CodecSizes, layout: Layout, wishes: Wishes) -> Bytes:
    """Return what a layout takes: on the device the larger of encoding and decoding."""
    budgets = (decode_budget(sizes, layout, codecs), encoder_budget(codecs))
    device = max(budgets, key=lambda budget: budget.total)
    return Bytes(device, host_budget(sizes, layout, codecs, saving=wishes.saving))


def choose(sizes: DecodeSizes, codecs: CodecSizes, machine: Machine, wishes: Wishes) -> Choice:
    """Return the best layout that fits; raises DeviceError with the numbers when none does."""
    tried: list[tuple[Layout, Bytes]] = []
    for layout in layouts(sizes.heads, codecs, machine, wishes):
        needs = needs_of(sizes, codecs, layout, wishes)
        card = min(machine.cards[: layout.gpus])
        enough = machine.host is None or needs.host.total <= machine.host
        if needs.device.total <= card and enough:
            return Choice(layout, needs, card, _reason(layout, tried))
        tried.append((layout, needs))
    if not tried:
        raise DeviceError(
            "this GPU has no FP8 arithmetic", "leave out --precision fp8, or use a newer one"
        )
    raise _too_small(tried, machine, wishes)


def layouts(heads: int, codecs: CodecSizes, machine: Machine, wishes: Wishes) -> Iterator[Layout]:
    """Yield all layouts that are allowed, the best first."""
    for offload in OFFLOADS:
        if wishes.resident and offload in ("blocks", "all"):
            continue
        level = list(_of_level(offload, heads, machine, wishes))
        for layout in level:
            yield from smaller_vae(layout)
        if wishes.tile is None:
            for layout in level:
                yield from tiled_vae(layout, codecs)


def _of_level(offload: Offload, heads: int, machine: Machine, wishes: Wishes) -> Iterator[Layout]:
    """Yield the layouts that offload as much, the least rounded first."""
    counts = [n for n in range(1, len(machine.cards) + 1) if heads % n == 0]
    for precision, kept in ROUNDINGS:
        if precision == "fp8" and not machine.fp8:
            continue
        wanted = (wishes.precision, wishes.kv_precision, wishes.offload)
        if any(w not in (None, m) for w, m in zip(wanted, (precision, kept, offload), strict=True)):
            continue
        for gpus in counts if wishes.gpus is None else [wishes.gpus]:
            yield Layout(precision, kept, offload, gpus, tile=wishes.tile or None)


def _reason(chosen: Layout, tried: list[tuple[Layout, Bytes]]) -> str:
    if not tried:
        return "nothing needs to be rounded or offloaded"
    layout, needs = tried[0]
    reason = f"{layout}: that would take {format_bytes(needs.device.total)}"
    untiled = replace(chosen, tile=None, latents_per_call=1)
    for layout, needs in tried:
        if layout == untiled != chosen and chosen.tile is not None:
            reason += f"; without tiles it would take {format_bytes(needs.device.total)}"
    return reason


def _too_small(tried: list[tuple[Layout, Bytes]], machine: Machine, wishes: Wishes) -> DeviceError:
    layout, needs = min(tried, key=lambda pair: pair[1].device.total)
    message = (
        f"the model does not fit: it takes at least {needs.device} on a GPU, where "
        f"{format_bytes(min(machine.cards[: layout.gpus]))} are free"
    )
    if machine.host is not None:
        free = format_bytes(machine.host)
        message += f", and with that {needs.host} on the host, where {free} are free"
    options = [name for name in wishes.given if name != "--gpus"]
    hint = "a smaller --size needs less"
    if options:
        hint = f"leave {', '.join(options)} to be chosen; {hint}"
    return DeviceError(message, hint)
