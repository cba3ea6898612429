"""Samples of Kinetics: two consecutive frames of a clip, at random, and the clip's action.

Clips are too many to keep their frames: each sample decodes its own. As in `batching.py` sample
number i is a pure function of the seed and i. Some downloaded videos are broken; another one takes
the place of each.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tubedet.datasets.augmentation import AugmentationRecipe, View, draw_crop, draw_view
from tubedet.datasets.batching import BatchShare
from tubedet.datasets.frame_pair_sampling import place_in_epoch
from tubedet.datasets.kinetics import ActionClip, KineticsDataset
from tubedet.errors import DatasetError, VideoError
from tubedet.notes import Note
from tubedet.video.read_window import WindowReader

TRIES = 10  # broken videos in a row are no bad luck
NO_BOXES = np.zeros((0, 4))


class ActionBatch(NamedTuple):
    """B samples: clip (B, 3, 2, S, S) uint8 RGB, class_indices (B,) int64."""

    clip: Tensor
    class_indices: Tensor


class KineticsSamples:
    """The endless list of samples that a data set, a seed and a recipe define; picklable.

    Attributes:
        notes: one for every video met so far that is broken.
    """

    def __init__(
        self,
        dataset: KineticsDataset,
        *,
        seed: int,
        input_size: int,
        share: BatchShare,
        recipe: AugmentationRecipe,
    ) -> None:
        self._dataset, self._seed, self._recipe = dataset, seed, recipe
        self._input_size, self._share = input_size, share
        self.notes: list[Note] = []

    def sample(self, index: int) -> tuple[Tensor, int]:
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
            except VideoError as error:
                note = Note(f"left out, as it cannot be read: {error}", loss=True)
                self.notes += [] if note in self.notes else [note]
                place = int(rng.integers(len(clips)))
                continue
            height, width = frames.shape[1:3]
            window = draw_crop(rng, self._recipe, NO_BOXES, (width, height))
            return as_clip(
                frames, draw_view(rng, self._recipe, window), self._input_size
            ), clip.class_index
        raise DatasetError(
            f"{clip.path}: {TRIES} videos in a row cannot be read, this one the last"
        )

    def batch(self, step: int) -> ActionBatch:
        """This process's share of the batch of a step."""
        samples = [self.sample(index) for index in self._share.samples_of(step)]
        clips, classes = zip(*samples, strict=True)
        return ActionBatch(torch.stack(clips), torch.tensor(classes))


def read_pair(clip: ActionClip, where: float) -> NDArray[np.uint8]:
    """Two consecutive frames (2, H, W, 3) RGB at a fraction of the clip's length.

    Raises:
        VideoError: if no frame can be decoded.
    """
    with WindowReader(clip.path) as video:
        first = int(where * max(0, video.frames - 1))
        try:
            window = video.read(range(first, first + min(2, max(1, video.frames))))
        except VideoError:  # damaged: it has fewer frames than packets
            window = video.read(range(1))
    return np.stack([window[0], window[-1]])


def as_clip(frames: NDArray[np.uint8], view: View, input_size: int) -> Tensor:
    """A view of frames (T, H, W, 3) as the network takes it, (3, T, S, S)."""
    return torch.from_numpy(view.frames(frames, input_size)).permute(3, 0, 1, 2).contiguous()
