"""Darknet-19 against yolo2-pytorch's and OpenCV's own outputs, with weights made by rule."""

from collections.abc import Iterator
from functools import cache

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from tests.golden import fill_by_rule, golden_file, image, reference_json
from tubedet.models.yolov2.darknet19 import Darknet19Stream, DarknetLayout
from tubedet.models.yolov2.passthrough import PassthroughOrder
from tubedet.models.yolov2.prediction_head import PredictionHead, YOLOv2

LAYOUTS: list[DarknetLayout] = ["direct", "conv64"]


@cache
def _golden_detector(layout: DarknetLayout, passthrough: PassthroughOrder) -> YOLOv2:
    """The VOC detector filled by rule; both passthroughs of a layout share its weights."""
    if passthrough == "darknet":
        trained = _golden_detector(layout, "space_to_depth")
        with torch.device("meta"):
            stream = Darknet19Stream(layout=layout, passthrough=passthrough)
        stream.load_state_dict(trained.stream.state_dict(), assign=True)
        return YOLOv2(stream, trained.conv5).eval()
    detector = _voc_detector(layout)
    fill_by_rule(detector.stream)
    fill_by_rule(detector.conv5, key_prefix="conv5.")
    return detector.eval()


@pytest.fixture(scope="module", autouse=True)
def _weights_are_released_after_the_last_test() -> Iterator[None]:
    yield
    _golden_detector.cache_clear()


def _voc_detector(layout: DarknetLayout) -> YOLOv2:
    return YOLOv2(
        Darknet19Stream(layout=layout), PredictionHead(1024, num_anchors=5, num_classes=20)
    )


@torch.inference_mode()
def _head(layout: DarknetLayout, passthrough: PassthroughOrder) -> Tensor:
    head: Tensor = _golden_detector(layout, passthrough)(image())
    return head


def _largest_difference(found: Tensor, golden: str, key: str) -> float:
    with golden_file(golden) as arrays:
        return (found - torch.from_numpy(arrays[key])).abs().max().item()


@pytest.mark.parametrize(
    ("passthrough", "key"), [("space_to_depth", "head"), ("darknet", "head_darknet_reorg_torch")]
)
def test_the_head_equals_yolo2_pytorchs_in_either_order(
    passthrough: PassthroughOrder, key: str
) -> None:
    found = _head("direct", passthrough)
    assert _largest_difference(found, "darknet19_yolo2pytorch", key) < 1e-3


@pytest.mark.parametrize("module", ["conv1s", "conv3", "conv4"])
def test_the_activations_equal_yolo2_pytorchs(module: str) -> None:
    seen: list[Tensor] = []
    stream = _golden_detector("direct", "space_to_depth").stream
    hook = stream.get_submodule(module).register_forward_hook(
        lambda _module, _inputs, output: seen.append(output[:, ::16])
    )
    with torch.inference_mode(), hook:
        stream(image())
    assert _largest_difference(seen[0], "darknet19_yolo2pytorch", module) < 1e-3


@pytest.mark.parametrize(
    ("layout", "config"), [("direct", "yolo-voc-2016"), ("conv64", "yolov2-voc")]
)
def test_with_darknets_order_the_head_equals_opencvs(layout: DarknetLayout, config: str) -> None:
    # OpenCV adds batch norm's epsilon elsewhere: 3e-4 of the difference is that.
    found = _head(layout, "darknet")
    assert _largest_difference(found, "darknet19_cv2", f"{config}_head") < 2e-3


@pytest.mark.parametrize(
    ("layout", "config"), [("direct", "yolo-voc-2016"), ("conv64", "yolov2-voc")]
)
def test_the_wrong_order_is_far_from_opencvs_head(layout: DarknetLayout, config: str) -> None:
    found = _head(layout, "space_to_depth")
    assert _largest_difference(found, "darknet19_cv2", f"{config}_head") > 0.5


def test_the_keys_and_shapes_are_yolo2_pytorchs_in_darknets_order() -> None:
    reference = reference_json("yolo2_darknet19_keys.json")
    with torch.device("meta"):
        detector = _voc_detector("direct")
    tensors = {
        key.removeprefix("stream."): list(tensor.shape)
        for key, tensor in detector.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    assert list(tensors) == reference["order"]
    assert tensors == reference["shapes"]


def test_conv64_adds_one_block_that_comes_before_conv4() -> None:
    with torch.device("meta"):
        direct, conv64 = (list(Darknet19Stream(layout=name).state_dict()) for name in LAYOUTS)
    added = [key for key in conv64 if key not in direct]
    assert {key.split(".")[0] for key in added} == {"passthrough"}
    assert conv64.index("conv4.0.conv.weight") == conv64.index(added[-1]) + 1


@pytest.mark.parametrize(("layout", "expected"), [("direct", 67_137_565), ("conv64", 50_655_389)])
def test_the_learned_parameters_are_as_many_as_in_the_original(
    layout: DarknetLayout, expected: int
) -> None:
    with torch.device("meta"):
        detector = _voc_detector(layout)
    assert sum(parameter.numel() for parameter in detector.parameters()) == expected


@pytest.mark.parametrize(
    ("layout", "key"),
    [
        ("direct", "yolov2_stream_yolo2pytorch_voc"),
        ("conv64", "yolov2_stream_newer_cfg_voc"),
    ],
)
def test_the_work_for_one_image_of_320_px_is_as_stated(layout: DarknetLayout, key: str) -> None:
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        _voc_detector(layout)(torch.zeros(1, 3, 320, 320))
    expected = reference_json("flops.json")[key]["gflops"]
    assert counter.get_total_flops() / 1e9 == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("passthrough", ["space_to_depth", "darknet"])
def test_a_narrow_stream_halves_the_size_five_times(
    layout: DarknetLayout, passthrough: PassthroughOrder
) -> None:
    stream = Darknet19Stream(layout=layout, passthrough=passthrough, width=1 / 16)
    features = stream.eval()(torch.zeros(2, 3, 96, 64))
    assert features.shape == (2, stream.out_channels, 3, 2)
    assert stream.out_channels == 64


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gradient_reaches_the_first_convolution(layout: DarknetLayout) -> None:
    torch.manual_seed(0)
    stream = Darknet19Stream(layout=layout, width=1 / 16)
    stream(torch.rand(2, 3, 64, 64)).square().sum().backward()
    gradient = stream.get_parameter("conv1s.0.0.conv.weight").grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("size", [(48, 64), (64, 40)])
def test_an_image_that_is_not_a_multiple_of_32_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        Darknet19Stream(width=1 / 16)(torch.zeros(1, 3, *size))


def test_an_unknown_layout_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="tiny"):
        Darknet19Stream(layout="tiny")  # type: ignore[arg-type]
