"""The whole detector: sizes, cost and gradient of every preset."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.golden import reference_json
from tubedet.labels import UCF101_24
from tubedet.models.motion_input import ResizedFlow, encode_motion, flow_input_size
from tubedet.models.presets import PRESETS, DetectorConfig, build_detector
from tubedet.models.yolov2.anchors import VOC_2016

FLOW_PRESETS = [preset for preset in PRESETS if preset != "brox"]


def config(preset: str, **settings: Any) -> DetectorConfig:
    return DetectorConfig(preset=preset, class_names=UCF101_24, anchors_wh=VOC_2016, **settings)


def narrow(preset: str) -> nn.Module:
    """A detector small enough for a test, its weights drawn from a fixed seed."""
    torch.manual_seed(0)
    return build_detector(config(preset, input_size=64, width=1 / 16)).eval()


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [("flownet2-sd", 179_687_651), ("flownet2-css", 250_881_927), ("flownet2", 296_834_819)],
)
def test_parameter_count_equals_the_reference(preset: str, parameters: int) -> None:
    with torch.device("meta"):
        network = build_detector(config(preset))
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("preset", "row"),
    [
        ("flownet2-sd", "two_stream + FlowNet2SD"),
        ("flownet2-css", "two_stream + FlowNet2CSS"),
        ("flownet2", "two_stream + FlowNet2"),
    ],
)
def test_cost_at_320_is_within_a_percent_of_the_reference(preset: str, row: str) -> None:
    with torch.device("meta"):
        network = build_detector(config(preset)).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, 3, 2, 320, 320))
    expected = reference_json("flops.json")[row]["total"]
    assert counter.get_total_flops() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("preset", PRESETS)
def test_prediction_map_has_one_vector_of_anchors_a_cell(preset: str) -> None:
    raw = narrow(preset)(torch.rand(2, 3, 2, 64, 64) * 255)
    assert raw.shape == (2, 5 * (5 + 24), 2, 2)


@pytest.mark.parametrize("preset", PRESETS)
def test_gradient_reaches_the_first_layer_and_is_finite_on_identical_frames(preset: str) -> None:
    network = narrow(preset).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    frame = torch.rand(1, 3, 1, 64, 64) * 255
    network(frame.expand(-1, -1, 2, -1, -1)).square().sum().backward()
    gradients = {name: p.grad for name, p in network.named_parameters()}
    assert all(g is not None and torch.isfinite(g).all() for g in gradients.values()), preset
    first = next(
        name
        for name in gradients
        if name.startswith("motion_stream." if preset == "brox" else "flow.")
    )
    moved = torch.rand(1, 3, 2, 64, 64) * 255
    network.zero_grad()
    network(moved).square().sum().backward()
    gradient = network.get_parameter(first).grad
    assert gradient is not None
    assert gradient.abs().sum() > 0


def test_motion_input_is_the_encoding_of_the_brox_images() -> None:
    flow = torch.tensor([3.0, -4.0]).view(1, 2, 1, 1)
    expected = torch.tensor([16 * 3 + 128, 16 * -4 + 128, 16 * 5 + 128]) / 255
    torch.testing.assert_close(encode_motion(flow).flatten(), expected)


@pytest.mark.parametrize(
    ("input_size", "expected"), [(320, 192), (256, 128), (224, 128), (416, 192), (64, 64)]
)
def test_flow_of_light_is_estimated_near_half_the_input(input_size: int, expected: int) -> None:
    assert flow_input_size(input_size) == expected


def test_resized_flow_is_in_pixels_of_the_clip_it_was_given() -> None:
    class OnePixelRight(nn.Module):
        def forward(self, clip: Tensor) -> Tensor:
            assert clip.shape[-2:] == (64, 64)
            return torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(len(clip), 2, 64, 64)

    flow = ResizedFlow(OnePixelRight(), 64)(torch.zeros(1, 3, 2, 128, 256))
    assert flow.shape == (1, 2, 128, 256)
    torch.testing.assert_close(flow[0, :, 5, 5], torch.tensor([4.0, 0.0]))


def test_flow_at_the_size_of_the_clip_is_the_same_as_resized_to_that_size() -> None:
    class Difference(nn.Module):
        def forward(self, clip: Tensor) -> Tensor:
            return clip[:, :2, 1] - clip[:, :2, 0]

    clip = torch.rand(2, 3, 2, 64, 128) * 255
    torch.testing.assert_close(
        ResizedFlow(Difference(), (64, 128))(clip), Difference()(clip), atol=0, rtol=0
    )


def test_light_has_about_ten_million_parameters() -> None:
    with torch.device("meta"):
        network = build_detector(config("light"))
    assert 9e6 < sum(p.numel() for p in network.parameters()) < 11e6


def test_config_survives_json() -> None:
    before = config("light", input_size=256, flow_size=192)
    assert DetectorConfig.from_dict(json.loads(json.dumps(before.to_dict()))) == before


@pytest.mark.parametrize(
    "settings",
    [
        {"preset": "yolo9000"},
        {"input_size": 100},
        {"input_size": 64 * 10**6},
        {"streams": "three"},
        {"flow_size": -64},
        {"flow_size": 100},
        {"class_names": ()},
        {"anchors_wh": ()},
    ],
)
def test_impossible_config_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"preset|multiple|class|streams"):
        DetectorConfig.from_dict({**config("flownet2-sd").to_dict(), **settings})


def test_motion_alone_is_what_is_left_without_the_rgb_features() -> None:
    torch.manual_seed(0)
    network = build_detector(config("light", input_size=64)).eval()
    clip = torch.rand(2, 3, 2, 64, 64) * 255
    both, alone = network.with_motion_alone(clip).chunk(2)
    torch.testing.assert_close(both, network(clip))
    motion = network.motion_stream(network.motion(clip))
    # In the place of the missing half, the other one counts twice, as with dropout.
    silence = torch.zeros_like(network.rgb_stream(clip[:, :, 0] / 255))
    expected = network.fusion(silence, 2 * motion)
    torch.testing.assert_close(alone, expected)


@pytest.mark.parametrize("preset", ["light", "flownet2-sd", "brox"])
def test_a_network_of_one_stream_lacks_the_other(preset: str) -> None:
    settings = {"input_size": 64, "width": 1 / 16}
    rgb, motion, both = (
        build_detector(config(preset, streams=streams, **settings)).eval()
        for streams in ("rgb", "motion", "both")
    )
    parts = {name.split(".")[0] for name in both.state_dict()}
    assert {name.split(".")[0] for name in rgb.state_dict()} == parts - {"flow", "motion_stream"}
    assert {name.split(".")[0] for name in motion.state_dict()} == parts - {"rgb_stream"}
    clip = torch.rand(1, 3, 2, 64, 64) * 255
    other_second = torch.stack([clip[:, :, 0], clip[:, :, 0]], dim=2)
    torch.testing.assert_close(rgb(clip), rgb(other_second), rtol=0, atol=0)
    assert not torch.equal(motion(clip), motion(other_second))
    # A stream that is there answers as in the network of both.
    motion.load_state_dict({n: v for n, v in both.state_dict().items() if n in motion.state_dict()})
    features = motion.motion_stream(motion.motion(clip))
    silence = torch.zeros_like(both.rgb_stream(clip[:, :, 0] / 255))
    torch.testing.assert_close(motion(clip), both.fusion(silence, features))
