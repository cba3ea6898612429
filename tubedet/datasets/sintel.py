"""MPI-Sintel's training part: rendered film with exact flow, to measure flow networks on.

    ROOT/training/final/<scene>/frame_0001.png    or clean/
    ROOT/training/flow/<scene>/frame_0001.flo     to the next frame; the last one has none

Source: Butler et al., A naturalistic open source movie for optical flow evaluation (2012).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tubedet.datasets.flow_sample import FlowArray, FlowSample
from tubedet.errors import DatasetError

RenderPass = Literal["clean", "final"]
FLO_MAGIC = b"PIEH"


class SintelPair(NamedTuple):
    """The files of one sample."""

    first: Path
    second: Path
    flow: Path

    def read(self) -> FlowSample:
        """The pixels and the flow; DatasetError if a file is absent, damaged or of another size."""
        pair = [_read_picture(path) for path in (self.first, self.second)]
        flow_uv = read_flo(self.flow)
        sizes = [picture.shape[:2] for picture in pair]
        if sizes != [flow_uv.shape[1:]] * 2:
            raise DatasetError(f"{self.flow}: expected the size of {self.first} and its successor")
        return FlowSample(np.stack(pair), flow_uv, np.ones(flow_uv.shape[1:], dtype=np.bool_))


def list_sintel(root: Path, render_pass: RenderPass) -> list[SintelPair]:
    """Every pair that has a flow, scene by scene; DatasetError if there is none."""
    pairs = []
    for flow in sorted((root / "training" / "flow").glob("*/frame_*.flo")):
        frames = root / "training" / render_pass / flow.parent.name
        number = flow.stem.removeprefix("frame_")
        if not number.isdecimal():
            raise DatasetError(f"{flow}: expected a name such as frame_0001.flo")
        successor = f"frame_{int(number) + 1:0{len(number)}d}.png"
        pairs.append(SintelPair(frames / f"{flow.stem}.png", frames / successor, flow))
    if not pairs:
        raise DatasetError(
            f"{root}: expected MPI-Sintel's training/flow/<scene>/frame_0001.flo, found none"
        )
    return pairs


def sintel_samples(pairs: list[SintelPair]) -> Iterator[FlowSample]:
    """The samples one after the other; DatasetError as `SintelPair.read`."""
    return (pair.read() for pair in pairs)


def read_flo(path: Path) -> FlowArray:
    """The flow (2, H, W) px of a Middlebury file; DatasetError if it is none or cut short."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: the flow cannot be read: {error}") from error
    width, height = np.frombuffer(content[4:12].ljust(8, b"\0"), dtype="<i4").tolist()
    if content[:4] != FLO_MAGIC or min(width, height) < 1:
        raise DatasetError(f"{path}: expected a Middlebury .flo file, found something else")
    if len(content) != 12 + 8 * width * height:
        raise DatasetError(
            f"{path}: expected {12 + 8 * width * height} bytes for {width}x{height}, "
            f"found {len(content)}"
        )
    values = np.frombuffer(content, dtype="<f4", offset=12).reshape(height, width, 2)
    return np.ascontiguousarray(values.transpose(2, 0, 1), dtype=np.float32)


def _read_picture(path: Path) -> NDArray[np.uint8]:
    try:
        encoded = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    except OSError as error:
        raise DatasetError(f"{path}: the frame cannot be read: {error}") from error
    if bgr is None:
        raise DatasetError(f"{path}: expected a PNG picture")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
