"""One run of a render in its work folder: begun afresh, or where an earlier run stopped."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Final

import torch

from liveact_cli.core.errors import LiveActError, UsageError
from liveact_cli.core.events import Event, Note, Resumed
from liveact_cli.engine.manifest import RenderPlan
from liveact_cli.engine.resume import SOUND, Keeping, Saver, Start, files_of, find_start
from liveact_cli.engine.unfinished import differences, finished_part, unfinished
from liveact_cli.media.ffmpeg import explain_os_error, ffmpeg_version, find_ffmpeg
from liveact_cli.media.target import Target, check_target
from liveact_cli.media.workfolder import WorkFolder, work_folder_of
from liveact_cli.runtime import fallbacks
from liveact_cli.runtime.devices import choose_devices

COMPUTED: Final = "computed"
"""Where a video's record tells how it was computed, which is no part of what was asked for."""
_PACKAGES: Final = ("torch", "numpy", "opencv-python-headless")


class Run:
    """A render's work folder: what earlier runs left there, and what this one saves."""

    def __init__(self, plan: RenderPlan, folder: WorkFolder, force: bool, keeping: Keeping) -> None:
        """Raise UsageError where the folder holds another render's work, unless `force` is set."""
        self.plan, self.keeping = plan, keeping
        self.record = plan.record()
        self.start = Start()
        self.facts: dict[str, Any] = {}
        self._saver: Saver | None = None
        self._folder, self._force = folder, force
        self._notes: list[Event] = []
        self._machine = machine_of(plan)
        self._compare("record", self.record)
        self._compare("machine", self._machine)
        self.target = Target(plan.output, folder.new_run(), force)
        self.kept_sound = folder.path / SOUND

    @property
    def saver(self) -> Saver:
        """What saves states; there is one after `begin`."""
        if self._saver is None:
            raise RuntimeError("the run has not begun")
        return self._saver

    @property
    def full_record(self) -> dict[str, Any]:
        """What goes into the video: the plan's record, and how it was computed."""
        facts = dict(self.facts)
        if facts and (fallen := fallbacks.taken()):
            facts["fallbacks"] = fallen
        return self.record | ({COMPUTED: facts} if facts else {})

    def begin(self, peak: Callable[[], float]) -> Iterator[Event]:
        """Find where to start, and yield what is to be told about that.

        `peak` is asked for the loudest sample so far whenever a state is saved.
        """
        identity = {"record": self.record, "machine": self._machine}
        self.start, cautions = find_start(self._folder.path, identity)
        kept = files_of(self._folder.path) if self.start.segments else []
        self.facts = dict(self.start.found.get(COMPUTED, {}))
        self._folder.clear(keep=[*kept, self.target.directory])
        yield from (*self._notes, *cautions)
        if self.start.segments:
            yield Resumed(self.start.frames, self.plan.frames)
        facts = identity | {"request": dict(self.keeping.request)}
        self._saver = Saver(self._folder, self.plan, facts, self.start, self.keeping.every, peak)

    def _compare(self, part: str, new: Mapping[str, Any]) -> None:
        """Refuse an unfinished render that differs in this part; `force` throws it away."""
        facts = unfinished(self.plan.output)
        told = differences(facts[part], new) if facts else []
        if facts is None or not told:
            return
        what, name, done = "; ".join(told), self.plan.output.name, finished_part(facts)
        if not self._force:
            raise UsageError(
                f"an unfinished {name} is here, {done}, and this is not the same render: {what}",
                f"go on with it: liveact render --resume {self.plan.output}; or --force, which "
                "throws it away",
            )
        self._notes.append(Note(f"the unfinished {name} was thrown away: {what}"))
        self._folder.clear()

    def end(self, error: BaseException | None) -> None:
        """Leave what a later run can go on with, if this one failed; else nothing but the video."""
        stopped = isinstance(error, KeyboardInterrupt | GeneratorExit)
        if self._saver is not None:
            self._saver.close(at_once=stopped)
        facts = unfinished(self.plan.output)
        if (error is None and not self.keeping.keep) or facts is None:
            self._folder.remove()
        else:
            self._folder.clear(keep=files_of(self._folder.path))
            self._folder.release()
            if isinstance(error, LiveActError):
                then = f"the same command goes on from there: {finished_part(facts)}"
                error.hint = f"{error.hint}; {then}" if error.hint else then


@contextmanager
def work_on(plan: RenderPlan, force: bool, keeping: Keeping) -> Iterator[Run]:
    """Give the run that makes `plan.output`; what it leaves depends on how the block ends.

    Raises UsageError for a target that cannot be, or whose unfinished render is another one;
    LiveActError while another process makes the same video.
    """
    check_target(plan.output, force)
    path = work_folder_of(plan.output)
    try:
        folder = WorkFolder(path)
    except OSError as error:
        cause, hint = explain_os_error(error)
        raise LiveActError(f"{path} cannot be made: {cause.lower()}", hint) from error
    try:
        run = Run(plan, folder, force, keeping)
    except BaseException:
        if unfinished(plan.output) is None:
            folder.remove()
        else:
            folder.release()
        raise
    try:
        yield run
    except BaseException as error:
        run.end(error)
        raise
    run.end(None)


def machine_of(plan: RenderPlan) -> dict[str, str]:
    """Return what else decides the bits of a video: packages, and the processor or GPU."""
    processor = torch.backends.cpu.get_cpu_capability()
    if plan.model.row.family == "wan":
        kind = plan.placement.device if plan.placement else plan.settings.device
        device = choose_devices(None if kind == "cuda" else plan.settings.gpus, kind)[0]
        if device.type == "cuda":
            processor = torch.cuda.get_device_name(device)
    packages = {package: version(package) for package in _PACKAGES}
    return packages | {"ffmpeg": ffmpeg_version(find_ffmpeg()), "processor": processor}
