"""`liveact podcast`: every way to say who speaks, every layout, going on after kills, bad input."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from liveact_cli.cli.context import Environment
from liveact_cli.cli.main import main
from liveact_cli.core.errors import ExitCode

ROOT = Path(__file__).parents[2]
RATE = 16_000
SECONDS = 7.3


def speech(seconds: float, turns: list[tuple[float, float]], pitch: float) -> np.ndarray:
    """Syllables of a hum, four a second, where somebody speaks."""
    t = np.arange(round(seconds * RATE)) / RATE
    voice = np.sin(2 * np.pi * pitch * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t))
    mask = np.zeros_like(t)
    for start, stop in turns:
        mask[(t >= start) & (t < stop)] = 1
    return (0.3 * voice * mask).astype(np.float32)


def write_wav(path: Path, *channels: np.ndarray) -> None:
    samples = (np.stack(channels, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())


@pytest.fixture(scope="session")
def show(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, everybody's recording, the mix, the sides, and who speaks when."""
    folder = tmp_path_factory.mktemp("show")
    for name in ("joconde.jpg", "segoyewatha.png"):
        picture = Image.open(ROOT / "tests" / "data" / "portraits" / name).convert("RGB")
        picture.save(folder / f"{Path(name).stem}.png")
    ada = speech(SECONDS, [(0.3, 3.0), (5.0, 7.0)], 150)
    bo = speech(SECONDS, [(3.2, 4.9)], 220)
    write_wav(folder / "ada.wav", ada)
    write_wav(folder / "bo.wav", bo)
    write_wav(folder / "mix.wav", ada + bo)
    write_wav(folder / "sides.wav", ada, bo)
    (folder / "mix.rttm").write_text(
        "SPEAKER mix 1 0.3 2.7 <NA> <NA> Ada <NA> <NA>\n"
        "SPEAKER mix 1 3.2 1.7 <NA> <NA> Bo <NA> <NA>\n"
        "SPEAKER mix 1 5.0 2.0 <NA> <NA> Ada <NA> <NA>\n"
    )
    return folder


CAST = ("--host", "Ada=joconde.png", "--guest", "Bo=segoyewatha.png")
SMALL = ("--size", "160x90", "--fps", "10", "--seed", "5")
MIX = ("podcast", "mix.wav", *CAST, "--turns", "mix.rttm", *SMALL)


@pytest.fixture
def desk(studio, show, tmp_path: Path):
    """A shell in a folder with the episode's files, whose segments are two seconds long."""
    for file in show.iterdir():
        shutil.copy(file, tmp_path)
    studio.variables["LIVEACT_SEGMENT_SECONDS"] = "2"
    return studio


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as film:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)])


def lengths(path: Path) -> tuple[int, float, float]:
    """Return the number of frames, and the seconds of picture and sound."""
    with av.open(str(path)) as film:
        picture, sound = film.streams.video[0], film.streams.audio[0]
        return (
            picture.frames,
            float(picture.duration * picture.time_base),
            float(sound.duration * sound.time_base),
        )


@pytest.mark.multi
def test_an_episode_from_a_mix_and_turns(desk, tmp_path: Path) -> None:
    """Both are drawn throughout, side by side; lips have nothing to follow while others speak."""
    words = (*MIX, "--layout", "side-by-side", "-o", "show.mp4", "--keep-state")
    outcome = desk(*words, "--json", "--jobs", "2")
    assert outcome.code == 0, outcome.err
    assert outcome.json["frames"] == 73
    assert [round(one["speaks_seconds"], 1) for one in outcome.json["cast"]] == [4.7, 1.7]
    frames, picture, sound = lengths(tmp_path / "show.mp4")
    assert (frames, picture) == (73, pytest.approx(7.3))
    assert abs(picture - sound) <= 0.1
    video = frames_of(tmp_path / "show.mp4").astype(int)
    assert np.abs(np.diff(video[35:48, :, :80], axis=0)).max() > 8  # Ada, while Bo speaks
    assert np.abs(np.diff(video[5:28, :, 80:], axis=0)).max() > 8  # Bo, while Ada speaks
    work = tmp_path / ".show.mp4.episode"
    assert [lengths(work / "clips" / f"{i}.mp4")[0] for i in (0, 1)] == [73, 73]
    with av.open(str(work / "voices" / "1.flac")) as file:
        heard = np.concatenate([f.to_ndarray().ravel() for f in file.decode(audio=0)])
    assert not heard[: 3 * RATE].any()
    assert heard[4 * RATE : 4 * RATE + 800].any()
    info = desk("inspect", "show.mp4", "--json").json
    assert info["generated"]
    assert info["liveact"]["people"]["Bo"]["frames"] == 73
    assert info["liveact"]["layout"] == "side-by-side"
    assert desk(*words).code == ExitCode.USAGE  # it exists already


def plan_of(desk, *words: str) -> dict:
    outcome = desk("podcast", *words, "--dry-run", "--json")
    assert outcome.code == 0, outcome.err
    return outcome.json


@pytest.mark.parametrize(
    "words",
    [
        ("mix.wav", *CAST, "--turns", "mix.rttm"),
        ("ada.wav", "bo.wav", *CAST),
        ("sides.wav", *CAST),
        ("ada.wav", "bo.wav", *CAST, "--sound", "mix.wav"),
        ("sides.wav", *CAST, "--turns", "stereo"),
    ],
)
def test_every_way_to_say_who_speaks(desk, tmp_path: Path, words: tuple[str, ...]) -> None:
    plan = plan_of(desk, *words, "--seed", "1")
    assert [turn["name"] for turn in plan["turns"]] == ["Ada", "Bo", "Ada"]
    for turn, start in zip(plan["turns"], (0.3, 3.2, 5.0), strict=True):
        assert turn["start"] == pytest.approx(start, abs=0.15)
    assert plan["frames"] == round(7.3 * 25)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.multi
def test_the_sound_is_everybodys_together(desk, tmp_path: Path) -> None:
    """Without a mix of its own the recordings are heard together, in picture-in-picture."""
    words = ("podcast", "ada.wav", "bo.wav", *CAST, *SMALL, "--layout", "picture-in-picture")
    outcome = desk(
        *words, "--jobs", "1", "--start", "2", "--duration", "3s", "-o", "show.mp4", "-q"
    )
    assert outcome.code == 0, outcome.err
    assert lengths(tmp_path / "show.mp4")[0] == 30
    with av.open(str(tmp_path / "show.mp4")) as film:
        sound = np.concatenate([f.to_ndarray()[0] for f in film.decode(audio=0)])
    loud = [np.abs(sound[round(t * 16_000) :][:1600]).max() > 0.1 for t in (0.5, 1.1, 2.0)]
    assert loud == [True, False, True]  # Ada, nobody, Bo


def process(desk, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "liveact_cli", *words],
        env={**os.environ, **desk.variables},
        cwd=desk.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        # Whoever started the tests may have them ignore it, as shells do for what runs behind.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.multi
def test_stopped_and_killed_it_goes_on_to_the_same_bytes(desk, tmp_path: Path) -> None:
    words = (*MIX, "--layout", "grid", "-o", "show.mp4", "--jobs", "1")
    assert desk(*words, "-q").code == 0
    whole = (tmp_path / "show.mp4").read_bytes()
    (tmp_path / "show.mp4").unlink()
    for there, number in (("clips/0.mp4", signal.SIGINT), ("pieces.json", signal.SIGKILL)):
        running = process(desk, *words)
        while not (tmp_path / ".show.mp4.episode" / there).exists():
            assert running.poll() is None, running.communicate()
            time.sleep(0.02)
        running.send_signal(number)
        _, err = running.communicate()
        if number is signal.SIGINT:
            assert running.returncode == ExitCode.INTERRUPTED, err
            assert "interrupted: 1 of 2 people are rendered" in err
            assert "the same command goes on" in err
    other = desk(*words, "--layout", "speaker")
    assert other.code == ExitCode.USAGE
    assert "not the same episode: layout speaker instead of grid" in other.err
    outcome = desk(*(word for word in words if word not in ("--seed", "5")))
    assert outcome.code == 0, outcome.err
    assert "everybody is rendered" in outcome.err
    assert "Ada is rendered already" in outcome.err
    assert (tmp_path / "show.mp4").read_bytes() == whole
    assert not list(tmp_path.glob(".*"))


YAML = """\
liveact: 1
sound: mix.wav
turns: mix.rttm
layout: grid
background: navy
cast:
  - name: Ada
    picture: joconde.png
    emotion: happy
  - name: Bo
    picture: segoyewatha.png
intro:
  title: A show
  for: 1s
outro:
  title: The end
  text: Thank you
  for: 1s
"""


class Terminal(io.StringIO):
    """Where a person watches."""

    def isatty(self) -> bool:
        return True


@pytest.mark.multi
def test_an_episode_in_one_file(desk, tmp_path: Path) -> None:
    (tmp_path / "episode.yaml").write_text(YAML)
    seen = Terminal()
    environment = Environment(io.StringIO(), seen, desk.variables, desk.directory)
    words = ["podcast", "episode.yaml", *SMALL, "--jobs", "1", "--label"]
    assert main(words, environment) == 0, seen.getvalue()
    assert all(word in seen.getvalue() for word in ("Ada", "Bo", "composed", "100%", "frames/s"))
    video = frames_of(tmp_path / "episode.mp4").astype(int)
    assert len(video) == 73
    # The cards lie over the first and the last second, and fade.
    light = video.mean((1, 2, 3))
    assert light[0] < 0.6 * light[30]
    assert light[-1] < 0.6 * light[30]
    assert light[0] < light[7] < light[11]


BAD_FILES = [
    ("liveact: 1\nsound: mix.wav\nlayuot: grid\ncast: [{name: A, picture: joconde.png}]\n",
     "episode.yaml:3:1", "did you mean 'layout'"),
    ("liveact: 1\nsound: mix.wav\ncast: [{name: A, picture: joconde.png, tarck: ada.wav}]\n",
     "episode.yaml:3:40", "did you mean 'track'"),
    (YAML.replace("grid", "gird"), "episode.yaml:4:9", "did you mean 'grid'"),
    (YAML.replace("joconde.png", "mona.png"), "episode.yaml:8:14", "'mona.png' does not exist"),
    (YAML.replace("name: Bo", "name: ada"), "episode.yaml:10:11", "two people are called 'ada'"),
    (YAML.replace("navy", "blueish"), "episode.yaml:5:13", "neither a colour nor a file"),
    (YAML.replace("for: 1s\noutro", "for: 90s\noutro"), "episode.yaml:14:8", "write 0.5s to 30s"),
    (YAML.replace("    emotion: happy", "    track: ada.wav"), "episode.yaml:10:11",
     "no track of their own"),
    (YAML.replace("sound: mix.wav\n", ""), "episode.yaml:1:1", "sound: is missing"),
    ("liveact: 1\nsound: mix.wav\ncast: []\n", "episode.yaml:3:7", "cast: is empty"),
    ("- a\n- b\n", "episode.yaml", "an episode is keys and values"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "message"), BAD_FILES)
def test_bad_files(desk, tmp_path: Path, text: str, place: str, message: str) -> None:
    (tmp_path / "episode.yaml").write_text(text)
    outcome = desk("podcast", "episode.yaml", "--dry-run")
    assert outcome.code == ExitCode.BAD_MEDIA
    assert place in outcome.err
    assert message in outcome.err
    assert "docs/podcast.md" in outcome.err


BAD_WORDS = [
    ((), ExitCode.USAGE, "missing argument 'EPISODE'"),
    (("mix.wav",), ExitCode.USAGE, "missing option '--host'"),
    (("mix.wav", *CAST), ExitCode.BAD_MEDIA, "mix.wav does not say who of 2 speaks when"),
    (("mix.wav", *CAST, "--turns", "stereo"), ExitCode.BAD_MEDIA, "1 channel, the cast 2"),
    (("sides.wav", *CAST, "--guest", "Cy=joconde.png"), ExitCode.BAD_MEDIA, "who of 3"),
    (("ada.wav", "bo.wav", *CAST, "--guest", "Cy=joconde.png"), ExitCode.USAGE,
     "2 recordings for 3 people"),
    (("mix.wav", "--host", "Ada=joconde.png", "--turns", "mix.rttm"), ExitCode.BAD_MEDIA,
     "nobody in the cast is called 'Bo'"),
    (("mix.wav", "--host", "joconde.png", "--turns", "mix.rttm"), ExitCode.BAD_MEDIA,
     "2 people speak ('Ada', 'Bo'), the cast has 1"),
    (("mix.wav", "--host", "Ada=grey.png", "--guest", "Bo=joconde.png", "--turns", "mix.rttm"),
     ExitCode.BAD_MEDIA, "Ada (grey.png): no face was found"),
    (("mix.wav", *CAST, "--turns", "no.rttm"), ExitCode.BAD_MEDIA, "no.rttm does not exist"),
    (("no.wav", *CAST), ExitCode.BAD_MEDIA, "no.wav does not exist"),
    (("mix.wav", *CAST, "--layout", "speeker"), ExitCode.USAGE, "did you mean 'speaker'"),
    (("mix.wav", *CAST, "--background", "blu"), ExitCode.USAGE, "neither a colour nor a file"),
    (("mix.wav", *CAST, "--shortest-shot", "0"), ExitCode.USAGE, "write 0.5s to 30s"),
    (("mix.wav", *CAST, "--turns", "mix.rttm", "--font", "mix.rttm"), ExitCode.BAD_MEDIA,
     "is not a font"),
    (("mix.wav", "--host", "王=joconde.png", "--turns", "mix.rttm"), ExitCode.USAGE,
     "has no sign for '王'"),
    (("mix.wav", *CAST, "--turns", "mix.rttm", "--jobs", "0"), ExitCode.USAGE, "1 to 64"),
    (("mix.wav", *CAST, "--turns", "mix.rttm", "--start", "9"), ExitCode.BAD_MEDIA,
     "after the end"),
    (("mix.wav", *CAST, "--turns", "mix.rttm", "-o", "joconde.png"), ExitCode.USAGE, ".mp4"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "message"), BAD_WORDS)
def test_bad_words(desk, tmp_path: Path, words: tuple[str, ...], code, message: str) -> None:
    Image.new("RGB", (128, 128), (90, 90, 90)).save(tmp_path / "grey.png")
    there = sorted(tmp_path.iterdir())
    outcome = desk("podcast", *words, "--json")
    assert outcome.code == code, outcome.err
    assert message in outcome.err
    assert json.loads(outcome.out)["ok"] is False
    assert sorted(tmp_path.iterdir()) == there


DOCS = (ROOT / "docs" / "podcast.md").read_text(encoding="utf-8")


def test_the_commands_and_the_episode_of_the_manual(desk, tmp_path: Path) -> None:
    for old, new in (("joconde.png", "ada.png"), ("segoyewatha.png", "bo.png"),
                     ("mix.wav", "show.wav"), ("mix.rttm", "show.rttm")):  # fmt: skip
        shutil.copy(tmp_path / old, tmp_path / new)
    (tmp_path / "bo.yaml").write_text("liveact: 1\nemotion: calm\n")
    block = DOCS.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "episode.yaml").write_text(block)
    lines = [line for line in DOCS.splitlines() if line.startswith("liveact podcast")]
    assert len(lines) == 5
    for line in lines:
        words = shlex.split(line.split("  #")[0])[1:]
        assert desk(*words, *(() if "--dry-run" in words else ("--dry-run",))).code == 0, line


def test_pictures_of_the_manual_are_there() -> None:
    names = re.findall(r"!\[[^]]+\]\(([^)]+)\)", DOCS)
    assert names
    for name in names:
        assert (ROOT / "docs" / name).stat().st_size < 200_000, name


@pytest.mark.multi
def test_the_example(studio, tmp_path: Path) -> None:
    """Its turns, names and cards, at small size; the words of the transcript place the shots."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    plan = studio("podcast", "examples/roundtable.yaml", "--dry-run", "--json").json
    assert [turn["name"] for turn in plan["turns"]] == ["Nora", "Sam", "Lisa", "Nora", "Sam"]
    assert [shot["front"] for shot in plan["shots"]][1:-1] == [["Sam"], ["Lisa"]]
    words = ("--size", "192x108", "--fps", "10", "--start", "3", "--duration", "3", "--jobs", "1")
    outcome = studio("podcast", "examples/roundtable.yaml", *words, "-q", "-o", "table.mp4")
    assert outcome.code == 0, outcome.err
    assert lengths(tmp_path / "table.mp4")[0] == 30
