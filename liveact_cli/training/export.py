"""Writes the file that ships: trained transformer, audio net and codec with their settings.

python -m liveact_cli.training.export --run RUN --targets DIR --audio-net NET.safetensors
    --out liveact_cli/data/liveact-mini.safetensors [--stage distilled]
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from liveact_cli.mini.weights import MiniSettings, MiniWeights, save_mini
from liveact_cli.training.audio_heads import load_net
from liveact_cli.training.train_motion import MINI_CONFIG, MINI_SCHEDULE


def export(
    run: Path, stage: str, targets: Path, audio_net: Path, out: Path, notes: dict[str, Any]
) -> None:
    """Join the parts and write the weights file."""
    saved = torch.load(run / f"{stage}.pt", weights_only=True)
    net, _ = load_net(audio_net)
    provenance = {
        "stage": stage,
        "steps": saved["step"],
        "seconds": round(saved["seconds"]),
        "seed": saved["seed"],
        "licence": "Apache-2.0",
        **notes,
    }
    settings = MiniSettings(
        MINI_CONFIG, net.config.as_metadata(), MINI_SCHEDULE, provenance=provenance
    )
    codec = load_file(targets / "codec.safetensors")
    save_mini(out, MiniWeights(settings, saved["ema"], net.state_dict(), codec))
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write liveact-mini's weights file.")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--stage", default="distilled", choices=("stage1", "distilled"))
    parser.add_argument("--targets", type=Path, required=True)
    parser.add_argument("--audio-net", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--notes", default="{}", help="JSON added to the provenance")
    given = parser.parse_args()
    notes = json.loads(given.notes)
    export(given.run, given.stage, given.targets, given.audio_net, given.out, notes)


if __name__ == "__main__":
    main()
