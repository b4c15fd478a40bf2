"""Average the weights of audio nets, or of whole models, that started from one another.

    python -m liveact_cli.training.average NET.safetensors NET.safetensors ... --out FILE
        [--shares 0.6 0.4] [--models]

Between a net and one that went on from it, on other speech, lies one that hears both kinds better
than either (model soups, Wortsman et al. 2022). A block that a net has not grown yet adds nothing.
A net may also be that of liveact-mini's weights, which has no heads. With `--models` the files are
such weights, and their transformers are averaged too.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from liveact_cli.core.errors import UsageError
from liveact_cli.mini.audio import AudioNet
from liveact_cli.mini.weights import MiniWeights, read_mini, save_mini
from liveact_cli.training.audio_heads import AudioHeads, save_net, trained_net


def average(
    nets: Sequence[tuple[AudioNet, AudioHeads | None]], shares: Sequence[float]
) -> tuple[AudioNet, AudioHeads]:
    """The average by `shares`, as deep as the deepest net, and of the heads that there are."""
    config = max((net.config for net, _ in nets), key=lambda config: len(config.dilations))
    net, heads = AudioNet(config), AudioHeads(config)
    states = [one.state_dict() for one, _ in nets]
    net.load_state_dict({name: _mean(name, states, shares) for name in net.state_dict()})
    known = [(own.state_dict(), share) for (_, own), share in zip(nets, shares, strict=True) if own]
    states, shares = [state for state, _ in known], [share for _, share in known]
    if known:
        heads.load_state_dict({name: _mean(name, states, shares) for name in heads.state_dict()})
    return net, heads


def _mean(name: str, states: Sequence[dict[str, Tensor]], shares: Sequence[float]) -> Tensor:
    """A missing block's output is zero; what leads to it is as in the nets that have it."""
    found = [
        (share, state[name]) for state, share in zip(states, shares, strict=True) if name in state
    ]
    total = sum(shares) if ".mix." in name else sum(share for share, _ in found)
    return torch.stack([share / total * value for share, value in found]).sum(0)


def average_models(models: Sequence[MiniWeights], shares: Sequence[float]) -> MiniWeights:
    """The average of transformers and audio nets by `shares`; all share the first one's codec.

    Raises UsageError where sizes or codecs differ.
    """
    first = models[0]
    total = sum(shares)
    for other in models[1:]:
        same = all(
            torch.equal(value, other.codec.get(name, torch.empty(0)))
            for name, value in first.codec.items()
        )
        alike = (
            first.settings.transformer == other.settings.transformer
            and first.settings.audio_encoder == other.settings.audio_encoder
        )
        if not (same and alike):
            raise UsageError(
                "models of other sizes or with another codec cannot be averaged",
                "average models of which one went on from the other, with its targets' codec",
            )

    def mean(part: str) -> dict[str, Tensor]:
        states: list[dict[str, Tensor]] = [getattr(model, part) for model in models]
        return {
            name: torch.stack(
                [
                    share / total * state[name].float()
                    for share, state in zip(shares, states, strict=True)
                ]
            ).sum(0)
            for name in states[0]
        }

    made = [
        {"share": round(share / total, 3), **model.settings.provenance}
        for share, model in zip(shares, models, strict=True)
    ]
    settings = replace(first.settings, provenance={"licence": "Apache-2.0", "averaged": made})
    return MiniWeights(settings, mean("transformer"), mean("audio_encoder"), first.codec)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Average audio nets or models of one family.")
    parser.add_argument("nets", type=Path, nargs="+")
    parser.add_argument("--shares", type=float, nargs="+", help="default: equal")
    parser.add_argument(
        "--models", action="store_true", help="the files are liveact-mini's weights"
    )
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    shares = given.shares or [1.0] * len(given.nets)
    if len(shares) != len(given.nets) or min(shares) <= 0.0:
        raise UsageError(
            f"{len(given.nets)} nets need as many shares above 0 (given: {shares})",
            "leave --shares out for equal ones",
        )
    if given.models:
        save_mini(given.out, average_models([read_mini(path) for path in given.nets], shares))
        return
    net, heads = average([trained_net(path) for path in given.nets], shares)
    save_net(net, heads, given.out, {"averaged": str(len(given.nets))})


if __name__ == "__main__":
    main()
