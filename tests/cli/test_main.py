"""The frame around every command: help, versions, failures."""

import errno
import io
import subprocess
import sys
from pathlib import Path

import pytest

from liveact_cli.cli.boundary import guarded, translate
from liveact_cli.cli.context import Environment
from liveact_cli.cli.main import COMMANDS
from liveact_cli.core.errors import DeviceError, ExitCode, LiveActError, MediaError, WeightsError

HEAVY = ("torch", "numpy", "pydantic", "rich", "cv2", "av", "yaml", "numba", "PIL", "scipy")


def loaded_by(*arguments: str) -> set[str]:
    code = (
        "import sys; from liveact_cli.cli.main import main; main(sys.argv[1:]);"
        "print('\\nmodules:', *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stderr.rpartition("modules:")[2].split())


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], [], ["render", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    loaded = loaded_by(*arguments)
    # On the way to a subcommand typer itself checks the root's options with pydantic.
    allowed = {"pydantic"} if "render" in arguments else set()
    assert not loaded & set(HEAVY) - allowed
    others = {entry.module for name, entry in COMMANDS.items() if name not in arguments}
    assert not loaded & others


def test_every_command_has_help_and_is_listed() -> None:
    for name in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", "liveact_cli", name, "--help"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "Usage: liveact " + name in done.stdout


def test_version(shell) -> None:
    outcome = shell("--version")
    assert outcome.code == 0
    assert outcome.out.startswith("liveact 0.")


@pytest.mark.parametrize(
    ("arguments", "says", "hint"),
    [
        (["rendr"], "no command 'rendr'", "liveact render"),
        (["xyzzy"], "no command 'xyzzy'", "liveact --help"),
        (["--nonsense"], "--nonsense", "liveact --help"),
        (["render"], "missing argument", "liveact render AUDIO --ref IMAGE"),
        (["render", "a.wav", "--reff", "x.png"], "--reff", "liveact render --help"),
        (["render", "a.wav", "--ref"], "--ref", "--help"),
        (["doctor", "extra"], "extra", "liveact doctor --help"),
    ],
)
def test_usage_errors(shell, arguments: list[str], says: str, hint: str) -> None:
    outcome = shell(*arguments)
    assert outcome.code == ExitCode.USAGE
    assert outcome.out == ""
    first, _, rest = outcome.err.partition("\n\nhint: ")
    assert first.startswith("error: ")
    assert says in first
    assert hint in rest


def test_json_parses_on_failure(shell) -> None:
    outcome = shell("render", "--json")
    assert outcome.code == ExitCode.USAGE
    assert outcome.json["ok"] is False
    assert outcome.json["error"]["exit_code"] == 2
    assert outcome.err.startswith("error: ")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), DeviceError),
        (OSError(errno.ENOSPC, "No space left on device", "x.mp4"), LiveActError),
        (PermissionError(errno.EACCES, "Permission denied", "x.mp4"), LiveActError),
        (ModuleNotFoundError("No module named 'triton'", name="triton"), WeightsError),
        (MediaError("bad", "good"), MediaError),
    ],
)
def test_known_failures_become_sentences(error: Exception, kind: type) -> None:
    assert type(translate(error)) is kind


def boom() -> None:
    raise ZeroDivisionError("division by zero")


@pytest.mark.parametrize("debug", ["0", "1"])
def test_our_own_faults(debug: str, tmp_path: Path) -> None:
    err = io.StringIO()
    environment = Environment(io.StringIO(), err, {"LIVEACT_DEBUG": debug}, tmp_path)
    assert guarded(boom, environment, as_json=False) == ExitCode.BUG
    assert "internal error: ZeroDivisionError: division by zero" in err.getvalue()
    assert ("Traceback" in err.getvalue()) == (debug == "1")


def test_ctrl_c_is_130(tmp_path: Path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    environment = Environment(io.StringIO(), io.StringIO(), {}, tmp_path)
    assert guarded(interrupted, environment, as_json=False) == ExitCode.INTERRUPTED


def test_completion_prints_a_script() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from liveact_cli.cli.main import main; main()"],
        env={"_LIVEACT_COMPLETE": "complete_bash", "COMP_WORDS": "liveact re", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
    )
    assert "render" in done.stdout.split()
