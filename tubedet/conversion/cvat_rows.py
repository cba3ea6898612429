"""Rows from "CVAT for video 1.1": what tubedet wrote, or an export of one task as CVAT makes it."""

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from tubedet.conversion.box_rows import ANNOTATED, box_row
from tubedet.datasets.cvat import CORNERS, is_outside, read_tasks
from tubedet.datasets.own_annotation import upright_box
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.track_rows import Row


def cvat_rows(path: Path, meta: RunMeta) -> Iterator[Row]:
    """The boxes of all tracks that are not outside.

    A track's number is the tube of its boxes, unless they have the attribute `tube`.

    Raises:
        DatasetError: if it is no such file.
        UsageError: if defusedxml is not installed.
        ValueError, LookupError: if a number is none or an attribute is absent, or there are tasks
            of several videos.
    """
    tasks = [task for _, task in read_tasks(path)]
    if len(tasks) > 1:
        raise ValueError(f"tasks of {len(tasks)} videos, not of one")
    for number, track in enumerate(tasks[0].tracks if tasks else ()):
        for shape in track.iter("box"):
            if is_outside(shape):
                continue
            x1, y1, x2, y2 = (float(shape.attrib[corner]) for corner in CORNERS)
            degrees, size = float(shape.get("rotation") or 0), (meta.width, meta.height)
            said = _attributes(shape)
            tube = said.get("tube", str(number))
            yield box_row(
                meta,
                int(shape.attrib["frame"]) - tasks[0].offset,
                track.attrib["label"],
                upright_box((x1, y1, x2, y2), degrees, size),
                tube=int(tube) if tube else None,
                score=float(said.get("score") or ANNOTATED),
            )


def _attributes(shape: Element) -> dict[str, str]:
    return {each.attrib["name"]: (each.text or "").strip() for each in shape.iter("attribute")}
