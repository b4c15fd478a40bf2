"""`liveact doctor`: what this machine has and can do."""

from dataclasses import asdict
from typing import Annotated

import typer

from liveact_cli.cli.apps import new_app
from liveact_cli.core.errors import ExitCode

app = new_app()


@app.command()
def doctor(
    ctx: typer.Context,
    size: Annotated[
        str, typer.Option("--size", metavar="WxH", help="Of liveact-18b's video, for its bytes.")
    ] = "720x416",
    gpu_memory: Annotated[
        str | None,
        typer.Option("--gpu-memory", metavar="GB,...", help="Ask for GPUs of these sizes."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Check what this machine has and can do; exit 1 when a video cannot be made here.

    Shows how liveact-18b would run on the GPUs here, or on well-known ones where there is none.
    """
    from liveact_cli.diagnose.doctor import examine, healthy
    from liveact_cli.diagnose.placements import ask, placements, table

    environment = ctx.obj
    asked = ask(size, gpu_memory)
    checks = []
    for check in examine(environment.variables, environment.directory):
        checks.append(check)
        if not as_json:
            mark = {"ok": "ok  ", "note": "note", "bad": "BAD "}[check.status]
            environment.result(f"{mark}  {check.name:18}  {check.detail}")
            if check.hint:
                environment.result(f"      {'':18}  -> {check.hint}")
    well = healthy(checks)
    found = list(placements(asked, environment.variables, environment.directory))
    if as_json:
        rows = [row.to_dict() for row in found]
        described = [asdict(check) for check in checks]
        environment.result_json({"ok": well, "checks": described, "liveact-18b": rows})
    else:
        environment.result(f"\n{table(asked, found)}")
    return ExitCode.OK if well else ExitCode.FAILURE
