"""The whole detector: sizes, cost and gradient of every preset."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from tests.golden import reference_json
from tests.small_detector import seeded_clip, small_config, small_network
from tubedet.labels import UCF101_24
from tubedet.models.presets import (
    PRESETS,
    DetectorConfig,
    build_detector,
    config_from_dict,
)
from tubedet.models.yolov2.anchors import VOC_2016

FLOW_PRESETS = [preset for preset in PRESETS if preset != "brox"]


def config(preset: str, **settings: Any) -> DetectorConfig:
    return config_from_dict(
        {"preset": preset, "class_names": UCF101_24, "anchors_wh": VOC_2016, **settings}
    )


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
    cells = 4 if preset == "light" else 2
    assert raw.shape == (2, 5 * (5 + 24), cells, cells)


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


def test_light_has_about_three_and_a_half_million_parameters() -> None:
    with torch.device("meta"):
        network = build_detector(config("light"))
    assert 3.4e6 < sum(p.numel() for p in network.parameters()) < 3.6e6


@pytest.mark.parametrize("preset", ["flownet2-sd", "brox"])
def test_parameters_of_the_paper_s_networks_are_grouped_by_part(preset: str) -> None:
    network = small_network(small_config(preset))
    groups = network.parameter_groups()
    starts = {part: {name.split(".")[0] for name, _ in group} for part, group in groups.items()}
    assert starts == {
        "flow": set() if preset == "brox" else {"flow"},
        "rgb": {"rgb_stream"},
        "motion": {"motion_stream"},
        "head": {"fusion"},
    }
    names = [name for group in groups.values() for name, _ in group]
    assert sorted(names) == sorted(name for name, _ in network.named_parameters())


@pytest.mark.parametrize("preset", ["flownet2-sd", "brox"])
def test_each_stream_sees_its_own_frame(preset: str) -> None:
    network = small_network(small_config(preset))
    clip = seeded_clip(64)
    second = torch.stack([clip[:, :, 0], clip[:, :, 0].flip(3)], dim=2)
    with torch.inference_mode():
        (rgb, motion), (same, changed) = network.features(clip), network.features(second)
        expected = network.rgb_stream(clip[:, :, 0] / 255)
    assert torch.equal(rgb, same)
    assert torch.equal(rgb, expected)
    assert not torch.equal(motion, changed)


def test_stored_flow_enters_as_the_image_that_it_is() -> None:
    network, clip = small_network(small_config("brox")), seeded_clip(64)
    with torch.inference_mode():
        _, motion = network.features(clip)
        expected = network.motion_stream(clip[:, :, 1] / 255)
    assert motion.std() > 1e-2
    assert torch.equal(motion, expected)
