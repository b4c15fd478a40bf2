"""`liveact inspect`: how a video was made, from what it says of itself."""

from typing import Annotated, Any

import typer

from liveact_cli.cli.apps import new_app

app = new_app()


@app.command()
def inspect(
    ctx: typer.Context,
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="An MP4 file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Show how a video was made, and whether it is marked as generated."""
    from liveact_cli.media.metadata import read_metadata

    environment = ctx.obj
    info = read_metadata(environment.path(video))
    if as_json:
        environment.result_json(
            {
                "ok": True,
                "generated": info.generated,
                "digital_source_type": info.digital_source_type,
                "liveact": info.settings,
            }
        )
        return
    mark = info.digital_source_type or "no mark"
    environment.result(f"{'generated':26} {'yes' if info.generated else 'unknown'} ({mark})")
    if info.settings is None:
        environment.result(f"{'settings':26} none: this video was not made by liveact")
        return
    for name, value in _flat(info.settings):
        environment.result(f"{name:26} {value}")


def _flat(record: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for name, value in record.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, value))
    return rows
