"""Manifests of every form as rows of cells, each cell with the place where it stands.

YAML, CSV, JSON lines and folders differ only here. Values stay text: what a cell means is decided
in one place, whatever file it came from.
"""

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from liveact_cli.script import document as yaml
from liveact_cli.script.formats.table import delimiter_of
from liveact_cli.script.problems import (
    Place,
    Problem,
    ScriptError,
    Severity,
    did_you_mean,
    quoted,
)
from liveact_cli.script.source import Source, decode_text, shown_path

MAX_BYTES: Final = 16_000_000
"""Largest manifest that is read: some hundred thousand jobs."""
SOUNDS: Final = (".wav", ".mp3", ".m4a", ".flac", ".ogg", ".opus", ".aac", ".aif", ".aiff")
PICTURES: Final = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
FORMS: Final = "YAML (.yaml, .yml), CSV (.csv, .tsv), JSON lines (.jsonl, .ndjson) or a folder"
DEFAULTS, JOBS, VERSION = "defaults", "jobs", "liveact"
_WORDS: Final = (("docs/directing.md", "docs/batch.md"), ("of the timeline", "of jobs:"))


class ManifestError(ScriptError):
    """A manifest cannot be used; `problems` lists everything that is wrong with it."""

    advice = "docs/batch.md explains the keys; liveact batch check MANIFEST also opens every file"


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as it is written (several for a list), where, and the line it stands in."""

    texts: tuple[str, ...]
    place: Place
    line: str = ""

    @property
    def text(self) -> str:
        """The value, where only one is possible."""
        return self.texts[0]

    def problem(self, message: str, hint: str = "") -> Problem:
        """Return an error at this cell."""
        return Problem(Severity.ERROR, message, self.place, self.line, hint)


@dataclass(frozen=True, slots=True)
class Row:
    """One job as it is written: cells by key (with underscores), and where it begins."""

    cells: Mapping[str, Cell]
    place: Place
    line: str = ""

    def problem(self, message: str, hint: str = "") -> Problem:
        """Return an error at the row."""
        return Problem(Severity.ERROR, message, self.place, self.line, hint)


@dataclass(slots=True)
class Rows:
    """A manifest read: what holds for every job, the jobs, and what is wrong with its form."""

    defaults: Mapping[str, Cell] = field(default_factory=dict)
    jobs: list[Row] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read_rows(path: Path, keys: Iterable[str]) -> Rows:
    """Read a manifest, or a folder as one; `keys` are those that a job may have.

    Raises `ManifestError` for what cannot be read at all.
    """
    known = tuple(keys)
    if path.is_dir():
        return _folder_rows(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None and path.exists():
        name = shown_path(path)
        raise refused(name, f"{name} is not a manifest by its name", f"a manifest is {FORMS}")
    source = _read(path)
    rows: Rows = (reader or _yaml_rows)(source, known)
    if not rows.jobs and not rows.problems:
        message = f"{source.name} holds no jobs"
        rows.problems.append(Problem(Severity.ERROR, message, Place(source.name)))
    return rows


def refused(name: str, message: str, hint: str) -> ManifestError:
    """Return the error for a manifest of which nothing can be used."""
    return ManifestError([Problem(Severity.ERROR, message, Place(name), hint=hint)])


def _read(path: Path) -> Source:
    name = shown_path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise refused(name, f"{name} does not exist", "docs/batch.md shows one") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise refused(name, f"{name} cannot be read: {reason}", "check its name") from None
    if len(data) > MAX_BYTES:
        raise refused(name, f"{name} is larger than {MAX_BYTES:,} bytes", "split it")
    try:
        return decode_text(data, name, path.parent)
    except ScriptError as error:
        raise ManifestError(error.problems) from None


def _key(text: str) -> str:
    return text.strip().replace("-", "_")


def _unknown(key: str, known: tuple[str, ...]) -> tuple[str, str]:
    """Return what is wrong with a key that no job has, and the fix."""
    hint = did_you_mean(_key(key), known) or f"the keys of a job are {', '.join(known)}"
    return f"unknown key {quoted(key)}", hint


def _yaml_rows(source: Source, known: tuple[str, ...]) -> Rows:
    document = yaml.read_document(source)
    rows = Rows(problems=[_in_our_words(problem) for problem in document.problems])
    root, jobs = document.root, document.root
    if isinstance(root, yaml.Mapping):
        jobs = _yaml_head(document, root, known, rows)
    if isinstance(jobs, yaml.Sequence):
        for item in jobs.items:
            _yaml_job(document, item, known, rows)
    elif jobs is not None and not rows.problems:
        hint = "begin each job with '- audio: FILE'"
        rows.problems.append(document.problem(jobs, "jobs: is a list of jobs", hint))
    rows.problems = [
        problem
        for problem in rows.problems
        if problem.place.line not in document.broken_lines or "not YAML" in problem.message
    ]
    return rows


def _in_our_words(problem: Problem) -> Problem:
    hint = problem.hint
    for theirs, ours in _WORDS:
        hint = hint.replace(theirs, ours)
    return replace(problem, hint=hint)


def _yaml_head(
    document: yaml.Document, root: yaml.Mapping, known: tuple[str, ...], rows: Rows
) -> yaml.Node | None:
    """Read what stands above the jobs; return the node that should be their list."""
    allowed = (VERSION, DEFAULTS, JOBS)
    for key, value in root.pairs:
        if key.text == VERSION:
            if not isinstance(value, yaml.Scalar) or value.text != "1":
                message = "this version of manifests is not known here"
                rows.problems.append(document.problem(value, message, "write liveact: 1"))
        elif key.text == DEFAULTS:
            if isinstance(value, yaml.Mapping):
                rows.defaults = _yaml_cells(document, value, known, rows)
            elif not (isinstance(value, yaml.Scalar) and value.is_null):
                message = "defaults: is keys and values"
                rows.problems.append(document.problem(value, message, "size: 512x512"))
        elif key.text != JOBS:
            message, hint = f"unknown key {quoted(key.text)}", did_you_mean(key.text, allowed)
            if _key(key.text) in known:
                hint = f"what holds for every job stands below defaults: {key.text}: ..."
            hint = hint or f"the keys here are {', '.join(allowed)}"
            rows.problems.append(document.problem(key, message, hint))
    jobs = root.get(JOBS)
    if jobs is None and not rows.problems:
        rows.problems.append(document.problem(root, "jobs: is missing", "jobs: and a list below"))
    return jobs


def _yaml_job(document: yaml.Document, item: yaml.Node, known: tuple[str, ...], rows: Rows) -> None:
    place = Place(document.source.name, item.line, item.column)
    line = document.source.line(item.line)
    if isinstance(item, yaml.Mapping):
        cells = _yaml_cells(document, item, known, rows)
        if not document.is_broken(item):
            rows.jobs.append(Row(cells, place, line))
    elif isinstance(item, yaml.Scalar) and not item.is_null:
        rows.jobs.append(Row({"audio": Cell((item.text,), place, line)}, place, line))
    else:
        problem = document.problem(item, "a job is keys and values", "- audio: FILE")
        rows.problems.append(problem)


def _yaml_cells(
    document: yaml.Document, node: yaml.Mapping, known: tuple[str, ...], rows: Rows
) -> dict[str, Cell]:
    cells = {}
    for key, value in node.pairs:
        if _key(key.text) not in known:
            rows.problems.append(document.problem(key, *_unknown(key.text, known)))
            continue
        items = value.items if isinstance(value, yaml.Sequence) else [value]
        texts = [item.text for item in items if isinstance(item, yaml.Scalar) and not item.is_null]
        if not texts or len(texts) < len(items):
            message = f"{quoted(key.text)} has no value"
            if isinstance(value, yaml.Mapping):
                message = f"{key.text}: is text, not keys and values"
            hint = f"write {key.text}: and a value, or take it out"
            rows.problems.append(document.problem(key, message, hint))
            continue
        place = Place(document.source.name, value.line, value.column)
        cells[_key(key.text)] = Cell(tuple(texts), place, document.source.line(value.line))
    return cells


def _csv_rows(source: Source, known: tuple[str, ...]) -> Rows:
    rows = Rows()
    # Python's own limit of a cell; no path or prompt comes near it.
    longest = max(map(len, source.lines), default=0)
    if longest > csv.field_size_limit():
        raise refused(source.name, f"{source.name} has a line of {longest:,} signs", "is it CSV?")
    reader = csv.reader(source.lines, delimiter=delimiter_of(source.line(1)))
    header: list[str] = []
    before = 0
    for values in reader:
        number, before = before + 1, reader.line_num
        line = source.line(number)
        place = Place(source.name, number, 1)
        if not header:
            header = [_key(name).lower() for name in values]
            for name in values:
                if name.strip() and _key(name).lower() not in known:
                    column = Place(source.name, number, line.find(name) + 1)
                    message, hint = _unknown(name.strip(), known)
                    rows.problems.append(Problem(Severity.ERROR, message, column, line, hint))
            continue
        if len(values) > len(header):
            message = f"{len(values)} values, but the first line names {len(header)} columns"
            hint = 'put a value that has the separator in it in quotes: "a, b"'
            rows.problems.append(Problem(Severity.ERROR, message, place, line, hint))
            continue
        cells = {
            name: Cell(_csv_texts(name, value), _found(place, line, value), line)
            for name, value in zip(header, values, strict=False)
            if name in known and value.strip()
        }
        if cells:
            rows.jobs.append(Row(cells, place, line))
    return rows


def _csv_texts(name: str, value: str) -> tuple[str, ...]:
    """Return a cell's texts: several actions stand in one cell, with a semicolon between them."""
    parts = value.split(";") if name == "action" else [value]
    return tuple(part.strip() for part in parts if part.strip())


def _json_rows(source: Source, known: tuple[str, ...]) -> Rows:
    rows = Rows()
    for number, line in enumerate(source.lines, start=1):
        if not line.strip():
            continue
        place = Place(source.name, number, 1)
        try:
            value = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
        except (ValueError, RecursionError) as error:
            column = getattr(error, "colno", 1)
            reason = getattr(error, "msg", "nested too deeply")
            place = Place(source.name, number, column)
            message, hint = f"not JSON: {reason}", 'one job a line: {"audio": "a.wav"}'
            rows.problems.append(Problem(Severity.ERROR, message, place, line, hint))
            continue
        if not isinstance(value, dict):
            hint = '{"audio": "a.wav", "ref": "a.png"}'
            message = "a job is an object with keys"
            rows.problems.append(Problem(Severity.ERROR, message, place, line, hint))
            continue
        rows.jobs.append(Row(_json_cells(value, place, line, known, rows), place, line))
    return rows


def _json_cells(
    value: dict[str, Any], place: Place, line: str, known: tuple[str, ...], rows: Rows
) -> dict[str, Cell]:
    cells = {}
    for key, given in value.items():
        at = _found(place, line, json.dumps(key, ensure_ascii=False))
        if _key(key) not in known:
            message, hint = _unknown(key, known)
            rows.problems.append(Problem(Severity.ERROR, message, at, line, hint))
            continue
        items = given if isinstance(given, list) else [given]
        texts = [_plain(item) for item in items if item is not None]
        if None in texts or (isinstance(given, list) and not texts):
            message = f"{key}: is text or a number"
            rows.problems.append(Problem(Severity.ERROR, message, at, line))
        elif texts:
            cells[_key(key)] = Cell(tuple(text for text in texts if text is not None), at, line)
    return cells


def _plain(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else None


def _found(place: Place, line: str, text: str) -> Place:
    """Return the place of `text` in a line, or the line's own."""
    return replace(place, column=max(0, line.find(text)) + 1)


def _folder_rows(folder: Path) -> Rows:
    """Every recording is a job, with the picture and the script that are named like it."""
    rows = Rows()
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    for path in files:
        if path.suffix.lower() not in SOUNDS:
            continue
        place = Place(shown_path(path))
        cells = {"audio": Cell((path.name,), place)}
        for key, suffixes in (("ref", PICTURES), ("script", (".yaml", ".yml"))):
            if found := _named_like(path, files, suffixes):
                cells[key] = Cell((found.name,), place)
        rows.jobs.append(Row(cells, place))
    if not rows.jobs:
        name = shown_path(folder)
        raise refused(
            name, f"there are no recordings in {name}", f"they end in {', '.join(SOUNDS)}"
        )
    return rows


def _named_like(path: Path, files: list[Path], suffixes: tuple[str, ...]) -> Path | None:
    same = [file for file in files if file.stem == path.stem and file.suffix.lower() in suffixes]
    return min(same, key=lambda file: suffixes.index(file.suffix.lower()), default=None)


_READERS: Final = {
    ".yaml": _yaml_rows,
    ".yml": _yaml_rows,
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
}
