"""What a video says of itself: every setting that made it, and the mark that it is generated.

The settings are JSON in the comment tag, which every player and ffprobe show. The mark is IPTC's
digital source type in an XMP packet, in the box that Adobe's XMP specification (part 3, 2.2)
names for MPEG-4; it is appended, so no offset inside the file moves.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final
from xml.sax.saxutils import escape

import liveact_cli
from liveact_cli.core.errors import MediaError

DIGITAL_SOURCE_TYPE: Final = (
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
)
"""IPTC NewsCodes: media made by a model that was trained on sampled content."""

_GENERATOR: Final = f"liveact {liveact_cli.__version__}"
_XMP_BOX: Final = bytes.fromhex("BE7ACFCB97A942E89C71999491E3AFAC")
_COMMENT: Final = (b"moov", b"udta", b"meta", b"ilst", b"\xa9cmt", b"data")
_MOST_BYTES: Final = 1 << 24
_XMP: Final = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
   <xmp:CreatorTool>{tool}</xmp:CreatorTool>
   <Iptc4xmpExt:DigitalSourceType>{source}</Iptc4xmpExt:DigitalSourceType>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="r"?>"""


@dataclass(frozen=True, slots=True)
class RenderInfo:
    """What a video says of itself: the render's settings (None if not ours), its mark if any."""

    settings: dict[str, Any] | None
    digital_source_type: str | None

    @property
    def generated(self) -> bool:
        """Whether the file is marked as made by a model."""
        return self.digital_source_type == DIGITAL_SOURCE_TYPE


def comment_of(settings: Mapping[str, Any]) -> str:
    """Return the comment tag: compact JSON with the settings under `liveact`, and the mark again.

    The mark is repeated because programs that rewrite a video keep tags but drop unknown boxes.
    """
    record = {"liveact": dict(settings), "digital_source_type": DIGITAL_SOURCE_TYPE}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def append_mark(path: Path) -> None:
    """Append the XMP box to an MP4 file."""
    packet = _XMP.format(tool=escape(_GENERATOR), source=escape(DIGITAL_SOURCE_TYPE)).encode()
    with path.open("ab") as file:
        file.write(struct.pack(">I4s", 8 + len(_XMP_BOX) + len(packet), b"uuid"))
        file.write(_XMP_BOX + packet)


def read_metadata(path: Path | str) -> RenderInfo:
    """Return the settings and the mark of an MP4 file; MediaError if it is not one."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            boxes = list(_boxes(file, 0, size))
            if not boxes or boxes[0][0] != b"ftyp":
                raise MediaError(
                    f"{path} is not an MP4 video", "give a video that liveact rendered"
                )
            comment, mark = _comment(file, size), _mark(file, boxes)
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {error.strerror}", "check the name") from error
    try:
        record = json.loads(comment)
    except ValueError:
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("liveact"), dict):
        return RenderInfo(None, mark)
    return RenderInfo(record["liveact"], mark or record.get("digital_source_type"))


def _boxes(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and stop of the contents of each box between two offsets."""
    while start + 8 <= stop:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        head = 8
        if size == 1:
            wide = file.read(8)
            if len(wide) < 8:
                return
            size, head = struct.unpack(">Q", wide)[0], 16
        elif size == 0:
            size = stop - start
        if size < head or start + size > stop:
            return
        yield kind, start + head, start + size
        start += size


def _comment(file: BinaryIO, size: int) -> str:
    """Return the text of the comment tag, empty if there is none."""
    start, stop = 0, size
    for wanted in _COMMENT:
        inside = (box for box in _boxes(file, start, stop) if box[0] == wanted)
        if (box := next(inside, None)) is None:
            return ""
        # `meta` begins with its version and flags, `data` with a type and a locale.
        start, stop = box[1] + {b"meta": 4, b"data": 8}.get(wanted, 0), box[2]
    return _read(file, start, stop).decode("utf-8", "replace")


def _mark(file: BinaryIO, boxes: list[tuple[bytes, int, int]]) -> str | None:
    """Return the digital source type from the XMP box."""
    for kind, start, stop in boxes:
        if kind != b"uuid" or _read(file, start, min(stop, start + 16)) != _XMP_BOX:
            continue
        text = _read(file, start + 16, stop).decode("utf-8", "replace")
        # XMP writes a simple property as an element or as an attribute. Looked up as text:
        # an XML parser would have to be defended against hostile files.
        for opening, closing in (("DigitalSourceType>", "<"), ('DigitalSourceType="', '"')):
            _, found, rest = text.partition(opening)
            if found:
                return rest.partition(closing)[0].strip()
    return None


def _read(file: BinaryIO, start: int, stop: int) -> bytes:
    file.seek(start)
    return file.read(max(0, min(stop - start, _MOST_BYTES)))
