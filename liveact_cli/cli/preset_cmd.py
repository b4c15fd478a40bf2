"""`liveact preset`: what lies underneath a script."""

from typing import TYPE_CHECKING, Annotated

import typer

from liveact_cli.cli.apps import new_app

if TYPE_CHECKING:
    from liveact_cli.cli.context import Environment

app = new_app("Presets: podcast, talkshow, newsreader, singer and others.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command(name="list")
def list_presets(ctx: typer.Context, as_json: JsonOption = False) -> None:
    """List the presets, your own in ~/.config/liveact/presets included."""
    from liveact_cli.config.presets import preset_files
    from liveact_cli.script.parse import parse_preset
    from liveact_cli.script.source import read_source

    environment: Environment = ctx.obj
    found = {
        name: parse_preset(read_source(path)).script.description
        for name, path in preset_files(environment.variables).items()
    }
    if as_json:
        presets = [{"name": name, "description": text} for name, text in found.items()]
        environment.result_json({"ok": True, "presets": presets})
        return
    for name, description in found.items():
        environment.result(f"{name:12} {description}")


@app.command()
def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A preset, or a .yaml file.")],
    as_json: JsonOption = False,
) -> None:
    """Print a preset: copy it to begin one of your own."""
    from functools import partial

    from liveact_cli.config.presets import find_preset
    from liveact_cli.script.parse import parse_preset
    from liveact_cli.script.performance import preset_file
    from liveact_cli.script.source import read_source

    environment: Environment = ctx.obj
    finder = partial(find_preset, variables=environment.variables)
    source = read_source(preset_file(name, environment.directory, finder))
    preset = parse_preset(source).script
    if as_json:
        values = preset.model_dump(mode="json", by_alias=True, exclude_none=True)
        environment.result_json({"ok": True, "name": name, "preset": values})
        return
    environment.stdout.write(source.text if source.text.endswith("\n") else source.text + "\n")
