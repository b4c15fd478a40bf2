"""Writing a script as YAML that people like to edit; reading it back gives the same script."""

import re
from collections.abc import Iterator
from typing import Final

from pydantic import BaseModel

from liveact_cli.script.models import Script

_PLAIN: Final = re.compile(r"[^\W\d_][\w .,;!?'()/+%-]*")
_NOT_PLAIN: Final = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))


def format_script(script: Script) -> str:
    """Return `script` as YAML; `parse_script` reads it back equal."""
    lines = [f"liveact: {script.liveact}"]
    for key in ("prompt", "preset", "emotion", "transcript"):
        value = getattr(script, key)
        if value is not None:
            lines.append(f"{key}: {quote(value)}")
    if script.define:
        lines.append("define:")
        for name, definition in script.define.items():
            lines.append(f"  {quote(name)}:")
            lines += (f"    {line}" for line in _pairs(definition))
    if script.timeline:
        lines.append("timeline:")
        for event in script.timeline:
            first, *rest = _pairs(event)
            lines.append(f"  - {first}")
            lines += (f"    {line}" for line in rest)
    return "\n".join(lines) + "\n"


def quote(text: str) -> str:
    """Return `text` as a YAML scalar: plain where that is safe, else in double quotes."""
    last = text[-1:]
    if _PLAIN.fullmatch(text) and not last.isspace() and text.lower() not in _NOT_PLAIN:
        return text
    return '"' + "".join(map(_escape, text)) + '"'


def _escape(sign: str) -> str:
    if sign in '"\\':
        return f"\\{sign}"
    code = ord(sign)
    # U+FEFF is a byte order mark to PyYAML, U+0085 and U+2028 are line breaks.
    plain = 0x20 <= code <= 0x7E or (0xA0 <= code <= 0xD7FF and code not in (0x2028, 0x2029))
    if plain or (0xE000 <= code <= 0xFFFD and code != 0xFEFF):
        return sign
    return f"\\U{code:08X}"


def _pairs(model: BaseModel) -> Iterator[str]:
    """Yield `key: value` for everything that was set."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if value is None or (name == "kind" and value == field.default):
            continue
        yield f"{field.serialization_alias or name}: {_value(value)}"


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return quote(value[0]) if len(value) == 1 else f"[{', '.join(map(_listed, value))}]"
    if isinstance(value, float):
        return repr(value)
    return quote(value) if isinstance(value, str) else str(value)


def _listed(text: object) -> str:
    quoted = quote(str(text))
    # Inside brackets these two end or begin something.
    return f'"{quoted}"' if quoted[0] != '"' and set(quoted) & set(",?") else quoted
