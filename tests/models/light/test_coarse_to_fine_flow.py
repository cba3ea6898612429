"""Flow from coarse to fine against what one FlowNet2-SD says of each level."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tubedet.models.flownet2.layers import FlowPyramid
from tubedet.models.flownet2.stacks import FlowNet2SD, normalize_clip
from tubedet.models.flownet2.warping import Resample2d
from tubedet.models.light import coarse_to_fine_flow
from tubedet.models.light.coarse_to_fine_flow import CoarseToFineFlow, level_sizes
from tubedet.models.presets import LightConfig, build_flow
from tubedet.models.resized_flow import ResizedFlow, Size, resized_flow

NARROW = 1 / 16


class Answering(CoarseToFineFlow):
    """Estimates residual flow to the right of the given lengths in px, whatever the pair."""

    def __init__(self, *lengths_px: float) -> None:
        super().__init__(width=NARROW)
        self.answers = list(lengths_px)
        self.pairs: list[Tensor] = []

    def flow_pyramid(self, pair: Tensor) -> FlowPyramid:
        self.pairs.append(pair)
        flow2 = torch.zeros(len(pair), 2, pair.shape[2] // 4, pair.shape[3] // 4)
        flow2[:, 0] = self.answers.pop(0) / self.sd_scale
        return FlowPyramid(flow2, *[torch.zeros(0)] * 4)


def test_the_residual_flow_of_every_level_is_added() -> None:
    network = Answering(0.5, 1.5, 0.25)
    flow = network(torch.rand(2, 3, 2, 256, 448) * 255)
    assert [pair.shape[-2:] for pair in network.pairs] == [(64, 64), (128, 192), (256, 448)]
    expected = torch.tensor([0.5 * 448 / 64 + 1.5 * 448 / 192 + 0.25, 0.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(flow, expected.expand(2, 2, 256, 448))


def test_the_flow_so_far_is_warped_out_of_the_next_level() -> None:
    wide = torch.rand(1, 3, 128, 132) * 255
    clip = torch.stack([wide[..., 4:], wide[..., :-4]], dim=2)  # moves 4 px to the right
    network = Answering(2.0, 0.0)  # which is 2 px on half the side
    network(clip)
    difference, undone = (first - second for first, second in map(_frames, network.pairs))
    assert difference.std() > 0.1
    inside = undone[..., :-4]  # what left the frame is missing
    torch.testing.assert_close(
        inside, inside.mean(dim=(2, 3), keepdim=True).expand_as(inside), rtol=0, atol=1e-5
    )


def test_the_flow_of_a_level_is_resized_once(monkeypatch: pytest.MonkeyPatch) -> None:
    enlarged = []

    def counted(flow_uv: Tensor, old: Size, new: Size) -> Tensor:
        enlarged.append(flow_uv.shape[-2:] != new == (192, 256))
        return resized_flow(flow_uv, old, new)

    monkeypatch.setattr(coarse_to_fine_flow, "resized_flow", counted)
    CoarseToFineFlow(width=NARROW)(torch.rand(1, 3, 2, 192, 256) * 255)
    assert sum(enlarged) == len(level_sizes(192, 256))


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
    assert level_sizes(*size) == expected


def test_all_levels_have_the_weights_of_one_network() -> None:
    single, refined = FlowNet2SD(width=NARROW), CoarseToFineFlow(width=NARROW)
    refined.load_state_dict(single.state_dict())
    clip = torch.rand(1, 3, 2, 128, 128) * 255
    small = F.interpolate(
        clip[0].transpose(0, 1), size=(64, 64), mode="bilinear", antialias=True
    ).transpose(0, 1)[None]
    coarse = single.flow_pyramid(normalize_clip(small)).flow2 * single.sd_scale
    before = F.interpolate(coarse * 2, scale_factor=8, mode="bilinear")
    fetched = torch.stack([clip[:, :, 0], Resample2d()(clip[:, :, 1], before)], dim=2)
    torch.testing.assert_close(refined(clip), before + single(fetched), rtol=1e-4, atol=1e-3)


def test_no_gradient_flows_through_the_warping() -> None:
    network = CoarseToFineFlow(width=NARROW)
    first, second = network.levels(torch.rand(1, 3, 2, 128, 128) * 255)
    assert not first.initial.any()
    (through_fetching,) = torch.autograd.grad(
        second.residual.flow2.sum(), second.initial, allow_unused=True, retain_graph=True
    )
    assert through_fetching is None
    (own,) = torch.autograd.grad(second.initial.sum(), first.residual.flow2)
    assert own.abs().sum() > 0


def test_light_estimates_flow_from_coarse_to_fine_at_a_size_of_its_own() -> None:
    config = LightConfig(class_names=("a",), anchors_wh=((1.0, 1.0),), flow_size=128)
    flow = build_flow(config)
    assert isinstance(flow, ResizedFlow)
    assert isinstance(flow.network, CoarseToFineFlow)
    assert flow.size == (128, 128)
