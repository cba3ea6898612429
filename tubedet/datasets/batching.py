"""Training samples and batches: sample number i is a pure function of the seed and i.

So a run that resumes at a step learns from what an uninterrupted run would have, whatever makes the
batches: this process, workers (`batch_loader.py`), or several processes that share each batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset
from tubedet.datasets.augmentation import (
    AugmentationRecipe,
    View,
    draw_actor_free_window,
    draw_crop,
    draw_view,
    draw_wider_window,
)
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.flow_images import FlowImages
from tubedet.datasets.frame_pair_sampling import (
    FramePairChoice,
    FramePairSampler,
    SequenceSampler,
    pair_at,
)
from tubedet.datasets.ignore_regions import IgnoreRegions
from tubedet.notes import Note


@dataclass(frozen=True, slots=True)
class BatchShare:
    """What one of `count` processes, number `rank`, makes of every batch of `batch_size` samples.

    `batch_size` is that of all processes together, a multiple of `count`.
    """

    batch_size: int
    rank: int = 0
    count: int = 1

    def samples_of(self, step: int) -> range:
        """Numbers of this process's samples of a step, from 0."""
        own = self.batch_size // self.count
        first = step * self.batch_size + self.rank * own
        return range(first, first + own)


class TrainingSample(NamedTuple):
    """A frame pair as the network sees it; boxes are fractions of the network input.

    clip (3, 2, S, S) uint8 RGB, time axis: frame, successor; boxes_xyxy (K, 4) float32 with
    class_indices (K,) int64, K = 0 for an actor-free crop; ignore_xyxy (M, 4) float32.
    """

    clip: Tensor
    boxes_xyxy: Tensor
    class_indices: Tensor
    ignore_xyxy: Tensor


NO_CLASS = -1  # class index of a row that pads a sample with fewer boxes


class TrainingBatch(NamedTuple):
    """B samples, padded to the most boxes K and ignore regions M of any of them.

    clip (B, 3, 2, S, S) uint8 RGB; boxes_xyxy (B, K, 4) float32, fractions of the network input;
    class_indices (B, K) int64, `NO_CLASS` in rows that pad; ignore_xyxy (B, M, 4) float32. Rows
    that pad are zeros behind the sample's own.
    """

    clip: Tensor
    boxes_xyxy: Tensor
    class_indices: Tensor
    ignore_xyxy: Tensor


def collate(samples: Sequence[TrainingSample]) -> TrainingBatch:
    """Stack samples, those with fewer boxes padded."""
    clips, boxes, classes, ignore = map(list, zip(*samples, strict=True))
    return TrainingBatch(
        torch.stack(clips),
        pad_sequence(boxes, batch_first=True),
        pad_sequence(classes, batch_first=True, padding_value=NO_CLASS),
        pad_sequence(ignore, batch_first=True),
    )


class TrainingSamples:
    """The endless list of samples that a data set, a seed and a recipe define; picklable.

    Args:
        dataset: clips to draw from.
        frames: their frames.
        seed: of everything random.
        input_size: side of the network's input in px.
        share: which samples make a batch.
        recipe: strengths of the augmentation.
        ignore_regions: what shows unlabelled bystanders.
        sampler: which frame pair is drawn; None: balanced by class.
        flow_images: stored flow that takes the second frame's place, for the `brox` preset.
    """

    def __init__(
        self,
        dataset: AnnotatedDataset,
        frames: ClipFrames,
        *,
        seed: int,
        input_size: int,
        share: BatchShare,
        recipe: AugmentationRecipe | None = None,
        ignore_regions: IgnoreRegions | None = None,
        sampler: FramePairSampler | SequenceSampler | None = None,
        flow_images: FlowImages | None = None,
    ) -> None:
        self._sampler = sampler or FramePairSampler(dataset)
        self._frames = frames
        self._seed, self._input_size, self._share = seed, input_size, share
        self._recipe = recipe or AugmentationRecipe()
        self._ignore_regions = ignore_regions or IgnoreRegions({})
        self._flow_images = flow_images
        self.notes: list[Note] = frames.notes

    def sample(self, index: int) -> TrainingSample:
        """Sample number `index`, augmented and stretched to the network's input."""
        rng = np.random.default_rng([self._seed, index])
        pair = self._existing(self._sampler.draw(rng, index))
        view = self._draw_view(rng, pair)
        sample = make_sample(pair, view, self._input_size, self._frames, self._ignore_regions)
        if self._flow_images is not None:
            flow = self._flow_images.read(pair.clip, pair.at, view, self._input_size)
            # The clip's first place is that of the frame whose boxes these are.
            sample.clip[:, 0] = sample.clip[:, pair.at - pair.first].clone()
            sample.clip[:, 1] = torch.from_numpy(flow).permute(2, 0, 1)
        return sample

    def _existing(self, pair: FramePairChoice) -> FramePairChoice:
        """The pair; that of the last annotated frame where the video ends before it."""
        length = self._frames.length(pair.clip)
        if pair.second < length:
            return pair
        clip = pair.clip.up_to(length)
        annotated = [frame for frame in range(length) if clip.boxes_by_frame[frame]] or [length - 1]
        return pair_at(clip, pair.at if pair.at < length else annotated[-1])

    def _draw_view(self, rng: np.random.Generator, pair: FramePairChoice) -> View:
        clip, recipe = pair.clip, self._recipe
        frame_wh = (clip.width, clip.height)
        window = None
        if rng.random() < recipe.background_chance:
            both = boxes_of(clip, pair.first, pair.second)
            if len(both):
                window = draw_actor_free_window(rng, recipe, both, frame_wh)
        if window is None and rng.random() < recipe.widen_chance:
            window = draw_wider_window(rng, recipe, frame_wh)
        if window is None:
            window = draw_crop(rng, recipe, boxes_of(clip, pair.at), frame_wh)
        return draw_view(rng, recipe, window)

    def batch(self, step: int) -> TrainingBatch:
        """This process's share of the batch of a step."""
        return collate([self.sample(index) for index in self._share.samples_of(step)])


def make_sample(
    pair: FramePairChoice,
    view: View,
    input_size: int,
    frames: ClipFrames,
    ignore_regions: IgnoreRegions,
) -> TrainingSample:
    """Apply a view, that of the first frame, to a frame pair, its boxes and its ignore regions.

    What it hides is left out.
    """
    window = frames.window(pair.clip, range(pair.first, pair.second + 1))
    pictures = view.frames(window[[0, -1]], input_size)
    of_boxes = view.later(pair.at - pair.first)
    boxes = of_boxes.boxes(boxes_of(pair.clip, pair.at))
    classes = [box.class_index for box in pair.clip.boxes_by_frame[pair.at]]
    visible = _not_empty(boxes)
    ignore = of_boxes.boxes(ignore_regions.at(pair.clip.video, pair.at))
    return TrainingSample(
        clip=torch.from_numpy(pictures).permute(3, 0, 1, 2).contiguous(),
        boxes_xyxy=torch.from_numpy(boxes[visible]).float(),
        class_indices=torch.tensor(classes, dtype=torch.int64)[torch.from_numpy(visible)],
        ignore_xyxy=torch.from_numpy(ignore[_not_empty(ignore)]).float(),
    )


def boxes_of(clip: AnnotatedClip, *frames: int) -> NDArray[np.float64]:
    """All boxes (K, 4) of some frames of a clip, in source pixels."""
    boxes = [box.box_xyxy for frame in frames for box in clip.boxes_by_frame[frame]]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _not_empty(boxes_xyxy: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1))
