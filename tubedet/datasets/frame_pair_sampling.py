"""Which two frames of which clip make a training sample.

Class first, then source, then clip, then frame: drawing the class first balances the classes;
drawing the source before the clip keeps footage that was cut into many clips, near-copies of each
other, from outweighing the rest; drawing the clip before the frame does so with long clips. Or, as
the paper has it, a random pair of every clip ("sequence") in turn.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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


ClipChoice = tuple[AnnotatedClip, list[int]]  # with those of its frames that count
Clips = list[ClipChoice]

BACKGROUND_SHARE = 0.1  # of the draws, where the data has frames that are known to show nobody


class FramePairSampler:
    """Draws a frame that shows a random class, of a random source; or one that shows nobody.

    Raises:
        DatasetError: if a class has no clip, or a clip neither a box nor a known background.
    """

    def __init__(self, dataset: AnnotatedDataset) -> None:
        dataset.require_every_class()
        by_source: list[dict[str, Clips]] = [{} for _ in dataset.class_names]
        self._background: Clips = []
        bare: list[str] = []
        for clip in dataset.clips:
            by_class, background = clip.frames_by_class(), clip.background_frames
            for index, frames in by_class.items():
                by_source[index].setdefault(clip.group, []).append((clip, frames))
            if background:
                self._background.append((clip, background))
            if not by_class and not background:
                bare.append(clip.video)
        self._sources_of = [list(clips_of.values()) for clips_of in by_source]
        if bare:
            raise DatasetError(f"{dataset.name}: no box in any frame of {', '.join(bare)}")

    def draw(self, rng: np.random.Generator, index: int = 0) -> FramePairChoice:
        """One pair; the same state of `rng` gives the same pair, whatever the sample's `index`."""
        clip, frames = self.draw_clip(rng, index)
        return pair_at(clip, frames[rng.integers(len(frames))])

    def draw_clip(self, rng: np.random.Generator, index: int = 0) -> ClipChoice:
        """A clip, and those of its frames that show what was drawn: a class, or nobody."""
        clips = self._background
        if not clips or rng.random() >= BACKGROUND_SHARE:
            sources = self._sources_of[rng.integers(len(self._sources_of))]
            clips = sources[rng.integers(len(sources))]
        return clips[rng.integers(len(clips))]


class SequenceSampler:
    """Draws a random annotated frame of every clip, once an epoch, in an order of its own.

    A class may have no clip here: whoever holds a part of a data set can still run the recipe.

    Raises:
        DatasetError: if no clip has an annotated frame; one without any is left out.
    """

    def __init__(self, dataset: AnnotatedDataset, *, seed: int) -> None:
        self._seed = seed
        self._clips: Clips = []
        for clip in dataset.clips:
            if frames := [frame for frame, boxes in enumerate(clip.boxes_by_frame) if boxes]:
                self._clips.append((clip, frames))
        if not self._clips:
            raise DatasetError(f"{dataset.name}, part {dataset.part}: no clip has a box")

    def draw(self, rng: np.random.Generator, index: int) -> FramePairChoice:
        """The pair of sample number `index`; its frame is drawn from `rng`."""
        clip, frames = self.draw_clip(rng, index)
        return pair_at(clip, frames[rng.integers(len(frames))])

    def draw_clip(self, rng: np.random.Generator, index: int) -> ClipChoice:
        """The clip of sample number `index`, and its annotated frames."""
        return self._clips[place_in_epoch(index, len(self._clips), self._seed)]


def place_in_epoch(index: int, length: int, seed: int) -> int:
    """Which of `length` things sample number `index` is of, if every epoch shows each once."""
    epoch, place = divmod(index, length)
    return int(_order(epoch, length, seed)[place])


@lru_cache(maxsize=2)  # a batch may span two epochs
def _order(epoch: int, length: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch, length]).permutation(length)
