"""Which predictions make up a frame's context window, and how many frames wait for them."""

from collections.abc import Iterator

import pytest
import torch

from tubedet.runtime.detector import PairPrediction, context_windows


@pytest.mark.parametrize("context_frames", [0, 1, 3, 20])
@pytest.mark.parametrize("frames", [0, 1, 2, 7])
@pytest.mark.parametrize("stride", [1, 3])
def test_a_frame_comes_with_all_predictions_in_its_window(
    frames: int, context_frames: int, stride: int
) -> None:
    predictions = {t: PairPrediction(torch.tensor(t)) for t in range(0, frames, stride)}
    footage = ((t, predictions.get(t)) for t in range(frames))

    found = list(context_windows(footage, context_frames))

    assert [(t, own) for t, own, _ in found] == [(t, predictions.get(t)) for t in range(frames)]
    for t, _, window in found:
        expected = [predictions[u] for u in predictions if abs(u - t) <= context_frames]
        assert [id(each) for each in window] == [id(each) for each in expected]


def test_no_more_frames_wait_than_have_to() -> None:
    taken: list[int] = []

    def footage() -> Iterator[tuple[int, PairPrediction]]:
        for t in range(10):
            taken.append(t)
            yield t, PairPrediction(torch.tensor(t))

    waiting = [taken[-1] - t for t, _, _ in context_windows(footage(), context_frames=2)]
    assert waiting == [2] * 8 + [1, 0]
