"""Words of the user's own: `define:` entries become words of the vocabulary."""

from collections.abc import Iterator, Mapping
from typing import Final

from liveact_cli.script.models import Definition, Script
from liveact_cli.script.parse import Parsed
from liveact_cli.script.presets import Preset
from liveact_cli.script.problems import Place, Problem, Severity, quoted
from liveact_cli.script.vocabulary import Vocabulary, normalise
from liveact_cli.script.words import Kind, Word

DEFAULT_SECONDS: Final = {Kind.EMOTION: 2.0, Kind.ACTION: 1.6}


def define_words(
    origin: Parsed[Script] | Parsed[Preset], vocabulary: Vocabulary
) -> tuple[Vocabulary, list[Problem]]:
    """Return `vocabulary` with the definitions of a script or preset on top, and what is wrong."""
    return _Definer(origin, vocabulary).run()


class _Definer:
    def __init__(self, origin: Parsed[Script] | Parsed[Preset], vocabulary: Vocabulary) -> None:
        self.origin = origin
        self.vocabulary = vocabulary
        self.definitions: Mapping[str, Definition] = origin.script.define
        self.names = {normalise(name): name for name in self.definitions}
        self.problems: list[Problem] = []

    def run(self) -> tuple[Vocabulary, list[Problem]]:
        words = []
        for name, definition in self.definitions.items():
            if definition.like is None and definition.prompt is None:
                self.report(name, (), "says neither like: nor prompt:", "add like: smile")
            words.append(self.word(name, definition))
        return self.vocabulary.extended(words), self.problems

    def word(self, name: str, definition: Definition) -> Word:
        kind = Kind(definition.kind)
        motion: dict[str, float] = {}
        for word, weight in self.motion_of(name, definition, kind, ()):
            motion[word] = min(1.0, motion.get(word, 0.0) + weight)
        length = definition.for_
        return Word(
            name,
            kind,
            definition.synonyms or (),
            (),
            definition.prompt or self.text_like(definition, kind) or name,
            tuple(motion.items()),
            exact=bool(motion),
            seconds=DEFAULT_SECONDS[kind] if length is None else length.seconds,
        )

    def text_like(self, definition: Definition, kind: Kind) -> str:
        words = (self.vocabulary.find(kind, like) for like in definition.like or ())
        return ", ".join(word.text for word in words if word is not None)

    def motion_of(
        self, name: str, definition: Definition, kind: Kind, above: tuple[str, ...]
    ) -> Iterator[tuple[str, float]]:
        """Yield liveact-mini's words for a definition, following `like:` through others."""
        path = (*above, normalise(name))
        scale = 1.0 if definition.intensity is None else definition.intensity
        for like in definition.like or ():
            key = normalise(like)
            own = self.names.get(key)
            standard = self.vocabulary.find(kind, like) or self.vocabulary.find(_other(kind), like)
            if own is not None and key not in path:
                inner = self.motion_of(own, self.definitions[own], kind, path)
                yield from ((word, weight * scale) for word, weight in inner)
            elif own is not None and (standard is None or key != path[-1]):
                chain = " -> ".join((*path, key))
                self.report(path[0], ("like",), f"like: goes in a circle: {chain}", "break it")
            elif standard is not None:
                yield from ((word, weight * scale) for word, weight in standard.motion)
            elif not above:
                self.report(
                    name,
                    ("like",),
                    f"like: there is no word {quoted(like)}",
                    self.vocabulary.hint(kind, like),
                )

    def report(self, name: str, below: tuple[str, ...], message: str, hint: str) -> None:
        place = self.origin.place(("define", name, *below))
        text = self.origin.line(place)
        problem = Problem(Severity.ERROR, f"define {quoted(name)}: {message}", place, text, hint)
        if problem not in self.problems:
            self.problems.append(problem)


def _other(kind: Kind) -> Kind:
    return Kind.ACTION if kind is Kind.EMOTION else Kind.EMOTION


def word_problem(
    vocabulary: Vocabulary, kind: Kind, text: str, place: Place, line: str, *, reads_text: bool
) -> Problem | None:
    """Return what to say about an unknown word: an error, or a note for a model that reads text."""
    if vocabulary.find(kind, text) is not None:
        return None
    hint = vocabulary.hint(kind, text)
    if reads_text:
        message = f"{quoted(text)} is not in the vocabulary; the model reads it as text"
        return Problem(Severity.NOTE, message, place, line, hint)
    return Problem(Severity.ERROR, f"unknown {kind} {quoted(text)}", place, line, hint)
