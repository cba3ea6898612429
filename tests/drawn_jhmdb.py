"""J-HMDB-21 whose clips are drawn: the actor is the white square of `synthetic_video`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.jhmdb_layout import empty_layout, list_clip, video_path, write_mask
from tests.small_detector import small_config, small_network
from tests.synthetic_video import square_xyxy, write_video
from tubedet.checkpoints.native import CheckpointHeader, save_checkpoint

MARK_OF_PART = {"trainval": 1, "test": 2}  # drawn clips have no source that is set apart


def draw_jhmdb(
    root: Path,
    clips: Mapping[str, Sequence[str]],
    *,
    part: str = "test",
    frames: int = 4,
    width: int = 64,
    height: int = 48,
) -> Path:
    """Make the layout with these clips of each class in one part, and return `root`."""
    if not (root / "splits").is_dir():
        empty_layout(root)
    mask = np.zeros((height, width, frames), dtype=np.uint8)
    for frame in range(frames):
        x1, y1, x2, y2 = square_xyxy(frame, width, height)
        mask[y1:y2, x1:x2, frame] = 1
    for label, names in clips.items():
        for name in names:
            clip = f"{name}_{label}_f_cm_np1_ri_med_0"
            list_clip(root, label, clip, MARK_OF_PART[part])
            write_mask(root, label, clip, mask)
            path = video_path(root, label, clip)
            # Every picture by itself and without loss: the square's edges stay where they are.
            write_video(path, frames=frames, width=width, height=height, codec="ffv1")
    return root


def save_small_checkpoint(path: Path, preset: str = "flownet2-sd") -> Path:
    """A seeded detector as a file; it knows "walk" and "run"."""
    config = small_config(preset)
    save_checkpoint(path, small_network(config), CheckpointHeader(config=config.to_dict()))
    return path
