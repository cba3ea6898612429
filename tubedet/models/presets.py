"""The networks that have names, built by one function from a configuration.

| preset | flow | streams | where |
|---|---|---|---|
| `flownet2` | FlowNet2 | Darknet-19 | paper §IV, the accurate one |
| `flownet2-css` | FlowNet2-CSS | Darknet-19 | paper §IV |
| `flownet2-sd` | FlowNet2-SD | Darknet-19 | paper §IV, the real-time one |
| `brox` | stored flow images | Darknet-19 | paper §IV, the comparison |
| `light` | FlowNet2-SD, width ¼, coarse to fine | EfficientNet-Lite0, histograms | ours |
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from torch import nn

from tubedet.models.early_fusion import EarlyFusion
from tubedet.models.flow_histograms import FlowHistogramStream
from tubedet.models.flownet2.stacks import FlowNet2, FlowNet2CSS, FlowNet2SD
from tubedet.models.motion_input import ResizedFlow, flow_input_size
from tubedet.models.motion_over_time import MotionOverTime
from tubedet.models.refined_flow import RefinedFlow
from tubedet.models.two_stream import SilentStream, TwoStreamDetector
from tubedet.models.yolov2.darknet19 import Darknet19Stream
from tubedet.models.yolov2.efficientnet_lite import EfficientNetLiteStream

Preset = Literal["flownet2", "flownet2-css", "flownet2-sd", "brox", "light"]
PRESETS: tuple[str, ...] = get_args(Preset)
Streams = Literal["both", "rgb", "motion"]
STREAMS: tuple[str, ...] = get_args(Streams)
OUTPUT_STRIDE = 32
FLOW_MULTIPLE = 64  # six stages of stride 2
MAX_SIDE = 4096  # px; a header that asks for more is damaged
MAX_REACH = 64  # frames; so many wait in memory
LIGHT_FLOW_WIDTH = 0.25


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """All that is needed to build a network; stored in every checkpoint's header.

    Attributes:
        preset: one of `PRESETS`.
        class_names: C names, in the order of the class scores.
        anchors_wh: A prior widths and heights in grid cells of 32 px.
        input_size: side S of the square input in px, a multiple of 32 (of 64 where the flow
            network sees the input itself).
        darknet_layout: `direct` (2016) or `conv64` (today's yolov2-voc.cfg).
        passthrough: `space_to_depth` (yolo2-pytorch) or `darknet`.
        sd_scale: what FlowNet2-SD's output is multiplied by (reference: 20).
        align_corners: of FlowNet2's bilinear upsampling (True before PyTorch 0.4).
        flow_size: side of the square `light` estimates flow on; None: nearest half the input.
            The other presets estimate it on the input itself.
        width: multiplies hidden channels of the paper's presets, for tests; `light` has its own.
        streams: `both`, or the only one that the network has: `rgb`, `motion`.
        dropout: on the fused activations, in training only.
        stream_dropout: chance that a training sample is left with one stream.
        motion_reach: frames before and after a pair's whose motion has a say in its action; 0 for
            the pair alone, as in training. Only the motion stream of `light` can have more.
        refined_flow: whether `light` estimates flow from coarse to fine (`RefinedFlow`), as all
            that learn since do; False for one look.
    """

    preset: str
    class_names: tuple[str, ...]
    anchors_wh: tuple[tuple[float, float], ...]
    input_size: int = 320
    darknet_layout: Literal["direct", "conv64"] = "direct"
    passthrough: Literal["space_to_depth", "darknet"] = "space_to_depth"
    sd_scale: float = 20.0
    align_corners: bool = False
    flow_size: int | None = None
    width: float = 1.0
    streams: Streams = "both"
    dropout: float = 0.0
    stream_dropout: float = 0.0
    motion_reach: int = 0
    refined_flow: bool = False

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(f"unknown preset '{self.preset}': one of {', '.join(PRESETS)}")
        if self.streams not in STREAMS:
            raise ValueError(f"unknown streams '{self.streams}': one of {', '.join(STREAMS)}")
        multiple = FLOW_MULTIPLE if self.preset.startswith("flownet2") else OUTPUT_STRIDE
        _require_multiple("input size", self.input_size, multiple)
        if self.flow_size is not None:
            _require_multiple("flow size", self.flow_size, FLOW_MULTIPLE)
        most = MAX_REACH if self.preset == "light" and self.streams != "rgb" else 0
        if not 0 <= self.motion_reach <= most:
            raise ValueError(f"motion reach {self.motion_reach}: expected at most {most} frames")
        if self.refined_flow and self.preset != "light":
            raise ValueError(f"refined flow: expected preset light, found {self.preset}")
        if not self.class_names or not self.anchors_wh:
            raise ValueError("a detector needs at least one class and one anchor")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DetectorConfig":
        """The inverse of `to_dict`; ValueError for an unknown or a missing key."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown settings: {', '.join(unknown)}")
        try:
            return cls(
                **{
                    **values,
                    "class_names": tuple(str(name) for name in values["class_names"]),
                    "anchors_wh": tuple((float(w), float(h)) for w, h in values["anchors_wh"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"incomplete settings: {error}") from error


def build_detector(config: DetectorConfig) -> TwoStreamDetector:
    """The network of a configuration, randomly initialised."""
    rgb_stream, motion_stream = (_build_stream(config, which) for which in ("rgb", "motion"))
    return TwoStreamDetector(
        flow=None if config.streams == "rgb" else build_flow(config),
        rgb_stream=rgb_stream,
        motion_stream=motion_stream,
        fusion=EarlyFusion(
            stream_channels=(rgb_stream.out_channels, motion_stream.out_channels),
            num_anchors=len(config.anchors_wh),
            num_classes=len(config.class_names),
            context_channels=(rgb_stream.context_channels, motion_stream.context_channels),
            dropout=config.dropout,
            stream_dropout=config.stream_dropout if config.streams == "both" else 0.0,
        ),
        over_time=_build_over_time(config),
    )


def _build_over_time(config: DetectorConfig) -> MotionOverTime | None:
    if not config.motion_reach:
        return None
    return MotionOverTime(num_classes=len(config.class_names), reach=config.motion_reach)


def build_flow(config: DetectorConfig) -> nn.Module | None:
    """Its flow network alone; None for a preset that reads stored flow."""
    if config.preset == "light":
        kind = RefinedFlow if config.refined_flow else FlowNet2SD
        network = kind(
            width=LIGHT_FLOW_WIDTH, sd_scale=config.sd_scale, align_corners=config.align_corners
        )
        return ResizedFlow(network, config.flow_size or flow_input_size(config.input_size))
    builders: dict[str, Callable[[], nn.Module]] = {
        "flownet2": lambda: FlowNet2(width=config.width, align_corners=config.align_corners),
        "flownet2-css": lambda: FlowNet2CSS(width=config.width, align_corners=config.align_corners),
        "flownet2-sd": lambda: FlowNet2SD(
            width=config.width, sd_scale=config.sd_scale, align_corners=config.align_corners
        ),
    }
    return builders[config.preset]() if config.preset in builders else None


def _require_multiple(what: str, side: int, multiple: int) -> None:
    if not 0 < side <= MAX_SIDE or side % multiple:
        raise ValueError(f"{what} {side}: expected a multiple of {multiple} up to {MAX_SIDE}")


def _build_stream(
    config: DetectorConfig, which: Streams
) -> Darknet19Stream | EfficientNetLiteStream | FlowHistogramStream | SilentStream:
    stream: Darknet19Stream | EfficientNetLiteStream | FlowHistogramStream
    if config.preset == "light" and which == "rgb":
        stream = EfficientNetLiteStream(passthrough=config.passthrough)
    elif config.preset == "light":
        stream = FlowHistogramStream()
    else:
        stream = Darknet19Stream(
            layout=config.darknet_layout, passthrough=config.passthrough, width=config.width
        )
    if config.streams in ("both", which):
        return stream
    return SilentStream(
        out_channels=stream.out_channels,
        context_channels=stream.context_channels,
        stride=OUTPUT_STRIDE,
    )
