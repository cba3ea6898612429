"""From frame pairs to the network's input, and from its boxes back to source pixels.

A frame is stretched to a square without keeping its aspect, as YOLOv2 does, so that a box in
fractions of the input is a box in the same fractions of the source.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tubedet.boxes import FloatArray, clip_xyxy
from tubedet.errors import DatasetError
from tubedet.video.frame_pairs import FramePair

Pixels = NDArray[np.uint8]

JPEG_OPTIONS = (
    *(cv2.IMWRITE_JPEG_QUALITY, 100),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
)


@dataclass(frozen=True, slots=True)
class FrameGeometry:
    """The size of the source's frames after rotation, in pixels."""

    width: int
    height: int

    def to_source_xyxy(self, boxes_fraction: FloatArray) -> NDArray[np.float64]:
        """Boxes (N, 4) in fractions of the network input as source pixels, clipped to the frame."""
        scale = np.array([self.width, self.height, self.width, self.height], dtype=np.float64)
        return clip_xyxy(np.asarray(boxes_fraction).reshape(-1, 4) * scale, self.width, self.height)


class PairInputs:
    """What a network is given of pairs that come in their order; see `inputs_of`.

    Args:
        input_size: S.
        flow_images: folder of pre-computed flow images `<frame:05d>.jpg`, counted from 1, for the
            `brox` preset: red is u, green v, blue the length. None: of two frames each.
    """

    def __init__(self, input_size: int, flow_images: Path | None = None) -> None:
        self._size, self._flow_images = input_size, flow_images
        self._resized: dict[int, Tensor] = {}

    def inputs_of(self, pair: FramePair) -> Tensor:
        """`first` and `second`, resized, as (3, 2, S, S) uint8 RGB; a shared frame only once.

        With flow images, `at` and its flow image. That is stretched like a frame; its values are
        kept, whatever that does to distances.

        Raises:
            DatasetError: naming a flow image that is missing or can't be read.
        """
        if self._flow_images is not None:
            image = read_flow_image(self._flow_images / f"{pair.at.frame + 1:05d}.jpg")
            return torch.stack([_resized(e, self._size) for e in (pair.at.rgb, image)], dim=1)
        known, frames = self._resized, {each.frame: each for each in pair[:2]}
        self._resized = {
            number: known[number] if number in known else _resized(frame.rgb, self._size)
            for number, frame in frames.items()
        }
        return torch.stack([self._resized[each.frame] for each in pair[:2]], dim=1)


def stack_pair(pair: FramePair) -> Tensor:
    """A pair in its own size as a clip (1, 3, 2, H, W), RGB in float32 0..255."""
    return torch.stack([_planes(pair.first.rgb), _planes(pair.second.rgb)], dim=1)[None].float()


def encode_flow_image(image_rgb: NDArray[np.uint8]) -> bytes:
    """A flow image (H, W, 3) as the JPEG file that `read_flow_image` reads.

    Best quality and undiminished chroma, since all three channels count alike: values come back
    0.6 levels off on average and 4.5 at worst, whatever is shown. OpenCV's usual quality 95 with
    halved chroma takes a fifth of the space, and is 28 levels off where flow is noisy.
    """
    bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, JPEG_OPTIONS)[1].tobytes()


def require_flow_images(folder: Path | None) -> None:
    """DatasetError if a folder of flow images is given and isn't one."""
    if folder is not None and not folder.is_dir():
        raise DatasetError(f"--flow-images {folder}: expected a folder, found none")


def read_flow_image(path: Path) -> NDArray[np.uint8]:
    """A flow image as (H, W, 3) RGB; DatasetError if it is missing or can't be read."""
    # imread would print about a missing file, and can't open every name on Windows.
    encoded = np.fromfile(path, dtype=np.uint8) if path.is_file() else np.empty(0, np.uint8)
    bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if bgr is None:
        found = "a damaged file" if path.exists() else "nothing there"
        raise DatasetError(f"{path}: expected a flow image, found {found}; compute it first")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _planes(image: Pixels) -> Tensor:
    """(H, W, 3) as (3, H, W)."""
    return torch.from_numpy(image).permute(2, 0, 1).contiguous()


def _resized(image: Pixels, size: int) -> Tensor:
    return _planes(_resize(image, size))


def _resize(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Stretch (H, W, 3) to (size, size, 3), without aliasing however large the image is."""
    pixels: cv2.typing.MatLike = image
    while min(pixels.shape[:2]) >= 2 * size:
        # Exact halves are cheap: with them a 4K frame takes 10 ms, straight to size it takes 65.
        height, width = pixels.shape[:2]
        pixels = cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    # Bilinear reads 2x2 px and would step over some beyond a factor of two.
    shrinks_much = max(pixels.shape[:2]) > 2 * size
    interpolation = cv2.INTER_AREA if shrinks_much else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (size, size), interpolation=interpolation), dtype=np.uint8)
