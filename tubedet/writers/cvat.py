"""Rows as "CVAT for video 1.1": a track of boxes for each tube and label.

A track of CVAT's has one label: a tube that is said to do two things is two tracks, which share the
attribute `tube`. Every box is a keyframe, so nothing is interpolated; where a track pauses, a box
that is `outside` ends it. Boxes without a tube share tracks without that attribute.
"""

import re
from collections.abc import Iterator
from itertools import chain, pairwise
from typing import TextIO
from xml.sax.saxutils import escape, quoteattr

from tubedet.writers.from_rows import FileFromRows, label_indices, text_file
from tubedet.writers.row_store import RowStore
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.track_rows import Row

NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
ATTRIBUTES = "".join(
    f"<attribute><name>{name}</name><mutable>{mutable}</mutable><input_type>text</input_type>"
    "<default_value></default_value><values></values></attribute>"
    for name, mutable in (("tube", "False"), ("score", "True"))
)


class CvatWriter(FileFromRows):
    """STEM.cvat.xml, to be uploaded to a task of the same video."""

    suffix = ".cvat.xml"

    def save(self, rows: RowStore, meta: RunMeta) -> None:
        """Write track by track."""
        labels = "".join(
            f"<label>{_element('name', label)}<type>rectangle</type>"
            f"<attributes>{ATTRIBUTES}</attributes></label>"
            for label in label_indices(rows, meta)
        )
        size = _element("width", str(meta.width)) + _element("height", str(meta.height))
        step = "" if meta.stride == 1 else f"step={meta.stride}"
        video = self.target.video
        task = (
            _element("name", video),
            _element("size", str(meta.processed_frames)),
            _element("mode", "interpolation"),
            _element("start_frame", str(meta.first_frame or 0)),
            _element("stop_frame", str(max(meta.end_frame - 1, 0))),
            _element("frame_filter", step),
            f"<labels>{labels}</labels>",
            f"<original_size>{size}</original_size>",
            _element("source", video.split("/")[-1]),
        )
        with text_file(self.path) as file:
            file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
            file.write("<version>1.1</version>\n<meta>\n<task>\n")
            file.writelines(f"{each}\n" for each in task)
            file.write(f"</task>\n{_element('tubedet', meta.to_json(indent=None))}\n</meta>\n")
            for number, track in enumerate(rows.tracks()):
                _put_track(file, number, track, meta)
            file.write("</annotations>\n")


def _put_track(file: TextIO, number: int, rows: Iterator[Row], meta: RunMeta) -> None:
    first = next(rows)
    file.write(f'<track id="{number}" label={_quoted(first.label)} source="auto">\n')
    for row, later in pairwise(chain((first,), rows, (None,))):
        assert row is not None
        file.write(_box(row, row.frame, outside=False))
        next_frame = row.frame + meta.stride
        if next_frame < (meta.end_frame if later is None else later.frame):
            file.write(_box(row, next_frame, outside=True))
    file.write("</track>\n")


def _box(row: Row, frame: int, *, outside: bool) -> str:
    x1, y1, x2, y2 = (f"{edge:.2f}" for edge in row[-4:])
    tube = "" if row.tube is None else row.tube
    return (
        f'<box frame="{frame}" keyframe="1" outside="{outside:d}" occluded="0" '
        f'xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}" z_order="0">'
        f'<attribute name="tube">{tube}</attribute>'
        f'<attribute name="score">{row.score:.4f}</attribute></box>\n'
    )


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(_allowed(text), {chr(13): '&#13;'})}</{name}>"


def _quoted(text: str) -> str:
    return quoteattr(_allowed(text))


def _allowed(text: str) -> str:
    """Text with what XML cannot hold spelled out."""
    return NO_XML.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
