"""Direction of liveact-mini: right words at the right latent frame, curves right to the frame."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
import torch

from liveact_cli.core.geometry import ChunkPlan, MemoryPolicy
from liveact_cli.mini.codec import MotionCodec, latent_frames
from liveact_cli.mini.decoder import MotionDecoder
from liveact_cli.mini.direction import DirectedMotionDecoder, MiniDirection, pieces
from liveact_cli.mini.motion import (
    CHANNEL_INDEX,
    MOTION_CHANNELS,
    NUM_CHANNELS,
    lip_aperture,
    motion_vector,
)
from liveact_cli.mini.performer.direction import Cue, Direction
from liveact_cli.mini.performer.expression import (
    MANNERS,
    OFFSET,
    ONSET,
    act,
    action_frames,
    envelope,
)
from liveact_cli.mini.response import RESPONSE_NAME, Response, response_of
from liveact_cli.mini.vocabulary import EMOTIONS, VOCABULARY, WORD_INDEX
from liveact_cli.script.direct import direct
from liveact_cli.script.parse import parse_script
from liveact_cli.script.performance import assemble
from liveact_cli.script.resolve import Recording
from liveact_cli.script.resolved import Idle, ResolvedScript
from liveact_cli.script.source import Source
from liveact_cli.script.words import WORDS, Kind

FRAMES = 350
PLAN = ChunkPlan(MemoryPolicy(), FRAMES)
DEGREES = ("yaw", "pitch", "roll")
TOLERANCE = 2
"""80 ms in frames."""
ONCE = [w for w in WORDS if w.exact and w.name not in ("neutral", "nod", "shake head", "sigh")]


def script_of(body: str, frames: int = FRAMES) -> ResolvedScript:
    parsed = parse_script(Source("liveact: 1\n" + body))
    return direct(assemble(parsed, _none), Recording(frames / 25, 25.0)).script


def directed(script: ResolvedScript) -> MiniDirection:
    """Return direction for a transformer that does exactly what the performer taught it."""
    return MiniDirection(script, Response.of_performer())


def _none(name: str):
    raise AssertionError(name)


def told(direction: MiniDirection, frames: int = FRAMES) -> np.ndarray:
    """Return what the transformer is told, by latent frame `[F, words]`."""
    plan = ChunkPlan(MemoryPolicy(), frames)
    contexts = torch.cat([direction.context(span) for span in plan.spans()])
    return contexts.sum(1).numpy()[: latent_frames(frames)]


def student(direction: MiniDirection, seed: int = 0) -> np.ndarray:
    """Play what the performer would: an ideal transformer that knows cues by latent frames only."""
    rng = np.random.default_rng(seed)
    track = told(direction)[-(-np.arange(FRAMES) // 4)]
    motion = np.zeros((FRAMES, NUM_CHANNELS))
    for word in VOCABULARY:
        level = track[:, WORD_INDEX[word]]
        edges = np.flatnonzero(np.diff(np.concatenate(([0.0], level, [0.0]))))
        for start, stop in pairwise(edges):
            value = float(level[start])
            # Where inside the latent frame the cue began is not known.
            begin, end = (int(i + rng.integers(-1, 3)) if i else 0 for i in (start, stop))
            if value and word in MANNERS:
                offset = motion_vector(MANNERS[word].face) + motion_vector(MANNERS[word].head)
                window = envelope(begin, end, FRAMES, ONSET, OFFSET)
                motion += value * window[:, None] * offset
            elif value:
                cue = Cue(word, begin, begin + action_frames(word), value)
                motion += act(Direction((cue,)), FRAMES)[0]
    return motion.astype(np.float32)


def chunks() -> Iterator[slice]:
    return (slice(s.frame_start, min(s.frame_stop, FRAMES)) for s in PLAN.spans())


def play(direction: MiniDirection, motion: np.ndarray) -> np.ndarray:
    return np.concatenate([direction.apply(motion[rows], rows.start) for rows in chunks()])


def clearest(offsets: np.ndarray) -> int:
    """Return the channel that an event moves most, degrees being small."""
    size = np.abs(offsets).max(axis=0)
    size[[CHANNEL_INDEX[name] for name in DEGREES]] /= 20.0
    return int(size.argmax())


@pytest.mark.parametrize("word", ONCE, ids=lambda word: word.name.replace(" ", "-"))
@pytest.mark.parametrize(("start", "seconds"), [(4.0, 2.0), (4.07, 4.0)])
def test_events_begin_and_end_on_time(word, start: float, seconds: float) -> None:
    direction = directed(
        script_of(f"timeline: [{{at: {start}, for: {seconds}, {word.kind}: {word.name}}}]")
    )
    motion = play(direction, student(direction))
    channel = clearest(direction.wanted(0, FRAMES))
    curve = np.abs(motion[:, channel])
    above = np.flatnonzero(curve >= 0.5 * np.abs(direction.wanted(0, FRAMES)[:, channel]).max())
    assert abs(above[0] - round(start * 25)) <= TOLERANCE, MOTION_CHANNELS[channel]
    assert abs(above[-1] + 1 - round((start + seconds) * 25)) <= TOLERANCE


def test_nodding_is_repeated_while_it_lasts() -> None:
    script = script_of("timeline: [{at: 2, for: 4.4, action: nod}]")
    (span,) = script.spans
    assert pieces("nod", span) == [(50, 78), (78, 105), (105, 132), (132, 160)]
    direction = directed(script)
    pitch = play(direction, student(direction))[:, CHANNEL_INDEX["pitch"]]
    assert np.abs(pitch[:45]).max() < 0.5
    assert np.abs(pitch[165:]).max() < 0.5
    peaks = (pitch[1:-1] > pitch[:-2]) & (pitch[1:-1] >= pitch[2:]) & (pitch[1:-1] > 3.5)
    assert 4 <= peaks.sum() <= 8


def test_a_response_survives_its_file(tmp_path) -> None:
    response = Response.of_performer()
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"some weights")
    response.save(tmp_path / RESPONSE_NAME, weights)
    read = response_of(weights)
    for name in ("onsets", "offsets", "actions"):
        ours, theirs = getattr(response, name), getattr(read, name)
        assert ours.keys() == theirs.keys()
        for word, values in ours.items():
            np.testing.assert_allclose(theirs[word], values, atol=0.01)


def test_a_response_of_other_weights_is_not_used(tmp_path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"some weights")
    Response({}, {}, {}).save(tmp_path / RESPONSE_NAME, weights)
    assert response_of(weights).onsets == {}
    weights.write_bytes(b"other weights")
    assert response_of(weights).onsets.keys() == Response.of_performer().onsets.keys()


def test_the_middle_of_an_emotion_is_the_transformers_own() -> None:
    direction = directed(script_of("timeline: [{at: 4, until: 10, emotion: happy}]"))
    np.testing.assert_allclose(direction.wanted(140, 220), direction.asked(140, 220), atol=1e-6)
    assert np.abs(direction.asked(95, 115) - direction.wanted(95, 115)).max() > 0.05


def test_words_are_told_at_their_latent_frames() -> None:
    direction = directed(
        script_of("emotion: warm\ntimeline: [{at: 4, until: 8, emotion: sad, intensity: 0.5}]")
    )
    track = told(direction)
    warm, sad = track[:, WORD_INDEX["warm"]], track[:, WORD_INDEX["sad"]]
    assert set(np.unique(sad)) == {0.0, 0.5}
    assert (warm + 2 * sad == 1).all()
    first = PLAN.latent_of(100)
    # An emotion is announced a third of a second early, since it takes its time to appear.
    assert np.flatnonzero(sad)[0] in (first - 3, first - 2, first - 1)
    assert track[:, : len(EMOTIONS)].any(axis=1).all()


def test_without_a_word_the_face_is_neutral() -> None:
    track = told(directed(script_of("timeline: [{at: 4, for: 1, action: smile}]")))
    assert (track[:, WORD_INDEX["neutral"]] == 1).all()
    assert track[:, WORD_INDEX["smile"]].max() == 1.0


def test_a_prompt_names_the_emotion_underneath() -> None:
    track = told(directed(script_of("prompt: A very sad man.")))
    assert (track[:, WORD_INDEX["sad"]] == 1.0).all()
    track = told(directed(script_of("prompt: A very sad man.\nemotion: calm")))
    assert (track[:, WORD_INDEX["sad"]] == 0.0).all()


@pytest.mark.parametrize("emotion", ["happy", "surprised", "afraid"])
def test_lips_that_speech_closes_stay_closed_under_an_emotion(emotion: str) -> None:
    closed = motion_vector(jawOpen=0.22, mouthClose=1.0)
    touch = motion_vector(jawOpen=0.11, mouthRollLower=0.6)
    spoken = motion_vector(jawOpen=0.4, mouthClose=0.1, mouthRollLower=0.05)
    motion = np.stack([closed, touch, spoken] * 20)
    told = directed(script_of(f"emotion: {emotion}")).apply(motion, 0)
    apart = lip_aperture(told).reshape(20, 3)
    assert apart[:, 0].max() < 0.02
    assert apart[:, 1].max() < 0.2 < apart[:, 2].min()
    acting = directed(script_of("timeline: [{at: 0, for: 5, action: nod}]")).apply(motion, 0)
    np.testing.assert_array_equal(lip_aperture(acting), lip_aperture(motion))


def test_nobody_speaks_in_the_middle_of_a_yawn() -> None:
    vowel = motion_vector(jawOpen=0.4, mouthPucker=0.6)
    speech = np.stack([vowel, motion_vector(jawOpen=0.1, mouthClose=1.0, mouthPress=0.5)])
    motion = np.tile(speech, (FRAMES // 2, 1))
    script = script_of("timeline: [{at: 4, for: 4, action: yawn}]")
    silent = Response({}, {}, {"yawn": np.zeros((1, NUM_CHANNELS), np.float32)})
    played = MiniDirection(script, silent).apply(motion, 0)
    jaw, close = (played[:, CHANNEL_INDEX[name]] for name in ("jawOpen", "mouthClose"))
    np.testing.assert_allclose(jaw[140:160], 0.95, atol=0.01)
    np.testing.assert_allclose(close[140:160], 0.0, atol=1e-6)
    lips = [CHANNEL_INDEX[name] for name in ("mouthPucker", "mouthPress")]
    np.testing.assert_allclose(played[140:160, lips], 0.0, atol=1e-6)
    assert np.abs(np.diff(jaw[140:160])).max() < 0.01
    for rows in (slice(0, 70), slice(230, FRAMES)):
        np.testing.assert_array_equal(played[rows], motion[rows])


def test_blocks_do_not_matter() -> None:
    body = "emotion: warm\ntimeline: [{at: 3, for: 5, action: laugh}, {at: 5, emotion: sad}]"
    direction = directed(script_of(body))
    motion = np.random.default_rng(0).standard_normal((FRAMES, NUM_CHANNELS)).astype(np.float32)
    whole = direction.apply(motion, 0)
    np.testing.assert_allclose(play(direction, motion), whole, atol=1e-6)


def test_what_a_preset_says_of_head_and_blinks() -> None:
    idle = Idle(head=1.5, blink=0.5)
    direction = directed(ResolvedScript(25.0, 2_000, idle=idle))
    motion = np.zeros((2_000, NUM_CHANNELS), np.float32)
    motion[:, CHANNEL_INDEX["yaw"]] = 2.0
    lids = [CHANNEL_INDEX["eyeBlinkLeft"], CHANNEL_INDEX["eyeBlinkRight"]]
    for start in range(20, 1_980, 40):
        motion[start : start + 5, lids] = 1.0
    played = direction.apply(motion, 0)
    assert (played[:, CHANNEL_INDEX["yaw"]] == 3.0).all()
    blinks = np.count_nonzero(np.diff(played[:, lids[0]]) > 0.5)
    assert 15 <= blinks <= 34
    np.testing.assert_array_equal(direction.apply(motion, 0), played)


def test_a_plain_script_leaves_motion_alone() -> None:
    motion = np.full((40, NUM_CHANNELS), 7.0, np.float32)
    assert directed(ResolvedScript(25.0, 100)).apply(motion, 3) is motion


def test_the_decoder_resumes_where_it_was() -> None:
    codec = MotionCodec.identity()
    direction = directed(script_of("timeline: [{at: 1, for: 2, action: tilt head}]"))
    torch.manual_seed(0)
    latents = [torch.randn(32, span.latents, 1, 5) * 0.1 for span in PLAN.spans()][:4]
    decoder = DirectedMotionDecoder(codec, direction)
    whole = [decoder.decode(latent) for latent in latents]
    first = DirectedMotionDecoder(codec, direction)
    for latent in latents[:2]:
        first.decode(latent)
    second = DirectedMotionDecoder(codec, direction)
    second.load_state(first.state())
    for latent, motion in zip(latents[2:], whole[2:], strict=True):
        np.testing.assert_array_equal(second.decode(latent), motion)
    plain = MotionDecoder(codec).decode(latents[0])
    assert np.abs(plain - whole[0])[:, CHANNEL_INDEX["roll"]].max() > 0.5


def test_other_frame_rates_are_refused() -> None:
    with pytest.raises(ValueError, match=r"30\.0 frames"):
        directed(ResolvedScript(30.0, 100))


def test_kinds_are_as_the_vocabulary_has_them() -> None:
    for word in WORDS:
        for motion, _ in word.motion:
            assert (motion in EMOTIONS) == (word.kind is Kind.EMOTION)
