"""`liveact bench`: how fast this machine is."""

from typing import Annotated

import typer

from liveact_cli.cli.apps import new_app
from liveact_cli.weights.registry import DEFAULT_MODEL

app = new_app()


@app.command()
def bench(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Option("--model", metavar="NAME|DIR", help="What to measure.")
    ] = DEFAULT_MODEL,
    size: Annotated[
        str, typer.Option("--size", metavar="WxH", help="The video's size.")
    ] = "512x512",
    seconds: Annotated[
        str, typer.Option("--seconds", metavar="TIME", help="The video's length.")
    ] = "20",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure a whole render of the example pair, and every stage of it."""
    from liveact_cli.config.edge import resolve_settings
    from liveact_cli.diagnose.bench import run_bench

    environment = ctx.obj
    flags = {"model": model, "size": size, "duration": seconds}
    settings = resolve_settings(flags, {}, environment.directory)
    assert settings.size is not None
    assert settings.duration is not None
    environment.say(
        f"rendering {settings.duration:g} s at {settings.size} with {settings.model} ..."
    )
    result = run_bench(settings.model, settings.size, settings.duration, environment.variables)
    if as_json:
        environment.result_json({"ok": True, **result.to_dict()})
    else:
        environment.result(result.table())
