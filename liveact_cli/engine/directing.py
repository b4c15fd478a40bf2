"""Scripts and renders: a performance placed on the part of a recording that a job uses."""

import hashlib
from dataclasses import replace

from liveact_cli.engine.prepare import Job
from liveact_cli.media.audio import probe_audio
from liveact_cli.script.direct import Direction, direct
from liveact_cli.script.performance import Performance
from liveact_cli.script.resolve import Recording
from liveact_cli.script.resolved import ResolvedScript
from liveact_cli.script.sound import listen


def direct_job(job: Job, performance: Performance) -> tuple[Job, Direction]:
    """Return the job with the script in it, and the direction with what to tell the user.

    Times count from the beginning of the recording, and `end` is its end, whatever part of it is
    used. Raises `ScriptError` when the script cannot be placed.
    """
    plan = job.plan
    fps, begin = float(plan.model_fps), plan.settings.start
    sound = listen(job.sound.blocks()) if performance.needs_sound else None
    length = begin + plan.seconds
    if plan.settings.duration is not None:
        length = probe_audio(plan.audio).seconds
    recording = Recording(length, fps, sound, seed=plan.seed, heard_from=begin)
    direction = direct(performance, recording)
    script = direction.script.cut(round(begin * fps), plan.chunks.frames)
    script = replace(script, prompt=script.prompt or plan.settings.prompt)
    if script.is_plain:
        return job, direction
    plan = replace(plan, direction=digest(script))
    return replace(job, plan=plan, script=script), replace(direction, script=script)


def digest(script: ResolvedScript) -> str:
    """Return the identity of a resolved script: equal when everything that is played is equal."""
    parts = [
        (
            span.kind, span.name, span.start, span.stop, span.fade, span.intensity,
            span.word and (span.word.motion, span.word.text), span.from_start, span.to_end,
        )
        for span in script.spans
    ]  # fmt: skip
    return hashlib.sha256(repr((script.prompt, script.idle, parts)).encode()).hexdigest()
