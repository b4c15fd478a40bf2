"""How every subcommand of `liveact` is made."""

import typer


def new_app(help_text: str = "") -> typer.Typer:
    """Return an application with plain help: rich markup alone would cost 150 ms."""
    return typer.Typer(
        help=help_text,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
