"""The network that a training run starts from, or goes on with."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tubedet.checkpoints.movinet_tflite import load_video_backbone
from tubedet.checkpoints.native import FUSED_HEAD, load_checkpoint, load_partial, read_header
from tubedet.checkpoints.run_state import load_flow_network
from tubedet.datasets.anchor_clusters import box_sizes, cluster_anchors
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.kinetics import KineticsDataset
from tubedet.errors import UsageError, WeightsError
from tubedet.models.action_recognition import build_recognizer
from tubedet.models.light.detector import STRIDE, LightDetector
from tubedet.models.light.video_backbone import VideoBackbone
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
TFLITE = b"TFL3"  # behind the first four bytes of such a file
BACKBONE = "rgb_stream.backbone."  # before its tensors' names in a checkpoint
NO_ANCHORS: AnchorsWH = ((1.0, 1.0),)  # a configuration needs some, even without boxes


@dataclass(frozen=True, kw_only=True)
class StartWeights:
    """What a network starts from.

    Attributes:
        checkpoints: a tubedet checkpoint, for everything, anchors included; or weights without a
            head, imported or of kinetics-pretraining: each part comes from the first file that has
            it.
        video_backbone: published MoViNet-A0-Stream, or a checkpoint of `light` with that part.
        flow: what a flow pre-training run left, for the flow network.
    """

    checkpoints: tuple[Path, ...] = ()
    video_backbone: Path | None = None
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
    if start.video_backbone is not None and not isinstance(recipe, LightRecipe):
        raise UsageError(f"preset {recipe.preset} has no video backbone for {start.video_backbone}")
    if recipe.start != "any" and not start.checkpoints:
        raise UsageError(
            f"recipe {recipe.name} starts from {recipe.start} weights: give them with --init"
        )
    needs_head = recipe.start != "any" or recipe.task == "recognition"
    if needs_head or not start.checkpoints or any(map(_has_no_head, start.checkpoints)):
        config, network = _with_new_head(recipe, training, start.checkpoints)
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
        stride = STRIDE if isinstance(recipe, LightRecipe) else OUTPUT_STRIDE
        sizes = box_sizes(training, recipe.input_size // stride)
        return tuple((w, h) for w, h in cluster_anchors(sizes).tolist())
    return VOC_2016 if recipe.anchors == "voc-2016" else UCF101_24


def _trained(
    path: Path, recipe: Recipe, training: Data
) -> tuple[DetectorConfig, TwoStreamDetector]:
    """The network of a checkpoint, which fits, and its configuration as the recipe wants it."""
    network, header = load_checkpoint(path)
    stored = config_from_dict(header.config).to_dict()
    wanted = {"preset": recipe.preset, "class_names": training.class_names}
    for name, value in wanted.items():
        if stored[name] != value:
            what = {"class_names": "classes"}.get(name, name)
            raise WeightsError(f"{path}: expected {what} {value}, found {stored[name]}")
    return _config({**stored, **_network_settings(recipe)}), network


def _load_single_parts(network: TwoStreamDetector, recipe: Recipe, start: StartWeights) -> None:
    """The video backbone and the flow network."""
    if start.video_backbone is not None and isinstance(network, LightDetector):
        _load_backbone(start.video_backbone, network.rgb_stream.backbone)
    if start.flow is None:
        return
    if network.flow is None:
        raise UsageError(f"preset {recipe.preset} has no flow network for {start.flow}")
    inner = network.flow.network if isinstance(network.flow, ResizedFlow) else network.flow
    load_flow_network(start.flow, inner)


def _load_backbone(path: Path, backbone: VideoBackbone) -> None:
    """Fill it from the published file or from a checkpoint; WeightsError if it is in neither."""
    with suppress(OSError), path.open("rb") as file:
        if file.read(8).endswith(TFLITE):
            load_video_backbone(path, backbone)
            return
    tensors, header = load_partial(path)
    found = {
        name.removeprefix(BACKBONE): tensor
        for name, tensor in tensors.items()
        if name.startswith(BACKBONE)
    }
    if header.config["preset"] != "light" or found.keys() != backbone.state_dict().keys():
        raise WeightsError(
            f"{path}: expected the video backbone of preset light, found preset "
            f"{header.config['preset']} without it; give a file that has it"
        )
    backbone.load_state_dict(found)


def _network_settings(recipe: Recipe) -> dict[str, Any]:
    """What a recipe decides of a network whose weights may come from elsewhere."""
    settings: dict[str, Any] = {"input_size": recipe.input_size}
    if isinstance(recipe, LightRecipe):
        settings |= {"flow_size": recipe.flow_size, "dropout": recipe.dropout}
    return settings


def _config(values: dict[str, Any]) -> DetectorConfig:
    try:
        return config_from_dict(values)
    except ValueError as error:
        raise UsageError(f"no network can be built: {error}") from error
