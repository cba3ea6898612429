"""Samples of Kinetics: two consecutive frames of a clip, at random, and the clip's action.

Clips are too many to keep their frames: each sample decodes its own. As in `batching.py` sample
number i is a pure function of the seed and i. Some downloaded videos are broken; another one takes
the place of each.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tubedet.datasets.augmentation import AugmentationRecipe, View, draw_actor_window, draw_view
from tubedet.datasets.batching import made_ahead
from tubedet.datasets.frame_pair_sampling import place_in_epoch
from tubedet.datasets.kinetics import ActionClip, KineticsDataset
from tubedet.errors import DatasetError, VideoError
from tubedet.video.reader import VideoReader
from tubedet.video.time_range import FrameNumber

TRIES = 10  # broken videos in a row are no bad luck
NO_BOXES = np.zeros((0, 4))


class ActionBatch(NamedTuple):
    """B samples: clip (B, 3, 2, S, S) uint8 RGB, class_indices (B,) int64."""

    clip: Tensor
    class_indices: Tensor


class KineticsSamples:
    """The endless list of samples that a data set, a seed and a recipe define.

    Attributes:
        unreadable: names of the videos met so far that are broken.
    """

    def __init__(self, dataset: KineticsDataset, *, seed: int, recipe: AugmentationRecipe) -> None:
        self._dataset, self._seed, self._recipe = dataset, seed, recipe
        self.unreadable: set[str] = set()

    def sample(self, index: int, input_size: int) -> tuple[Tensor, int]:
        """Sample number `index`: clip (3, 2, S, S) uint8 RGB, augmented, and its class.

        Raises:
            DatasetError: if one video after another is broken.
        """
        rng = np.random.default_rng([self._seed, index])
        clips = self._dataset.clips
        place = place_in_epoch(index, len(clips), self._seed)
        for _ in range(TRIES):
            clip = clips[place]
            try:
                frames = read_pair(clip, rng.random())
            except VideoError:
                self.unreadable.add(clip.video)
                place = int(rng.integers(len(clips)))
                continue
            height, width = frames.shape[1:3]
            window = draw_actor_window(rng, self._recipe, NO_BOXES, (width, height))
            return as_clip(
                frames, draw_view(rng, self._recipe, window), input_size
            ), clip.class_index
        raise DatasetError(
            f"{clip.path}: {TRIES} videos in a row cannot be read, this one the last"
        )

    def batches(
        self,
        input_size: int,
        batch_size: int,
        *,
        first_sample: int = 0,
        every: int | None = None,
        threads: int = 2,
    ) -> Iterator[ActionBatch]:
        """As `TrainingSamples.batches`."""
        for samples in made_ahead(
            lambda index: self.sample(index, input_size),
            batch_size,
            first_sample=first_sample,
            every=every or batch_size,
            threads=threads,
        ):
            clips, classes = zip(*samples, strict=True)
            yield ActionBatch(torch.stack(clips), torch.tensor(classes))


def read_pair(clip: ActionClip, where: float) -> NDArray[np.uint8]:
    """Two consecutive frames (2, H, W, 3) RGB at a fraction of the clip's length.

    Raises:
        VideoError: if no frame can be decoded.
    """
    with VideoReader(clip.path) as reader:
        info = reader.info
        length = info.frames or round(float(info.fps) * (info.duration_s or 0.0))
        try:
            return _two(reader, max(0, int(where * (length - 1))))
        except VideoError:  # shorter than its container says
            return _two(reader, 0)


def _two(reader: VideoReader, first: int) -> NDArray[np.uint8]:
    frames = [frame.rgb for frame in reader.frames(FrameNumber(first), FrameNumber(first + 2))]
    return np.stack([frames[0], frames[-1]])


def as_clip(frames: NDArray[np.uint8], view: View, input_size: int) -> Tensor:
    """A view of frames (T, H, W, 3) as the network takes it, (3, T, S, S)."""
    return torch.from_numpy(view.frames(frames, input_size)).permute(3, 0, 1, 2).contiguous()
