"""`liveact verify`: do a checkpoint and this machine compute what was recorded?"""

import math
from typing import Annotated

import typer

from liveact_cli.cli.apps import new_app
from liveact_cli.core.errors import ExitCode

app = new_app()


@app.command()
def verify(
    ctx: typer.Context,
    checkpoint: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="The folder of a checkpoint.")
    ],
    golden: Annotated[
        list[str],
        typer.Argument(metavar="GOLDEN...", help="Recorded roll-outs, components or pipelines."),
    ],
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", metavar="X", help="Largest relative error (its kind's own)."),
    ] = None,
    audio_encoder: Annotated[
        str | None,
        typer.Option("--audio-encoder", metavar="DIR", help="wav2vec2's folder (in or beside)."),
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option("--gpus", metavar="N", min=1, help="Compute on N GPUs (on the CPU)."),
    ] = None,
    precision: Annotated[
        str, typer.Option("--precision", metavar="NAME", help="fp32 (default), bf16 or fp8.")
    ] = "fp32",
    kv_precision: Annotated[
        str, typer.Option("--kv-precision", metavar="NAME", help="Of the memory: exact or fp8.")
    ] = "exact",
    offload: Annotated[
        str, typer.Option("--offload", metavar="WHAT", help="none, cache, blocks or all.")
    ] = "none",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Replay recorded files; exit 1 when one differs by more than the tolerance.

    This proves a GPU, a kernel or a precision on any file of the golden format.
    """
    from liveact_cli.core.verification import Verified
    from liveact_cli.engine.verify import KINDS, CheckpointSubject, verify_file, ways_to_run
    from liveact_cli.runtime import fallbacks
    from liveact_cli.runtime.devices import choose_devices
    from liveact_cli.wan.verify import wan_kinds

    environment = ctx.obj
    kind = environment.variables.get("LIVEACT_DEVICE") or (None if gpus else "cpu")
    devices = choose_devices(gpus, kind)
    kinds = (*KINDS, *wan_kinds(environment.path(audio_encoder) if audio_encoder else None))
    results: list[Verified] = []
    folder = environment.path(checkpoint)
    options = ways_to_run(folder, precision, kv_precision, offload, environment.variables)
    with CheckpointSubject(folder, devices, options.dtype, options) as subject:
        for name in golden:
            result = verify_file(subject, environment.path(name), tolerance, kinds)
            results.append(result)
            if not as_json:
                verdict = "ok" if result.ok else f"BAD, worst in {result.worst.name}"
                environment.result(
                    f"{result.max_rel_error:.3e}  {name}  (tolerance {result.tolerance:g})"
                    f" {verdict}"
                )
    fallen = fallbacks.taken()
    for text in fallen:
        environment.say(f"warning: {text}")
    ok = all(result.ok for result in results)
    if as_json:
        files = [
            {
                "file": name,
                # JSON has no infinity; a shape that differs or a NaN has no error in numbers.
                "max_rel_error": error if math.isfinite(error := result.max_rel_error) else None,
                "tolerance": result.tolerance,
                "ok": result.ok,
            }
            for name, result in zip(golden, results, strict=True)
        ]
        environment.result_json({"ok": ok, "files": files, "fallbacks": fallen})
    return ExitCode.OK if ok else ExitCode.FAILURE
