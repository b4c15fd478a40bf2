"""Whether a video is there already: what decides the result of a job, as hashes."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from liveact_cli.config.settings import NOT_IN_THE_RESULT
from liveact_cli.core.errors import LiveActError
from liveact_cli.engine.manifest import fingerprint_of
from liveact_cli.studio.jobrow import JobRow, State
from liveact_cli.studio.manifest import BatchJob
from liveact_cli.studio.orders import RenderOrder, performance_of, settings_of
from liveact_cli.studio.store import Store
from liveact_cli.weights.resolve import resolve_model

_PASSED_ON: Final = ("LIVEACT_", "XDG_")


def order_of(job: BatchJob, folder: Path, variables: Mapping[str, str]) -> RenderOrder:
    """Return the order for a manifest's job; `folder` is the manifest's."""
    passed = {n: v for n, v in variables.items() if n.startswith(_PASSED_ON)}
    files = (job.audio, job.reference, job.output)
    return RenderOrder(*files, dict(job.settings), job.script, job.orders, folder, passed)


class Identities:
    """What decides the result of jobs, as hashes; those of files are remembered in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[Path, str | None] = {}

    def of(self, order: RenderOrder) -> Callable[[], str | None]:
        """Return a function that tells the identity of an order, None for what cannot be read.

        Identities are equal when every input and setting is; without `seed` any seed will do.
        """

        def identity() -> str | None:
            if order.output not in self._known:
                try:
                    self._known[order.output] = self._of(order)
                except (LiveActError, OSError):
                    self._known[order.output] = None  # the render will say what is wrong
            return self._known[order.output]

        return identity

    def _of(self, order: RenderOrder) -> str:
        performance = performance_of(order)
        settings = settings_of(order, performance)
        model = resolve_model(settings.model, order.variables)
        directed = None
        if performance is not None:
            preset = performance.preset
            directed = [
                performance.script.document.source.text,
                preset and preset.document.source.text,
                repr(performance.transcript and performance.transcript.cues),
                [order.orders.prompt, order.orders.emotion, *order.orders.actions],
            ]
        values = {
            name: str(value)
            for name, value in asdict(settings).items()
            if name not in ("model", *NOT_IN_THE_RESULT) and value not in (None, "")
        }
        weights = fingerprint_of(model.path) if model.path.is_dir() else self._hash(model.path)
        files = [self._hash(path) for path in (order.audio, order.reference)]
        whole = [model.row.name, weights, files, values, directed]
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()

    def _hash(self, path: Path) -> str:
        status = path.stat()
        size, mtime_ns = status.st_size, status.st_mtime_ns
        known = self._store.known_hash(path, size, mtime_ns)
        if known is None:
            known = fingerprint_of(path)
            self._store.keep_hash(path, size, mtime_ns, known)
        return known


def is_as_made(store: Store, row: JobRow) -> bool:
    """Whether a job's video is in place, with the bytes that were made."""
    path = Path(row.output)
    try:
        status = path.stat()
        if (status.st_size, status.st_mtime_ns) == (row.size, row.mtime_ns):
            return True
        if status.st_size != row.size or fingerprint_of(path) != row.sha256:
            return False
    except OSError:
        return False
    store.still_good(row.name, status.st_size, status.st_mtime_ns)
    return True


def is_finished(store: Store, row: JobRow, identity: Callable[[], str | None]) -> bool:
    """Whether a job's video is there, made from the inputs and settings of now."""
    if row.state != State.DONE or row.again or not is_as_made(store, row):
        return False
    # Inputs that were put away do not make a finished video unfinished.
    gone = not all(Path(path).exists() for path in (row.audio, row.reference))
    return gone or identity() == row.identity
