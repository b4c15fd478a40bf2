"""What the commands that direct share: reading what is asked, telling what is doubtful."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from liveact_cli.core.errors import LiveActError, UsageError

if TYPE_CHECKING:
    from liveact_cli.cli.context import Environment
    from liveact_cli.engine.prepare import Job
    from liveact_cli.script.performance import Orders, Performance

PICTURES = (".png", ".webp", ".jpg", ".jpeg")


def performance_of(
    environment: "Environment", script: str | None, orders: "Orders", model: str | None
) -> "Performance | None":
    """Return what is directed, or None when nothing is."""
    if script is None and not (orders.preset or orders.emotion or orders.actions):
        return None
    from liveact_cli.config.edge import resolve_settings
    from liveact_cli.config.presets import find_preset
    from liveact_cli.script.performance import load_performance
    from liveact_cli.weights.resolve import resolve_model

    variables, directory = environment.variables, environment.directory
    chosen = resolve_settings({"model": model}, variables, directory).model
    row = resolve_model(chosen, variables, directory).row
    finder = partial(find_preset, variables=variables)
    path = script if script is None or script == "-" else environment.path(script)
    return load_performance(path, finder, orders=orders, reads_text=row.reads_text)


def directed(
    job: "Job", performance: "Performance", environment: "Environment", *, quiet: bool = False
) -> "Job":
    """Return the job with the performance in it, and say what is doubtful."""
    from liveact_cli.engine.directing import direct_job

    job, direction = direct_job(job, performance)
    row, granularity = job.plan.model.row, job.plan.settings.prompt_granularity or "chunk"
    notes = direction.model_notes(
        job.plan.chunks, reads_text=row.reads_text, granularity=granularity
    )
    for problem in () if quiet else (*direction.problems, *notes):
        environment.say(str(problem))
    return job


def picture_file(environment: "Environment", name: str, *, force: bool) -> Path:
    """Return the path of a picture to write; raises `UsageError` for other names."""
    target = environment.path(name)
    if target.suffix.lower() not in PICTURES:
        raise UsageError(f"{name!r} is not a picture's name", "end it in .png")
    check_free(target, force=force)
    return target


def check_free(target: Path, *, force: bool) -> None:
    """Raise unless a file of this name may be written."""
    if target.exists() and not force:
        raise LiveActError(f"{target} exists already", "--force overwrites it")
    if not target.parent.is_dir():
        raise LiveActError(f"the folder {target.parent} does not exist", f"mkdir {target.parent}")
