"""SRT and WebVTT: reading cues and their words, writing cues."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from liveact_cli.core.units import parse_time
from liveact_cli.script.problems import Place, Problem, ScriptError, Severity, quoted
from liveact_cli.script.source import Source, read_source

_ARROW: Final = re.compile(r"^\s*(\S+)\s*-->\s*(\S+)(.*)$")
_TAG: Final = re.compile(r"<([^<>]*)>")
_VOICE: Final = re.compile(r"v(?:\.\S*)?\s+(\S.*)")
_OVERRIDE: Final = re.compile(r"\{\\[^{}]*\}")
_BRACKET: Final = re.compile(r"[\[［【(（]\s*([^\[\]［］【】()（）]{1,500}?)\s*[\]］】)）]")
_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_CJK: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
MAX_CUES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: start and stop in seconds, its text on one line."""

    start: float
    stop: float
    text: str
    line: int = 0
    anchors: tuple[tuple[int, float], ...] = ()
    """Positions in `text` whose time is known (WebVTT's inline times)."""
    voices: tuple[tuple[int, str], ...] = ()
    """Positions in `text` from which somebody speaks (WebVTT's `<v Name>`)."""

    def time_at(self, position: int) -> float:
        """Return the time of a character of `text`, interpolated between what is known."""
        known = [(0, self.start), *self.anchors, (len(self.text), self.stop)]
        for (left, early), (right, late) in pairwise(known):
            if position <= right:
                share = (position - left) / (right - left) if right > left else 0.0
                return early + (late - early) * share
        return self.stop


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word of the transcript as it is compared, with its time in seconds."""

    text: str
    start: float
    stop: float


@dataclass(frozen=True, slots=True)
class Transcript:
    """The cues of a subtitle file in order."""

    name: str
    cues: tuple[Cue, ...]

    def words(self) -> list[SpokenWord]:
        """Return every word outside brackets, in order; Chinese and Japanese one sign a word."""
        return [word for cue in self.cues for word in _words_of(cue)]

    def find(self, phrase: str) -> list[tuple[float, float]]:
        """Return where `phrase` is said (seconds), whatever its case and punctuation."""
        wanted = [word for word, _, _ in split_words(phrase)]
        words = self.words()
        texts = [word.text for word in words]
        found, i = [], 0
        while wanted and i <= len(texts) - len(wanted):
            if texts[i : i + len(wanted)] == wanted:
                found.append((words[i].start, words[i + len(wanted) - 1].stop))
                i += len(wanted)
            else:
                i += 1
        return found

    def brackets(self) -> Iterator[tuple[str, float, float, Cue]]:
        """Yield what stands in brackets, such as [laughing]: text, start, stop, its cue.

        A cue of nothing else gives the cue's own times, one between words gives its moment twice.
        """
        for cue in self.cues:
            alone = not _BRACKET.sub("", cue.text).strip(" -–—♪.,!?\"'“”")
            for match in _BRACKET.finditer(cue.text):
                if alone:
                    yield match[1], cue.start, cue.stop, cue
                else:
                    moment = cue.time_at(match.start())
                    yield match[1], moment, moment, cue


def read_transcript(path: str | Path) -> Transcript:
    """Read an SRT or WebVTT file; raises `ScriptError` when it is neither."""
    return parse_transcript(read_source(path))


def parse_transcript(source: Source) -> Transcript:
    """Parse SRT or WebVTT; raises `ScriptError` with every bad time, or when there is no cue."""
    problems: list[Problem] = []
    cues: list[Cue] = []
    for number, block in _blocks(source.lines):
        match = _ARROW.match(block[0])
        if match is None:
            continue
        place = Place(source.name, number, 1)
        try:
            start, stop = (_clock(match[1]), _clock(match[2]))
        except ValueError as error:
            hint = "write 00:00:01,500 --> 00:00:04,000"
            problems.append(Problem(Severity.ERROR, str(error), place, block[0], hint))
            continue
        if stop < start:
            message = f"a cue ends ({match[2]}) before it begins ({match[1]})"
            hint = "swap the times"
            problems.append(Problem(Severity.ERROR, message, place, block[0], hint))
            continue
        if len(cues) < MAX_CUES:
            body = " ".join(line.strip() for line in block[1:])
            cues.append(Cue(start, stop, *_plain(body, number)))
    if problems:
        raise ScriptError(problems)
    if not cues:
        message = f"{quoted(source.name, 80)} holds no subtitles"
        hint = "a transcript is SRT or WebVTT, with lines like 00:00:01,500 --> 00:00:04,000"
        raise ScriptError([Problem(Severity.ERROR, message, Place(source.name), hint=hint)])
    return Transcript(source.name, tuple(sorted(cues, key=lambda cue: (cue.start, cue.stop))))


def format_srt(cues: Iterable[Cue]) -> str:
    """Return cues as an SRT file."""
    parts = (
        f"{i}\n{srt_clock(cue.start)} --> {srt_clock(cue.stop)}\n{cue.text}\n"
        for i, cue in enumerate(cues, start=1)
    )
    return "\n".join(parts)


def format_vtt(cues: Iterable[Cue]) -> str:
    """Return cues as a WebVTT file."""
    parts = (
        f"{srt_clock(cue.start, '.')} --> {srt_clock(cue.stop, '.')}\n{_escape(cue.text)}\n"
        for cue in cues
    )
    return "\n".join(("WEBVTT\n", *parts))


def srt_clock(seconds: float, point: str = ",") -> str:
    """Return `00:00:01,500`."""
    ms = round(seconds * 1000)
    hours, minutes, whole = ms // 3_600_000, ms // 60_000 % 60, ms // 1000 % 60
    return f"{hours:02d}:{minutes:02d}:{whole:02d}{point}{ms % 1000:03d}"


def split_words(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the words of `text` as they are compared, with their positions."""
    for match in _WORD.finditer(text):
        pieces = list(_CJK.finditer(match[0]))
        if not pieces:
            yield match[0].casefold().replace("’", "'"), match.start(), match.end()
            continue
        for piece in re.finditer(
            rf"{_CJK.pattern}|[^\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+", match[0]
        ):
            yield piece[0].casefold(), match.start() + piece.start(), match.start() + piece.end()


def _words_of(cue: Cue) -> Iterator[SpokenWord]:
    blanked = _BRACKET.sub(lambda match: " " * len(match[0]), cue.text)
    for text, start, stop in split_words(blanked):
        yield SpokenWord(text, cue.time_at(start), cue.time_at(stop))


def _blocks(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield each time line with the text below it, and its line number."""
    block: list[str] = []
    first = 0
    for number, line in enumerate([*lines, ""], start=1):
        if "-->" in line:
            if block:
                yield first, _without_counter(block)
            block, first = [line], number
        elif block and line.strip():
            block.append(line)
        elif block:
            yield first, block
            block = []


def _without_counter(block: list[str]) -> list[str]:
    """Drop the next cue's number when no empty line stands before it."""
    return block[:-1] if len(block) > 1 and block[-1].strip().isdecimal() else block


def _clock(text: str) -> float:
    return parse_time(text.replace(",", "."))


def _plain(
    text: str, line: int
) -> tuple[str, int, tuple[tuple[int, float], ...], tuple[tuple[int, str], ...]]:
    """Return the text without tags, its line, and the places of its inline times and voices."""
    text = _OVERRIDE.sub("", text)
    parts: list[str] = []
    anchors: list[tuple[int, float]] = []
    voices: list[tuple[int, str]] = []
    length = position = 0
    for match in _TAG.finditer(text):
        piece = _unescape(text[position : match.start()])
        parts.append(piece)
        length += len(piece)
        position = match.end()
        if match[1][:1].isdecimal():
            try:
                anchors.append((length, _clock(match[1])))
            except ValueError:
                continue
        elif voice := _VOICE.fullmatch(match[1]):
            voices.append((length, " ".join(_unescape(voice[1]).split())))
    parts.append(_unescape(text[position:]))
    return "".join(parts), line, tuple(anchors), tuple(voices)


def _unescape(text: str) -> str:
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", " "), ("&amp;", "&")):
        text = text.replace(entity, sign)
    return text


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
