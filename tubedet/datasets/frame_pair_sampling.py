"""Which two frames of which clip make a training sample: class first, then clip, then frame.

Drawing the class first balances the classes; drawing the clip before the frame keeps long clips
from outweighing short ones.
"""

from typing import NamedTuple

import numpy as np

from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset
from tubedet.errors import DatasetError


class FramePairChoice(NamedTuple):
    """Frames `first` and `second` of a clip; boxes are those of frame `at`, one of the two."""

    clip: AnnotatedClip
    first: int
    second: int
    at: int


def pair_at(clip: AnnotatedClip, frame: int) -> FramePairChoice:
    """The pair that belongs to a frame, by the rule of `video/frame_pairs.py`.

    A frame goes with its successor, the last one with its predecessor, a single one with itself.
    """
    first = max(0, min(frame, clip.frames - 2))
    return FramePairChoice(clip, first, min(first + 1, clip.frames - 1), frame)


class FramePairSampler:
    """Draws a random annotated frame of a random clip of a random class.

    Raises:
        DatasetError: if a class has no clip, or a clip no annotated frame.
    """

    def __init__(self, dataset: AnnotatedDataset) -> None:
        dataset.require_every_class()
        self._clips_of = [
            [clip for clip in dataset.clips if clip.class_index == index]
            for index in range(len(dataset.class_names))
        ]
        self._annotated = {
            clip.video: [frame for frame, boxes in enumerate(clip.boxes_by_frame) if boxes]
            for clip in dataset.clips
        }
        bare = [video for video, frames in self._annotated.items() if not frames]
        if bare:
            raise DatasetError(f"{dataset.name}: no box in any frame of {', '.join(bare)}")

    def draw(self, rng: np.random.Generator) -> FramePairChoice:
        """One pair; the same state of `rng` gives the same pair."""
        clips = self._clips_of[rng.integers(len(self._clips_of))]
        clip = clips[rng.integers(len(clips))]
        frames = self._annotated[clip.video]
        return pair_at(clip, frames[rng.integers(len(frames))])
