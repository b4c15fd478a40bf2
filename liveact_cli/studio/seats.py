"""How many renders a machine does at once: by cores and memory, or one for each GPU or group."""

import math
import os
from collections.abc import Mapping
from typing import Final

from liveact_cli.config.edge import resolve_settings
from liveact_cli.core.errors import DeviceError
from liveact_cli.core.machine import available_memory, usable_cores
from liveact_cli.studio.manifest import Manifest
from liveact_cli.studio.workers import Seat
from liveact_cli.weights.registry import ModelRow
from liveact_cli.weights.resolve import resolve_model

CORES_PER_RENDER: Final = 1.5
"""What a render with liveact-mini keeps busy: drawing decides, the encoder runs beside it."""
ENCODER_BYTES: Final = 150_000_000
_SHARE: Final = 0.8
_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


def cpu_seats(wanted: int | None, jobs: int, row: ModelRow) -> list[Seat]:
    """Return places for renders on the processor: `wanted`, or what cores and memory allow."""
    count = wanted
    if count is None:
        count = max(1, min(jobs, math.ceil(usable_cores() / CORES_PER_RENDER)))
        if (free := available_memory()) is not None:
            each = row.estimate.memory_bytes + ENCODER_BYTES
            count = max(1, min(count, int(free * _SHARE / each)))
    return [Seat(f"process {number + 1}") for number in range(count)]


def gpu_seats(
    wanted: int | None, group: int, there: int, variables: Mapping[str, str] = os.environ
) -> list[Seat]:
    """Return a place for every `group` of the `there` GPUs, `wanted` at most.

    Raises DeviceError when there are too few for one.
    """
    named = [name.strip() for name in variables.get(_VISIBLE, "").split(",") if name.strip()]
    names = named[:there] if named else [str(number) for number in range(there)]
    groups = [names[i : i + group] for i in range(0, len(names) - group + 1, group)]
    if not groups:
        raise DeviceError(
            f"{group} GPUs are asked for each job, and this machine has {there}",
            "`liveact doctor` shows what there is",
        )
    return [
        Seat(f"GPU {','.join(numbers)}", {_VISIBLE: ",".join(numbers)})
        for numbers in groups[:wanted]
    ]


def seats_for(manifest: Manifest, wanted: int | None, variables: Mapping[str, str]) -> list[Seat]:
    """Return the places for a manifest's jobs on this machine: GPUs if a job's model wants them."""
    return seats_of(wanted, len(manifest.jobs), *demand_of(manifest, variables))


def seats_of(wanted: int | None, jobs: int, row: ModelRow, group: int, on_gpus: bool) -> list[Seat]:
    """Return the places for jobs of one model on this machine, `group` GPUs for each if any."""
    if on_gpus:
        import torch

        if there := torch.cuda.device_count():
            return gpu_seats(wanted, group, there)
    return cpu_seats(wanted, jobs, row)


def demand_of(manifest: Manifest, variables: Mapping[str, str]) -> tuple[ModelRow, int, bool]:
    """Return the model that needs most, the most GPUs for one job, and whether GPUs are wanted."""
    rows, groups, on_gpus = [], [1], False
    different = {tuple(sorted(job.settings.items())) for job in manifest.jobs}
    for given in different:
        settings = resolve_settings(dict(given), variables, manifest.folder)
        row = resolve_model(settings.model, variables).row
        rows.append(row)
        groups.append(settings.gpus or 1)
        on_gpus = on_gpus or (row.device == "cuda" and settings.device != "cpu")
    largest = max(rows, key=lambda row: row.estimate.memory_bytes)
    return largest, max(groups), on_gpus
