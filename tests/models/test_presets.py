"""Which configurations there are, and how headers of every age are read."""

import json
from typing import Any

import pytest

from tubedet.labels import UCF101_24
from tubedet.models.presets import DetectorConfig, LightConfig, PaperConfig, config_from_dict
from tubedet.models.yolov2.anchors import VOC_2016


def config(preset: str, **settings: Any) -> DetectorConfig:
    return config_from_dict(
        {"preset": preset, "class_names": UCF101_24, "anchors_wh": VOC_2016, **settings}
    )


def test_config_survives_json() -> None:
    for before in (
        config("light", input_size=288, flow_size=128, dropout=0.5),
        config("flownet2-css", input_size=256, align_corners=True, passthrough="darknet"),
    ):
        assert config_from_dict(json.loads(json.dumps(before.to_dict()))) == before


@pytest.mark.parametrize(
    "settings",
    [
        {"preset": "yolo9000"},
        {"preset": None},
        {"input_size": 100},
        {"input_size": 96},
        {"input_size": 64 * 10**6},
        {"input_size": "320"},
        {"class_names": ()},
        {"anchors_wh": ()},
        {"widht": 1.0},
        {"preset": "light", "input_size": 100},
        {"preset": "light", "input_size": None},
        {"preset": "light", "flow_size": None},
        {"preset": "light", "flow_size": -64},
        {"preset": "light", "flow_size": 100},
    ],
    ids=str,
)
def test_impossible_config_is_refused(settings: dict[str, Any]) -> None:
    fitting = {"preset": "flownet2-sd", "class_names": ["a"], "anchors_wh": [[1, 1]]}
    config_from_dict(fitting)
    with pytest.raises(ValueError, match=r"preset|multiple|class|unknown|incomplete"):
        config_from_dict({**fitting, **settings})


# What a header held when one configuration described all networks.
FORMER = {
    "class_names": ["a"],
    "anchors_wh": [[1.0, 2.0]],
    "input_size": 128,
    "darknet_layout": "conv64",
    "passthrough": "darknet",
    "sd_scale": 20.0,
    "align_corners": False,
    "flow_size": 192,
    "width": 0.5,
    "streams": "both",
    "dropout": 0.5,
    "stream_dropout": 0.2,
    "motion_reach": 0,
    "refined_flow": False,
}


def test_light_is_given_256_px_and_estimates_flow_on_192() -> None:
    assert config("light") == LightConfig(
        class_names=UCF101_24, anchors_wh=VOC_2016, input_size=256, flow_size=192, dropout=0.0
    )


def test_older_headers_are_read_without_what_means_nothing_for_their_network() -> None:
    paper = config_from_dict({**FORMER, "preset": "flownet2", "sd_scale": 0.05})
    assert paper == PaperConfig(
        preset="flownet2",
        class_names=("a",),
        anchors_wh=((1.0, 2.0),),
        input_size=128,
        darknet_layout="conv64",
        passthrough="darknet",
        sd_scale=0.05,
        width=0.5,
    )
    later = {**FORMER, "preset": "flownet2", "sd_scale": 0.05}
    del later["motion_reach"], later["refined_flow"]
    assert config_from_dict({**later, "context_frames": 0, "coarse_to_fine": False}) == paper


@pytest.mark.parametrize(
    "settings",
    [
        {"streams": "both"},
        {"stream_dropout": 0.0},
        {"motion_reach": 16},
        {"context_frames": 0},
        {"refined_flow": True},
        {"coarse_to_fine": True},
        {name: value for name, value in FORMER.items() if name not in ("class_names", "width")},
    ],
    ids=str,
)
def test_light_without_a_video_backbone_is_no_longer_built(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="light as it was before it had a video backbone"):
        config("light", **settings)


@pytest.mark.parametrize(
    ("preset", "setting"),
    [
        ("brox", {"streams": "rgb"}),
        ("flownet2", {"motion_reach": 1}),
        ("flownet2", {"context_frames": 1}),
        ("flownet2", {"refined_flow": True}),
        ("flownet2", {"coarse_to_fine": True}),
        ("light", {"sd_scale": 0.05}),
        ("light", {"align_corners": True}),
    ],
)
def test_a_setting_that_no_such_network_has_is_refused(
    preset: str, setting: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=f"expected no such setting of {preset}"):
        config(preset, **setting)
