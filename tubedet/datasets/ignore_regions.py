"""Where a frame shows people whom nobody labelled: there, detections are not punished in training.

The regions come from a person detector run beforehand (`examples/person_ignore_regions.py`) as JSON
{video: {frame: [[x1, y1, x2, y2], …]}} in source pixels. Frames in between take the nearest one.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tubedet.errors import DatasetError


class IgnoreRegions:
    """Regions by video and frame; a video without an entry has none."""

    def __init__(self, boxes_xyxy: Mapping[str, Mapping[int, NDArray[np.float64]]]) -> None:
        self._boxes = {video: dict(frames) for video, frames in boxes_xyxy.items() if frames}

    @classmethod
    def load(cls, path: Path | str) -> "IgnoreRegions":
        """Read the JSON file; DatasetError if it is absent or of another shape."""
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(
                {
                    video: {
                        int(frame): np.array(boxes, dtype=np.float64).reshape(-1, 4)
                        for frame, boxes in frames.items()
                    }
                    for video, frames in content.items()
                }
            )
        except (OSError, ValueError, AttributeError, TypeError) as error:
            shape = "{video: {frame: [[x1, y1, x2, y2], …]}}"
            raise DatasetError(f"{path}: expected ignore regions {shape}: {error}") from error

    def at(self, video: str, frame: int) -> NDArray[np.float64]:
        """Regions (M, 4) of the examined frame nearest to `frame`; (0, 4) if there is none."""
        frames = self._boxes.get(video)
        if frames is None:
            return np.empty((0, 4))
        return frames[min(frames, key=lambda examined: abs(examined - frame))]
