"""The page of one video, in two parts: between them come its frames, a line each.

A frame is `[number, time, pts, boxes]`, its time in whole microseconds from the video's first
frame, `pts` null where the source has none, `boxes` null where none were looked for, and else flat:
seven whole numbers a box, which are tube (-1 for none), number of the label in the summary's
`labels`, score · 10⁴, and x1, y1, x2, y2 · 10².
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tubedet.page.templates import environment

GENERATOR = "tubedet page"
_FRAMES = "\0frames\0"
_SUMMARY = re.compile(r'<script type="application/json" id="summary">(.*?)</script>', re.DOTALL)


def page_begin(title: str) -> str:
    """All that precedes the frames."""
    return _parts(title, {}, "{}")[0]


def page_end(title: str, summary: dict[str, Any], meta_json: str) -> str:
    """All that follows the frames.

    Args:
        title: as for `page_begin`.
        summary: what the page's script and `summary_of` need: plain JSON values.
        meta_json: the run's meta as it is in its file, which corrections are saved with.
    """
    return _parts(title, summary, meta_json)[1]


def frame_line(
    number: int, time_us: int, pts: int | None, boxes: Iterator[tuple[int, ...]] | None
) -> str:
    """One frame as the page has it; `boxes` are seven numbers each."""
    flat = None if boxes is None else [value for box in boxes for value in box]
    return json.dumps([number, time_us, pts, flat], separators=(",", ":"))


def summary_of(page: Path) -> dict[str, Any] | None:
    """The summary in a page; None if the file is none of our pages, or cannot be read."""
    try:
        found = _SUMMARY.search(page.read_text("utf-8"))
        summary = json.loads(found[1]) if found else None
    except (OSError, ValueError):
        return None
    return summary if isinstance(summary, dict) else None


def _parts(title: str, summary: dict[str, Any], meta_json: str) -> tuple[str, str]:
    whole = (
        environment()
        .get_template("page.html.j2")
        .render(
            generator=GENERATOR, title=title, frames=_FRAMES, summary=summary, meta_json=meta_json
        )
    )
    begin, _, end = whole.partition(_FRAMES)
    return begin, end
