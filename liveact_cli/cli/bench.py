"""`liveact bench`: how fast this machine is."""

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from liveact_cli.cli.apps import new_app
from liveact_cli.weights.registry import DEFAULT_MODEL

if TYPE_CHECKING:
    from liveact_cli.cli.context import Environment
    from liveact_cli.diagnose.rig import Decoder, Precision
    from liveact_cli.runtime.graphs import Graphs

app = new_app()


def _flag(text: str, metavar: str) -> Any:
    return typer.Option(metavar=metavar, help=text)


@app.command()
def bench(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Option("--model", metavar="NAME|DIR", help="What to measure.")
    ] = DEFAULT_MODEL,
    size: Annotated[
        str | None, typer.Option("--size", metavar="WxH", help="The video's size (512x512).")
    ] = None,
    seconds: Annotated[
        str | None, typer.Option("--seconds", metavar="TIME", help="The video's length (20).")
    ] = None,
    random_weights: Annotated[
        bool,
        typer.Option(
            "--random-weights", help="Measure liveact-18b by stages, without its weights."
        ),
    ] = False,
    gpus: Annotated[str | None, _flag("Share the work among N GPUs (random weights).", "N")] = None,
    precision: Annotated[
        str | None, _flag("auto, bf16, fp8 or fp32 (random weights).", "NAME")
    ] = None,
    attention: Annotated[
        str | None, _flag("auto, sdpa, cudnn, flash or fp8 (random weights).", "NAME")
    ] = None,
    decoder: Annotated[
        str | None, _flag("wan, lightvae or taew2_1 (random weights).", "NAME")
    ] = None,
    compile_decoder: Annotated[
        bool, typer.Option("--compile-decoder", help="Compile the decoder (random weights).")
    ] = False,
    cuda_graphs: Annotated[
        str | None, _flag("CUDA graphs around whole calls: on, or off (random weights).", "WHEN")
    ] = None,
    overlap: Annotated[
        str | None, _flag("Exchange while computing, on several GPUs: on, or off.", "WHEN")
    ] = None,
    chunks: Annotated[
        str | None, _flag("How many chunks to measure, at least 3 (random weights; 8).", "N")
    ] = None,
    config: Annotated[
        str | None, _flag("JSON with other sizes than the released (random weights).", "FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure a whole render of the example pair, and every stage of it.

    With --random-weights: a liveact-18b made of random numbers on the GPU, stage by stage, which
    needs neither its weights nor a recording.
    """
    environment = ctx.obj
    only = {
        "gpus": gpus, "precision": precision, "attention": attention, "decoder": decoder,
        "compile-decoder": compile_decoder or None, "cuda-graphs": cuda_graphs,
        "overlap": overlap, "chunks": chunks, "config": config,
    }  # fmt: skip
    if random_weights:
        _bench_random(environment, model, size, seconds, only, as_json=as_json)
    else:
        _bench_render(environment, model, size, seconds, only, as_json=as_json)


def _bench_render(
    environment: "Environment",
    model: str,
    size: str | None,
    seconds: str | None,
    only: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    from liveact_cli.config.edge import resolve_settings
    from liveact_cli.core.errors import UsageError
    from liveact_cli.diagnose.bench import run_bench

    for name, value in only.items():
        if value is not None:
            raise UsageError(
                f"--{name} belongs to --random-weights",
                "liveact bench --model liveact-18b --random-weights",
            )
    flags = {"model": model, "size": size or "512x512", "duration": seconds or "20"}
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


def _bench_random(
    environment: "Environment",
    model: str,
    size: str | None,
    seconds: str | None,
    only: dict[str, Any],
    *,
    as_json: bool,
) -> None:
    from liveact_cli.core.errors import UsageError
    from liveact_cli.core.units import parse_size
    from liveact_cli.diagnose.full_bench import LEAST_CHUNKS, run_full_bench
    from liveact_cli.diagnose.rig import DECODERS, PRECISIONS, Setup, Sizes
    from liveact_cli.runtime.devices import choose_devices
    from liveact_cli.runtime.graphs import GRAPHS
    from liveact_cli.weights.registry import FULL

    if model != FULL.name:
        raise UsageError(
            f"--random-weights measures {FULL.name}, not {model}", f"--model {FULL.name}"
        )
    if seconds is not None:
        raise UsageError("--seconds measures a render; --random-weights counts chunks", "--chunks")
    gpus = _whole("gpus", only["gpus"], 1)
    chunks = _whole("chunks", only["chunks"], LEAST_CHUNKS)
    devices = choose_devices(gpus, environment.variables.get("LIVEACT_DEVICE"))
    precision = _one_of("precision", only["precision"] or "auto", PRECISIONS)
    if precision == "auto":
        precision = "bf16" if devices[0].type == "cuda" else "fp32"
    try:
        wanted = parse_size(size or "416x720")
    except ValueError as error:
        raise UsageError(f"--size {size}: {error}", "--size 416x720") from error
    setup = Setup(
        wanted,
        tuple(devices),
        cast("Precision", precision),
        Sizes.read(environment.path(only["config"])) if only["config"] else Sizes(),
        attention=only["attention"] or "auto",
        decoder=cast("Decoder", _one_of("decoder", only["decoder"] or "wan", DECODERS)),
        compiled_decoder=bool(only["compile-decoder"]),
        graphs=cast("Graphs", _one_of("cuda-graphs", only["cuda-graphs"] or "auto", GRAPHS)),
        overlap=_one_of("overlap", only["overlap"] or "on", ("on", "off")) == "on",
    )
    result = run_full_bench(setup, chunks or 8, environment.say)
    if as_json:
        environment.result_json({"ok": True, "model": model, **result.to_dict()})
    else:
        environment.result(result.table())


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    from liveact_cli.core.errors import UsageError

    if value not in known:
        raise UsageError(f"--{name} {value} is unknown", f"choose one of {', '.join(known)}")
    return value


def _whole(name: str, text: str | None, least: int) -> int | None:
    from liveact_cli.core.errors import UsageError

    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise UsageError(f"--{name} {text}: write a whole number from {least}", f"--{name} 8")
    return int(text)
