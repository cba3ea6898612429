"""Windows of video for a network that is given frame after frame: its samples and batches.

A sample is what a running detector has seen when it judges: steps a fifteenth of a second apart,
the last of them the latest that the judged frame's pair reaches. It is cropped, flipped and
coloured as one. Some samples show four windows at half the size, for small actors among others. As
in `batching.py`, sample number i is a pure function of the seed and i.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset
from tubedet.datasets.augmentation import (
    STILL,
    AugmentationRecipe,
    Boxes,
    Pixels,
    View,
    draw_actor_free_window,
    draw_crop,
    draw_view,
    draw_wider_window,
)
from tubedet.datasets.batching import (
    BatchShare,
    TrainingBatch,
    TrainingSample,
    boxes_of,
    collate,
    make_sample,
)
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.frame_pair_sampling import FramePairSampler, SequenceSampler, pair_at
from tubedet.datasets.ignore_regions import IgnoreRegions
from tubedet.models.light.video_backbone import STEPS_PER_SECOND
from tubedet.notes import Note

# Steps of a batch's windows, and how often each is drawn: most are as long as a context window;
# detectors of single images, and the first frames of a shot, have seen less.
LENGTHS = {12: 0.5, 8: 0.2, 4: 0.15, 1: 0.15}
LENGTH_STREAM = 1  # of random numbers, beside that of the samples
CLIP_DRAWS = 12  # until one is found that is long enough
TILES = 4  # of a mosaic: upper left, upper right, lower left, lower right
LEAST_SIDE = 32  # px of the window that a drifting camera shows, at the beginning


class WindowSample(NamedTuple):
    """`steps` (W, 3, S, S) uint8 RGB, and J frames in them that are judged.

    `judged` are their samples, `step_of_judged` the numbers of the steps that they are judged at,
    `seconds` the time between the two frames of a pair.
    """

    steps: Tensor
    judged: list[TrainingSample]
    step_of_judged: list[int]
    seconds: float


class WindowBatch(NamedTuple):
    """B windows of W steps with J judged frames each.

    steps (B, W, 3, S, S) uint8 RGB; step_of_judged (B, J) int64, 0..W-1; seconds (B, J) float32,
    between the frames of a pair. Of the judged frames, as in `TrainingBatch`: clip
    (B, J, 3, 2, S, S), boxes_xyxy (B, J, K, 4), class_indices (B, J, K), ignore_xyxy (B, J, M, 4).
    """

    steps: Tensor
    step_of_judged: Tensor
    seconds: Tensor
    clip: Tensor
    boxes_xyxy: Tensor
    class_indices: Tensor
    ignore_xyxy: Tensor

    def judged(self) -> TrainingBatch:
        """The B·J judged frames, window by window."""
        return TrainingBatch(*(each.flatten(0, 1) for each in self[3:]))


class StepWindows:
    """The endless list of windows that a data set, a seed and a recipe define; picklable.

    Args:
        dataset: clips to draw from.
        frames: their frames.
        seed: of everything random.
        input_size: side of the network's input in px.
        share: which samples make a batch.
        recipe: strengths of the augmentation.
        judged: frames of a window that are judged: its last one, and others at random.
        recent: they lie among so many last steps.
        ignore_regions: what shows unlabelled bystanders.
        sampler: which clip is drawn; None: balanced by class.
        lengths: see `LENGTHS`.

    Attributes:
        frames: as given.
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
        judged: int = 2,
        recent: int = 4,
        ignore_regions: IgnoreRegions | None = None,
        sampler: FramePairSampler | SequenceSampler | None = None,
        lengths: dict[int, float] | None = None,
    ) -> None:
        self._sampler = sampler or FramePairSampler(dataset)
        self.frames = frames
        self._seed, self._input_size, self._share = seed, input_size, share
        self._recipe = recipe or AugmentationRecipe()
        self._judged, self._recent = judged, recent
        self._ignore_regions = ignore_regions or IgnoreRegions({})
        self._lengths = lengths or LENGTHS
        self.notes: list[Note] = frames.notes

    def batch(self, step: int) -> WindowBatch:
        """This process's share of the batch of a step; its windows are equally long."""
        samples = [self.sample(index) for index in self._share.samples_of(step)]
        judged = collate([frame for sample in samples for frame in sample.judged])
        return WindowBatch(
            torch.stack([sample.steps for sample in samples]),
            torch.tensor([sample.step_of_judged for sample in samples]),
            torch.tensor([[sample.seconds] * self._judged for sample in samples]),
            *(each.view(len(samples), self._judged, *each.shape[1:]) for each in judged),
        )

    def length(self, index: int) -> int:
        """Steps of sample number `index`, and of all samples of its batch."""
        rng = np.random.default_rng([self._seed, index // self._share.batch_size, LENGTH_STREAM])
        return int(rng.choice(list(self._lengths), p=list(self._lengths.values())))

    def sample(self, index: int) -> WindowSample:
        """Sample number `index`, augmented and stretched to the network's input."""
        rng = np.random.default_rng([self._seed, index])
        length, size = self.length(index), self._input_size
        earlier = rng.integers(min(self._recent, length), size=self._judged - 1)
        judged = [length - 1, *(length - 1 - earlier).tolist()]
        if rng.random() >= self._recipe.mosaic_chance:
            return self._window(rng, index, size, judged, self._recipe)
        # Small enough as they are.
        recipe = replace(self._recipe, widen_chance=0.0)
        # Neighbours in number, where the clips come in turn.
        numbers = range(index, index + TILES)
        return _mosaic([self._window(rng, n, size // 2, judged, recipe) for n in numbers])

    def _window(
        self,
        rng: np.random.Generator,
        index: int,
        size: int,
        step_of_judged: list[int],
        recipe: AugmentationRecipe,
    ) -> WindowSample:
        """A window with a clip for sample number `index`, as pictures of size x size px."""
        length = step_of_judged[0] + 1
        clip, at, spacing = self._draw_frame(rng, index, length)
        last = _among(clip, at + 1 - int(rng.integers(spacing)))
        # Where the clip is too short, it stands still before it begins.
        steps = [max(0, last - spacing * (length - 1 - number)) for number in range(length)]
        judged = [(length - 1, at)]
        for step in step_of_judged[1:]:
            frame = _among(clip, steps[step] - 1 + int(rng.integers(spacing)))
            judged.append((step, frame) if clip.is_known(frame) else judged[0])
        view = _draw_view(rng, recipe, clip, steps, [frame for _, frame in judged])
        pictures = torch.from_numpy(self._pictures(clip, steps, view, size))
        return WindowSample(
            pictures.permute(0, 3, 1, 2).contiguous(),
            [self._judge(clip, frame, last, view, size) for _, frame in judged],
            [step for step, _ in judged],
            1 / self.frames.rate(clip),
        )

    def _draw_frame(
        self, rng: np.random.Generator, index: int, length: int
    ) -> tuple[AnnotatedClip, int, int]:
        """A clip as far as there are frames of it, one of these, and frames from step to step."""
        for _ in range(CLIP_DRAWS):
            clip, frames = self._sampler.draw_clip(rng, index)
            end, spacing = self.frames.length(clip), frames_a_step(self.frames.rate(clip))
            late = [frame for frame in frames if spacing * (length - 1) <= frame < end]
            if late:
                break
        clip = clip.up_to(end)
        known = [frame for frame in range(end) if clip.is_known(frame)] or [end - 1]
        chosen = late or [frame for frame in frames if frame < end] or known
        return clip, chosen[rng.integers(len(chosen))], spacing

    def _pictures(self, clip: AnnotatedClip, steps: list[int], view: View, size: int) -> Pixels:
        """The steps as the network sees them, (W, size, size, 3)."""
        return np.concatenate(
            [
                view.later(step - steps[-1]).frames(
                    self.frames.window(clip, range(step, step + 1)), size
                )
                for step in steps
            ]
        )

    def _judge(
        self, clip: AnnotatedClip, frame: int, last: int, view: View, size: int
    ) -> TrainingSample:
        """A frame with its pair, in a view that is that of frame `last`."""
        pair = pair_at(clip, frame)
        of_first = view.later(pair.first - last)
        return make_sample(pair, of_first, size, self.frames, self._ignore_regions)


def _draw_view(
    rng: np.random.Generator,
    recipe: AugmentationRecipe,
    clip: AnnotatedClip,
    steps: list[int],
    judged: list[int],
) -> View:
    """Of the last step; before it a drifting camera shows something else."""
    frame_wh = (clip.width, clip.height)
    if rng.random() < recipe.background_chance:
        shown = range(min(*steps, *judged), _among(clip, max(*steps, *judged) + 1) + 1)
        everywhere = boxes_of(clip, *shown)
        if len(everywhere) and (empty := draw_actor_free_window(rng, recipe, everywhere, frame_wh)):
            return _kept_empty(draw_view(rng, recipe, empty), steps, everywhere, frame_wh)
    if rng.random() < recipe.widen_chance:
        window = draw_wider_window(rng, recipe, frame_wh)
    else:
        window = draw_crop(rng, recipe, boxes_of(clip, *judged), frame_wh)
    view = draw_view(rng, recipe, window)
    x1, y1, x2, y2 = view.later(steps[0] - steps[-1]).window
    if min(x2 - x1, y2 - y1) < LEAST_SIDE:
        return replace(view, drift_xyxy=STILL)
    return view


def _kept_empty(view: View, steps: list[int], boxes_xyxy: Boxes, frame_wh: tuple[int, int]) -> View:
    """The view, without its drift where that would bring an actor or the frame's edge into it."""
    width, height = frame_wh
    x1, y1, x2, y2 = view.window
    # A pair may reach a frame beyond the last step.
    for frames in (steps[0] - steps[-1], 1):
        other = view.later(frames).window
        x1, y1, x2, y2 = min(x1, other[0]), min(y1, other[1]), max(x2, other[2]), max(y2, other[3])
        if min(other[2] - other[0], other[3] - other[1]) < LEAST_SIDE:
            return replace(view, drift_xyxy=STILL)
    beside = (boxes_xyxy[:, :2] >= (x2, y2)) | (boxes_xyxy[:, 2:] <= (x1, y1))
    inside = x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height
    return view if inside and beside.any(axis=1).all() else replace(view, drift_xyxy=STILL)


def _mosaic(tiles: list[WindowSample]) -> WindowSample:
    """Four windows side by side as one; those of another frame rate give way to the first."""
    tiles = [tile if tile.seconds == tiles[0].seconds else tiles[0] for tile in tiles]
    # Where a tile judges its last frame twice, an unknown one being skipped, so do all.
    steps = zip(*(tile.step_of_judged for tile in tiles), strict=True)
    numbers = [n if len(set(of_tiles)) == 1 else 0 for n, of_tiles in enumerate(steps)]
    return WindowSample(
        _side_by_side([tile.steps for tile in tiles]),
        [_judged_together([tile.judged[number] for tile in tiles]) for number in numbers],
        [tiles[0].step_of_judged[number] for number in numbers],
        tiles[0].seconds,
    )


def _judged_together(tiles: list[TrainingSample]) -> TrainingSample:
    corners = [torch.tensor([x, y, x, y]) for y in (0.0, 0.5) for x in (0.0, 0.5)]
    placed = list(zip(tiles, corners, strict=True))
    return TrainingSample(
        _side_by_side([tile.clip for tile in tiles]),
        torch.cat([tile.boxes_xyxy / 2 + corner for tile, corner in placed]),
        torch.cat([tile.class_indices for tile in tiles]),
        torch.cat([tile.ignore_xyxy / 2 + corner for tile, corner in placed]),
    )


def _side_by_side(tiles: list[Tensor]) -> Tensor:
    """Four pictures (..., H, W) as one (..., 2*H, 2*W)."""
    upper, lower = (torch.cat(row, dim=-1) for row in (tiles[:2], tiles[2:]))
    return torch.cat([upper, lower], dim=-2)


def _among(clip: AnnotatedClip, frame: int) -> int:
    """The frame of the clip nearest to a number."""
    return max(0, min(frame, clip.frames - 1))


def frames_a_step(rate: float) -> int:
    """Frames from one step to the next, in a clip of so many frames a second."""
    return max(1, round(rate / STEPS_PER_SECOND))
