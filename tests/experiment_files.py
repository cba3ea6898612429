"""What Table II is made from, small: UCF101-24, Kinetics, stored flow and start weights."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.kinetics_layout import lay_out_as_kinetics
from tests.small_detector import small_config, small_network
from tests.synthetic_video import square_xyxy, write_video
from tests.ucf_layout import tube, video_record, write_layout
from tubedet.checkpoints.native import CheckpointHeader, save_checkpoint

WIDTH, HEIGHT, FRAMES = 320, 240, 4
TRAINING = ["v_Biking_g08_c01", "v_Biking_g09_c01"]
TEST = ["v_Biking_g01_c01", "v_Biking_g02_c01", "v_Biking_g03_c01"]
# Two steps of two pairs, of 64 px: what a test can wait for.
TINY = ["steps=2", "input_size=64", "batch_size=2", "save_every=2"]


def write_ucf(root: Path) -> Path:
    """Five clips of one class, in which a white square rides; three of them are for testing."""
    squares = [square_xyxy(frame, WIDTH, HEIGHT) for frame in range(FRAMES)]
    rider = tube(0, [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in squares])
    names = [f"Biking/{name}" for name in (*TRAINING, *TEST)]
    records: dict[str, Any] = {name: video_record(FRAMES, rider) for name in names}
    write_layout(root, records, [f"Biking/{name}" for name in TEST])
    first = write_video(root / "videos" / f"{names[0]}.avi", frames=FRAMES)
    for name in names[1:]:
        (root / "videos" / f"{name}.avi").write_bytes(first.read_bytes())
    return root


def write_kinetics(root: Path) -> Path:
    """One clip of each of two actions."""
    video = write_video(root.parent / "k.mp4", frames=5, width=64, height=48)
    return lay_out_as_kinetics(root, {"archery": [video], "juggling": [video]})


def write_flow_images(root: Path) -> Path:
    """Stored flow of all clips of `write_ucf`: 2 px a frame to the right."""
    image = np.full((HEIGHT, WIDTH, 3), (160, 128, 160), dtype=np.uint8)
    for name in (*TRAINING, *TEST):
        (root / name).mkdir(parents=True)
        for frame in range(FRAMES):
            cv2.imwrite(str(root / name / f"{frame + 1:05d}.jpg"), image)
    return root


def write_start(folder: Path, preset: str, **header: Any) -> Path:
    """Narrow weights without a head, as `tubedet weights import` leaves them."""
    config = small_config(preset)
    headless = {**config.to_dict(), "class_names": [], "anchors_wh": []}
    path = folder / f"{preset}.safetensors"
    values = {"config": headless, "missing": ("fusion",), **header}
    save_checkpoint(path, small_network(config), CheckpointHeader(**values))
    return path


def write_starts(folder: Path) -> dict[str, Path]:
    """One of every preset of the paper."""
    presets = ("flownet2", "flownet2-css", "flownet2-sd", "brox")
    return {preset: write_start(folder, preset) for preset in presets}
