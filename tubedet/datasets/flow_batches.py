"""Batches to learn flow from, and the file of real frame pairs that they are made of."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from tubedet.datasets.annotated_clips import AnnotatedClip
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.flow_sample import FlowSample
from tubedet.datasets.flow_teacher import TaughtPairs
from tubedet.datasets.moving_layers import MovingLayers
from tubedet.errors import DatasetError, OutputError

# 0.8 of J-HMDB's 320x240, whose compression leaves nothing finer; the file is a third smaller.
STORED_WIDTH, STORED_HEIGHT = 256, 192


def write_frame_pairs(clips: Sequence[AnnotatedClip], frames: ClipFrames, path: Path) -> int:
    """Store the frames 2k and 2k+1 of every clip as .npy (N, 2, 192, 256, 3) uint8 RGB.

    Args:
        clips: to take pairs from; give training clips only.
        frames: their decoded frames.
        path: the file to write or replace, 295 kB a pair.

    Returns:
        N, the number of pairs.

    Raises:
        DatasetError: if a clip is unreadable, or none has two frames.
        OutputError: if the file cannot be written.
    """
    count = sum(clip.frames // 2 for clip in clips)
    if not count:
        raise DatasetError("no clip with two frames to take frame pairs from")
    part = path.with_name(f".{path.name}.part")
    shape = (count, 2, STORED_HEIGHT, STORED_WIDTH, 3)
    try:
        stored = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=shape)
        flat, position = stored.reshape(-1, *shape[2:]), 0
        for clip in clips:
            for frame in frames.of(clip)[: clip.frames // 2 * 2]:
                size = (STORED_WIDTH, STORED_HEIGHT)
                flat[position] = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
                position += 1
        stored.flush()
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{path}: the frame pairs cannot be written ({error})") from error
    return count


class FlowBatch(NamedTuple):
    """`clip` (B, 3, 2, S, S) uint8 RGB, `flow_uv` (B, 2, S, S) px, `known` (B, S, S) bool."""

    clip: Tensor
    flow_uv: Tensor
    known: Tensor


class FlowBatches(Dataset[FlowBatch]):
    """Step → batch, always the same.

    Args:
        frame_pairs: file of `write_frame_pairs`.
        sizes: sides of the square samples in px; one is drawn for each batch.
        batch_size: samples a batch.
        teacher_share: share of samples that are real pairs under DIS's flow; the rest is made.
        seed: another seed is another endless data set.
    """

    def __init__(
        self,
        frame_pairs: Path,
        sizes: Sequence[int],
        batch_size: int,
        teacher_share: float,
        seed: int = 0,
    ) -> None:
        self.frame_pairs, self.sizes, self.batch_size = frame_pairs, sizes, batch_size
        self.teacher_share, self.seed = teacher_share, seed

    def __getitem__(self, step: int) -> FlowBatch:
        rng = np.random.default_rng((self.seed, step))
        size = int(rng.choice(self.sizes))
        frames = self._mapped.reshape(-1, *self._mapped.shape[2:])
        made = MovingLayers(frames, size, self.seed)
        taught = TaughtPairs(self._mapped, size, self.seed)
        first = step * self.batch_size
        samples = [
            (taught if rng.random() < self.teacher_share else made).sample(index)
            for index in range(first, first + self.batch_size)
        ]
        return _stacked(samples)

    @cached_property
    def _mapped(self) -> NDArray[np.uint8]:
        """Opened where it is used, so that each worker process maps the file itself."""
        try:
            pairs: NDArray[np.uint8] = np.load(self.frame_pairs, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise DatasetError(f"{self.frame_pairs}: expected frame pairs: {error}") from error
        if pairs.ndim != 5 or pairs.shape[1] != 2 or pairs.shape[4] != 3:
            raise DatasetError(
                f"{self.frame_pairs}: expected frame pairs (N, 2, H, W, 3), found {pairs.shape}"
            )
        return pairs


def _stacked(samples: Sequence[FlowSample]) -> FlowBatch:
    pairs = np.stack([sample.pair_rgb for sample in samples])
    return FlowBatch(
        clip=torch.from_numpy(np.ascontiguousarray(pairs.transpose(0, 4, 1, 2, 3))),
        flow_uv=torch.from_numpy(np.stack([sample.flow_uv for sample in samples])),
        known=torch.from_numpy(np.stack([sample.known for sample in samples])),
    )
