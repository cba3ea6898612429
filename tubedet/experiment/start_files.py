"""Which file of start weights fits which row of Table II, by what the files' headers say."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from tubedet.checkpoints.native import read_header
from tubedet.training.recipes import Recipe
from tubedet.training.start_parts import STREAMS, origin_of


class StartFile(NamedTuple):
    """Weights that a training run may start from.

    Attributes:
        path: the file.
        preset: of the network that its parts are of.
        origin: what its streams come from, as `Recipe.start` calls it.
        has_flow: it holds a flow network, that of the preset.
        has_streams: it holds both streams.
    """

    path: Path
    preset: str
    origin: str
    has_flow: bool
    has_streams: bool


def read_start_file(path: Path) -> StartFile:
    """What a file's header says; WeightsError if it is no checkpoint."""
    header = read_header(path)
    preset = str(header.config.get("preset"))
    return StartFile(
        path,
        preset,
        origin_of(header),
        has_flow=preset != "brox" and "flow" not in header.missing,
        has_streams=not set(STREAMS) & set(header.missing),
    )


def choose_start(recipe: Recipe, files: Sequence[StartFile]) -> tuple[Path, ...] | None:
    """The files that give a row its streams and its flow network; None if there are none.

    One file with both comes before two, an earlier file before a later one.
    """
    streams = [f for f in files if f.has_streams and recipe.start in ("any", f.origin)]
    flows = [f for f in files if f.has_flow and f.preset == recipe.preset]
    if recipe.preset == "brox":  # any network's streams are those of this one
        return _paths(_first(f for f in streams if f.preset == "brox") or _first(streams))
    both = _first(f for f in streams if f in flows)
    return _paths(both) or _paths(_first(streams), _first(flows))


def lacking_for(recipe: Recipe, files: Sequence[StartFile]) -> str:
    """What a row without start weights lacks, in words."""
    if not any(f.has_streams and recipe.start in ("any", f.origin) for f in files):
        if recipe.start == "kinetics":
            return "--kinetics kinetics:PATH, or an --init file that kinetics-pretraining left"
        return "an --init file with both streams, as tubedet weights import makes it of YOLOv2"
    return f"an --init file with the flow network of preset {recipe.preset}"


def _first(files: Iterable[StartFile]) -> StartFile | None:
    return next(iter(files), None)


def _paths(*files: StartFile | None) -> tuple[Path, ...] | None:
    """None if one of them is."""
    paths = tuple(file.path for file in files if file)
    return paths if len(paths) == len(files) else None
