"""`report.html`: every job of a batch on one page that needs nothing but itself."""

import base64
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final
from urllib.parse import quote

from liveact_cli.core.units import format_bytes, format_time
from liveact_cli.studio.jobrow import JobRow, State, format_speed

_STYLE: Final = """
:root { color-scheme: light dark; --text: #1b1d21; --soft: #5d6470; --back: #fff; --card: #f4f5f7;
  --line: #d9dce1; --good: #18703b; --bad: #b3261e; --wait: #5d6470; --run: #1d5fae; }
@media (prefers-color-scheme: dark) { :root { --text: #e8eaed; --soft: #a3a9b3; --back: #16181c;
  --card: #202329; --line: #363a42; --good: #6cd391; --bad: #ff8a80; --wait: #a3a9b3;
  --run: #8ab8f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem 1rem 3rem; color: var(--text);
  background: var(--back); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0 0 .2rem; overflow-wrap: anywhere; }
p.about { color: var(--soft); margin: 0 0 1.2rem; }
ul.counts { display: flex; flex-wrap: wrap; gap: .6rem; list-style: none; margin: 0 0 1.4rem;
  padding: 0; }
ul.counts li { background: var(--card); border-radius: .5rem; padding: .5rem .9rem; }
ul.counts b { font-size: 1.25rem; display: block; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; color: var(--soft); font-weight: 500; font-size: .85rem; }
th, td { padding: .5rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.picture { width: 7rem; }
td.picture img, td.picture span { width: 6rem; height: 4.5rem; border-radius: .35rem;
  background: var(--card); display: block; object-fit: contain; }
td.name { overflow-wrap: anywhere; min-width: 9rem; }
td.name small, .what small { display: block; color: var(--soft); }
a { color: inherit; }
.what { overflow-wrap: anywhere; min-width: 12rem; }
.state { font-weight: 600; }
.done { color: var(--good); } .failed { color: var(--bad); } .running { color: var(--run); }
.waiting, .cancelled { color: var(--wait); }
@media (max-width: 42rem) { thead { display: none; } tr { display: block; padding: .6rem 0;
  border-bottom: 1px solid var(--line); }
  td { display: inline-block; border: 0; padding: .2rem .4rem; }
  td.number { text-align: left; } }
"""
_ORDER: Final = (State.FAILED, State.DONE, State.RUNNING, State.WAITING, State.CANCELLED)
_HEADS: Final = ("", "Video", "Length", "Speed", "Size", "State")


def report_path(manifest: Path) -> Path:
    """Return where the report of a manifest lies: beside it, or inside a folder."""
    if manifest.is_dir():
        return manifest / "report.html"
    return manifest.with_name(f"{manifest.name}.report.html")


def write_report(path: Path, title: str, rows: Sequence[JobRow]) -> None:
    """Write the report, whole or not at all; raises OSError where that is not possible."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(render_report(title, rows, path.parent), encoding="utf-8")
    part.replace(path)


def render_report(title: str, rows: Sequence[JobRow], folder: Path) -> str:
    """Return the page; links to videos start at `folder`."""
    counts = {state: sum(row.state == state for row in rows) for state in _ORDER}
    boxes = [
        f'<li class="{state}"><b>{count}</b>{state}</li>'
        for state, count in counts.items()
        if count or state == State.DONE
    ]
    made = sum(row.seconds or 0 for row in rows if row.state == State.DONE)
    heads = "".join(f'<th scope="col">{head}</th>' for head in _HEADS)
    failed_first = sorted(rows, key=lambda row: row.state != State.FAILED)
    body = "\n".join(_line(row, folder) for row in failed_first)
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    about = f"{counts[State.DONE]} of {len(rows)} videos, {format_time(made)} in all; as of {when}"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)}: {counts[State.DONE]} of {len(rows)} done</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="about">{about}</p>
<ul class="counts">{"".join(boxes)}</ul>
<table>
<thead><tr>{heads}</tr></thead>
<tbody>
{body}
</tbody>
</table>
</body>
</html>
"""


def _line(row: JobRow, folder: Path) -> str:
    done = row.state == State.DONE
    cells = [
        f'<td class="picture">{_picture(row)}</td>',
        f'<td class="name">{_name(row, folder)}<small>{escape(_made_from(row))}</small></td>',
        f'<td class="number">{format_time(row.seconds) if row.seconds else ""}</td>',
        f'<td class="number">{format_speed(row.speed) if done and row.speed else ""}</td>',
        f'<td class="number">{format_bytes(row.size) if done and row.size else ""}</td>',
        f'<td class="what">{_what(row, folder)}</td>',
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _picture(row: JobRow) -> str:
    if not row.thumbnail or row.state != State.DONE:
        return "<span></span>"
    data = base64.b64encode(row.thumbnail).decode("ascii")
    return f'<img src="data:image/jpeg;base64,{data}" alt="A frame of {escape(row.name)}">'


def _name(row: JobRow, folder: Path) -> str:
    if row.state != State.DONE:
        return escape(row.name)
    try:
        link = Path(row.output).relative_to(folder).as_posix()
        # A name with a colon in its first part would be read as a protocol.
        address = quote(f"./{link}")
    except ValueError:
        address = Path(row.output).as_uri()
    return f'<a href="{escape(address)}">{escape(row.name)}</a>'


def _made_from(row: JobRow) -> str:
    return f"{Path(row.audio).name} + {Path(row.reference).name}"


def _what(row: JobRow, folder: Path) -> str:
    """Return the state of a job, and what is to be said about it."""

    def small(text: str) -> str:
        return f"<small>{escape(text.replace(f'{folder}/', ''))}</small>"

    parts = [f'<span class="state {row.state}">{row.state}</span>']
    if row.state == State.RUNNING and row.total_frames:
        parts.append(f" {100 * row.frames // row.total_frames} %")
    tries = f" after {row.attempts} attempts" if row.attempts > 1 else ""
    parts.append(tries)
    if row.state != State.DONE and row.error:
        parts.append(small(row.error))
        if row.hint:
            parts.append(small(row.hint))
    parts += [small(note) for note in row.notes if row.state == State.DONE]
    return "".join(parts)
