"""Find the people in J-HMDB-21 whom nobody labelled, so that training need not punish them.

    python examples/person_ignore_regions.py JHMDB_ROOT yolox_nano.onnx regions.json

Needs `pip install onnxruntime` and an exported YOLOX person detector (Megvii, Apache-2.0): input
1x3x416x416 BGR 0..255, padded with 114; output 1x3549x85. Every third frame is examined. A person
who overlaps the actor's box (IoU > 0.3), or lies mostly inside it, is taken for the actor.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tubedet.boxes import clip_xyxy, iou_xyxy, nms_xyxy
from tubedet.datasets.clip_frames import decode_clip
from tubedet.datasets.jhmdb_21 import load_jhmdb_21

SIDE, STRIDES, EVERY, MIN_SCORE = 416, (8, 16, 32), 3, 0.3
Boxes = NDArray[np.float64]


def find_people(session: onnxruntime.InferenceSession, rgb: NDArray[np.uint8]) -> Boxes:
    """Boxes (N, 4) of the people in a picture, in its pixels."""
    scale = SIDE / max(rgb.shape[:2])
    small = cv2.resize(rgb, None, fx=scale, fy=scale)
    padded = np.full((SIDE, SIDE, 3), 114, dtype=np.float32)
    padded[: small.shape[0], : small.shape[1]] = small[..., ::-1]
    raw = session.run(None, {"images": padded.transpose(2, 0, 1)[None]})[0][0].astype(np.float64)
    steps = [np.indices((SIDE // s, SIDE // s))[::-1].reshape(2, -1).T for s in STRIDES]
    stride = np.repeat(STRIDES, [len(cells) for cells in steps])[:, None]
    centre, half = (raw[:, :2] + np.concatenate(steps)) * stride, np.exp(raw[:, 2:4]) * stride / 2
    boxes, score = np.hstack([centre - half, centre + half]) / scale, raw[:, 4] * raw[:, 5]
    boxes, score = boxes[score >= MIN_SCORE], score[score >= MIN_SCORE]
    return clip_xyxy(boxes[nms_xyxy(boxes, score, 0.5)], rgb.shape[1], rgb.shape[0])


def bystanders(people: Boxes, actors: Boxes) -> Boxes:
    """The people who are none of the actors."""
    shared = np.minimum(people[:, None, 2:], actors[:, 2:])
    shared = (shared - np.maximum(people[:, None, :2], actors[:, :2])).clip(min=0).prod(axis=-1)
    inside = shared / (people[:, 2:] - people[:, :2]).prod(axis=-1, keepdims=True)
    is_actor = (iou_xyxy(people, actors) > 0.3) | (inside > 0.6)
    return np.asarray(people[~is_actor.any(axis=1)])


root, detector, target = sys.argv[1:]
session = onnxruntime.InferenceSession(detector)
regions: dict[str, dict[int, list[list[float]]]] = {}
for clip in load_jhmdb_21(root, part="trainval").clips:
    frames = decode_clip(clip)
    for t in range(0, clip.frames, EVERY):
        actors = np.array([box.box_xyxy for box in clip.boxes_by_frame[t]]).reshape(-1, 4)
        found = bystanders(find_people(session, frames[t]), actors)
        regions.setdefault(clip.video, {})[t] = found.round(1).tolist()
Path(target).write_text(json.dumps(regions), encoding="utf-8")
