"""Middlebury .flo: the exact flow of a frame, which every optical-flow tool reads.

"PIEH" (202021.25 as a float), width and height as int32, then u and v of every pixel, row by row,
as float32; all of it little-endian. Source: Baker et al.'s evaluation page, "flow code".
"""

import struct
from typing import ClassVar

import numpy as np

from tubedet.writers.frame_files import FrameFilesWriter
from tubedet.writers.writer import FlowArray

MAGIC = b"PIEH"


class FloWriter(FrameFilesWriter):
    """STEM/<frame:06d>.flo, counted from 0, in source pixels."""

    file_suffix: ClassVar[str] = ".flo"
    digits: ClassVar[int] = 6

    def encode(self, flow_uv: FlowArray) -> bytes:
        """The file of a flow (2, H, W), bit for bit."""
        height, width = flow_uv.shape[1:]
        interleaved = np.ascontiguousarray(flow_uv.transpose(1, 2, 0), dtype="<f4")
        return MAGIC + struct.pack("<ii", width, height) + interleaved.tobytes()
