"""A manifest checked: which renders are asked for, or everything that is wrong with it at once.

Only what the manifest itself says is judged here. A file that it names may be missing or broken:
that costs its job, not the batch.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from liveact_cli.config.edge import Layer, check_layer, resolve_settings
from liveact_cli.config.presets import find_preset
from liveact_cli.config.settings import SETTING_NAMES
from liveact_cli.core.errors import LiveActError, UsageError
from liveact_cli.script.performance import Orders, load_performance, preset_file
from liveact_cli.script.problems import Place, Problem, ScriptError, did_you_mean
from liveact_cli.studio.rows import Cell, ManifestError, Row, Rows, read_rows
from liveact_cli.weights.resolve import looks_like_path, resolve_model

FILES: Final = ("audio", "ref", "output", "script")
DIRECTION: Final = ("preset", "emotion", "action")
KEYS: Final = (*FILES, *DIRECTION, *SETTING_NAMES)
"""What a job may say: files, direction, and every setting of a render."""
DEFAULT_OUTPUT: Final = "{stem}.mp4"
_FIELD: Final = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class BatchJob:
    """One render that is asked for. `name` is its output as seen from the manifest's folder.

    `settings` are those that the manifest gives, as text; `line` is where the manifest asks.
    """

    name: str
    audio: Path
    reference: Path
    output: Path
    script: Path | None = None
    orders: Orders = field(default_factory=Orders)
    settings: Mapping[str, str] = field(default_factory=dict)
    line: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest whose form is right: every job, no output twice."""

    path: Path
    jobs: tuple[BatchJob, ...]

    @property
    def folder(self) -> Path:
        """Where its relative paths start."""
        return folder_of(self.path)


def folder_of(manifest: Path) -> Path:
    """Return the folder that a manifest's relative paths start from."""
    return manifest if manifest.is_dir() else manifest.parent


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says for every job: `ref` where none is named, `values` above all."""

    ref: Path | None = None
    values: Mapping[str, str] = field(default_factory=dict)


def parse_overrides(
    ref: Path | None, output: str | None, settings: Sequence[str], folder: Path
) -> Overrides:
    """Return `--ref`, `--output` and every `--set KEY=VALUE`; paths in them start at `folder`.

    Raises UsageError for keys that a job does not have.
    """
    values = {} if output is None else {"output": str(folder / Path(output).expanduser())}
    for text in settings:
        name, sign, value = text.partition("=")
        key = name.strip().replace("-", "_")
        if not sign or not value.strip():
            raise UsageError(f"--set {text}: write KEY=VALUE", "--set size=512x512")
        if key not in KEYS or key in ("audio", "ref", "output"):
            choices = [known for known in KEYS if known not in ("audio", "ref", "output")]
            hint = did_you_mean(key, choices) or f"the keys are {', '.join(choices)}"
            raise UsageError(f"--set {text}: there is no such key", hint)
        if key == "script" or (key in ("preset", "model") and _is_path(value, folder)):
            value = str(folder / Path(value).expanduser())
        values[key] = value
    return Overrides(ref, values)


def read_manifest(
    path: Path, variables: Mapping[str, str], overrides: Overrides | None = None
) -> Manifest:
    """Read the manifest at `path`, which may be a folder.

    Raises `ManifestError` with everything that is wrong with it.
    """
    rows = read_rows(path, KEYS)
    builder = _Builder(folder_of(path), variables, rows, overrides or Overrides())
    jobs = tuple(builder.jobs())
    problems = [*rows.problems, *dict.fromkeys(builder.problems)]
    if problems:
        raise ManifestError(problems)
    return Manifest(path, jobs)


class _Builder:
    """Turns rows into jobs and gathers what is wrong."""

    def __init__(
        self, folder: Path, variables: Mapping[str, str], rows: Rows, overrides: Overrides
    ) -> None:
        self.problems: list[Problem] = []
        self._folder, self._variables, self._rows = folder, variables, rows
        self._above = {
            key: Cell(tuple(value.split(";")) if key == "action" else (value,), Place(f"--{key}"))
            for key, value in overrides.values.items()
        }
        self._ref = overrides.ref
        self._outputs: dict[Path, Row] = {}
        self._faults = lru_cache(4096)(self._faults_of)

    def jobs(self) -> Iterator[BatchJob]:
        """Yield every job that can be built."""
        for number, row in enumerate(self._rows.jobs, start=1):
            cells = {**self._rows.defaults, **row.cells, **self._above}
            before = len(self.problems)
            self._check_cells(cells)
            if "audio" not in cells:
                self.problems.append(row.problem("audio: is missing", "audio: and the recording"))
            if "ref" not in cells and self._ref is None:
                self.problems.append(row.problem("ref: is missing", self._missing_ref(row)))
            if len(self.problems) == before:
                yield from self._job(number, row, cells)

    def _missing_ref(self, row: Row) -> str:
        if row.place.line:
            return "ref: and the portrait (below defaults: if the jobs share it), or --ref IMAGE"
        return "put a picture of the same name beside the recording, or give --ref IMAGE"

    def _check_cells(self, cells: Mapping[str, Cell]) -> None:
        directed = "script" in cells  # which may define words of its own
        model = cells["model"].text if "model" in cells else None
        for key, cell in cells.items():
            if len(cell.texts) > 1 and key != "action":
                self.problems.append(cell.problem(f"{key}: is one value, not a list"))
            elif not (directed and key in ("emotion", "action")):
                faults = self._faults(key, cell.texts, model)
                self.problems += [cell.problem(message, hint) for message, hint in faults]

    def _faults_of(
        self, key: str, texts: tuple[str, ...], model: str | None
    ) -> tuple[tuple[str, str], ...]:
        """Return what is wrong with a value, and the fix of each."""
        text = texts[0]
        try:
            if key == "model":
                resolve_model(text, self._variables, self._folder)
            elif key in SETTING_NAMES:
                check_layer(Layer({key: text}, "{key}: {value}"))
            elif key == "preset":
                self._direct(Orders(preset=str(self._preset(text))), model)
            elif key == "emotion":
                self._direct(Orders(emotion=text), model)
            elif key == "action":
                self._direct(Orders(actions=texts), model)
            elif not text.strip() or "\0" in text:
                return ((f"{key}: is not the name of a file", ""),)
        except ScriptError as error:
            return tuple((_message(problem), problem.hint) for problem in error.problems)
        except LiveActError as error:
            hint = "" if error.hint == "liveact render --help" else error.hint
            message = error.message.removeprefix("--")
            return ((message if message.startswith(key) else f"{key}: {message}", hint),)
        return ()

    def _direct(self, orders: Orders, model: str | None) -> None:
        """Raise what a render with these orders would."""
        chosen = model or resolve_settings({}, self._variables, self._folder).model
        try:
            row = resolve_model(chosen, self._variables, self._folder).row
        except LiveActError:
            return  # the model is complained about where it stands
        finder = partial(find_preset, variables=self._variables)
        load_performance(None, finder, orders=orders, reads_text=row.reads_text)

    def _preset(self, name: str) -> Path:
        finder = partial(find_preset, variables=self._variables)
        return preset_file(name, self._folder, finder)

    def _path(self, text: str) -> Path:
        return Path(os.path.normpath(self._folder / Path(text).expanduser()))

    def _job(self, number: int, row: Row, cells: Mapping[str, Cell]) -> Iterator[BatchJob]:
        audio = self._path(cells["audio"].text)
        reference = self._path(cells["ref"].text) if "ref" in cells else self._ref
        assert reference is not None
        output = self._output(number, row, cells, audio, reference)
        if output is None:
            return
        settings = {key: cells[key].text for key in SETTING_NAMES if key in cells}
        if "model" in settings and _is_path(settings["model"], self._folder):
            settings["model"] = str(self._path(settings["model"]))
        orders = Orders(
            preset=str(self._preset(cells["preset"].text)) if "preset" in cells else None,
            prompt=settings.get("prompt"),
            emotion=cells["emotion"].text if "emotion" in cells else None,
            actions=cells["action"].texts if "action" in cells else (),
        )
        script = self._path(cells["script"].text) if "script" in cells else None
        name = Path(os.path.relpath(output, self._folder)).as_posix()
        line = row.place.line
        yield BatchJob(name, audio, reference, output, script, orders, settings, line)

    def _output(
        self, number: int, row: Row, cells: Mapping[str, Cell], audio: Path, reference: Path
    ) -> Path | None:
        """Return the path that the template gives, or None when another job has it."""
        cell = cells.get("output")
        values = {"stem": audio.stem, "ref": reference.stem} | {
            key: Path(cells[key].text).stem if key in cells else ""
            for key in ("script", "preset", "emotion")
        }
        try:
            text = fill(cell.text if cell else DEFAULT_OUTPUT, values, number)
        except ValueError as error:
            assert cell is not None
            self.problems.append(cell.problem(f"output: {error}"))
            return None
        output = self._path(text)
        if output.suffix.lower() != ".mp4":
            message = f"output: {text!r} does not end in .mp4"
            self.problems.append((cell or row).problem(message, f"write {output.stem}.mp4"))
            return None
        first = self._outputs.setdefault(output, row)
        if first is not row:
            where = f"line {first.place.line}" if first.place.line else first.place.file
            message = f"{text} is also the output of the job in {where}"
            hint = 'name it by what differs, for example output: "{stem}-{ref}.mp4"'
            self.problems.append(row.problem(message, hint))
            return None
        return output


def fill(template: str, values: Mapping[str, str], number: int) -> str:
    """Return `template` with `{stem}` and its like replaced; `{n:03}` pads the job's number.

    Raises ValueError with a sentence for a name that does not exist.
    """

    def value(match: re.Match[str]) -> str:
        name, _, form = match[1].partition(":")
        if name == "n" and re.fullmatch(r"(0[1-9])?", form):
            return f"{number:{form}}"
        if form or name not in values:
            known = ", ".join(f"{{{name}}}" for name in (*values, "n"))
            raise ValueError(f"{match[0]} is not known; there are {known}")
        return values[name]

    return _FIELD.sub(value, template)


def _is_path(model: str, folder: Path) -> bool:
    return looks_like_path(model) or (folder / model).is_dir()


def _message(problem: Problem) -> str:
    """Return a problem's sentence, with its place where that is in another file."""
    return f"{problem.place}: {problem.message}" if problem.place.line else problem.message
