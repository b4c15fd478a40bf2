"""What is right in a wrong script, so that its words and references are checked with the rest."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError

from liveact_cli.script.document import Mapping, read_document, to_plain
from liveact_cli.script.models import Script
from liveact_cli.script.parse import Parsed, validate
from liveact_cli.script.problems import Problem
from liveact_cli.script.source import Source

ROUNDS: Final = 8
"""Taking one wrong value out may show another below it."""
UNREAD: Final = "a word that is not read yet"


def salvage_script(source: Source) -> tuple[Parsed[Script] | None, tuple[Problem, ...]]:
    """Return a script and all that is wrong with it; what is wrong is left out of the script.

    Places stay those of the file. The script is None when nothing of it can be read.
    """
    document = read_document(source)
    script, problems = validate(document, Script)
    if script is None and isinstance(document.root, Mapping):
        script = _right_parts(to_plain(document.root))
    return (None if script is None else Parsed(script, document)), problems


def _right_parts(plain: dict[str, Any]) -> Script | None:
    plain["liveact"] = "1"
    for _ in range(ROUNDS):
        try:
            return Script.model_validate(plain)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                _leave_out(plain, detail["loc"])
    return None


def _leave_out(plain: Any, path: Sequence[int | str]) -> None:
    """Take out of `plain`, in place, what a path leads to, or the last thing on its way."""
    if len(path) >= 2 and path[0] == "define" and isinstance(plain.get("define"), dict):
        # The word itself stays known: the events that use it are not wrong.
        definition = plain["define"].get(path[1])
        if isinstance(definition, dict) and len(path) > 2 and definition.get("prompt") == UNREAD:
            definition.pop(path[2], None)
        elif path[1] in plain["define"]:
            kept = definition if isinstance(definition, dict) else {}
            names = {key: kept[key] for key in ("kind", "synonyms") if kept.get(key) is not None}
            plain["define"][path[1]] = {"prompt": UNREAD, **names}
        return
    node = plain
    for step in path[:-1]:
        below = _below(node, step)
        if not isinstance(below, dict | list):
            path = path[: path.index(step) + 1]
            break
        node = below
    last = path[-1]
    if isinstance(node, dict):
        node.pop(last, None)
    elif isinstance(node, list) and isinstance(last, int) and last < len(node):
        # An empty event directs nothing, and the others keep their numbers.
        node[last] = {}


def _below(node: Any, step: int | str) -> Any:
    if isinstance(node, dict):
        return node.get(step)
    return node[step] if isinstance(step, int) and step < len(node) else None
