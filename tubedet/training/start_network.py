"""The network that a training run starts from, or goes on with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, cat

from tubedet.checkpoints.efficientnet_lite import load_imagenet_backbone
from tubedet.checkpoints.native import FUSED_HEAD, load_checkpoint, load_partial, read_header
from tubedet.checkpoints.run_state import load_flow_network
from tubedet.datasets.anchor_clusters import box_sizes, cluster_anchors
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.errors import UsageError, WeightsError
from tubedet.models.motion_input import ResizedFlow
from tubedet.models.presets import OUTPUT_STRIDE, DetectorConfig, Streams, build_detector
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.models.yolov2.efficientnet_lite import EfficientNetLiteStream
from tubedet.training.recipes import Recipe


@dataclass(frozen=True, kw_only=True)
class StartWeights:
    """What a network starts from.

    Attributes:
        checkpoints: a tubedet checkpoint, for everything, anchors included; or two of one stream
            each, which are joined; or imported weights without a head, for the parts they have.
        imagenet: published EfficientNet-Lite0 file, for both streams' backbones.
        flow: what a flow pre-training run left, for the flow network.
    """

    checkpoints: tuple[Path, ...] = ()
    imagenet: Path | None = None
    flow: Path | None = None


def start_network(
    recipe: Recipe, training: AnnotatedDataset, start: StartWeights
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
    if _is_partial(start.checkpoints):
        config, network = _from_imported(start.checkpoints[0], recipe, training)
    elif start.checkpoints:
        config, network = _from_checkpoints(start.checkpoints, recipe, training.class_names)
    else:
        config, network = _from_scratch(recipe, training)
    for stream in (network.rgb_stream, network.motion_stream):
        if start.imagenet is not None and isinstance(stream, EfficientNetLiteStream):
            load_imagenet_backbone(start.imagenet, stream.backbone)
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
    return config, build_detector(config)


def _from_scratch(
    recipe: Recipe, training: AnnotatedDataset, layout: dict[str, Any] | None = None
) -> tuple[DetectorConfig, TwoStreamDetector]:
    """A network of random values, its anchors those of the data; `layout` are further settings."""
    sizes = box_sizes(training, recipe.input_size // OUTPUT_STRIDE)
    config = _config(
        {
            **(layout or {}),
            "preset": recipe.preset,
            "class_names": training.class_names,
            "anchors_wh": cluster_anchors(sizes).tolist(),
            **_network_settings(recipe),
        }
    )
    network = build_detector(config)
    # One prediction in hundreds answers for a box: start from that belief.
    network.fusion.start_sceptical()
    return config, network


def _is_partial(paths: tuple[Path, ...]) -> bool:
    """Whether there is but one start checkpoint, and it has no fused head."""
    return len(paths) == 1 and FUSED_HEAD in read_header(paths[0]).missing


def _from_imported(
    path: Path, recipe: Recipe, training: AnnotatedDataset
) -> tuple[DetectorConfig, TwoStreamDetector]:
    """Imported weights in their parts, a new head for the classes, what they lack at random."""
    tensors, header = load_partial(path)
    if header.config["preset"] != recipe.preset:
        raise WeightsError(
            f"{path}: expected preset {recipe.preset}, found {header.config['preset']}"
        )
    config, network = _from_scratch(recipe, training, header.config)
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
    states: list[dict[str, Tensor]] = []
    anchors: set[tuple[tuple[float, float], ...]] = set()
    for path, wanted_streams in zip(paths, streams, strict=True):
        trained, header = load_checkpoint(path)
        config = _config({**header.config, **_network_settings(recipe)})
        for what, found, wanted in (
            ("preset", config.preset, recipe.preset),
            ("classes", config.class_names, class_names),
            ("streams", header.config.get("streams", "both"), wanted_streams),
        ):
            if found != wanted:
                raise WeightsError(f"{path}: expected {what} {wanted}, found {found}")
        states.append(trained.state_dict())
        anchors.add(config.anchors_wh)
    if len(anchors) > 1:
        raise WeightsError(f"{paths[1]}: expected the anchors of {paths[0]}, found others")
    network = build_detector(config)
    network.load_state_dict(_joined(*states) if joins else states[0])
    return config, network


def _joined(rgb: dict[str, Tensor], motion: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of both streams whose raw predictions are the mean of those of each alone."""
    kernel, bias = "fusion.conv.weight", "fusion.conv.bias"
    channels = rgb[kernel].shape[1] // 2
    halves = [rgb[kernel][:, :channels], motion[kernel][:, channels:]]
    fused = {kernel: cat(halves, dim=1) / 2, bias: (rgb[bias] + motion[bias]) / 2}
    return {**rgb, **motion, **fused}


def _network_settings(recipe: Recipe) -> dict[str, Any]:
    """What a recipe decides of a network whose weights may come from elsewhere."""
    return {
        "streams": recipe.streams,
        "input_size": recipe.input_size,
        "flow_size": recipe.flow_size,
        "dropout": recipe.dropout,
        "stream_dropout": recipe.stream_dropout,
    }


def _config(values: dict[str, Any]) -> DetectorConfig:
    try:
        return DetectorConfig.from_dict(values)
    except ValueError as error:
        raise UsageError(f"no network can be built: {error}") from error
