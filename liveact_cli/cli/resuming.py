"""`render --resume OUT`: asking again for what was asked, from what the saved state remembers."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from liveact_cli.core.errors import UsageError

if TYPE_CHECKING:
    import typer

    from liveact_cli.cli.context import Environment

HOW_TO_SHOW: Final = (
    "as_json", "quiet", "verbose", "progress_file", "events", "state_every", "keep_state", "yes",
)  # fmt: skip
"""Options that say how a render is shown and kept: those of the command that resumes hold."""
_VARIABLES: Final = "LIVEACT_"


def request_of(ctx: "typer.Context", target: Path) -> dict[str, Any]:
    """Return what a state remembers of this command; nothing when it cannot be asked again."""
    if ctx.params["script"] == "-":
        return {}
    environment: Environment = ctx.obj
    variables = {n: v for n, v in environment.variables.items() if n.startswith(_VARIABLES)}
    kept = (*HOW_TO_SHOW, "output", "dry_run", "resume")
    return {
        "words": [f"--output={target}", *_words(ctx, lambda name: name not in kept)],
        "directory": str(environment.directory),
        "variables": variables,
    }


def ask_again(ctx: "typer.Context", target: str) -> None:
    """Run the command that `target` was begun with; UsageError where nothing is known of it."""
    from liveact_cli.engine.unfinished import unfinished

    given = list(_words(ctx, lambda name: name not in (*HOW_TO_SHOW, "resume")))
    if given:
        raise UsageError(
            f"--resume knows all settings of the render, {given[0]} is too much",
            f"liveact render --resume {target}",
        )
    environment: Environment = ctx.obj
    path = environment.path(target)
    facts = unfinished(path)
    if facts is None:
        there = "is finished" if path.exists() else "was not begun, or nothing of it was saved"
        raise UsageError(f"there is nothing to resume: {target} {there}", "liveact render --help")
    request = facts["request"]
    if not request:
        raise UsageError(
            f"{target} was begun with a script from stdin, or by another program",
            "the same command goes on with it, given the same script",
        )
    words = [*_words(ctx, lambda name: name in HOW_TO_SHOW), *request["words"]]
    then = replace(
        environment,
        directory=Path(request["directory"]),
        variables={**environment.variables, **request["variables"]},
    )
    ctx.command.main(words, "render", standalone_mode=False, obj=then)


def _words(ctx: "typer.Context", wanted: Any) -> Iterator[str]:
    """Yield the wanted options and arguments of a command as they can be typed again."""
    positional = []
    for parameter in ctx.command.params:
        value = ctx.params.get(parameter.name or "")
        if not wanted(parameter.name) or value in (None, False, (), []):
            continue
        if parameter.param_type_name == "argument":
            positional.append(str(value))
            continue
        option = parameter.opts[-1]
        for one in value if isinstance(value, list | tuple) else (value,):
            yield option if one is True else f"{option}={one}"
    if positional:
        yield from ("--", *positional)
