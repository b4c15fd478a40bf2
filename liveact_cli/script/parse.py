"""From text to a `Script`: everything that is wrong with it, each with its place and its fix."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from liveact_cli.script.document import (
    Document,
    Mapping,
    Node,
    Scalar,
    Sequence,
    find,
    read_document,
    to_plain,
)
from liveact_cli.script.models import Event, Script
from liveact_cli.script.presets import Preset
from liveact_cli.script.problems import (
    Place,
    Problem,
    ScriptError,
    Severity,
    did_you_mean,
    nearest,
    quoted,
)
from liveact_cli.script.rules import event_faults
from liveact_cli.script.source import Source, read_source

ModelT = TypeVar("ModelT", bound=BaseModel)
EMPTY_IS_FINE: Final = frozenset(("timeline", "define"))
_RELEASED_KEY: Final = re.compile(r"\[\s*\d+\s*,\s*\d+\s*\]")


@dataclass(frozen=True)
class Parsed(Generic[ModelT]):
    """A script or preset and the document it came from, which knows where every event stands."""

    script: ModelT
    document: Document

    @property
    def folder(self) -> Path:
        """Where relative paths in the script start."""
        return self.document.source.folder

    def place(self, path: tuple[int | str, ...]) -> Place:
        """Return where the value at `path` stands."""
        root = self.document.root
        if root is None:
            return Place(self.document.source.name)
        node = find(root, path)
        return Place(self.document.source.name, node.line, node.column)

    def line(self, place: Place) -> str:
        """Return the source line of a place in this document."""
        return self.document.source.line(place.line)


def load_script(path: str | Path) -> Parsed[Script]:
    """Read and parse the script at `path` (`-`: standard input).

    Raises `ScriptError` with everything that is wrong.
    """
    return parse_script(read_source(path))


def parse_script(source: Source) -> Parsed[Script]:
    """Parse a script.

    Raises `ScriptError` with everything that is wrong.
    """
    return _parsed(source, Script)


def parse_preset(source: Source) -> Parsed[Preset]:
    """Parse a preset.

    Raises `ScriptError` with everything that is wrong.
    """
    return _parsed(source, Preset)


def _parsed(source: Source, model: type[ModelT]) -> Parsed[ModelT]:
    document = read_document(source)
    value, problems = validate(document, model)
    if value is None:
        raise ScriptError(problems)
    return Parsed(value, document)


def validate(document: Document, model: type[ModelT]) -> tuple[ModelT | None, tuple[Problem, ...]]:
    """Return `document` as a `model` (a `Script` or a preset), or None and all that is wrong."""
    problems = list(document.problems)
    root = document.root
    if not isinstance(root, Mapping):
        if not problems:
            problems.append(_not_a_script(document, root))
        return None, tuple(problems)
    released = next((key for key, _ in root.pairs if _RELEASED_KEY.fullmatch(key.text)), None)
    if released is not None:
        message = "this is a released edit file (chunk numbers in JSON), not a script"
        hint = f"liveact script convert {document.source.name} -o script.yaml"
        return None, (document.problem(released, message, hint),)
    value: ModelT | None = None
    try:
        value = model.model_validate(to_plain(root))
    except ValidationError as error:
        problems += _unique(_model_problems(document, root, model, error))
    problems += _null_problems(document, root)
    problems += _unknown_keys(document, root, model)
    problems += _event_problems(document, root)
    told = set(document.problems)
    broken = document.broken_lines
    problems = [p for p in problems if p in told or p.place.line not in broken]
    return (None if problems else value), tuple(problems)


def _not_a_script(document: Document, root: Node | None) -> Problem:
    hint = "begin with liveact: 1; liveact script new --audio RECORDING writes a start"
    if root is None or (isinstance(root, Scalar) and root.is_null):
        return Problem(Severity.ERROR, "empty script", Place(document.source.name), hint=hint)
    what = "a list" if isinstance(root, Sequence) else f"text ({quoted(root.text)})"  # type: ignore[union-attr]
    return document.problem(root, f"a script is keys and values, this is {what}", hint)


def _unique(problems: Iterable[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))


def _model_problems(
    document: Document, root: Mapping, model: type[BaseModel], error: ValidationError
) -> Iterator[Problem]:
    for detail in error.errors(include_url=False, include_input=False):
        path = tuple(detail["loc"])
        node = find(root, path)
        if detail["type"] == "extra_forbidden" or (isinstance(node, Scalar) and node.is_null):
            continue
        if detail["type"] == "missing":
            if any(str(path[-1]) in document.source.line(line) for line in document.broken_lines):
                continue
            hint = "write liveact: 1 in the first line" if path == ("liveact",) else ""
            yield document.problem(node, f"{path[-1]}: is missing", hint)
            continue
        key = next((str(step) for step in reversed(path) if isinstance(step, str)), "")
        message, hint = _sentence(detail, key, node)
        yield document.problem(node, message, hint)


def _sentence(detail: ErrorDetails, key: str, node: Node) -> tuple[str, str]:
    """Return pydantic's complaint as a sentence with the value, and the fix."""
    given = quoted(node.text) if isinstance(node, Scalar) else "keys and values"
    if isinstance(node, Sequence):
        given = "a list"
    context: dict[str, Any] = detail.get("ctx", {})
    kind = detail["type"]
    if "message" in context:
        return f"{key}: {context['message']}", context.get("hint", "")
    if kind == "literal_error" and key == "liveact":
        return f"liveact: {given} is a version that is not known here", "write liveact: 1"
    if kind == "literal_error":
        expected = str(context["expected"]).replace("'", "")
        return f"{key}: {given} is not possible", f"write {key}: {expected}"
    if kind in ("float_parsing", "float_type", "int_parsing", "int_type", "finite_number"):
        return f"{key}: {given} is not a number", f"write a number: {key}: 0.5"
    if kind in ("greater_than_equal", "less_than_equal", "greater_than", "less_than"):
        return f"{key}: {given} is out of range: {detail['msg'].lower()}", (
            "write a number from 0 to 1" if key == "intensity" else ""
        )
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        what = "an event" if key == "timeline" else f"{key}:"
        return f"{what} is keys and values, not {given}", "write it as - at: 0:02 and further keys"
    if kind in ("tuple_type", "list_type"):
        return f"{key}: is a list, not {given}", "begin each entry with '- '"
    return f"{key}: {given}: {detail['msg']}", ""


def _null_problems(document: Document, root: Mapping) -> Iterator[Problem]:
    """Yield keys without a value."""
    waiting: list[Node] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Sequence):
            for item in node.items:
                if isinstance(item, Scalar) and item.is_null:
                    yield document.problem(item, "an empty entry", "take the '- ' out")
            waiting += node.items
        elif isinstance(node, Mapping):
            for key, value in node.pairs:
                if not isinstance(value, Scalar) or not value.is_null:
                    waiting.append(value)
                elif key.text not in EMPTY_IS_FINE:
                    message = f"{quoted(key.text)} has no value"
                    yield document.problem(
                        key, message, f"write {key.text}: and a value, or take it out"
                    )


def _unknown_keys(document: Document, root: Mapping, model: type[BaseModel]) -> Iterator[Problem]:
    yield from _keys_outside(document, root, model)
    for name, field in model.model_fields.items():
        section = root.get(name)
        for inner in _models_in(field.annotation):
            for part in _sections(section, whole=inner is field.annotation):
                yield from _keys_outside(document, part, inner)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a field holds: itself, one of several kinds, or the members of it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def _sections(node: Node | None, *, whole: bool) -> Iterator[Mapping]:
    """Yield the mappings that are checked: the node itself, or those that it is made of."""
    if isinstance(node, Sequence):
        yield from (item for item in node.items if isinstance(item, Mapping))
    elif isinstance(node, Mapping):
        inside = [value for _, value in node.pairs if isinstance(value, Mapping)]
        yield from [node] if whole else inside


def _keys_outside(document: Document, node: Mapping, model: type[BaseModel]) -> Iterator[Problem]:
    known = keys_of(model)
    for key, _ in node.pairs:
        if key.text not in known:
            hint = did_you_mean(key.text, known) or f"the keys here are {', '.join(known)}"
            yield document.problem(key, f"unknown key {quoted(key.text)}", hint)


def keys_of(model: type[BaseModel]) -> list[str]:
    """Return the keys that a model knows, as they are written."""
    return [str(field.validation_alias or name) for name, field in model.model_fields.items()]


def _meant(event: Mapping) -> set[str]:
    """Return the keys that the unknown ones of an event are likely to stand for."""
    known = keys_of(Event)
    unknown = (key.text for key, _ in event.pairs if key.text not in known)
    return {near for near in (nearest(text, known) for text in unknown) if near is not None}


def _event_problems(document: Document, root: Mapping) -> Iterator[Problem]:
    timeline = root.get("timeline")
    if not isinstance(timeline, Sequence):
        return
    has_transcript = root.key("transcript") is not None
    for item in timeline.items:
        if isinstance(item, Mapping) and not document.is_broken(item):
            meant = _meant(item)
            for key, message, hint in event_faults(item, meant, has_transcript=has_transcript):
                place = item.key(key) or item
                yield document.problem(place, message, hint)
