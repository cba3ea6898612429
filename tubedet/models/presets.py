"""The networks that have names, built by one function from a configuration.

| preset | flow | streams | where |
|---|---|---|---|
| `flownet2` | FlowNet2 | Darknet-19 | paper §IV, the accurate one |
| `flownet2-css` | FlowNet2-CSS | Darknet-19 | paper §IV |
| `flownet2-sd` | FlowNet2-SD | Darknet-19 | paper §IV, the real-time one |
| `brox` | stored flow images | Darknet-19 | paper §IV, the comparison |
| `light` | FlowNet2-SD, width ¼, coarse to fine | MoViNet-A0-Stream, motion maps | ours |
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, TypeAlias, get_args, overload

from torch import nn

from tubedet.models.early_fusion import EarlyFusion
from tubedet.models.flownet2.stacks import FlowNet2, FlowNet2CSS, FlowNet2SD
from tubedet.models.light.coarse_to_fine_flow import CoarseToFineFlow
from tubedet.models.light.context_window import ContextWindow
from tubedet.models.light.detector import LightDetector, LightFusion
from tubedet.models.light.flow_stream import FlowStream
from tubedet.models.light.video_stream import VideoStream
from tubedet.models.motion_stream import MotionStream
from tubedet.models.resized_flow import ResizedFlow
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.models.yolov2.anchors import AnchorsWH
from tubedet.models.yolov2.darknet19 import Darknet19Stream, DarknetLayout
from tubedet.models.yolov2.passthrough import PassthroughOrder

PaperPreset = Literal["flownet2", "flownet2-css", "flownet2-sd", "brox"]
PAPER_PRESETS: tuple[str, ...] = get_args(PaperPreset)
PRESETS = (*PAPER_PRESETS, "light")
OUTPUT_STRIDE = 32
FLOW_MULTIPLE = 64  # six stages of stride 2
MAX_SIDE = 4096  # px; a header that asks for more is damaged
LIGHT_FLOW_WIDTH = 0.25


@dataclass(frozen=True, kw_only=True)
class PaperConfig:
    """All that is needed to build a network of the paper; stored in every checkpoint's header.

    Attributes:
        preset: one of `PAPER_PRESETS`.
        class_names: C names, in the order of the class scores.
        anchors_wh: A prior widths and heights in grid cells of 32 px.
        input_size: side S of the square input in px, a multiple of 64, of 32 for `brox`.
        darknet_layout: `direct` (2016) or `conv64` (today's yolov2-voc.cfg).
        passthrough: `space_to_depth` (yolo2-pytorch) or `darknet`.
        sd_scale: what FlowNet2-SD's output is multiplied by (reference: 20).
        align_corners: of FlowNet2's bilinear upsampling (True before PyTorch 0.4).
        width: multiplies hidden channels, for tests.

    Raises:
        ValueError: if there is no such network.
    """

    preset: PaperPreset
    class_names: tuple[str, ...]
    anchors_wh: AnchorsWH
    input_size: int = 320
    darknet_layout: DarknetLayout = "direct"
    passthrough: PassthroughOrder = "space_to_depth"
    sd_scale: float = 20.0
    align_corners: bool = False
    width: float = 1.0

    def __post_init__(self) -> None:
        _require_one_of("preset", self.preset, PAPER_PRESETS)
        multiple = OUTPUT_STRIDE if self.preset == "brox" else FLOW_MULTIPLE
        _require_multiple("input size", self.input_size, multiple)
        if not 0 < self.width <= 1:
            raise ValueError(f"width {self.width}: expected a number above 0, up to 1")
        _require_head(self.class_names, self.anchors_wh)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class LightConfig:
    """The same for a network of our own.

    Attributes:
        class_names: C names, in the order of the class scores.
        anchors_wh: A prior widths and heights in grid cells of 16 px.
        input_size: side S of the square input in px, a multiple of 32.
        flow_size: side of the square that flow is estimated on, a multiple of 64 px.
        dropout: on the fused features, in training only.

    Raises:
        ValueError: if there is no such network.
    """

    preset: Literal["light"] = "light"
    class_names: tuple[str, ...]
    anchors_wh: AnchorsWH
    input_size: int = 256
    flow_size: int = 192
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _require_multiple("input size", self.input_size, OUTPUT_STRIDE)
        _require_multiple("flow size", self.flow_size, FLOW_MULTIPLE)
        _require_head(self.class_names, self.anchors_wh)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


DetectorConfig: TypeAlias = PaperConfig | LightConfig

# Settings of `light` before it had a video backbone, as which it is no longer built.
FORMER_LIGHT = {
    "streams",
    "stream_dropout",
    "motion_reach",
    "context_frames",
    "refined_flow",
    "coarse_to_fine",
}
# Headers of older files, and recipes, hold the settings of all networks. One that is not the
# network's own is dropped; but of these, one with another value was built with it.
BUILT_WITHOUT: dict[str, Any] = {
    "sd_scale": 20.0,
    "align_corners": False,
    "streams": "both",
    "motion_reach": 0,
    "context_frames": 0,
    "refined_flow": False,
    "coarse_to_fine": False,
}


def config_from_dict(values: dict[str, Any]) -> DetectorConfig:
    """The inverse of `to_dict`, for headers of older files too.

    Raises:
        ValueError: for an unknown or a missing key, or if there is no such network.
    """
    _require_one_of("preset", values.get("preset"), PRESETS)
    if values["preset"] == "light" and FORMER_LIGHT & set(values):
        raise ValueError("light as it was before it had a video backbone is no longer built")
    kind = LightConfig if values["preset"] == "light" else PaperConfig
    own = {field.name for field in fields(kind)}
    every = {field.name for kind in (PaperConfig, LightConfig) for field in fields(kind)}
    if unknown := sorted(set(values) - every - FORMER_LIGHT):
        raise ValueError(f"unknown settings: {', '.join(unknown)}")
    for name, value in values.items():
        if name not in own and value != BUILT_WITHOUT.get(name, value):
            raise ValueError(f"{name} {value}: expected no such setting of {values['preset']}")
    try:
        return kind(
            **{
                **{name: value for name, value in values.items() if name in own},
                "class_names": tuple(str(name) for name in values["class_names"]),
                "anchors_wh": tuple((float(w), float(h)) for w, h in values["anchors_wh"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"incomplete settings: {error}") from error


@overload
def build_detector(config: LightConfig) -> LightDetector: ...
@overload
def build_detector(config: DetectorConfig) -> TwoStreamDetector: ...
def build_detector(config: DetectorConfig) -> TwoStreamDetector:
    """The network of a configuration, randomly initialised."""
    return _build_light(config) if isinstance(config, LightConfig) else _build_paper(config)


def build_flow(config: DetectorConfig) -> nn.Module | None:
    """Its flow network alone; None for one that reads stored flow, or none."""
    if isinstance(config, LightConfig):
        return _light_flow(config)
    width, align_corners = config.width, config.align_corners
    builders: dict[str, Callable[[], nn.Module]] = {
        "flownet2": lambda: FlowNet2(width=width, align_corners=align_corners),
        "flownet2-css": lambda: FlowNet2CSS(width=width, align_corners=align_corners),
        "flownet2-sd": lambda: FlowNet2SD(
            width=width, sd_scale=config.sd_scale, align_corners=align_corners
        ),
    }
    return builders[config.preset]() if config.preset in builders else None


def _require_one_of(what: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"unknown {what} '{value}': one of {', '.join(allowed)}")


def _require_multiple(what: str, side: int, multiple: int) -> None:
    if not 0 < side <= MAX_SIDE or side % multiple:
        raise ValueError(f"{what} {side}: expected a multiple of {multiple} up to {MAX_SIDE}")


def _require_head(class_names: tuple[str, ...], anchors_wh: AnchorsWH) -> None:
    if not class_names or not anchors_wh:
        raise ValueError("a detector needs at least one class and one anchor")


def _build_paper(config: PaperConfig) -> TwoStreamDetector:
    motion_kind = Darknet19Stream if config.preset == "brox" else MotionStream
    rgb_stream, motion_stream = (
        kind(layout=config.darknet_layout, passthrough=config.passthrough, width=config.width)
        for kind in (Darknet19Stream, motion_kind)
    )
    return TwoStreamDetector(
        flow=build_flow(config),
        rgb_stream=rgb_stream,
        motion_stream=motion_stream,
        fusion=EarlyFusion(
            stream_channels=(rgb_stream.out_channels, motion_stream.out_channels),
            num_anchors=len(config.anchors_wh),
            num_classes=len(config.class_names),
        ),
    )


def _light_flow(config: LightConfig) -> ResizedFlow:
    return ResizedFlow(CoarseToFineFlow(width=LIGHT_FLOW_WIDTH), config.flow_size)


def _build_light(config: LightConfig) -> LightDetector:
    rgb_stream, motion_stream = VideoStream(), FlowStream()
    return LightDetector(
        flow=_light_flow(config),
        rgb_stream=rgb_stream,
        motion_stream=motion_stream,
        fusion=LightFusion(
            stream_channels=(rgb_stream.out_channels, motion_stream.out_channels),
            num_anchors=len(config.anchors_wh),
            dropout=config.dropout,
        ),
        context_window=ContextWindow(num_classes=len(config.class_names)),
    )
