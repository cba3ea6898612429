from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tubedet.datasets.annotated_clips import AnnotatedClip
from tubedet.datasets.batching import BatchShare
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.flow_batches import FlowBatches, write_frame_pairs
from tubedet.errors import DatasetError, OutputError


class _CountingFrames(ClipFrames):
    """Frame k of every clip is a plain grey of value k; one more is annotated than there is."""

    def length(self, clip: AnnotatedClip) -> int:
        return clip.frames - 1

    def window(self, clip: AnnotatedClip, frames: range) -> NDArray[np.uint8]:
        grey = np.array(frames, dtype=np.uint8).reshape(-1, 1, 1, 1)
        return np.broadcast_to(grey, (len(frames), 240, 320, 3))


def _clip(frames: int) -> AnnotatedClip:
    return AnnotatedClip("wave/a", Path("a.avi"), 0, "a", 320, 240, ((),) * frames)


@pytest.fixture
def frame_pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (3, 2, 72, 96, 3), dtype=np.uint8))
    return path


def test_frame_pairs_are_neighbours_within_a_clip(tmp_path: Path) -> None:
    path = tmp_path / "pairs.npy"
    assert write_frame_pairs([_clip(6), _clip(4)], _CountingFrames(), path) == 3
    stored = np.load(path)
    assert stored.shape == (3, 2, 192, 256, 3)
    assert stored[:, :, 0, 0, 0].tolist() == [[0, 1], [2, 3], [0, 1]]
    assert [entry.name for entry in tmp_path.iterdir()] == ["pairs.npy"]


def test_clips_without_a_pair_and_an_absent_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no clip with two frames"):
        write_frame_pairs([_clip(2)], _CountingFrames(), tmp_path / "pairs.npy")
    with pytest.raises(OutputError, match=r"absent/pairs\.npy"):
        write_frame_pairs([_clip(3)], _CountingFrames(), tmp_path / "absent" / "pairs.npy")


def test_a_batch_is_a_function_of_its_step(frame_pairs: Path) -> None:
    batches = FlowBatches(frame_pairs, (64, 128), BatchShare(3), teacher_share=0.5)
    batch = batches.batch(4)
    size = batch.clip.shape[-1]
    assert batch.clip.shape == (3, 3, 2, size, size)
    assert batch.clip.dtype == torch.uint8
    assert batch.flow_uv.shape == (3, 2, size, size)
    assert batch.known.shape == (3, size, size)
    again = FlowBatches(frame_pairs, (64, 128), BatchShare(3), teacher_share=0.5).batch(4)
    assert all(torch.equal(a, b) for a, b in zip(batch, again, strict=True))
    assert {batches.batch(step).clip.shape[-1] for step in range(8)} == {64, 128}


def test_the_teacher_leaves_pixels_unknown_and_made_pairs_do_not(frame_pairs: Path) -> None:
    taught = FlowBatches(frame_pairs, (64,), BatchShare(2), teacher_share=1.0).batch(0)
    made = FlowBatches(frame_pairs, (64,), BatchShare(2), teacher_share=0.0).batch(0)
    assert not taught.known.all()
    assert made.known.all()


@pytest.mark.parametrize("content", [b"no array", None])
def test_a_file_that_holds_no_frame_pairs_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "pairs.npy"
    if content is None:
        np.save(path, np.zeros((2, 4, 4), dtype=np.uint8))
    else:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"pairs\.npy: expected frame pairs"):
        FlowBatches(path, (64,), BatchShare(1), teacher_share=0.0).batch(0)
