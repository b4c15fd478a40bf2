"""What a manifest asks for, before the work: every file is opened, time and bytes are estimated."""

import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from liveact_cli.core.machine import usable_cores
from liveact_cli.core.translate import explain
from liveact_cli.engine.manifest import RenderPlan
from liveact_cli.media.target import estimate_bytes
from liveact_cli.studio.batch import batch_folder
from liveact_cli.studio.identity import Identities, is_finished, order_of
from liveact_cli.studio.manifest import BatchJob, Manifest
from liveact_cli.studio.orders import RenderOrder, open_order
from liveact_cli.studio.seats import CORES_PER_RENDER, ENCODER_BYTES
from liveact_cli.studio.store import NAME, Store
from liveact_cli.studio.workers import Seat

if TYPE_CHECKING:
    from liveact_cli.engine.prepare import Job

JOB_SECONDS: Final = 1.0
"""What a job takes beside its frames: opening, finding the face, joining picture and sound."""
_AT_ONCE: Final = 4
_ONE_FACE: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A job that was looked at: its plan, or why it cannot be rendered; what is doubtful."""

    job: BatchJob
    plan: RenderPlan | None
    finished: bool = False
    error: str = ""
    hint: str = ""
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        seconds = float(self.plan.frames / self.plan.settings.fps) if self.plan else None
        return {
            "name": self.job.name,
            "line": self.job.line,
            "ok": not self.error,
            "finished": self.finished,
            "seconds": seconds,
            "error": self.error or None,
            "hint": self.hint or None,
            "notes": list(self.notes),
        }


def survey(manifest: Manifest, variables: Mapping[str, str], *, faces: bool) -> Iterator[Surveyed]:
    """Open every file of every job, in order, and yield what was found.

    `faces` looks for the faces too, where the model needs one.
    """
    finished = _finished(manifest, variables)

    def look(job: BatchJob) -> Surveyed:
        order = order_of(job, manifest.folder, variables)
        return _look(job, order, finished=job.name in finished, faces=faces)

    with ThreadPoolExecutor(min(_AT_ONCE, usable_cores())) as pool:
        yield from pool.map(look, manifest.jobs)


def _finished(manifest: Manifest, variables: Mapping[str, str]) -> set[str]:
    """Return the names of the jobs that an earlier run has finished."""
    folder = batch_folder(manifest.path)
    if not (folder / NAME).exists():
        return set()
    found = set()
    with Store(folder) as store:
        identities = Identities(store)
        for job in manifest.jobs:
            row = store.row(job.name)
            order = order_of(job, manifest.folder, variables)
            if row is not None and is_finished(store, row, identities.of(order)):
                found.add(job.name)
    return found


def _look(job: BatchJob, order: RenderOrder, *, finished: bool, faces: bool) -> Surveyed:
    try:
        opened = open_order(replace(order, output=_in_a_folder_that_is_there(order.output)))
        notes = (*opened.notes, *(_faces(opened) if faces else ()))
    except Exception as error:
        known = explain(error)
        if known is None:
            raise
        return Surveyed(job, None, finished, known.message, known.hint)
    return Surveyed(job, replace(opened.plan, output=job.output), finished, notes=notes)


def _in_a_folder_that_is_there(output: Path) -> Path:
    """Return where the video can be planned for: folders are made when the batch runs."""
    folder = output.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder / output.name


def _faces(job: "Job") -> tuple[str, ...]:
    """Look for the face that will speak; raises MediaError where there is none."""
    if job.plan.model.row.family != "mini":
        return ()
    from liveact_cli.mini.face.fit import fit_face

    with _ONE_FACE:
        return fit_face(job.picture, job.plan.settings.face).warnings


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the jobs that are left take: `seconds` of time for `video_seconds`, and bytes."""

    jobs: int
    video_seconds: float
    seconds: float
    memory_bytes: int
    disk_bytes: int
    disk_free: int | None

    @property
    def fits(self) -> bool:
        """Whether the disk has enough space."""
        return self.disk_free is None or self.disk_bytes <= self.disk_free

    def as_json(self) -> dict[str, Any]:
        """Return plain values for `--json`."""
        return {name: getattr(self, name) for name in self.__slots__} | {"fits": self.fits}


def estimate(surveyed: Sequence[Surveyed], seats: Sequence[Seat]) -> Estimate:
    """Return what the jobs take that are neither finished nor impossible.

    Renders side by side share the processor, so more of them help only as far as there are cores.
    The disk needs every video once and, beside them, the segments of those being made.
    """
    plans = [found.plan for found in surveyed if found.plan is not None and not found.finished]
    if not plans:
        return Estimate(0, 0.0, 0.0, 0, 0, None)
    row = max((plan.model.row for plan in plans), key=lambda row: row.estimate.memory_bytes)
    works = [plan.estimated_seconds - plan.model.row.estimate.fixed_seconds for plan in plans]
    count = min(len(seats), len(plans))
    pace = float(count) if seats[0].variables else min(count, usable_cores() / CORES_PER_RENDER)
    total = (sum(works) + JOB_SECONDS * len(plans)) / pace
    sizes = sorted(
        estimate_bytes(*plan.size, plan.settings.fps, plan.seconds, plan.settings.crf)
        for plan in plans
    )
    return Estimate(
        len(plans),
        sum(float(plan.frames / plan.settings.fps) for plan in plans),
        max(total, max(works)) + row.estimate.fixed_seconds,
        count * (row.estimate.memory_bytes + ENCODER_BYTES),
        sum(sizes) + sum(sizes[-count:]),
        _free(plans[0].output),
    )


def _free(output: Path) -> int | None:
    try:
        return shutil.disk_usage(_in_a_folder_that_is_there(output).parent).free
    except OSError:
        return None
