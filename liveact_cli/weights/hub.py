"""Getting weights from the Hub: only what is needed, resumable, checked, written down."""

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from liveact_cli.core.errors import UsageError, WeightsError
from liveact_cli.core.units import format_bytes
from liveact_cli.weights import store
from liveact_cli.weights.lock import (
    Lock,
    LockedFile,
    LockedRepository,
    read_lock,
    sha256_of,
    write_lock,
)
from liveact_cli.weights.registry import FULL
from liveact_cli.weights.resolve import models_folder

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TRANSFORMER_INDEX: Final = "diffusion_pytorch_model.safetensors.index.json"
# Room that is left alone: a disk filled to the last byte breaks more than a download.
SPARE_BYTES: Final = 1_000_000_000
_LICENCE_UNKNOWN: Final = "not stated on its card"


@dataclass(frozen=True, slots=True)
class Source:
    """A repository on the Hub and what of it is needed.

    Of each group of patterns in `needed` the first that matches anything is taken, and one must.
    `folder` is where its files go, below the model's folder.
    """

    repository: str
    needed: tuple[tuple[str, ...], ...]
    optional: tuple[str, ...] = ()
    folder: str = ""


def _model_source(repository: str) -> Source:
    return Source(
        repository,
        needed=(
            (store.CONFIG,),
            (store.TRANSFORMER,),
            (store.VAE,),
            (store.TEXT_ENCODER,),
            (f"{store.TOKENIZER}/tokenizer.json",),
            (store.IMAGE_ENCODER,),
        ),
        optional=(TRANSFORMER_INDEX, f"{store.TOKENIZER}/*"),
    )


AUDIO_SOURCE: Final = Source(
    "TencentGameMate/chinese-wav2vec2-base",
    needed=((store.CONFIG,), store.AUDIO_WEIGHTS),
    optional=("preprocessor_config.json",),
    folder=store.AUDIO_FOLDER,
)
MODEL_REPOSITORY: Final = "Soul-AILab/LiveAct"


def sources_of(model: str) -> tuple[Source, ...]:
    """Return what a model is made of; `model` is a name of ours or a Hub id of the same layout."""
    if model == FULL.name:
        return _model_source(MODEL_REPOSITORY), AUDIO_SOURCE
    owner, _, name = model.partition("/")
    if owner and name and "/" not in name and not model.startswith((".", "~")):
        return _model_source(model), AUDIO_SOURCE
    raise UsageError(
        f"{model!r} cannot be downloaded",
        f"name {FULL.name}, or a Hub repository of the same layout as OWNER/NAME",
    )


def folder_of(model: str, variables: Mapping[str, str]) -> Path:
    """Return the folder that a model's files go to."""
    return models_folder(variables) / model.replace("/", "--")


@dataclass(frozen=True, slots=True)
class Access:
    """How the Hub is reached; None leaves it to huggingface-hub (its own login, its own cache)."""

    endpoint: str | None
    token: str | None
    offline: bool

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> "Access":
        """Read HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE; HF_HOME is huggingface-hub's own."""
        offline = variables.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
        return cls(variables.get("HF_ENDPOINT") or None, variables.get("HF_TOKEN") or None, offline)

    def __repr__(self) -> str:
        """Never show the token."""
        return f"Access(endpoint={self.endpoint!r}, offline={self.offline})"


@dataclass(frozen=True, slots=True)
class Progress:
    """A file that is about to be fetched: its place in the order, and what is left altogether."""

    path: str
    size: int
    number: int
    count: int
    remaining: int


def download(
    model: str,
    variables: Mapping[str, str],
    *,
    revision: str = "main",
    watch: Callable[[Progress], None] = lambda progress: None,
    bars: bool = False,
) -> tuple[Path, Lock]:
    """Fetch what a model needs and is not here yet; return its folder and its lock.

    An interrupted download goes on where it stopped, at the commit that it began with. Raises
    WeightsError when the Hub refuses, something needed is not there, the disk is too small or a
    file is not what the Hub says it is.
    """
    access, folder = Access.of(variables), folder_of(model, variables)
    sources = sources_of(model)
    lock = read_lock(folder) or Lock()
    unresolved = [source for source in sources if source.repository not in lock.repositories]
    missing = list(_missing(folder, lock))
    if access.offline and (unresolved or missing):
        what = f"{len(missing)} files" if not unresolved else unresolved[0].repository
        raise WeightsError(
            f"{what} would have to be downloaded, and HF_HUB_OFFLINE is set",
            "unset HF_HUB_OFFLINE, or copy the folder from another machine",
        )
    for source in unresolved:
        asked = revision if source is sources[0] else "main"
        lock.repositories[source.repository] = _resolve(source, asked, access)
    missing = list(_missing(folder, lock))
    _check_disk(folder, sum(file.size for *_, file in missing))
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        write_lock(folder, lock)
    remaining = sum(file.size for *_, file in missing)
    for number, (repository, name, file) in enumerate(missing, 1):
        place = f"{repository.folder}/{name}" if repository.folder else name
        watch(Progress(place, file.size, number, len(missing), remaining))
        _fetch(folder / repository.folder, repository, name, file, access, bars)
        write_lock(folder, lock)
        remaining -= file.size
    return folder, lock


def licences(lock: Lock) -> Iterator[tuple[str, str]]:
    """Yield every repository and its licence, as the Hub's card states it."""
    for repository in lock.repositories.values():
        yield repository.repository, repository.licence or _LICENCE_UNKNOWN


def _missing(folder: Path, lock: Lock) -> Iterator[tuple[LockedRepository, str, LockedFile]]:
    for repository in lock.repositories.values():
        for name, file in repository.files.items():
            path = folder / repository.folder / name
            if not (file.sha256 and path.is_file() and path.stat().st_size == file.size):
                yield repository, name, file


def _api(access: Access) -> "HfApi":
    from huggingface_hub import HfApi

    return HfApi(endpoint=access.endpoint, token=access.token)


def _resolve(source: Source, revision: str, access: Access) -> LockedRepository:
    """Ask the Hub what a revision is and which of its files are needed."""
    with _translated(source.repository):
        info = _api(access).model_info(source.repository, revision=revision, files_metadata=True)
    entries = {entry.rfilename: entry for entry in info.siblings or ()}
    files = {}
    for name in _chosen(source, list(entries)):
        entry = entries[name]
        published = entry.lfs.sha256 if entry.lfs else None
        files[name] = LockedFile(int(entry.size or 0), published)
    card: Any = info.card_data
    licence = getattr(card, "license", None) if card else None
    return LockedRepository(
        source.repository, str(info.sha), str(licence) if licence else None, source.folder, files
    )


def _chosen(source: Source, names: list[str]) -> list[str]:
    def matching(pattern: str) -> list[str]:
        return [name for name in names if fnmatchcase(name, pattern)]

    if stray := [name for name in names if {"/", ".."} & {*PurePosixPath(name).parts}]:
        raise WeightsError(
            f"{source.repository} has a file with the path {stray[0]!r}, which leads elsewhere",
            "do not use this repository",
        )
    chosen: dict[str, None] = {}
    for group in source.needed:
        found = next((hits for pattern in group if (hits := matching(pattern))), None)
        if found is None:
            raise WeightsError(
                f"{source.repository} has no {' or '.join(group)} ({len(names)} files in it)",
                f"a repository of the layout of {MODEL_REPOSITORY} is needed",
            )
        chosen |= dict.fromkeys(found)
    for pattern in source.optional:
        chosen |= dict.fromkeys(matching(pattern))
    return list(chosen)


def _check_disk(folder: Path, needed: int) -> None:
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed and free < needed + SPARE_BYTES:
        raise _disk_full(folder, needed, free)


def _disk_full(folder: Path, needed: int, free: int) -> WeightsError:
    return WeightsError(
        f"{format_bytes(needed)} are to be downloaded and {format_bytes(free)} are free in"
        f" {folder} ({format_bytes(SPARE_BYTES)} are left alone)",
        "LIVEACT_MODELS chooses another folder",
    )


def _fetch(
    folder: Path,
    repository: LockedRepository,
    name: str,
    file: LockedFile,
    access: Access,
    bars: bool,
) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import tqdm

    class Silent(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})

    path = folder / name
    if path.is_file():
        # Finished but not yet written down: an interruption fell between the two.
        if file.published and path.stat().st_size == file.size:
            found = sha256_of(path)
            if found == file.published:
                file.sha256 = found
                return
        path.unlink()
    try:
        with _translated(repository.repository, name):
            path = Path(
                hf_hub_download(
                    repository.repository,
                    name,
                    revision=repository.commit,
                    local_dir=folder,
                    endpoint=access.endpoint,
                    token=access.token,
                    tqdm_class=None if bars else Silent,
                )
            )
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise _disk_full(folder, file.size, shutil.disk_usage(folder).free) from error
    found = sha256_of(path)
    if file.published and found != file.published:
        # Kept, it would be taken for finished by the next attempt.
        path.unlink()
        raise WeightsError(
            f"{name} of {repository.repository} has SHA-256 {found[:12]}…, the Hub says"
            f" {file.published[:12]}…; it was deleted",
            "start the download again; if it happens again, the way to the Hub alters files",
        )
    file.size, file.sha256 = path.stat().st_size, found


@contextmanager
def _translated(repository: str, name: str = "") -> Iterator[None]:
    """Turn what huggingface-hub raises into sentences; tokens are in none of them."""
    from huggingface_hub import errors

    what = f"{name} of {repository}" if name else repository
    again = "start the same command again: it goes on where it stopped"
    try:
        yield
    except errors.GatedRepoError as error:
        raise WeightsError(
            f"{repository} is open only to those who accepted its terms",
            f"accept them on the Hub's page of {repository} and set HF_TOKEN",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise WeightsError(
            f"the Hub has no {repository}, or does not show it without the right HF_TOKEN",
            "check the name; `HF_TOKEN=... liveact model download` for a private one",
        ) from error
    except errors.LocalEntryNotFoundError as error:
        # "Neither on the Hub nor here": what matters is why the Hub did not answer.
        if isinstance(error.__cause__, errors.HfHubHTTPError):
            raise _of_status(what, error.__cause__, again) from error
        raise WeightsError(f"the Hub was not reached for {what}", again) from error
    except (errors.RevisionNotFoundError, errors.EntryNotFoundError) as error:
        raise WeightsError(
            f"the Hub has no {what} at this revision", "check --revision, or leave it out"
        ) from error
    except errors.HfHubHTTPError as error:
        raise _of_status(what, error, again) from error
    except errors.OfflineModeIsEnabled as error:
        raise WeightsError(f"{what} is not here and offline mode is on", again) from error
    except Exception as error:
        # httpx or requests, by huggingface-hub's version: neither is a dependency of ours.
        library = type(error).__module__.partition(".")[0]
        if library not in ("httpx", "httpx2", "httpcore", "requests", "urllib3", "huggingface_hub"):
            raise
        raise WeightsError(f"{what} cannot be fetched: {type(error).__name__}", again) from error


def _of_status(what: str, error: Any, again: str) -> WeightsError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return WeightsError(
            f"the Hub refuses {what} (HTTP {status})", "set HF_TOKEN to a token that may read it"
        )
    if status == 429:
        return WeightsError(
            f"the Hub wants fewer requests (HTTP 429) before it gives {what}",
            f"wait some minutes, then {again}",
        )
    return WeightsError(f"the Hub did not give {what} (HTTP {status})", again)
