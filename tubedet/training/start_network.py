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
from tubedet.models.light.detector import LightDetector
from tubedet.models.light.rgb_stream import EfficientNetLiteStream
from tubedet.models.presets import (
    OUTPUT_STRIDE,
    DetectorConfig,
    build_detector,
    config_from_dict,
)
from tubedet.models.resized_flow import ResizedFlow
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.models.yolov2.anchors import UCF101_24, VOC_2016, AnchorsWH
from tubedet.training.recipes import DetectionRecipe, LightRecipe, Recipe
from tubedet.training.start_parts import join_parts

Data = AnnotatedDataset | KineticsDataset
NO_ANCHORS: AnchorsWH = ((1.0, 1.0),)  # a configuration needs some, even without boxes


@dataclass(frozen=True, kw_only=True)
class StartWeights:
    """What a network starts from.

    Attributes:
        checkpoints: a tubedet checkpoint, for everything, anchors included; or, for `light`, two of
            one stream each, which are joined; or weights without a head, imported or of
            kinetics-pretraining: each part comes from the first file that has it.
        imagenet: published EfficientNet-Lite0 file, for the backbone of the RGB stream.
        flow: what a flow pre-training run left, for the flow network.
    """

    checkpoints: tuple[Path, ...] = ()
    imagenet: Path | None = None
    flow: Path | None = None


def start_network(
    recipe: Recipe, training: Data, start: StartWeights
) -> tuple[DetectorConfig, TwoStreamDetector]:
    """Build the recipe's network for the classes of a data set and fill it with start weights.

    Raises:
        UsageError: if there is no such network, or it has no part that given weights are for.
        WeightsError: if weights cannot be read or do not fit.
        DatasetError: if the data has fewer boxes than a detector has anchors.
    """
    if start.imagenet is not None and not isinstance(recipe, LightRecipe):
        raise UsageError(f"preset {recipe.preset} has no EfficientNet-Lite0 for {start.imagenet}")
    if recipe.start != "any" and not start.checkpoints:
        raise UsageError(
            f"recipe {recipe.name} starts from {recipe.start} weights: give them with --init"
        )
    needs_head = recipe.start != "any" or recipe.task == "recognition"
    if needs_head or not start.checkpoints or any(map(_has_no_head, start.checkpoints)):
        config, network = _with_new_head(recipe, training, start.checkpoints)
    elif isinstance(recipe, LightRecipe) and recipe.streams == "both" and start.checkpoints[1:]:
        config, network = _from_one_stream_each(start.checkpoints, recipe, training)
    elif start.checkpoints[1:]:
        raise UsageError(
            f"{len(start.checkpoints)} checkpoints to start from: expected one, or weights without "
            "a head"
        )
    else:
        config, trained = _trained(start.checkpoints[0], recipe, training)
        network = build_detector(config)
        network.load_state_dict(trained.state_dict())
    _load_single_parts(network, recipe, start)
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


def _has_no_head(path: Path) -> bool:
    return FUSED_HEAD in read_header(path).missing


def _with_new_head(
    recipe: Recipe, training: Data, paths: tuple[Path, ...]
) -> tuple[DetectorConfig, TwoStreamDetector]:
    """A new head for the classes, the weights of the files, and at random what no file has."""
    layout, tensors = join_parts(paths, recipe) if paths else ({}, {})
    config = _config(
        {
            **layout,
            "preset": recipe.preset,
            "class_names": training.class_names,
            "anchors_wh": _anchors(recipe, training),
            **_network_settings(recipe),
        }
    )
    network = _build(config, recipe)
    if isinstance(recipe, DetectionRecipe) and recipe.loss == "giou":
        # One prediction in hundreds is responsible for a box: start from that prior. The squares
        # of yolo2-pytorch would hardly get away from it.
        network.fusion.set_overlap_prior()
    network.load_state_dict(tensors, strict=False)
    return config, network


def _build(config: DetectorConfig, recipe: Recipe) -> TwoStreamDetector:
    return build_recognizer(config) if recipe.task == "recognition" else build_detector(config)


def _anchors(recipe: Recipe, training: Data) -> AnchorsWH:
    if isinstance(training, KineticsDataset) or not isinstance(recipe, DetectionRecipe):
        return NO_ANCHORS
    if recipe.anchors == "clusters":
        sizes = box_sizes(training, recipe.input_size // OUTPUT_STRIDE)
        return tuple((w, h) for w, h in cluster_anchors(sizes).tolist())
    return VOC_2016 if recipe.anchors == "voc-2016" else UCF101_24


def _trained(
    path: Path, recipe: Recipe, training: Data, **settings: str
) -> tuple[DetectorConfig, TwoStreamDetector]:
    """The network of a checkpoint, which fits, and its configuration as the recipe wants it.

    Args:
        settings: that the checkpoint has to have, in place of the recipe's.
    """
    network, header = load_checkpoint(path)
    stored = config_from_dict(header.config).to_dict()
    wanted = {"preset": recipe.preset, "class_names": training.class_names}
    if isinstance(recipe, LightRecipe):
        wanted["streams"] = recipe.streams
    for name, value in {**wanted, **settings}.items():
        if stored[name] != value:
            what = {"class_names": "classes"}.get(name, name)
            raise WeightsError(f"{path}: expected {what} {value}, found {stored[name]}")
    if isinstance(network, LightDetector):
        network.over_time = None  # training sees pairs; their context is fitted at the end
    return _config({**stored, **_network_settings(recipe)}), network


def _from_one_stream_each(
    paths: tuple[Path, ...], recipe: LightRecipe, training: Data
) -> tuple[DetectorConfig, TwoStreamDetector]:
    """Both streams, whose raw predictions are the mean of those of each alone."""
    if len(paths) > 2:
        raise UsageError(
            f"{len(paths)} checkpoints to start from: expected one, or one of the RGB stream and "
            "one of the motion stream"
        )
    (config, rgb), (of_motion, motion) = (
        _trained(path, recipe, training, streams=streams)
        for path, streams in zip(paths, ("rgb", "motion"), strict=True)
    )
    if of_motion.anchors_wh != config.anchors_wh:
        raise WeightsError(f"{paths[1]}: expected the anchors of {paths[0]}, found others")
    network = build_detector(config)
    network.load_state_dict(_joined(rgb, motion))
    return config, network


def _joined(rgb: TwoStreamDetector, motion: TwoStreamDetector) -> dict[str, Tensor]:
    assert isinstance(rgb, LightDetector)
    rgb_state, motion_state = rgb.state_dict(), motion.state_dict()
    fused = {n: (rgb_state[n] + motion_state[n]) / 2 for n in rgb_state if "fusion." in n}
    for kernel, channels in (
        ("fusion.conv.weight", rgb.fusion.stream_channels[0]),
        ("fusion.action.weight", rgb.fusion.context_channels[0]),
    ):
        halves = [rgb_state[kernel][:, :channels], motion_state[kernel][:, channels:]]
        fused[kernel] = cat(halves, dim=1) / 2
    return {**rgb_state, **motion_state, **fused}


def _load_single_parts(network: TwoStreamDetector, recipe: Recipe, start: StartWeights) -> None:
    """The backbone of the RGB stream, and the flow network."""
    stream = network.rgb_stream
    if start.imagenet is not None and isinstance(stream, EfficientNetLiteStream):
        load_imagenet_backbone(start.imagenet, stream.backbone)
        stream.general.start_from(stream.backbone)
    if start.flow is None:
        return
    if network.flow is None:
        raise UsageError(f"preset {recipe.preset} has no flow network for {start.flow}")
    inner = network.flow.network if isinstance(network.flow, ResizedFlow) else network.flow
    load_flow_network(start.flow, inner)


def _network_settings(recipe: Recipe) -> dict[str, Any]:
    """What a recipe decides of a network whose weights may come from elsewhere."""
    settings: dict[str, Any] = {"input_size": recipe.input_size}
    if isinstance(recipe, LightRecipe):
        settings |= {
            "streams": recipe.streams,
            "flow_size": recipe.flow_size,
            "dropout": recipe.dropout,
            "stream_dropout": recipe.stream_dropout,
            "coarse_to_fine": True,
            "context_frames": 0,
        }
    return settings


def _config(values: dict[str, Any]) -> DetectorConfig:
    try:
        return config_from_dict(values)
    except ValueError as error:
        raise UsageError(f"no network can be built: {error}") from error
