"""The `liveact` command: finds the subcommand, runs it, and turns failures into sentences.

Nothing heavy is imported here: every subcommand is a module that is loaded when it is called,
and it loads numpy, torch and pydantic only when it runs, so that `--help` stays quick.
"""

import difflib
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import liveact_cli
from liveact_cli.cli.boundary import guarded
from liveact_cli.cli.context import Environment
from liveact_cli.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Entry:
    """A subcommand: the module whose `app` holds it, and its line in the help."""

    module: str
    summary: str


COMMANDS: dict[str, Entry] = {
    "render": Entry("liveact_cli.cli.render", "Make a picture speak a recording."),
    "batch": Entry("liveact_cli.cli.batch_cmd", "Render what a manifest lists, unattended."),
    "podcast": Entry("liveact_cli.cli.podcast_cmd", "Make a show of several people."),
    "script": Entry("liveact_cli.cli.script_cmd", "Direct a performance in YAML."),
    "preview": Entry("liveact_cli.cli.preview_cmd", "Render just a moment of a script."),
    "preset": Entry("liveact_cli.cli.preset_cmd", "List and show presets."),
    "model": Entry("liveact_cli.cli.model_cmd", "Download, list and check weights."),
    "inspect": Entry("liveact_cli.cli.inspect", "Show how a video was made."),
    "doctor": Entry("liveact_cli.cli.doctor", "Check what this machine has and can do."),
    "bench": Entry("liveact_cli.cli.bench", "Measure the speed of every stage."),
    "verify": Entry("liveact_cli.cli.verify", "Prove the numbers of a checkpoint on this machine."),
}


class LazyGroup(TyperGroup):
    """The root command; subcommands are imported when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the subcommand's module and return its command."""
        entry = COMMANDS.get(cmd_name)
        return entry and typer.main.get_command(importlib.import_module(entry.module).app)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the subcommand; raises UsageError with the nearest name for an unknown one."""
        if args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, 1, 0.5)
            hint = f"did you mean `liveact {near[0]}`?" if near else "liveact --help"
            raise UsageError(f"there is no command {args[0]!r}", hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the table of subcommands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


root = typer.Typer(
    cls=LazyGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make a picture speak: a recording and one portrait go in, a talking video comes out.",
)


def _version(ctx: typer.Context, wanted: bool) -> None:
    if wanted:
        ctx.obj.result(f"liveact {liveact_cli.__version__}")
        raise typer.Exit


@root.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None, environment: Environment | None = None) -> int:
    """Run one command line and return its exit status (the console script's entry point)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    environment = environment or Environment()
    command = typer.main.get_command(root)

    def run() -> object:
        return command.main(
            arguments or ["--help"], prog_name="liveact", standalone_mode=False, obj=environment
        )

    return guarded(run, environment, as_json="--json" in arguments)


if __name__ == "__main__":
    sys.exit(main())
