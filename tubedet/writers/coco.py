"""Rows as COCO: images, annotations and categories, by frame, track and score.

An image's `file_name` is VIDEO/00001.jpg for frame 0: the frames as `ffmpeg -i VIDEO %05d.jpg`
extracts them. All frames that were processed are listed, so those without a box are background.
`frame`, `time_s`, `pts`, `track_id` and `score` are fields beside COCO's own. Annotations alone are
a list of results, as pycocotools' `loadRes` takes it.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

from tubedet.writers.from_rows import FileFromRows, label_indices, looked_at, put_list, text_file
from tubedet.writers.row_store import RowStore
from tubedet.writers.run_meta import RunMeta

VIDEO_ID = 1
FIRST_ID = 1  # readers take an id of 0 for none


class CocoWriter(FileFromRows):
    """STEM.coco.json."""

    suffix = ".coco.json"

    def save(self, rows: RowStore, meta: RunMeta) -> None:
        """Write the lists, item by item."""
        video = self.target.video
        folder = PurePosixPath(video).with_suffix("").as_posix()
        size = {"width": meta.width, "height": meta.height}
        categories = label_indices(rows, meta)
        images = (
            {
                "id": frame + FIRST_ID,
                "file_name": f"{folder}/{frame + 1:05d}.jpg",
                **size,
                "video_id": VIDEO_ID,
                "frame": frame,
            }
            for frame in looked_at(rows, meta)
        )
        named = ({"id": n + FIRST_ID, "name": label} for label, n in categories.items())
        told = {"description": f"{video}, by tubedet {meta.tubedet_version}"}
        with text_file(self.path) as file:
            file.write(f'{{"info": {json.dumps({**told, "tubedet": asdict(meta)})},\n')
            file.write(f'"videos": {json.dumps([{"id": VIDEO_ID, "name": video, **size}])},\n')
            file.write('"images": ')
            put_list(file, images)
            file.write(',\n"annotations": ')
            put_list(file, _annotations(rows, categories))
            file.write(',\n"categories": ')
            put_list(file, named)
            file.write("}\n")


def _annotations(rows: RowStore, categories: dict[str, int]) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows.rows()):
        width, height = round(row.x2 - row.x1, 2), round(row.y2 - row.y1, 2)
        yield {
            "id": number + FIRST_ID,
            "image_id": row.frame + FIRST_ID,
            "category_id": categories[row.label] + FIRST_ID,
            "bbox": [row.x1, row.y1, width, height],
            "area": round(width * height, 4),
            "iscrowd": 0,
            "score": row.score,
            "track_id": row.tube,
            "video_id": VIDEO_ID,
            "frame": row.frame,
            "time_s": row.time_s,
            "pts": row.pts,
        }
