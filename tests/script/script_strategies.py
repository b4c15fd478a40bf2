"""Scripts, right and wrong, for hypothesis."""

import re
import string

from hypothesis import strategies as st

from liveact_cli.script.models import Definition, Event, Script
from liveact_cli.script.parse import keys_of
from liveact_cli.script.timing import Duration, Origin, TimePoint
from liveact_cli.script.words import WORDS, Kind

texts = st.text(min_size=1, max_size=40).map(lambda t: " ".join(t.split())).filter(bool)
texts = texts.filter(lambda t: not any("\ud800" <= c <= "\udfff" for c in t))
lengths = st.integers(1, 3_600_000).map(Duration)
points = st.one_of(
    st.builds(TimePoint, st.just(Origin.START), st.integers(0, 7_200_000)),
    st.builds(TimePoint, st.just(Origin.END), st.integers(0, 7_200_000)),
    st.builds(TimePoint, st.just(Origin.SHARE), st.integers(0, 100_000)),
)
words = {
    kind: st.sampled_from(
        [n for w in WORDS if w.kind is kind for n in (w.name, *w.english, *w.chinese)]
    )
    for kind in (Kind.EMOTION, Kind.ACTION)
}


@st.composite
def events(draw: st.DrawFn) -> Event:
    """An event that the language allows."""
    event: dict[str, object] = {}
    trigger = draw(st.sampled_from(["at", "at", "every", "both", "pause", "say"]))
    if trigger in ("at", "both"):
        event["at"] = draw(points)
    if trigger in ("every", "both"):
        every = draw(st.integers(200, 600_000))
        event["every"] = Duration(every)
        if draw(st.booleans()):
            event["jitter"] = Duration(draw(st.integers(0, every // 2)))
    if trigger == "pause":
        event["on"] = "pause"
    if trigger == "say":
        event["say"] = draw(texts)
    if draw(st.booleans()):
        event["for"] = draw(lengths)
    directions = draw(st.sets(st.sampled_from(list(Kind)), min_size=1))
    for kind in directions:
        event[kind] = draw(texts if kind is Kind.PROMPT else words[kind])
    if directions - {Kind.PROMPT} and draw(st.booleans()):
        event["intensity"] = draw(st.floats(0, 1))
    if draw(st.booleans()):
        event["fade"] = Duration(draw(st.integers(0, 5_000)))
    return Event.model_validate(event)


definitions = st.builds(
    lambda kind, like, prompt, intensity, length, synonyms: Definition.model_validate(
        {
            "kind": kind,
            "like": like,
            "prompt": prompt,
            "intensity": intensity,
            "for": length,
            "synonyms": synonyms,
        }
    ),
    st.sampled_from(["emotion", "action"]),
    st.lists(words[Kind.ACTION], min_size=1, max_size=3),
    st.none() | texts,
    st.none() | st.floats(0, 1),
    st.none() | lengths,
    st.none() | st.lists(texts, min_size=1, max_size=3),
)

scripts = st.builds(
    Script,
    liveact=st.just(1),
    prompt=st.none() | texts,
    preset=st.none() | st.sampled_from(["podcast", "singer"]),
    emotion=st.none() | words[Kind.EMOTION],
    timeline=st.lists(events(), max_size=6).map(tuple),
    define=st.dictionaries(texts, definitions, max_size=3),
    transcript=st.just("show.srt"),
)

WRONG_KEYS = ("promt", "emotoin", "<<", "for_", "点")
KEYS = [*keys_of(Script), *keys_of(Event), *keys_of(Definition), *WRONG_KEYS]
ODDITIES = "1 2 -3 0:05 0:75 25% 250% end-3s end pause happy hapy nod 'x' \"y [a,b] {a: b} &a *a ~"
MORE = "!!t null 1e9 .inf nan 0.5 1.5 yes 大笑 ： # | > 99999999999999999999 end-end -- \\ 心 %"
VALUES = re.split(" ", f"{ODDITIES} {MORE}")
LINES = st.builds(
    lambda indent, dash, key, colon, value: f"{indent}{dash}{key}{colon}{value}",
    st.sampled_from(["", "  ", "    ", "\t", "      ", " "]),
    st.sampled_from(["", "", "- "]),
    st.sampled_from(KEYS),
    st.sampled_from([": ", ":", ": ", ": ", "："]),
    st.sampled_from(VALUES) | st.text(max_size=12),
)
random_scripts = st.lists(LINES, max_size=14).map("\n".join)
anything = st.text(max_size=120) | st.text(
    string.punctuation + string.whitespace + "ab1", max_size=80
)


@st.composite
def mutated(draw: st.DrawFn, original: str) -> str:
    """A script after a few accidents: characters lost, doubled, replaced, lines swapped."""
    text = original
    for _ in range(draw(st.integers(1, 4))):
        i = draw(st.integers(0, len(text)))
        j = min(len(text), i + draw(st.integers(0, 12)))
        new = draw(
            st.sampled_from(
                ["", "\t", ":", "- ", "\n", "  ", '"', "'", "&x ", "*x", "[", "]", "{", "#"]
            )
            | st.text(max_size=4)
            | st.just(text[i:j] * 2)
        )
        text = text[:i] + new + text[j:]
    return text
