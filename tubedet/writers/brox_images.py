"""Flow images as those of Brox's flow for UCF101: what the `brox` preset reads.

Red is u, green v, blue the length, each `clip(16 px + 128)` in 8 bits: up to 8 px a frame, in steps
of a sixteenth. Source: gurkirt/optical-flow, whose images are JPEG too, counted from 1.
"""

from typing import ClassVar

import numpy as np

from tubedet.models.motion_stream import FLOW_OFFSET, FLOW_SCALE
from tubedet.video.preprocess import encode_flow_image
from tubedet.writers.frame_files import FrameFilesWriter
from tubedet.writers.writer import FlowArray


class BroxImageWriter(FrameFilesWriter):
    """STEM/<frame:05d>.jpg, counted from 1."""

    file_suffix: ClassVar[str] = ".jpg"
    digits: ClassVar[int] = 5
    first_number: ClassVar[int] = 1

    def encode(self, flow_uv: FlowArray) -> bytes:
        """The JPEG of a flow (2, H, W)."""
        motion = np.stack([*flow_uv, np.hypot(*flow_uv)], axis=-1)
        levels = np.clip(FLOW_SCALE * motion + FLOW_OFFSET, 0, 255)
        return encode_flow_image(np.rint(levels).astype(np.uint8))
