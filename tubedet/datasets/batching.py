"""Training samples and batches: sample number i is a pure function of the seed and i.

So a run that resumes at sample i sees what an uninterrupted run would have seen, whatever the
number of threads. Cropping and colour run in OpenCV, which lets go of Python's lock: threads are
enough to keep the network fed.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.augmentation import (
    STILL,
    AugmentationRecipe,
    View,
    draw_actor_free_window,
    draw_actor_window,
    draw_view,
    draw_wider_window,
)
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.flow_images import FlowImages
from tubedet.datasets.frame_pair_sampling import (
    FramePairChoice,
    FramePairSampler,
    SequenceSampler,
)
from tubedet.datasets.ignore_regions import IgnoreRegions

Sample = TypeVar("Sample")

BATCHES_AHEAD = 3  # enough to hide a clip's first decoding; more only costs memory


class TrainingSample(NamedTuple):
    """A frame pair as the network sees it; boxes are fractions of the network input.

    clip (3, 2, S, S) uint8 RGB, time axis: frame, successor; boxes_xyxy (K, 4) float32 with
    class_indices (K,) int64, K = 0 for an actor-free crop; ignore_xyxy (M, 4) float32.
    """

    clip: Tensor
    boxes_xyxy: Tensor
    class_indices: Tensor
    ignore_xyxy: Tensor


class TrainingBatch(NamedTuple):
    """B samples: clip (B, 3, 2, S, S) uint8, and per sample what `TrainingSample` says."""

    clip: Tensor
    boxes_xyxy: tuple[Tensor, ...]
    class_indices: tuple[Tensor, ...]
    ignore_xyxy: tuple[Tensor, ...]


def collate(samples: Sequence[TrainingSample]) -> TrainingBatch:
    """Stack the clips; numbers of boxes differ, so boxes stay one tensor a sample."""
    clips, boxes, classes, ignore = zip(*samples, strict=True)
    return TrainingBatch(torch.stack(clips), boxes, classes, ignore)


class TrainingSamples:
    """The endless list of samples that a data set, a seed and a recipe define."""

    def __init__(
        self,
        dataset: AnnotatedDataset,
        frames: ClipFrames,
        *,
        seed: int,
        recipe: AugmentationRecipe | None = None,
        ignore_regions: IgnoreRegions | None = None,
        sampler: FramePairSampler | SequenceSampler | None = None,
        flow_images: FlowImages | None = None,
    ) -> None:
        self._sampler = sampler or FramePairSampler(dataset)
        self._frames = frames
        self._seed = seed
        self._recipe = recipe or AugmentationRecipe()
        self._ignore_regions = ignore_regions or IgnoreRegions({})
        self._flow_images = flow_images

    def sample(self, index: int, input_size: int) -> TrainingSample:
        """Sample number `index`, augmented and stretched to `input_size` pixels a side."""
        rng = np.random.default_rng([self._seed, index])
        pair = self._sampler.draw(rng, index)
        view = self._draw_view(rng, pair)
        sample = make_sample(pair, view, input_size, self._frames, self._ignore_regions)
        if self._flow_images is not None:
            flow = self._flow_images.seen(pair.clip, pair.at, view, input_size)
            # The clip's first place is that of the frame whose boxes these are.
            sample.clip[:, 0] = sample.clip[:, pair.at - pair.first].clone()
            sample.clip[:, 1] = torch.from_numpy(flow).permute(2, 0, 1)
        return sample

    def _draw_view(self, rng: np.random.Generator, pair: FramePairChoice) -> View:
        clip, recipe = pair.clip, self._recipe
        frame_wh = (clip.width, clip.height)
        window = None
        if rng.random() < recipe.background_chance:
            both = np.concatenate([_boxes_of(pair, pair.first), _boxes_of(pair, pair.second)])
            if len(both):
                window = draw_actor_free_window(rng, recipe, both, frame_wh)
        if window is None and rng.random() < recipe.widen_chance:
            window = draw_wider_window(rng, recipe, frame_wh)
        if window is None:
            window = draw_actor_window(rng, recipe, _boxes_of(pair, pair.at), frame_wh)
        view = draw_view(rng, recipe, window)
        # Where the box is the second frame's, a drift would leave it behind.
        return view if pair.at == pair.first else replace(view, drift_xyxy=STILL)

    def batches(
        self,
        input_size: int,
        batch_size: int,
        *,
        first_sample: int = 0,
        every: int | None = None,
        threads: int = 2,
    ) -> Iterator[TrainingBatch]:
        """Batches of consecutive samples from `first_sample` on, without end, made ahead.

        From the first sample of a batch to that of the next one are `every` samples: as many as in
        a batch, unless other processes take the rest.
        """
        for samples in made_ahead(
            lambda index: self.sample(index, input_size),
            batch_size,
            first_sample=first_sample,
            every=every or batch_size,
            threads=threads,
        ):
            yield collate(samples)


def made_ahead(
    sample: Callable[[int], Sample],
    batch_size: int,
    *,
    first_sample: int,
    every: int,
    threads: int,
) -> Iterator[list[Sample]]:
    """Samples by number, in lists of a batch, without end, made by threads ahead of their use."""
    with ThreadPoolExecutor(threads, thread_name_prefix="samples") as pool:
        ahead: deque[list[Future[Sample]]] = deque()
        try:
            for start in count(first_sample, every):
                ahead.append([pool.submit(sample, i) for i in range(start, start + batch_size)])
                if len(ahead) > BATCHES_AHEAD:
                    yield [future.result() for future in ahead.popleft()]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def make_sample(
    pair: FramePairChoice,
    view: View,
    input_size: int,
    frames: ClipFrames,
    ignore_regions: IgnoreRegions,
) -> TrainingSample:
    """Apply a view to a frame pair, its boxes and its ignore regions; what it hides is left out."""
    decoded = frames.of(pair.clip)
    seen = view.frames(decoded[[pair.first, pair.second]], input_size)
    boxes = view.boxes(_boxes_of(pair, pair.at))
    classes = [box.class_index for box in pair.clip.boxes_by_frame[pair.at]]
    shown = _not_empty(boxes)
    ignore = view.boxes(ignore_regions.at(pair.clip.video, pair.at))
    return TrainingSample(
        clip=torch.from_numpy(seen).permute(3, 0, 1, 2).contiguous(),
        boxes_xyxy=torch.from_numpy(boxes[shown]).float(),
        class_indices=torch.tensor(classes, dtype=torch.int64)[torch.from_numpy(shown)],
        ignore_xyxy=torch.from_numpy(ignore[_not_empty(ignore)]).float(),
    )


def _boxes_of(pair: FramePairChoice, frame: int) -> NDArray[np.float64]:
    boxes = [box.box_xyxy for box in pair.clip.boxes_by_frame[frame]]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _not_empty(boxes_xyxy: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1))
