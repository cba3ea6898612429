"""Which glimpses surround a frame, and how many frames wait for them."""

from collections.abc import Iterator

import pytest
import torch

from tubedet.runtime.detector import Glimpse, with_surroundings


@pytest.mark.parametrize("reach", [0, 1, 3, 20])
@pytest.mark.parametrize("frames", [0, 1, 2, 7])
@pytest.mark.parametrize("stride", [1, 3])
def test_a_frame_comes_with_all_glimpses_within_reach(frames: int, reach: int, stride: int) -> None:
    glimpses = {t: Glimpse(torch.tensor(t)) for t in range(0, frames, stride)}

    found = list(with_surroundings(((t, glimpses.get(t)) for t in range(frames)), reach))

    assert [(t, own) for t, own, _ in found] == [(t, glimpses.get(t)) for t in range(frames)]
    for t, _, around in found:
        near = [glimpses[u] for u in glimpses if abs(u - t) <= reach]
        assert [id(glimpse) for glimpse in around] == [id(glimpse) for glimpse in near]


def test_no_more_frames_wait_than_have_to() -> None:
    taken: list[int] = []

    def footage() -> Iterator[tuple[int, Glimpse]]:
        for t in range(10):
            taken.append(t)
            yield t, Glimpse(torch.tensor(t))

    waiting = [taken[-1] - t for t, _, _ in with_surroundings(footage(), reach=2)]
    assert waiting == [2] * 8 + [1, 0]
