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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Check what this machine has and can do; exit 1 when a video cannot be made here."""
    from liveact_cli.diagnose.doctor import examine, healthy

    environment = ctx.obj
    checks = []
    for check in examine(environment.variables, environment.directory):
        checks.append(check)
        if not as_json:
            mark = {"ok": "ok  ", "note": "note", "bad": "BAD "}[check.status]
            environment.result(f"{mark}  {check.name:18}  {check.detail}")
            if check.hint:
                environment.result(f"      {'':18}  -> {check.hint}")
    well = healthy(checks)
    if as_json:
        environment.result_json({"ok": well, "checks": [asdict(check) for check in checks]})
    return ExitCode.OK if well else ExitCode.FAILURE
