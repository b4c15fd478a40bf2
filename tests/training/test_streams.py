"""Utterances become streams whose labels lie where the sound is."""

from pathlib import Path

import numpy as np
import pytest

from liveact_cli.mini.visemes import VISEME_INDEX
from liveact_cli.training import corpus, lips
from liveact_cli.training.prosody import FLOOR_DECIBELS, prosody
from liveact_cli.training.rawstore import read_raw, write_raw
from liveact_cli.training.streams import (
    StreamPlan,
    _drawl,
    build_stream,
    class_track,
    speech_track,
)
from liveact_cli.training.synthesise import Utterance


def utterance(seed: int, seconds: float = 3.0) -> Utterance:
    """Tone, silence, tone: 'a' and 'm' with a closed pause."""
    time = np.arange(int(16000 * seconds)) / 16000
    tone = np.sin(2 * np.pi * (150 + 20 * seed) * time) + 0.3 * np.sin(2 * np.pi * 900 * time)
    phones = [
        ("", 0.0, 0.5),
        ("a", 0.5, 1.2),
        ("ARPA:m", 1.2, 1.4),
        ("", 1.4, 2.0),
        ("uː", 2.0, 2.6),
    ]
    gate = np.zeros(len(time))
    for label, start, stop in phones:
        if label:
            gate[int(start * 16000) : int(stop * 16000)] = 1.0
    return Utterance((tone * gate).astype(np.float32), phones, "espeak", f"v{seed}", "xx", "a mu")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    names = {name for split in corpus.SPLITS.values() for name in split} | {"espeak", "hibari"}
    for name in names:
        write_raw(tmp_path / "raw", name, (utterance(k) for k in range(16)), 1e9)
    return tmp_path / "raw"


def test_raw_store_round_trip(raw: Path) -> None:
    entries = read_raw(raw, "hibari")
    assert len(entries) == 16
    assert entries[3].voice == "v3"
    assert np.abs(entries[3].sound()).max() == pytest.approx(0.6, abs=1e-3)
    assert [label for label, _, _ in entries[3].phones] == ["", "a", "ARPA:m", "", "uː"]


def test_a_finished_source_is_kept(raw: Path) -> None:
    before = (raw / "hibari.pcm").stat().st_mtime_ns
    seconds = write_raw(raw, "hibari", iter([]), 10.0)
    assert seconds == pytest.approx(48.0)
    assert (raw / "hibari.pcm").stat().st_mtime_ns == before


def test_tracks() -> None:
    track = class_track([("a", 3, 0.10, 0.15), ("m", 1, 0.15, 0.2)], 40)
    assert track.tolist() == [0] * 10 + [3] * 5 + [1] * 5 + [0] * 20
    gaps = np.zeros(400, np.int8)
    gaps[100:150] = gaps[160:200] = gaps[300:310] = 5
    speech = speech_track(gaps)
    assert speech.shape == (100,)
    assert speech[25:50].min() == 1.0
    assert speech[52:74].max() == 0.0


@pytest.mark.parametrize("take", [0, 1])
def test_labels_lie_where_the_sound_is(raw: Path, take: int) -> None:
    entries = tuple(read_raw(raw, "espeak")[:6])
    plan = StreamPlan("s", entries, take, seed=4, varied=True)
    built = build_stream(plan, talkers=entries)
    labels = built.labels
    frames = len(labels.prosody)
    assert built.mel.shape == (4 * frames, 64)
    assert labels.classes.shape == (4 * frames,)
    if take == 0:
        loud = built.mel.astype(float).mean(1)
        assert loud[labels.classes > 0].mean() > loud[labels.classes == 0].mean() + 0.2
    assert {VISEME_INDEX["AA"], VISEME_INDEX["PBM"], VISEME_INDEX["UW"]} <= set(labels.classes)
    assert labels.phones[0][0] == "a"
    again = build_stream(plan, talkers=entries)
    assert np.array_equal(again.mel, built.mel)
    assert np.array_equal(again.labels.classes, labels.classes)


def test_prosody_follows_pitch_and_loudness() -> None:
    time = np.arange(32000) / 16000
    pitch = 120 * 2 ** (time / 2)  # an octave in two seconds
    phase = 2 * np.pi * np.cumsum(pitch) / 16000
    tone = sum(np.sin(k * phase) / k for k in range(1, 12)) * np.where(time < 1, 0.1, 0.3)
    curves = prosody(tone.astype(np.float32), np.ones(50, np.float32))
    assert np.median(curves[5:45, 2]) > 0.9
    rise = np.polyfit(np.arange(5, 45) / 25, curves[5:45, 1], 1)[0]
    assert rise == pytest.approx(6.0, rel=0.1)
    assert curves[30:45, 0].mean() - curves[5:20, 0].mean() == pytest.approx(9.5, abs=0.7)
    silent = prosody(np.zeros(16000, np.float32), np.zeros(25, np.float32))
    assert (silent[:, 0] >= FLOOR_DECIBELS).all()
    assert (silent[:, 1] == 0).all()


def test_corpus_splits_load(raw: Path) -> None:
    out = raw.parent
    for split in corpus.SPLITS:
        corpus.make_streams(out, split, takes=2, seed=0, jobs=1)
    train = corpus.load_streams(out)
    assert {s.take for s in train} == {0, 1}
    assert [s.take for s in corpus.load_streams(out, takes=(1,))] == [1] * sum(
        s.take for s in train
    )
    one = train[0]
    assert one.mel.shape == (4 * one.frames, 64)
    assert one.loudness.shape == one.pitch.shape == one.speech.shape == (one.frames,)
    assert one.rows is None
    assert one.lips is None
    assert {p.viseme for p in one.phones} == {"AA", "PBM", "UW"}

    lips.write_lips(out, "train")
    with_lips = corpus.load_streams(out)[0].lips
    assert with_lips is not None
    assert with_lips.shape == (one.frames, len(lips.LIP_CHANNELS))
    closed = with_lips[:, lips.LIP_CHANNELS.index("mouthClose")]
    assert {float(closed[round(25 * (p.start + p.stop) / 2)]) for p in one.phones
            if p.viseme == "PBM" and p.stop - p.start > 0.04} == {1.0}  # fmt: skip


def test_drawled_vowels_are_longer_where_their_labels_say() -> None:
    rows = [("a", VISEME_INDEX["AA"], 0.5, 0.7), ("m", VISEME_INDEX["PBM"], 0.7, 0.8),
            ("uː", VISEME_INDEX["UW"], 1.5, 1.8)]  # fmt: skip
    time = np.arange(32000) / 16000
    said = ((time >= 0.5) & (time < 0.8)) | ((time >= 1.5) & (time < 1.8))
    sound = (said * np.sin(2 * np.pi * 150 * time)).astype(np.float32)
    lengths = []
    for seed in range(20):
        longer, moved = _drawl(sound, rows, np.random.default_rng(seed))
        added = [b - a - (stop - start) for (*_, start, stop), (*_, a, b) in
                 zip(rows, moved, strict=True)]  # fmt: skip
        assert len(longer) / 16000 == pytest.approx(2 + sum(added), abs=0.001)
        assert added[1] == pytest.approx(0)
        loud = np.flatnonzero(np.abs(longer) > 0.3) / 16000
        assert loud[[0, -1]] == pytest.approx([moved[0][2], moved[2][3]], abs=0.015)
        lengths.append(moved[0][3] - moved[0][2])
    assert min(lengths) == pytest.approx(0.2)
    assert 0.3 < max(lengths) <= 0.7
