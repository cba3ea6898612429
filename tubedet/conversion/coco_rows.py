"""Rows from COCO: what tubedet wrote, or frames of one video as `datasets.coco` takes them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tubedet.conversion.box_rows import ANNOTATED, box_row
from tubedet.datasets.annotation_files import read_annotations
from tubedet.datasets.coco import box_xyxy, listed_image
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.track_rows import Row


def coco_rows(path: Path, meta: RunMeta) -> Iterator[Row]:
    """The annotations that have a box and are no crowd.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: if it is something else.
    """
    for _, content in read_annotations(path, ".json"):
        coco: dict[str, Any] = json.loads(content)
        labels = {each["id"]: str(each["name"]) for each in coco["categories"]}
        images = {each["id"]: listed_image(each) for each in coco["images"]}
        if len(folders := {image.folder for image in images.values()}) > 1:
            raise ValueError(f"images of {len(folders)} videos, not of one")
        for each in coco["annotations"]:
            if not each.get("bbox") or each.get("iscrowd"):
                continue
            attributes = each.get("attributes") or {}
            tube = each.get("track_id", attributes.get("track_id"))
            yield box_row(
                meta,
                images[each["image_id"]].frame,
                labels[each["category_id"]],
                box_xyxy(each["bbox"]),
                tube=None if tube is None else int(tube),
                score=float(each.get("score", ANNOTATED)),
                time_s=each.get("time_s"),
                pts=each.get("pts"),
            )
