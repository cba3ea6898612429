import pytest
import torch
from torch.nn.functional import pixel_unshuffle

from tests.golden import golden_file
from tubedet.models.yolov2.passthrough import (
    Passthrough,
    PassthroughOrder,
    darknet_reorg,
    space_to_depth,
)


@pytest.mark.parametrize(
    ("order", "golden"), [("space_to_depth", "yolo2pytorch"), ("darknet", "darknet")]
)
def test_each_order_equals_the_code_it_is_named_after(order: PassthroughOrder, golden: str) -> None:
    with golden_file("reorg_op") as arrays:
        x, expected = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays[golden])
    assert torch.equal(Passthrough(order)(x), expected)


def test_space_to_depth_keeps_the_block_offset_outermost() -> None:
    x = torch.tensor([[[[1, 2], [3, 4]], [[5, 6], [7, 8]]]])
    assert space_to_depth(x).flatten().tolist() == [1, 5, 2, 6, 3, 7, 4, 8]


def test_a_block_of_four_takes_every_fourth_pixel() -> None:
    x = torch.arange(2 * 8 * 4).reshape(1, 2, 8, 4)
    assert torch.equal(space_to_depth(x, block=4)[0, (3 * 4 + 2) * 2 + 1], x[0, 1, 3::4, 2::4])


def test_no_two_of_the_three_orders_are_the_same() -> None:
    x = torch.arange(4.0 * 4 * 4).reshape(1, 4, 4, 4)
    folded = [space_to_depth(x), darknet_reorg(x), pixel_unshuffle(x, 2)]
    assert all(not torch.equal(folded[i], folded[j]) for i, j in [(0, 1), (0, 2), (1, 2)])


def test_darknet_moves_pixels_to_other_places_which_no_order_of_channels_undoes() -> None:
    x = torch.arange(4.0 * 4 * 4).reshape(1, 4, 4, 4)
    in_place = {frozenset(c.flatten().tolist()) for c in space_to_depth(x)[0]}
    scrambled = {frozenset(c.flatten().tolist()) for c in darknet_reorg(x)[0]}
    assert in_place != scrambled


@pytest.mark.parametrize("order", ["space_to_depth", "darknet"])
def test_a_map_of_odd_height_is_refused(order: PassthroughOrder) -> None:
    with pytest.raises(ValueError, match="3x4"):
        Passthrough(order)(torch.zeros(1, 4, 3, 4))


def test_an_unknown_order_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="pixel_unshuffle"):
        Passthrough("pixel_unshuffle")  # type: ignore[arg-type]
