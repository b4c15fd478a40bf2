"""Two thousand random and mutated scripts: an answer each time, never a traceback."""

from pathlib import Path

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from script_helpers import preset
from script_strategies import anything, mutated, random_scripts

from liveact_cli.core.geometry import ChunkPlan, MemoryPolicy
from liveact_cli.mini.direction import MiniDirection
from liveact_cli.mini.motion import NUM_CHANNELS
from liveact_cli.mini.response import Response
from liveact_cli.script.direct import direct
from liveact_cli.script.formats.convert import FORMS, read_form
from liveact_cli.script.performance import read_performance
from liveact_cli.script.problems import ScriptError
from liveact_cli.script.resolve import Recording
from liveact_cli.script.source import Source

RECORDING = Recording(7.3, 25.0)
ANSWER = Response.of_performer()
GOOD = """\
liveact: 1
prompt: A talk-show host speaks to the camera.
preset: talkshow
emotion: warm
timeline:
  - at: 0:02
    for: 3s
    action: heart gesture
  - at: 0:03.5
    until: end-1s
    emotion: laughing
    intensity: 0.8
    fade: 0.4s
  - every: 2s
    jitter: 500ms
    for: 1s
    action: nod
  - on: pause
    action: look down
define:
  smirk: {kind: emotion, like: [contempt, happy], intensity: 0.5}
"""
quick = settings(
    max_examples=1_000,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def complain(error: ScriptError) -> None:
    """Check that an error can be told."""
    assert error.problems
    assert all(problem.message for problem in error.problems)
    assert str(error).encode()


def judge(text: str) -> None:
    """Parse, resolve and play a script for both models, or be told what is wrong with it."""
    source = Source("".join(text.split("\0")), "random.yaml", Path("/nonexistent"))
    try:
        direction = direct(read_performance(source, preset), RECORDING)
    except ScriptError as error:
        complain(error)
        return
    plan = ChunkPlan(MemoryPolicy(), RECORDING.frames)
    assert len(direction.texts(plan, "frame")) > 0
    direction.model_notes(plan, reads_text=False)
    levels = direction.script.levels(0, RECORDING.frames)
    assert all((level >= 0).all() and (level <= 1).all() for level in levels.values())
    played = MiniDirection(direction.script, ANSWER)
    assert all(torch.isfinite(played.context(span)).all() for span in plan.spans())
    still = np.zeros((RECORDING.frames, NUM_CHANNELS), np.float32)
    assert np.isfinite(played.apply(still, 0)).all()


@quick
@given(random_scripts | anything | random_scripts.map(lambda text: "liveact: 1\n" + text))
def test_random_scripts(text: str) -> None:
    judge(text)


@quick
@given(mutated(GOOD))
def test_mutated_scripts(text: str) -> None:
    judge(text)


@settings(quick, max_examples=300)
@given(
    st.sampled_from(FORMS),
    anything
    | mutated('{"[0, 4]": "a", "[3, 9]": "b"}')
    | mutated("1\n00:00:01,000 --> 00:00:02,000\n[laughing] and so\n")
    | mutated("at,for,action,intensity\n2,1s,nod,0.5\nend-3s,,smile,\n"),
)
def test_random_files_of_other_forms(form, text: str) -> None:
    try:
        read_form(Source("".join(text.split("\0")), "random"), form, 24.0)
    except ScriptError as error:
        complain(error)
