"""The detector of `light`: what it offers to training and to the context window."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import cat

from tests.small_detector import learn_statistics, seeded_clip, small_config
from tubedet.models.light.detector import LightDetector
from tubedet.models.light.flow_histograms import cell_motion_maps
from tubedet.models.presets import build_detector

TUNED = 2560  # channels of the tuned context, the first of the action layer's


def light(**settings: Any) -> LightDetector:
    """One whose predictions vary with what it sees."""
    torch.manual_seed(0)
    network = build_detector(replace(small_config("light"), **settings))
    learn_statistics(network, seeded_clip(64, batch=4))
    return network


def test_motion_alone_is_what_is_left_without_the_rgb_features() -> None:
    network, clip = light(), seeded_clip(64, batch=2)
    with torch.inference_mode():
        both, alone = network.with_motion_alone(clip).chunk(2)
        torch.testing.assert_close(both, network(clip))
        _, motion = network.features(clip)
    # In the place of the missing half, the other one counts twice, as with dropout.
    conv, action = network.fusion.conv, network.fusion.action
    boxes = F.conv2d(2 * motion.last, conv.weight[:, 512:], conv.bias)
    actions = F.conv2d(2 * motion.contexts[0], action.weight[:, 2 * TUNED :], action.bias)
    of_anchors = alone.view(2, 2, 7, 2, 2)
    torch.testing.assert_close(of_anchors[:, :, :5], boxes.view(2, 2, 5, 2, 2))
    for anchor in (0, 1):
        torch.testing.assert_close(of_anchors[:, anchor, 5:], actions, atol=1e-4, rtol=1e-4)
    assert (alone - both).abs().max() > 0.01


def test_fixed_contexts_are_what_the_last_channels_of_the_action_layer_take() -> None:
    network, clip = light(), seeded_clip(64, batch=2)
    with torch.inference_mode():
        raw, fixed = network.with_fixed_contexts(clip)
        rgb, _ = network.features(clip)
        action = network.fusion.action
        expected = F.conv2d(cat([rgb.contexts[0], fixed], dim=1), action.weight, action.bias)
        torch.testing.assert_close(raw, network(clip))
    torch.testing.assert_close(raw.view(2, 2, 7, 2, 2)[:, 1, 5:], expected, atol=1e-4, rtol=1e-4)


def test_motion_maps_are_those_of_the_flow_and_the_prediction_is_the_pair_s_own() -> None:
    network, clip = light(context_frames=1), seeded_clip(64, batch=2)
    assert network.flow is not None
    with torch.inference_mode():
        raw, maps = network.with_motion_maps(clip)
        assert (raw - network(clip.flip(2))).abs().mean() > 0.01
        torch.testing.assert_close(raw, network(clip))
        torch.testing.assert_close(maps, cell_motion_maps(network.flow(clip)))
    assert maps.shape == (2, 27, 2, 2)


def test_each_stream_sees_its_own_input() -> None:
    network = light()
    clip = seeded_clip(64)
    other_second = torch.stack([clip[:, :, 0], clip[:, :, 0]], dim=2)
    with torch.inference_mode():
        (rgb, motion), (same, still) = network.features(clip), network.features(other_second)
    assert torch.equal(rgb.last, same.last)
    assert not torch.equal(motion.contexts[0], still.contexts[0])


def test_a_network_of_one_stream_lacks_the_other() -> None:
    rgb, motion, both = (light(streams=streams) for streams in ("rgb", "motion", "both"))
    parts = {name.split(".")[0] for name in both.state_dict()}
    assert {name.split(".")[0] for name in rgb.state_dict()} == parts - {"flow", "motion_stream"}
    assert {name.split(".")[0] for name in motion.state_dict()} == parts - {"rgb_stream"}
    clip = seeded_clip(64)
    other_second = torch.stack([clip[:, :, 0], clip[:, :, 0]], dim=2)
    torch.testing.assert_close(rgb(clip), rgb(other_second), rtol=0, atol=0)
    assert not torch.equal(motion(clip), motion(other_second))
    # A stream that is there answers as in the network of both.
    for one in (rgb, motion):
        one.load_state_dict({n: v for n, v in both.state_dict().items() if n in one.state_dict()})
    of_rgb, of_motion = both.features(clip)
    torch.testing.assert_close(rgb(clip), both.fusion(of_rgb, of_motion.scaled(0.0)))
    torch.testing.assert_close(motion(clip), both.fusion(of_rgb.scaled(0.0), of_motion))


def test_parameters_are_grouped_by_what_their_weights_start_from() -> None:
    network = light(context_frames=1)
    groups = network.parameter_groups()
    assert list(groups) == ["flow", "rgb", "motion", "head"]
    names = [name for group in groups.values() for name, _ in group]
    assert sorted(names) == sorted(name for name, _ in network.named_parameters())
    assert all(network.get_parameter(name) is each for name, each in groups["head"])
    starts = {
        part: {".".join(name.split(".")[:2]) for name, _ in group} for part, group in groups.items()
    }
    assert starts == {
        "flow": {"flow.network"},
        "rgb": {"rgb_stream.backbone", "rgb_stream.general"},
        "motion": set(),
        "head": {
            "rgb_stream.lateral",
            "rgb_stream.join",
            "motion_stream.join",
            "motion_stream.standardise",
            "fusion.conv",
            "fusion.action",
            "over_time.action",
        },
    }


@pytest.mark.parametrize(
    ("blocks", "frozen"),
    [
        (0, set()),
        (2, {"general", "backbone.stem", "backbone.blocks.0", "backbone.blocks.1"}),
        (
            16,
            {"general", "backbone.stem", "backbone.head"}
            | {f"backbone.blocks.{k}" for k in range(16)},
        ),
    ],
)
def test_leading_layers_are_those_before_a_block_and_the_general_tail(
    blocks: int, frozen: set[str]
) -> None:
    network = light()
    names = {module: name for name, module in network.rgb_stream.named_modules()}
    assert {names[each] for each in network.leading_rgb_layers(blocks)} == frozen
    assert {names[each] for each in network.fixed_statistics()} == {"backbone", "general"}
    of_motion = light(streams="motion")
    assert of_motion.leading_rgb_layers(blocks) == []
    assert of_motion.fixed_statistics() == []
