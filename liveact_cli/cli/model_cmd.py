"""`liveact model`: weights on this machine, from the Hub."""

from typing import TYPE_CHECKING, Annotated

import typer

from liveact_cli.cli.apps import new_app
from liveact_cli.core.errors import ExitCode
from liveact_cli.weights.registry import MODELS

if TYPE_CHECKING:
    from pathlib import Path

    from liveact_cli.cli.context import Environment
    from liveact_cli.weights.hub import Progress

app = new_app("Weights: what is here, and getting what is not.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="liveact-18b, or a Hub id OWNER/NAME like it.")
]


@app.command(name="list")
def list_models(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """List the models and whether their weights are here."""
    from liveact_cli.core.units import format_bytes
    from liveact_cli.weights.hub import folder_of, licences
    from liveact_cli.weights.lock import LOCK_FILE, is_complete, read_lock
    from liveact_cli.weights.registry import FULL, MINI
    from liveact_cli.weights.resolve import models_folder

    environment: Environment = ctx.obj
    rows: list[dict[str, object]] = [
        {"name": MINI.name, "state": "built in", "bytes": MINI.weights_bytes, "path": None}
    ]
    home = models_folder(environment.variables)
    folders = {folder_of(FULL.name, environment.variables)}
    folders |= {path.parent for path in home.glob(f"*/{LOCK_FILE}")}
    for folder in sorted(folders):
        lock = read_lock(folder)
        state = "missing" if lock is None else "here" if is_complete(folder, lock) else "partial"
        row: dict[str, object] = {
            "name": folder.name.replace("--", "/"),
            "state": state,
            "bytes": sum(file.size for _, file in lock.paths()) if lock else FULL.weights_bytes,
            "path": str(folder) if lock else None,
        }
        if lock:
            row["licences"] = dict(licences(lock))
        rows.append(row)
    if as_json:
        environment.result_json({"ok": True, "models": rows})
        return
    for row in rows:
        size = format_bytes(int(str(row["bytes"])))
        environment.result(f"{row['name']!s:24} {row['state']!s:9} {size:>8}  {row['path'] or ''}")


@app.command()
def download(
    ctx: typer.Context,
    model: ModelArgument = "liveact-18b",
    revision: Annotated[
        str, typer.Option("--revision", metavar="REV", help="Branch, tag or commit (main).")
    ] = "main",
    as_json: JsonOption = False,
) -> None:
    """Fetch a model's weights; an interrupted download goes on where it stopped."""
    from liveact_cli.weights import hub

    environment: Environment = ctx.obj
    folder, lock = hub.download(
        model,
        environment.variables,
        revision=revision,
        watch=lambda progress: _tell(environment, progress),
        bars=environment.interactive and not as_json,
    )
    if as_json:
        repositories = [
            {"repository": r.repository, "commit": r.commit, "licence": r.licence}
            for r in lock.repositories.values()
        ]
        environment.result_json({"ok": True, "path": str(folder), "repositories": repositories})
        return
    for repository, licence in hub.licences(lock):
        environment.say(f"licence of {repository}: {licence}")
    environment.result(str(folder))


def fetch_missing(model: str, environment: "Environment") -> None:
    """Download a model where its weights are missing; what cannot be downloaded stays as it is."""
    from liveact_cli.core.errors import WeightsError
    from liveact_cli.weights import hub
    from liveact_cli.weights.resolve import is_hub_id, resolve_model

    try:
        resolve_model(model, environment.variables)
    except WeightsError:
        if model not in MODELS and not is_hub_id(model):
            raise
        hub.download(
            model,
            environment.variables,
            watch=lambda progress: _tell(environment, progress),
            bars=environment.interactive,
        )


@app.command()
def verify(
    ctx: typer.Context, model: ModelArgument = "liveact-18b", as_json: JsonOption = False
) -> int:
    """Compare every file with the lock that its download wrote; exit 1 when one differs."""
    from liveact_cli.weights.lock import check_files, read_lock

    environment: Environment = ctx.obj
    folder = _folder(environment, model)
    lock = read_lock(folder)
    assert lock is not None
    watch = (lambda path: None) if as_json else environment.say
    problems = list(check_files(folder, lock, watch))
    count = sum(1 for _ in lock.paths())
    if as_json:
        found = [{"path": problem.path, "problem": problem.what} for problem in problems]
        environment.result_json({"ok": not problems, "files": count, "problems": found})
    else:
        for problem in problems:
            environment.result(f"{problem.path} {problem.what}")
        if not problems:
            environment.result(f"{count} files are as they were downloaded")
    return ExitCode.FAILURE if problems else ExitCode.OK


@app.command()
def path(ctx: typer.Context, model: ModelArgument = "liveact-18b") -> None:
    """Print the folder of a model whose weights are here."""
    from liveact_cli.core.errors import WeightsError
    from liveact_cli.weights.lock import is_complete, read_lock

    environment: Environment = ctx.obj
    folder = _folder(environment, model)
    lock = read_lock(folder)
    if lock is None or not is_complete(folder, lock):
        raise WeightsError(
            f"the weights of {model} in {folder} are not complete",
            f"liveact model download {model}",
        )
    environment.result(str(folder))


@app.command()
def rm(
    ctx: typer.Context,
    model: ModelArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a downloaded model."""
    import shutil

    from liveact_cli.core.errors import UsageError
    from liveact_cli.core.units import format_bytes
    from liveact_cli.weights.lock import read_lock

    environment: Environment = ctx.obj
    folder = _folder(environment, model)
    lock = read_lock(folder)
    size = format_bytes(sum(file.size for _, file in lock.paths()) if lock else 0)
    if not yes:
        if not environment.interactive:
            raise UsageError(f"{folder} ({size}) would be deleted", "--yes deletes it unasked")
        typer.confirm(f"Delete {folder} ({size})?", abort=True, err=True)
    shutil.rmtree(folder)
    environment.say(f"deleted {folder} ({size})")


def _folder(environment: "Environment", model: str) -> "Path":
    """The folder of a model that was downloaded, whole or in part."""
    from liveact_cli.core.errors import WeightsError
    from liveact_cli.weights.hub import folder_of, sources_of
    from liveact_cli.weights.lock import LOCK_FILE

    sources_of(model)  # a name that could not have been downloaded is refused as such
    folder = folder_of(model, environment.variables)
    if not (folder / LOCK_FILE).is_file():
        raise WeightsError(
            f"{model} was not downloaded: there is no {folder / LOCK_FILE}",
            f"liveact model download {model}",
        )
    return folder


def _tell(environment: "Environment", progress: "Progress") -> None:
    from liveact_cli.core.units import format_bytes

    environment.say(
        f"[{progress.number}/{progress.count}] {progress.path} ({format_bytes(progress.size)},"
        f" {format_bytes(progress.remaining)} to go)"
    )
