"""YAML as a tree that remembers where everything stands.

Scalars stay strings, so `0:05` is never read as the number 5 (YAML 1.1 counts in sixties) and `no`
is never false. PyYAML delivers events; the tree is built from them without recursion and within
limits: no aliases (nor their bombs), no tags, no depth beyond `MAX_DEPTH`. After a syntax error the
value in the line at fault is put in quotes, or the line taken out, and reading goes on: one broken
line does not hide the others.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml

from liveact_cli.script.problems import Place, Problem, Severity, quoted
from liveact_cli.script.source import Source

MAX_DEPTH: Final = 8
MAX_NODES: Final = 200_000
MAX_SYNTAX_ERRORS: Final = 10
RECOVERY_CHARACTERS: Final = 100_000
"""Larger files are parsed once: parsing takes seconds a megabyte."""
NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))


@dataclass(slots=True)
class Scalar:
    """A word, number, time or text as it stands; `plain` when it has no quotes."""

    text: str
    plain: bool
    line: int
    column: int

    @property
    def is_null(self) -> bool:
        """Whether there is a key without a value."""
        return self.plain and self.text in NULLS


@dataclass(slots=True)
class Sequence:
    """A list; `line` and `column` are those of its start."""

    line: int
    column: int
    items: list["Node"] = field(default_factory=list)


@dataclass(slots=True)
class Mapping:
    """Keys and values in the order of the file; `last_line` is where it ends."""

    line: int
    column: int
    pairs: list[tuple[Scalar, "Node"]] = field(default_factory=list)
    last_line: int = 0

    def get(self, key: str) -> "Node | None":
        """Return the value of `key`, or None."""
        return next((value for name, value in self.pairs if name.text == key), None)

    def key(self, key: str) -> Scalar | None:
        """Return the key itself with its place, or None."""
        return next((name for name, _ in self.pairs if name.text == key), None)


Node: TypeAlias = Scalar | Sequence | Mapping


@dataclass(frozen=True)
class Document:
    """A parsed file: its tree (None when nothing could be read) and what is wrong with it.

    `broken_lines` are not YAML; of these `removed_lines` could not be kept even as text.
    """

    source: Source
    root: Node | None
    problems: tuple[Problem, ...]
    broken_lines: frozenset[int]
    removed_lines: frozenset[int]

    def problem(self, node: Node, message: str, hint: str = "") -> Problem:
        """Return an error at `node`."""
        return _problem(self.source, node.line, node.column, message, hint)

    def is_broken(self, node: Mapping) -> bool:
        """Whether a line inside `node` was taken out, so that keys may be missing."""
        return any(node.line <= line <= node.last_line + 1 for line in self.removed_lines)


class _TreeError(Exception):
    """Reading cannot go on; the problem is recorded."""


def read_document(source: Source) -> Document:
    """Parse `source` into a tree; never raises, everything wrong is in `problems`."""
    problems = list(_tab_problems(source))
    tabs = bool(problems)
    lines = [_without_tabs(line) for line in source.lines]
    broken: set[int] = set()
    removed: set[int] = set()
    root: Node | None = None
    seen: list[Problem] = []
    for _ in range(MAX_SYNTAX_ERRORS):
        builder = _Builder(source)
        try:
            root = builder.build("\n".join(lines))
            seen = builder.problems
            break
        except _TreeError:
            problems += builder.problems
            seen = []
            break
        except yaml.YAMLError as error:
            problem, line = _syntax_problem(source, error)
            if not tabs:
                problems.append(problem)
            large = len(source.text) > RECOVERY_CHARACTERS
            if line is None or large or not lines[line - 1].strip():
                break
            lines[line - 1] = "" if line in broken else _value_in_quotes(lines[line - 1])
            broken.add(line)
            if not lines[line - 1]:
                removed.add(line)
    near = {line + offset for line in broken for offset in (0, 1, 2, 3)}
    problems += [p for p in seen if not (p.place.line in near and "a second time" in p.message)]
    return Document(source, root, tuple(problems), frozenset(broken), frozenset(removed))


def to_plain(node: Node) -> Any:
    """Return the tree as strings, None, lists and dictionaries, which pydantic reads."""
    match node:
        case Scalar():
            return None if node.is_null else node.text
        case Sequence():
            return [to_plain(item) for item in node.items]
        case Mapping():
            plain: dict[str, Any] = {}
            for key, value in node.pairs:
                # Of a key that comes twice the first counts, as it does for `Mapping.get`.
                plain.setdefault(key.text, to_plain(value))
            return plain


def find(root: Node, path: tuple[int | str, ...]) -> Node:
    """Return the node that pydantic's `loc` names, or the last one on the way that exists."""
    node = root
    for step in path:
        if isinstance(node, Mapping) and isinstance(step, str):
            below = node.get(step)
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            below = node.items[step]
        else:
            below = None
        if below is None:
            return node
        node = below
    return node


class _Builder:
    """Builds the tree from PyYAML's events with a stack of its own instead of recursion."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.stack: list[Sequence | Mapping] = []
        self.keys: list[Scalar | None] = []
        self.root: Node | None = None
        self.nodes = 0

    def build(self, text: str) -> Node | None:
        """Return the root of `text`, or None when it is empty."""
        for event in _events(text):
            line, column = _position(event.start_mark)
            if isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
                self.fail(line, column, "a second document begins here", "keep one script a file")
            if isinstance(event, yaml.NodeEvent):
                self.check(event, line, column)
            if isinstance(event, yaml.ScalarEvent):
                self.check_text(event, line, column)
                self.add(Scalar(event.value, event.style is None, line, column))
            elif isinstance(event, yaml.AliasEvent):
                self.add(Scalar("", False, line, column))
            elif isinstance(event, yaml.SequenceStartEvent):
                self.open(Sequence(line, column))
            elif isinstance(event, yaml.MappingStartEvent):
                self.open(Mapping(line, column))
            elif isinstance(event, yaml.CollectionEndEvent):
                last_line, next_column = _position(event.end_mark)
                self.close(last_line - (next_column == 1))
        return self.root

    def check(self, event: yaml.NodeEvent, line: int, column: int) -> None:
        """Record what the language leaves out, stop at its limits."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.fail(line, column, f"more than {MAX_NODES:,} entries", "split the recording")
        if event.anchor is not None:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            self.report(
                line,
                column,
                f"anchors and aliases are not part of the language ({sign}{event.anchor})",
                "name a repeated action under define:, or put text with & or * in quotes",
            )
        tag = getattr(event, "tag", None)
        if tag is not None:
            tag = quoted(str(tag))
            hint = "take the tag out, or put text that begins with ! in quotes"
            self.report(line, column, f"tags are not part of the language ({tag})", hint)

    def check_text(self, event: yaml.ScalarEvent, line: int, column: int) -> None:
        """Record escapes such as "\\ud800" that are no characters; they cannot be printed."""
        if any("\ud800" <= sign <= "\udfff" for sign in event.value):
            event.value = event.value.encode("utf-8", "replace").decode()
            self.report(line, column, "an escape that is not a character", "write the character")

    def open(self, node: Sequence | Mapping) -> None:
        """Enter a list or mapping."""
        if len(self.stack) >= MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels"
            self.fail(node.line, node.column, message, "a script needs four at most")
        self.add(node)
        self.stack.append(node)
        self.keys.append(None)

    def close(self, last_line: int) -> None:
        """Leave the innermost list or mapping."""
        node = self.stack.pop()
        self.keys.pop()
        if isinstance(node, Mapping):
            node.last_line = last_line

    def add(self, node: Node) -> None:
        """Put `node` where it belongs: the root, a list's next item, a key or a key's value."""
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
            return
        key = self.keys[-1]
        if key is None:
            self.keys[-1] = self.as_key(node, parent)
        else:
            parent.pairs.append((key, node))
            self.keys[-1] = None

    def as_key(self, node: Node, parent: Mapping) -> Scalar:
        """Return `node` as a key, recording lists as keys and keys that come twice."""
        if not isinstance(node, Scalar):
            self.report(node.line, node.column, "a list or mapping cannot be a key", "use a word")
            return Scalar("", False, node.line, node.column)
        first = parent.key(node.text)
        if first is not None:
            self.report(
                node.line,
                node.column,
                f"{quoted(node.text)} stands here a second time (first in line {first.line})",
                "keep one of them; a second event begins with its own '- '",
            )
        return node

    def report(self, line: int, column: int, message: str, hint: str) -> None:
        """Record an error."""
        self.problems.append(_problem(self.source, line, column, message, hint))

    def fail(self, line: int, column: int, message: str, hint: str) -> None:
        """Record an error after which reading makes no sense."""
        self.report(line, column, message, hint)
        raise _TreeError


def _position(mark: Any) -> tuple[int, int]:
    """Return line and column of a PyYAML mark, from 1."""
    return mark.line + 1, mark.column + 1


def _events(text: str) -> Iterator[yaml.Event]:
    loader = yaml.SafeLoader(text)
    try:
        while loader.check_event():
            yield loader.get_event()  # type: ignore[no-untyped-call]
    finally:
        loader.dispose()


def _problem(source: Source, line: int, column: int, message: str, hint: str) -> Problem:
    place = Place(source.name, line, column)
    return Problem(Severity.ERROR, message, place, source.line(line), hint)


def _tab_problems(source: Source) -> Iterator[Problem]:
    for number, line in enumerate(source.lines, start=1):
        indentation = line[: len(line) - len(line.lstrip())]
        if "\t" in indentation and line.strip():
            column = indentation.index("\t") + 1
            yield _problem(
                source, number, column, "a tab in the indentation", "indent with two spaces a level"
            )


def _without_tabs(line: str) -> str:
    """Indent as if each leading tab were two spaces, so that the rest can still be checked."""
    body = line.lstrip()
    indentation = line[: len(line) - len(body)].replace("\t", "  ")
    return indentation + body.replace("\t", " ")


def _value_in_quotes(line: str) -> str:
    """Return `key: value` with its value as quoted text, or nothing for other lines."""
    match = _KEY_VALUE.fullmatch(line)
    if match is None:
        return ""
    return f"{match[1]}{json.dumps(match[2])}"


_KEY_VALUE: Final = re.compile(r"(\s*(?:-\s+)*\w+:\s+)(.*)")
_FIXES: Final = (
    (
        "mapping values are not allowed",
        'put text that has a colon in quotes: prompt: "He says: hi"',
    ),
    ("could not find expected ':'", "write key: value, with a space after the colon"),
    ("while scanning a quoted scalar", "close the quotation mark"),
    ("but found '-'", "give every '- ' of the timeline the same indentation"),
    ("expected <block end>", "give keys of one event the same indentation"),
    ("found character '%'", "put text that begins with % in quotes"),
    ("cannot start any token", "put text that begins with a special character in quotes"),
    ("flow", "close the bracket, or write the list one item a line"),
)


def _syntax_problem(source: Source, error: yaml.YAMLError) -> tuple[Problem, int | None]:
    """Return PyYAML's complaint in our words and the line to take out, None when there is none."""
    if isinstance(error, yaml.reader.ReaderError):
        before = source.text[: error.position]
        line = before.count("\n") + 1
        column = error.position - before.rfind("\n")
        sign = f"U+{error.character:04X}" if isinstance(error.character, int) else "?"
        message = f"an invisible control character ({sign})"
        return _problem(source, line, column, message, "delete it"), line
    if not isinstance(error, yaml.MarkedYAMLError):
        return _problem(source, 0, 0, f"not YAML: {error}", "check the file"), None
    mark = error.problem_mark or error.context_mark
    said = ", ".join(part for part in (error.context, error.problem) if part)
    scalar = "quoted scalar" in (error.context or "")
    if scalar and error.context_mark is not None:
        mark = error.context_mark
    hint = next((fix for sign, fix in _FIXES if sign in said), "compare with docs/directing.md")
    if mark is None:
        return _problem(source, 0, 0, f"not YAML: {said}", hint), None
    line = min(mark.line + 1, len(source.lines))
    while line > 1 and not source.line(line).strip():
        line -= 1
    column = mark.column + 1
    for candidate in (line - 1, line):
        text = source.line(candidate)
        if "：" in text and ": " not in text:
            line, column = candidate, text.index("：") + 1
            hint = "write an ordinary colon and a space (: ) instead of the full-width ："
    return _problem(source, line, column, f"not YAML: {said}", hint), line
