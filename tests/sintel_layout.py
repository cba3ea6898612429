"""A tiny MPI-Sintel whose flow is exactly known: the same shift everywhere."""

import struct
from pathlib import Path

import cv2
import numpy as np

from tests.synthetic_video import draw_picture


def write_sintel(
    root: Path,
    flows_uv: dict[str, tuple[float, float]],
    *,
    pairs: int = 2,
    width: int = 96,
    height: int = 72,
) -> Path:
    """Scenes of `pairs` + 1 frames in both renderings, each with its constant flow."""
    for scene, (u, v) in flows_uv.items():
        for folder in ("clean", "final"):
            (root / "training" / folder / scene).mkdir(parents=True)
            for number in range(pairs + 1):
                path = root / "training" / folder / scene / f"frame_{number + 1:04d}.png"
                cv2.imwrite(str(path), draw_picture(number, width, height)[..., ::-1])
        (root / "training" / "flow" / scene).mkdir(parents=True)
        size = struct.pack("<ii", width, height)
        flow = np.empty((2, height, width), dtype="<f4")
        flow[0], flow[1] = u, v
        for number in range(pairs):
            path = root / "training" / "flow" / scene / f"frame_{number + 1:04d}.flo"
            path.write_bytes(b"PIEH" + size + flow.transpose(1, 2, 0).tobytes())
    return root
