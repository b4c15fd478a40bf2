"""Recordings of any length become aligned phrases; archives stay inside their folder."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

pytest.importorskip("pocketsphinx")

from liveact_cli.training import recordings
from liveact_cli.training.align import AlignedWord, Aligner
from liveact_cli.training.packages import unpack

SPEECH = Path(__file__).parents[1] / "data" / "speech"
CLIPS = ("sense_0870", "sense_0930")


def long_reading() -> tuple[np.ndarray, str]:
    """Two clips of a reading with a pause between them, and what is said."""
    sounds, texts = [], []
    for name in CLIPS:
        sounds += [soundfile.read(SPEECH / f"{name}.wav", dtype="float32")[0], np.zeros(4800)]
        texts.append((SPEECH / f"{name}.txt").read_text(encoding="utf8").strip())
    return np.concatenate(sounds).astype(np.float32), " ".join(texts)


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner()


def test_phrases_end_at_pauses_once_they_are_long_enough() -> None:
    words = [
        AlignedWord(str(k), k * 1.0, k * 1.0 + (0.7 if k in (1, 4, 6) else 1.0)) for k in range(9)
    ]
    cut = [[word.text for word in phrase] for phrase in recordings.phrases(words)]
    assert cut == [["0", "1", "2", "3", "4"], ["5", "6", "7", "8"]]
    assert recordings.phrases([]) == []


def test_a_long_reading_is_cut_and_aligned(aligner: Aligner) -> None:
    samples, text = long_reading()
    found = list(recordings.read_aloud(aligner, samples * 0.1, text, "x", "reader"))
    assert len(found) > 1
    assert " ".join(item.text for item in found).split()[:4] == text.lower().split()[:4]
    spoken = sum(len(item.samples) for item in found) / 16000
    assert 0.6 * len(samples) / 16000 < spoken < 1.1 * len(samples) / 16000
    for item in found:
        assert item.phones[-1][2] <= len(item.samples) / 16000 + 0.02
        assert any(label == "ARPA:S" for label, _, _ in item.phones)


def test_another_text_gives_no_phrases(aligner: Aligner) -> None:
    samples, _ = long_reading()
    text = "pack my box with five dozen liquor jugs and then go home again"
    assert list(recordings.read_aloud(aligner, samples, text, "x", "reader")) == []


def test_decode_resamples_and_mixes_down(tmp_path: Path) -> None:
    time = np.arange(44100) / 44100
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "tone.flac", np.stack([tone, tone], 1), 44100)
    with (tmp_path / "tone.flac").open("rb") as file:
        samples = recordings.decode(file)
    assert abs(len(samples) - 16000) < 64
    crossings = np.count_nonzero(np.diff(np.signbit(samples[1000:15000])))
    assert crossings == pytest.approx(880 * 14000 / 16000, abs=3)


def test_decode_reads_the_telephones_headerless_format() -> None:
    frame = bytes([0xD0, *[0] * 32])  # 20 ms; its first four bits mark a frame of GSM 06.10
    samples = recordings.decode(io.BytesIO(frame * 50), "gsm")
    assert abs(len(samples) - 16000) < 64


@pytest.mark.parametrize("name", recordings.SPEAKERS)
def test_what_prompts_say_is_written_out_once(name: str) -> None:
    lines = recordings.spoken(name)
    assert len(dict(lines)) == len(lines) > 50
    for file, text in lines:
        assert not file.startswith("/")
        assert ".." not in file
        assert text == " ".join(text.split())
        assert not any(c.isdigit() or c in ",.?!" for c in text)


def test_short_prompts_are_heard_whole_and_long_ones_by_phrases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    menu, text = long_reading()
    short = soundfile.read(SPEECH / f"{CLIPS[1]}.wav", dtype="float32")[0]
    said = (SPEECH / f"{CLIPS[1]}.txt").read_text(encoding="utf8").strip()
    (tmp_path / "x").mkdir()
    for file, samples in (("a", short), ("b", short), ("c", np.tile(menu, 2))):
        soundfile.write(tmp_path / "x" / f"{file}.wav", samples, 16000)
    other = "pack my box with five dozen liquor jugs and then go home again"
    texts = {"a": said, "b": other, "c": f"{text} {text}"}
    lines = "\n".join(f"{file}: {words.lower()}" for file, words in texts.items())
    (tmp_path / "spoken.txt").write_text(f"[someone]\n{lines}\n", encoding="utf8")
    monkeypatch.setattr(recordings, "SOUNDS", tmp_path)
    monkeypatch.setattr(recordings, "SPOKEN", tmp_path / "spoken.txt")
    speaker = recordings.Speaker("x", "wav", "en-us")
    monkeypatch.setitem(recordings.SPEAKERS, "someone", speaker)
    heard = [item.text for item in recordings.read_spoken("someone")]
    assert heard[0] == said.lower()
    assert other not in heard
    assert len(heard) > 2
    assert [item.text for item in recordings.read_spoken("someone", "dev")] == heard[:1]


def archive(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 3
            file.addfile(member, io.BytesIO(b"abc"))
    return path


def test_unpack_drops_the_top_folder(tmp_path: Path) -> None:
    unpack(archive(tmp_path / "a.tgz", "package/voices/x.bin", "package/y"), tmp_path / "out")
    assert (tmp_path / "out" / "voices" / "x.bin").read_bytes() == b"abc"
    assert {path.name for path in tmp_path.iterdir()} == {"a.tgz", "out"}


def test_unpack_refuses_files_outside(tmp_path: Path) -> None:
    with pytest.raises(tarfile.OutsideDestinationError):
        unpack(archive(tmp_path / "a.tgz", "package/../../evil"), tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"a.tgz"}


def prompts_in(folder: Path, monkeypatch: pytest.MonkeyPatch, language: str) -> list[str]:
    """Texts read from a package of a short prompt and two long ones with figures in their text."""
    name, _ = recordings.PROMPTS[language]
    sounds, documents = folder / "sounds" / name, folder / f"asterisk-core-sounds-{language}"
    sounds.mkdir(parents=True)
    documents.mkdir()
    long, text = long_reading()
    menu = text.replace("leisure to", "leisure 2")
    short = soundfile.read(SPEECH / f"{CLIPS[1]}.wav", dtype="float32")[0]
    for path, samples in (("a", short), ("b", long), ("c", long)):
        write_g722(sounds / f"{path}.g722", samples)
    said = {"a": (SPEECH / f"{CLIPS[1]}.txt").read_text(), "b": menu, "c": menu.replace("2", "200")}
    lines = "\n".join(f"{path}: {words.strip()}" for path, words in said.items())
    with gzip.open(documents / f"core-sounds-{language}.txt.gz", "wt", encoding="utf8") as file:
        file.write(lines)
    monkeypatch.setattr(recordings, "SOUNDS", folder / "sounds")
    monkeypatch.setattr(recordings, "DOCUMENTS", folder)
    monkeypatch.setitem(recordings.PROMPTS, language, (name, "en-us"))
    return [item.text for item in recordings.read_prompts(language)]


def write_g722(path: Path, samples: np.ndarray) -> None:
    with av.open(str(path), "w", format="g722") as container:
        stream = container.add_stream("g722", rate=16000, layout="mono")
        data = np.round(samples * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(data, format="s16", layout="mono")
        frame.sample_rate = 16000
        for part in [frame, None]:
            container.mux(stream.encode(part))


def test_menus_come_by_phrases_but_the_french_test_set_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "it").mkdir()
    (tmp_path / "fr").mkdir()
    whole = (SPEECH / f"{CLIPS[1]}.txt").read_text().strip()
    italian = prompts_in(tmp_path / "it", monkeypatch, "it")
    assert italian[0] == whole
    assert len(italian) == 3  # the phrases of "b": nobody knows how the 200 of "c" is said
    assert "leisure 2 consider" in italian[1]
    assert prompts_in(tmp_path / "fr", monkeypatch, "fr") == [whole]


def test_unpack_lays_a_wheel_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("a/assets/x.wav", "1")
        wheel.writestr("../evil", "2")
    unpack(tmp_path / "a-1-py3-none-any.whl", tmp_path / "out")
    assert (tmp_path / "out" / "a" / "assets" / "x.wav").read_text() == "1"
    assert not (tmp_path / "evil").exists()
