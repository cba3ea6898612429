"""Weights of a paper's network from several files, each with some of its parts, none with a head.

Streams are the same in all presets: one checkpoint of kinetics-pretraining starts all of them. A
flow network is only its own preset's, and comes from another file then.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tubedet.checkpoints.native import ANY_HEAD, CheckpointHeader, load_partial
from tubedet.errors import WeightsError
from tubedet.models.presets import DetectorConfig, config_from_dict
from tubedet.training.recipes import Recipe

STREAMS = ("rgb_stream", "motion_stream")
# What the weights of a part were made with, and make sense with.
SETTINGS_OF_STREAMS = ("width", "darknet_layout", "passthrough")
SETTINGS_OF_FLOW = ("width", "sd_scale", "align_corners")


def join_parts(paths: tuple[Path, ...], recipe: Recipe) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Each part of the recipe's network from the first file that has it.

    Returns:
        Settings of `PaperConfig` that the weights come with, and tensors by name in the network.

    Raises:
        WeightsError: if a file is damaged, superfluous or of another network, if files contradict
            each other, or if streams come from elsewhere than the recipe says.
    """
    layout: dict[str, Any] = {}
    tensors: dict[str, Tensor] = {}
    files = [_Parts(path, *load_partial(path)) for path in paths]
    for part, file in _sources(files, recipe).items():
        settings = SETTINGS_OF_FLOW if part == "flow" else SETTINGS_OF_STREAMS
        for name, value in file.config.to_dict().items():
            if name in settings and layout.setdefault(name, value) != value:
                raise WeightsError(f"{file.path}: expected {name} {layout[name]}, found {value}")
        tensors |= file.of(part)
    return layout, tensors


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """A file of weights, maybe of some parts only."""

    path: Path
    tensors: dict[str, Tensor]
    header: CheckpointHeader

    def of(self, part: str) -> dict[str, Tensor]:
        """Its tensors of a part."""
        return {n: tensor for n, tensor in self.tensors.items() if n.startswith(f"{part}.")}

    @property
    def config(self) -> DetectorConfig:
        """Of the network that its parts are of; without classes or anchors that mean something."""
        return config_from_dict({**self.header.config, **ANY_HEAD})

    @property
    def origin(self) -> str:
        """See `origin_of`."""
        return origin_of(self.header)


def origin_of(header: CheckpointHeader) -> str:
    """What the streams of a file come from, as `Recipe.start` calls it."""
    if header.recipe.get("task") == "recognition":
        return "kinetics"
    return "a trained detector" if header.recipe else "voc"


def _sources(files: list[_Parts], recipe: Recipe) -> dict[str, _Parts]:
    """For every part the first file that has it."""
    own = [file for file in files if file.config.preset == recipe.preset]
    alike = own and recipe.preset != "light"
    for file in files:
        may_differ = file.config.preset != "light" and (alike or recipe.preset == "brox")
        if file not in own and not may_differ:
            raise WeightsError(
                f"{file.path}: expected preset {recipe.preset}, found {file.config.preset}; give "
                "one of that preset too, as tubedet weights import makes it"
            )
    sources: dict[str, _Parts] = {}
    for part in ("flow", *STREAMS):
        for file in own if part == "flow" else files:
            if file.of(part):
                sources.setdefault(part, file)
    for file in files:
        if file not in sources.values():
            raise WeightsError(
                f"{file.path}: the files before it have all of its parts; leave it out, or give it "
                "first"
            )
    _require_origin(sources, recipe)
    return sources


def _require_origin(sources: dict[str, _Parts], recipe: Recipe) -> None:
    """A row of the paper's table is told from its neighbour by what its streams start from."""
    if recipe.start == "any":
        return
    if recipe.preset != "brox" and "flow" not in sources:
        raise WeightsError(
            f"flow: recipe {recipe.name} expects a published flow network, found no weights; give "
            "a file that has it with --init, or --set start=any"
        )
    for part in STREAMS:
        found = sources[part].origin if part in sources else "no weights"
        if found != recipe.start:
            where = sources[part].path if part in sources else part
            raise WeightsError(
                f"{where}: recipe {recipe.name} expects streams from {recipe.start}, found "
                f"{found}; give others with --init, or --set start=any"
            )
