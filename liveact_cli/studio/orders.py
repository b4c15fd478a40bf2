"""One render as it is ordered: plain values, which travel to other processes and machines."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from liveact_cli.config.edge import refuse_unused, resolve_settings
from liveact_cli.config.presets import find_preset
from liveact_cli.config.settings import RenderSettings
from liveact_cli.engine.directing import direct_job
from liveact_cli.engine.prepare import Job, prepare
from liveact_cli.script.performance import NO_ORDERS, Orders, Performance, load_performance
from liveact_cli.script.resolve import Placed
from liveact_cli.weights.resolve import resolve_model


@dataclass(frozen=True, slots=True)
class RenderOrder:
    """What `liveact render` would be told, with paths that are absolute.

    `settings` are those that are given, as text or as they are meant; `folder` is where the
    project's `liveact.toml` is looked for, `variables` are the environment's. An `output` that is
    there already stays unless `replace` is set or it is this very video; `again` makes that anew.
    `added` are events underneath those of the script; `crop` is the part of the picture that is
    used (left, top, width, height).
    """

    audio: Path
    reference: Path
    output: Path
    settings: Mapping[str, object] = field(default_factory=dict)
    script: Path | None = None
    orders: Orders = NO_ORDERS
    folder: Path = Path()
    variables: Mapping[str, str] = field(default_factory=dict)
    replace: bool = False
    again: bool = False
    added: tuple[Placed, ...] = ()
    crop: tuple[int, int, int, int] | None = None


def performance_of(order: RenderOrder) -> Performance | None:
    """Return what is directed, or None when nothing is; raises as `load_performance` does."""
    orders = order.orders
    directed = orders.preset or orders.emotion or orders.actions or order.added
    if order.script is None and not directed:
        return None
    given = {"model": order.settings.get("model")}
    chosen = resolve_settings(given, order.variables, order.folder).model
    row = resolve_model(chosen, order.variables).row
    finder = partial(find_preset, variables=order.variables)
    performance = load_performance(order.script, finder, orders=orders, reads_text=row.reads_text)
    return replace(performance, added=order.added)


def settings_of(order: RenderOrder, performance: Performance | None) -> RenderSettings:
    """Return the settings that hold for an order; raises UsageError for those that cannot be."""
    preset = performance.settings() if performance else None
    return resolve_settings(order.settings, order.variables, order.folder, preset=preset)


def open_order(order: RenderOrder) -> Job:
    """Open the inputs of an order and plan its render, as `prepare` does.

    The job's notes tell what was decided, and what is doubtful about its script.
    """
    performance = performance_of(order)
    settings = settings_of(order, performance)
    inputs = (order.audio, order.reference, order.output)
    job = prepare(*inputs, settings, order.variables, force=True)
    if order.crop is not None:
        job = cropped(job, order.crop)
    refuse_unused(_named(order.settings), job.plan.model.row)
    if performance is None:
        return job
    job, direction = direct_job(job, performance)
    row, granularity = job.plan.model.row, job.plan.settings.prompt_granularity or "chunk"
    doubts = direction.model_notes(
        job.plan.chunks, reads_text=row.reads_text, granularity=granularity
    )
    told = tuple(str(problem) for problem in (*direction.problems, *doubts))
    return replace(job, notes=(*job.notes, *told))


def cropped(job: Job, crop: tuple[int, int, int, int]) -> Job:
    """Return a job that uses a part of its picture: left, top, width, height."""
    left, top, width, height = crop
    picture = np.ascontiguousarray(job.picture[top : top + height, left : left + width])
    return replace(job, picture=picture, plan=replace(job.plan, crop=crop))


def _named(settings: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}
