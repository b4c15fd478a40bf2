"""Which presets there are and where they lie: the built-in ones and the user's own."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from liveact_cli.core.errors import UsageError
from liveact_cli.weights.resolve import presets_folder

SUFFIX: Final = ".yaml"
USER_FOLDER: Final = "liveact/presets"


def preset_folders(variables: Mapping[str, str]) -> list[Path]:
    """Return the folders that are searched, the user's own (XDG) before the built-in one."""
    home = variables.get("XDG_CONFIG_HOME") or "~/.config"
    return [Path(home).expanduser() / USER_FOLDER, presets_folder()]


def preset_files(variables: Mapping[str, str]) -> dict[str, Path]:
    """Return every preset's file by name; a preset of the user's hides a built-in one."""
    found: dict[str, Path] = {}
    for folder in preset_folders(variables):
        if folder.is_dir():
            for path in sorted(folder.glob(f"*{SUFFIX}")):
                found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def find_preset(name: str, variables: Mapping[str, str]) -> Path:
    """Return the file of the preset `name`.

    Raises `UsageError` with the nearest name when there is none.
    """
    files = preset_files(variables)
    key = name.strip().lower().replace(" ", "").replace("-", "").replace("_", "")
    if key in files:
        return files[key]
    if name in files:
        return files[name]
    near = difflib.get_close_matches(key, files, 1, 0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(files)}"
    raise UsageError(f"there is no preset {name[:60]!r}", hint)
