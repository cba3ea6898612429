"""Stored flow images of annotated clips, cropped as the clip's frames are: for the `brox` preset.

They are what `tubedet detect --flow-images` reads: `<video>/<frame:05d>.jpg`, counted from 1; or
the same below the folders that the data set has, as gurkirt's `brox-images/<class>/<video>/`.
"""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tubedet.datasets.annotated_clips import AnnotatedClip
from tubedet.datasets.augmentation import STILL, View
from tubedet.video.preprocess import read_flow_image

NO_MOTION = 128  # level of the horizontal component where nothing moves


def flow_folder(root: Path, clip: AnnotatedClip) -> Path:
    """Where a clip's flow images lie: `root/<its name in the data set>`, else `root/<stem>`."""
    named = root / clip.video
    return named if named.is_dir() else root / clip.path.stem


class FlowImages:
    """The flow images in a folder.

    Args:
        folder: holds a folder for each video, see `flow_folder`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, clip: AnnotatedClip, frame: int, view: View, size: int) -> NDArray[np.uint8]:
        """The flow image (size, size, 3) of a frame under the view of that frame.

        Window and flip are the frame's, colours stay. As in the paper's baseline flow is stretched
        and its values are kept; mirrored, its horizontal component changes its sign.

        Raises:
            DatasetError: if the image is absent or damaged.
        """
        image = read_flow_image(flow_folder(self._folder, clip) / f"{frame + 1:05d}.jpg")
        if image.shape[:2] != (clip.height, clip.width):  # published ones are 320x240 for all
            resized = cv2.resize(image, (clip.width, clip.height), interpolation=cv2.INTER_LINEAR)
            image = np.asarray(resized, dtype=np.uint8)
        if view.flip:
            image[..., 0] = (2 * NO_MOTION - image[..., 0].astype(int)).clip(0, 255)
        as_frame = replace(view, colour=None, drift_xyxy=STILL)
        flow_image: NDArray[np.uint8] = as_frame.frames(image[None], size)[0]
        return flow_image
