"""Rows as predictions for a video in Label Studio: a rectangle for each tube and label.

To be imported into a project whose labelling interface has `<Video name="video" value="$video"/>`,
`<VideoRectangle name="box" toName="video"/>` and `<Labels name="videoLabels" toName="video">`. Its
frames count from 1 and its boxes are per cent of the frame; where a rectangle pauses, its last box
is not `enabled`. `time` is the frame's own, so a varying rate does no harm.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from itertools import chain, pairwise
from typing import Any, TextIO

from tubedet.writers.from_rows import FileFromRows, text_file
from tubedet.writers.row_store import RowStore
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.track_rows import Row


class LabelStudioWriter(FileFromRows):
    """STEM.label-studio.json, a list of one task."""

    suffix = ".label-studio.json"

    def save(self, rows: RowStore, meta: RunMeta) -> None:
        """Write the task, rectangle by rectangle."""
        video = json.dumps(self.target.video)
        version = json.dumps(f"tubedet {meta.tubedet_version} {meta.weights_sha256 or ''}".strip())
        with text_file(self.path) as file:
            file.write(f'[{{"data": {{"video": {video}}},\n')
            file.write(f'"meta": {{"tubedet": {json.dumps(asdict(meta))}}},\n')
            file.write(f'"predictions": [{{"model_version": {version}, "result": [')
            for number, track in enumerate(rows.tracks()):
                file.write(",\n" if number else "\n")
                _put_rectangle(file, number, track, meta)
            file.write("\n]}]}]\n")


def _put_rectangle(file: TextIO, number: int, rows: Iterator[Row], meta: RunMeta) -> None:
    first = next(rows)
    frames = meta.decoded_frames
    duration_s = round(float(frames / Fraction(meta.fps)), 6)
    region = {
        "id": f"box-{number}",
        "from_name": "box",
        "to_name": "video",
        "type": "videorectangle",
        "meta": {"tube": first.tube},
    }
    value = {"labels": [first.label], "framesCount": frames, "duration": duration_s}
    file.write(f'{json.dumps(region)[:-1]}, "value": {json.dumps(value)[:-1]}, "sequence": [')
    scores, boxes = 0.0, 0
    for row, later in pairwise(chain((first,), rows, (None,))):
        assert row is not None
        goes_on = later is not None and later.frame == row.frame + meta.stride
        file.write((",\n" if boxes else "\n") + json.dumps(_keyframe(row, meta, goes_on=goes_on)))
        scores, boxes = scores + row.score, boxes + 1
    file.write(f'\n]}}, "score": {scores / boxes:.4f}}}')


def _keyframe(row: Row, meta: RunMeta, *, goes_on: bool) -> dict[str, Any]:
    return {
        "frame": row.frame + 1,
        "enabled": goes_on,
        "rotation": 0,
        "x": round(100 * row.x1 / meta.width, 4),
        "y": round(100 * row.y1 / meta.height, 4),
        "width": round(100 * (row.x2 - row.x1) / meta.width, 4),
        "height": round(100 * (row.y2 - row.y1) / meta.height, 4),
        "time": row.time_s,
    }
