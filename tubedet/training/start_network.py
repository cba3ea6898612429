"""The network that a training run starts from, or goes on with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, cat

from tubedet.checkpoints.efficientnet_lite import load_imagenet_backbone
from tubedet.checkpoints.native import FUSED_HEAD, load_checkpoint, read_header
from tubedet.checkpoints.run_state import load_flow_network
from tubedet.datasets.anchor_clusters import box_sizes, cluster_anchors
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.kinetics import KineticsDataset
from tubedet.errors import UsageError, WeightsError
from tubedet.models.action_recognition import build_recognizer
from tubedet.models.motion_input import ResizedFlow
from tubedet.models.presets import OUTPUT_STRIDE, DetectorConfig, Streams, build_detector
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.models.yolov2.anchors import UCF101_24, VOC_2016, AnchorsWH
from tubedet.models.yolov2.efficientnet_lite import EfficientNetLiteStream
from tubedet.training.recipes import Recipe
from tubedet.training.start_parts import NO_ANCHORS, join_parts


@dataclass(frozen=True, kw_only=True)
class StartWeights:
    """What a network starts from.

    Attributes:
        checkpoints: a tubedet checkpoint, for everything, anchors included; or two of one stream
            each, which are joined; or weights without a head, imported or of kinetics-pretraining:
            each part comes from the first file that has it.
        imagenet: published EfficientNet-Lite0 file, for the backbone of the RGB stream.
        flow: what a flow pre-training run left, for the flow network.
    """

    checkpoints: tuple[Path, ...] = ()
    imagenet: Path | None = None
    flow: Path | None = None


def start_network(
    recipe: Recipe, training: AnnotatedDataset | KineticsDataset, start: StartWeights
) -> tuple[DetectorConfig, TwoStreamDetector]:
    """Build the recipe's network for the classes of a data set and fill it with start weights.

    Raises:
        UsageError: if there is no such network, or it has no part that given weights are for.
        WeightsError: if weights cannot be read or do not fit.
        DatasetError: if the data has fewer boxes than a detector has anchors.
    """
    if start.imagenet is not None and recipe.preset != "light":
        raise UsageError(f"preset {recipe.preset} has no EfficientNet-Lite0 for {start.imagenet}")
    if start.flow is not None and (recipe.preset == "brox" or recipe.streams == "rgb"):
        raise UsageError(
            f"preset {recipe.preset}, streams {recipe.streams}: no flow network for {start.flow}"
        )
    if recipe.start != "any" and not start.checkpoints:
        raise UsageError(
            f"recipe {recipe.name} starts from {recipe.start} weights: give them with --init"
        )
    partial = recipe.task == "recognition" or any(map(_is_partial, start.checkpoints))
    if start.checkpoints and (recipe.start != "any" or partial):
        config, network = _from_parts(start.checkpoints, recipe, training)
    elif start.checkpoints:
        config, network = _from_checkpoints(start.checkpoints, recipe, training.class_names)
    else:
        config, network = _from_scratch(recipe, training)
    stream = network.rgb_stream
    if start.imagenet is not None and isinstance(stream, EfficientNetLiteStream):
        load_imagenet_backbone(start.imagenet, stream.backbone)
        stream.general.start_from(stream.backbone)
    if start.flow is not None and network.flow is not None:
        inner = network.flow.network if isinstance(network.flow, ResizedFlow) else network.flow
        load_flow_network(start.flow, inner)
    return config, network


def resumed_network(
    recipe: Recipe, stored: dict[str, Any]
) -> tuple[DetectorConfig, TwoStreamDetector]:
    """The network of a run, from its stored configuration; its weights are still to be loaded.

    Raises:
        UsageError: if the recipe names another preset than the run has.
    """
    if stored["preset"] != recipe.preset:
        raise UsageError(f"preset={recipe.preset}: the run to resume trains {stored['preset']}")
    config = _config({**stored, **_network_settings(recipe)})
    return config, _build(config, recipe)


def _build(config: DetectorConfig, recipe: Recipe) -> TwoStreamDetector:
    return build_detector(config) if recipe.task == "detection" else build_recognizer(config)


def _anchors(recipe: Recipe, training: AnnotatedDataset | KineticsDataset) -> AnchorsWH:
    if isinstance(training, KineticsDataset):
        return NO_ANCHORS
    if recipe.anchors == "clusters":
        sizes = box_sizes(training, recipe.input_size // OUTPUT_STRIDE)
        return tuple((w, h) for w, h in cluster_anchors(sizes).tolist())
    return VOC_2016 if recipe.anchors == "voc-2016" else UCF101_24


def _from_scratch(
    recipe: Recipe,
    training: AnnotatedDataset | KineticsDataset,
    layout: dict[str, Any] | None = None,
) -> tuple[DetectorConfig, TwoStreamDetector]:
    """A network of random values; `layout` are further settings."""
    config = _config(
        {
            **(layout or {}),
            "preset": recipe.preset,
            "class_names": training.class_names,
            "anchors_wh": _anchors(recipe, training),
            **_network_settings(recipe),
        }
    )
    network = _build(config, recipe)
    if recipe.task == "detection" and recipe.loss == "giou":
        # One prediction in hundreds answers for a box: start from that belief. The squares of
        # yolo2-pytorch would hardly get away from it.
        network.fusion.start_sceptical()
    return config, network


def _is_partial(path: Path) -> bool:
    """Whether a checkpoint has no fused head."""
    return FUSED_HEAD in read_header(path).missing


def _from_parts(
    paths: tuple[Path, ...], recipe: Recipe, training: AnnotatedDataset | KineticsDataset
) -> tuple[DetectorConfig, TwoStreamDetector]:
    """Weights of parts, a new head for the classes, what no file has at random."""
    layout, tensors = join_parts(paths, recipe)
    config, network = _from_scratch(recipe, training, layout)
    names = network.state_dict()  # a network of one stream has no use for the other's weights
    used = {name: tensor for name, tensor in tensors.items() if name in names}
    network.load_state_dict(used, strict=False)
    return config, network


def _from_checkpoints(
    paths: tuple[Path, ...], recipe: Recipe, class_names: tuple[str, ...]
) -> tuple[DetectorConfig, TwoStreamDetector]:
    joins = recipe.streams == "both" and len(paths) == 2
    if len(paths) > 1 and not joins:
        raise UsageError(
            f"{len(paths)} checkpoints to start from: expected one, or one of the RGB stream and "
            "one of the motion stream for a network of both"
        )
    streams: tuple[Streams, ...] = ("rgb", "motion") if joins else (recipe.streams,)
    networks: list[TwoStreamDetector] = []
    anchors: set[tuple[tuple[float, float], ...]] = set()
    for path, wanted_streams in zip(paths, streams, strict=True):
        trained, header = load_checkpoint(path)
        stored = DetectorConfig.from_dict(header.config)
        for what, found, wanted in (
            ("preset", stored.preset, recipe.preset),
            ("classes", stored.class_names, class_names),
            ("streams", stored.streams, wanted_streams),
        ):
            if found != wanted:
                raise WeightsError(f"{path}: expected {what} {wanted}, found {found}")
        config = _config({**header.config, **_network_settings(recipe)})
        trained.over_time = None
        networks.append(trained)
        anchors.add(config.anchors_wh)
    if len(anchors) > 1:
        raise WeightsError(f"{paths[1]}: expected the anchors of {paths[0]}, found others")
    network = build_detector(config)
    network.load_state_dict(_joined(*networks) if joins else networks[0].state_dict())
    return config, network


def _joined(rgb: TwoStreamDetector, motion: TwoStreamDetector) -> dict[str, Tensor]:
    """The state of both streams whose raw predictions are the mean of those of each alone."""
    of_rgb, of_motion = rgb.state_dict(), motion.state_dict()
    fused = {name: (of_rgb[name] + of_motion[name]) / 2 for name in of_rgb if "fusion." in name}
    for kernel, channels in (
        ("fusion.conv.weight", rgb.fusion.stream_channels[0]),
        ("fusion.action.weight", rgb.fusion.context_channels[0]),
    ):
        if kernel in fused:
            halves = [of_rgb[kernel][:, :channels], of_motion[kernel][:, channels:]]
            fused[kernel] = cat(halves, dim=1) / 2
    return {**of_rgb, **of_motion, **fused}


def _network_settings(recipe: Recipe) -> dict[str, Any]:
    """What a recipe decides of a network whose weights may come from elsewhere."""
    return {
        "streams": recipe.streams,
        "input_size": recipe.input_size,
        "flow_size": recipe.flow_size,
        "dropout": recipe.dropout,
        "stream_dropout": recipe.stream_dropout,
        "refined_flow": recipe.preset == "light",
        "motion_reach": 0,  # training sees pairs; what is around them is fitted at the end
    }


def _config(values: dict[str, Any]) -> DetectorConfig:
    try:
        return DetectorConfig.from_dict(values)
    except ValueError as error:
        raise UsageError(f"no network can be built: {error}") from error
