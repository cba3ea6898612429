from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.small_detector import small_config
from tubedet.models.flownet2.layers import FlowPyramid
from tubedet.models.flownet2.stacks import FlowNet2SD, normalize_clip
from tubedet.models.flownet2.warping import Resample2d
from tubedet.models.motion_input import ResizedFlow
from tubedet.models.presets import build_flow
from tubedet.models.refined_flow import RefinedFlow, look_sizes

NARROW = 1 / 16


class Answering(RefinedFlow):
    """Sees a motion to the right of the given lengths in px, whatever it looks at."""

    def __init__(self, *lengths_px: float) -> None:
        super().__init__(width=NARROW)
        self.answers = list(lengths_px)
        self.seen: list[Tensor] = []

    def flow_pyramid(self, pair: Tensor) -> FlowPyramid:
        self.seen.append(pair)
        flow2 = torch.zeros(len(pair), 2, pair.shape[2] // 4, pair.shape[3] // 4)
        flow2[:, 0] = self.answers.pop(0) / self.sd_scale
        return FlowPyramid(flow2, *[torch.zeros(0)] * 4)


def test_what_a_look_finds_is_added_to_what_was_known() -> None:
    network = Answering(0.5, 1.5, 0.25)
    flow = network(torch.rand(2, 3, 2, 256, 448) * 255)
    assert [pair.shape[-2:] for pair in network.seen] == [(64, 64), (128, 192), (256, 448)]
    expected = torch.tensor([0.5 * 448 / 64 + 1.5 * 448 / 192 + 0.25, 0.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(flow, expected.expand(2, 2, 256, 448))


def test_the_next_look_meets_a_frame_without_the_motion_that_is_known() -> None:
    wide = torch.rand(1, 3, 128, 132) * 255
    clip = torch.stack([wide[..., 4:], wide[..., :-4]], dim=2)  # moves 4 px to the right
    network = Answering(2.0, 0.0)  # which is 2 px on half the side
    network(clip)
    difference, undone = (first - second for first, second in map(_frames, network.seen))
    assert difference.std() > 0.1
    inside = undone[..., :-4]  # what left the frame is not found
    torch.testing.assert_close(
        inside, inside.mean(dim=(2, 3), keepdim=True).expand_as(inside), rtol=0, atol=1e-5
    )


def _frames(pair: Tensor) -> tuple[Tensor, ...]:
    return pair.chunk(2, dim=1)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 64), [(64, 64)]),
        ((128, 128), [(64, 64), (128, 128)]),
        ((192, 192), [(64, 64), (192, 192)]),
        ((320, 320), [(64, 64), (128, 128), (320, 320)]),
        ((448, 448), [(64, 64), (192, 192), (448, 448)]),
        ((64, 256), [(64, 256)]),
        ((384, 640), [(64, 128), (192, 320), (384, 640)]),
    ],
)
def test_pairs_double_from_64_px_at_least(
    size: tuple[int, int], expected: list[tuple[int, int]]
) -> None:
    assert look_sizes(*size) == expected


def test_all_looks_have_the_weights_of_one_network() -> None:
    single, refined = FlowNet2SD(width=NARROW), RefinedFlow(width=NARROW)
    refined.load_state_dict(single.state_dict())
    clip = torch.rand(1, 3, 2, 128, 128) * 255
    small = F.interpolate(
        clip[0].transpose(0, 1), size=(64, 64), mode="bilinear", antialias=True
    ).transpose(0, 1)[None]
    coarse = single.flow_pyramid(normalize_clip(small)).flow2 * single.sd_scale
    before = F.interpolate(coarse * 2, scale_factor=8, mode="bilinear")
    fetched = torch.stack([clip[:, :, 0], Resample2d()(clip[:, :, 1], before)], dim=2)
    torch.testing.assert_close(refined(clip), before + single(fetched), rtol=1e-4, atol=1e-3)


def test_each_look_answers_for_its_own_flow() -> None:
    network = RefinedFlow(width=NARROW)
    first, second = network.looks(torch.rand(1, 3, 2, 128, 128) * 255)
    assert not first.before.any()
    (through_fetching,) = torch.autograd.grad(
        second.left.flow2.sum(), second.before, allow_unused=True, retain_graph=True
    )
    assert through_fetching is None
    (own,) = torch.autograd.grad(second.before.sum(), first.left.flow2)
    assert own.abs().sum() > 0


def test_a_detector_refines_its_flow_if_its_file_says_so() -> None:
    old = small_config("light")
    for config, kind in ((old, FlowNet2SD), (replace(old, refined_flow=True), RefinedFlow)):
        flow = build_flow(config)
        assert isinstance(flow, ResizedFlow)
        assert type(flow.network) is kind
    with pytest.raises(ValueError, match="refined flow: expected preset light, found flownet2-sd"):
        replace(small_config("flownet2-sd"), refined_flow=True)
