"""Batches to learn flow from, and the file of real frame pairs that they are made of."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tubedet.datasets.annotated_clips import AnnotatedClip
from tubedet.datasets.batching import BatchShare
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.flow_sample import FlowSample
from tubedet.datasets.flow_teacher import TaughtPairs
from tubedet.datasets.moving_layers import MovingLayers
from tubedet.errors import DatasetError
from tubedet.notes import Note
from tubedet.whole_file import written_whole

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
    lengths = [frames.length(clip) // 2 * 2 for clip in clips]
    count = sum(lengths) // 2
    if not count:
        raise DatasetError("no clip with two frames to take frame pairs from")
    shape = (count, 2, STORED_HEIGHT, STORED_WIDTH, 3)
    # Not mapped: where the disk is full, a mapped file ends the process without a word.
    with written_whole(path) as pending, pending.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for clip, length in zip(clips, lengths, strict=True):
            for frame in frames.window(clip, range(length)):
                size = (STORED_WIDTH, STORED_HEIGHT)
                file.write(cv2.resize(frame, size, interpolation=cv2.INTER_AREA).tobytes())
    return count


class FlowBatch(NamedTuple):
    """`clip` (B, 3, 2, S, S) uint8 RGB, `flow_uv` (B, 2, S, S) px, `known` (B, S, S) bool."""

    clip: Tensor
    flow_uv: Tensor
    known: Tensor


class FlowBatches:
    """Step → batch, always the same.

    Args:
        frame_pairs: file of `write_frame_pairs`.
        sizes: sides of the square samples in px; one is drawn for each batch.
        share: which samples make a batch.
        teacher_share: share of samples that are real pairs under DIS's flow; the rest is made.
        seed: another seed is another endless data set.
    """

    def __init__(
        self,
        frame_pairs: Path,
        sizes: Sequence[int],
        share: BatchShare,
        teacher_share: float,
        seed: int = 0,
    ) -> None:
        self.frame_pairs, self.sizes, self.share = frame_pairs, sizes, share
        self.teacher_share, self.seed = teacher_share, seed
        self.notes: list[Note] = []

    def batch(self, step: int) -> FlowBatch:
        """This process's share of the batch of a step."""
        rng = np.random.default_rng((self.seed, step))
        size = int(rng.choice(self.sizes))
        frames = self._mapped.reshape(-1, *self._mapped.shape[2:])
        made = MovingLayers(frames, size, self.seed)
        taught = TaughtPairs(self._mapped, size, self.seed)
        is_taught = rng.random(self.share.batch_size) < self.teacher_share
        first = step * self.share.batch_size
        samples = [
            (taught if is_taught[index - first] else made).sample(index)
            for index in self.share.samples_of(step)
        ]
        return _stacked(samples)

    def __getstate__(self) -> dict[str, Any]:
        """Without the mapped file, which every process opens itself."""
        return {name: value for name, value in vars(self).items() if name != "_mapped"}

    @cached_property
    def _mapped(self) -> NDArray[np.uint8]:
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
