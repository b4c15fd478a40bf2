"""The public command surface is frozen: what scripts rely on does not change by accident."""

import typer

from liveact_cli.cli.main import COMMANDS, root
from liveact_cli.core.errors import ExitCode

SURFACE = {
    "render": {
        "AUDIO", "--ref", "-o --output", "--prompt", "--model", "--size", "--fps", "--seed",
        "--start", "--duration", "--face", "--crf", "--label", "--dry-run", "--json", "--force",
        "-q --quiet", "-v --verbose", "--audio-guidance", "--sampler", "--memory",
        "--prompt-granularity", "--audio-encoder", "--vae-overlap", "--tiles", "--gpus",
        "--decoder", "--decoder-weights",
        "--precision", "--kv-precision", "--offload", "--resume", "--state-every", "--yes",
        "--keep-state", "--progress-file", "--events",
    },
    "batch run": {
        "MANIFEST", "--ref", "-o --output", "--set", "--jobs", "--timeout", "--retries",
        "--cluster", "--dry-run", "--json", "--force", "-q --quiet", "-v --verbose",
    },
    "batch check": {"MANIFEST", "--ref", "-o --output", "--set", "--json"},
    "batch status": {"MANIFEST", "--watch", "--json"},
    "batch cancel": {"MANIFEST", "[JOB]...", "--all"},
    "batch retry": {"MANIFEST", "[JOB]..."},
    "podcast": {
        "EPISODE...", "--host", "--guest", "-o --output", "--turns", "--sound", "--layout",
        "--size", "--background", "--no-captions", "--font", "--shortest-shot", "--no-reactions",
        "--preset", "--model", "--fps", "--seed", "--start", "--duration", "--crf", "--label",
        "--jobs", "--keep-state", "--dry-run", "--json", "--force", "-q --quiet",
    },
    "inspect": {"VIDEO", "--json"},
    "doctor": {"--size", "--gpu-memory", "--json"},
    "bench": {
        "--model", "--size", "--seconds", "--json", "--random-weights", "--gpus", "--precision",
        "--attention", "--decoder", "--compile-decoder", "--cuda-graphs", "--overlap", "--chunks",
        "--config",
    },
    "verify": {"CHECKPOINT", "GOLDEN...", "--tolerance", "--gpus", "--precision",
               "--kv-precision", "--offload", "--json"},
}  # fmt: skip


def options_of(command) -> set[str]:
    found = set()
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            found.add(parameter.metavar)
        else:
            found.add(" ".join(parameter.opts))
    return found


def test_options() -> None:
    group = typer.main.get_command(root)
    for name, expected in SURFACE.items():
        command = group
        for word in name.split():
            command = command.get_command(None, word)
        missing = expected - options_of(command)
        assert not missing, f"{name} lost {missing}"


def test_commands_do_not_vanish() -> None:
    assert {name.split()[0] for name in SURFACE} <= set(COMMANDS)


def test_exit_codes() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0, "FAILURE": 1, "USAGE": 2, "BAD_MEDIA": 3, "MISSING_WEIGHTS": 4, "DEVICE": 5,
        "BATCH_PARTIAL": 6, "BUG": 70, "INTERRUPTED": 130,
    }  # fmt: skip
