"""What has to be run for Table II, and how far it is.

DIR/kinetics-pretraining/       a run of `tubedet train`, for the rows that need it
DIR/ROW/seed-0/                 the same for a row, and
    trained.json                  once all steps are taken
    rows.csv, rows.progress.jsonl what the test part's clips gave so far, see `rows_file`
    evaluation.json               all figures, as `tubedet evaluate --json` writes them
    speed-batch-4.json            for Table IV
DIR/table2.md, …, figure2.png   of what there is, see `table_files`
"""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tubedet.errors import UsageError
from tubedet.evaluation.published import TABLE_2
from tubedet.experiment.start_files import (
    StartFile,
    choose_start,
    lacking_for,
    read_start_file,
)
from tubedet.training.paper_recipes import RECIPES, named_recipe
from tubedet.training.recipes import Recipe
from tubedet.training.run_folder import RunFolder
from tubedet.training.settings import apply_settings

PRETRAINING = "kinetics-pretraining"
# The paper's name of a row by that of its recipe.
ROWS = dict(zip((name for name in RECIPES if "+" in name), (r.model for r in TABLE_2), strict=True))


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What was asked for.

    Attributes:
        folder: that everything is kept in.
        data: NAME:PATH of the data set, whose parts train and test are used.
        init: files to start from.
        kinetics: kinetics:PATH, for pre-training.
        rows: names of recipes.
        seeds: runs of every row.
        settings: key=value for every run, or NAME:key=value for that recipe alone.
        flow_images: stored flow, for the brox rows.
        frames_folder: see `prepare_training`.
        device: see `pick_device`.
        precision: of evaluation, see `pick_precision`.
        loader_workers: see `prepare_training`.
    """

    folder: Path
    data: str
    init: tuple[Path, ...] = ()
    kinetics: str | None = None
    rows: tuple[str, ...] = tuple(ROWS)
    seeds: int = 1
    settings: tuple[str, ...] = ()
    flow_images: Path | None = None
    frames_folder: Path | None = None
    device: str = "auto"
    precision: str = "fp32"
    loader_workers: int | None = None

    def recipe(self, name: str) -> Recipe:
        """A named recipe with its settings; UsageError as `apply_settings`."""
        recipe = named_recipe(name)
        own = [
            text.removeprefix(f"{name}:") for text in self.settings if _owner(text) in (None, name)
        ]
        if name == PRETRAINING:  # what only detection has is not meant for it
            own = [
                s for s in own if f"{name}:{s}" in self.settings or hasattr(recipe, s.split("=")[0])
            ]
        return apply_settings(recipe, own)


@dataclass(frozen=True)
class TableRun:
    """One training run, and for a row of the table its evaluation."""

    recipe: Recipe
    start: tuple[Path, ...]
    folder: Path

    @property
    def title(self) -> str:
        """For people."""
        name = ROWS.get(self.recipe.name, self.recipe.name)
        return f"{name}, seed {self.recipe.seed}"

    @property
    def weights(self) -> Path:
        """What training leaves for use."""
        return self.folder / "best.safetensors"

    @property
    def trained(self) -> Path:
        """Written once all steps are taken."""
        return self.folder / "trained.json"

    @property
    def rows(self) -> Path:
        """What evaluation has found so far."""
        return self.folder / "rows.csv"

    @property
    def evaluation(self) -> Path:
        """All figures."""
        return self.folder / "evaluation.json"

    @property
    def speed(self) -> Path:
        """Frames per second at the larger batch size."""
        return self.folder / "speed-batch-4.json"

    @property
    def is_evaluated(self) -> bool:
        """Whether all clips that can be run have been; a clip that failed is tried again."""
        return self.evaluation.exists() and not read_json(self.evaluation).get("failed_clips")

    @cached_property
    def config(self) -> dict[str, Any]:
        """What the run was begun with; empty if it was not."""
        config = self.folder / "config.json"
        return read_json(config) if config.exists() else {}

    def state(self) -> str:
        """How far it is, for people."""
        if self.trained.exists():
            evaluates = "+" in self.recipe.name and not self.is_evaluated
            return "trained, to be evaluated" if evaluates else "done"
        steps = [event["step"] for event in RunFolder(self.folder, writes=False).events()]
        return f"step {steps[-1]} of {self.recipe.steps}" if steps else "to be trained"

    def other_settings(self) -> list[str]:
        """Numbers of the recipe that the run was begun with and that are others now."""
        stored, now = self.config.get("recipe", {}), json.loads(json.dumps(self.recipe.to_dict()))
        return [f"{k}={v}, not {now.get(k)}" for k, v in stored.items() if v != now.get(k)]


@dataclass(frozen=True)
class TablePlan:
    """All runs in their order, pre-training first if there is one; and what rows lack to be run."""

    pretraining: TableRun | None
    runs: tuple[TableRun, ...]
    lacking: dict[str, str]


def plan_table(experiment: Experiment) -> TablePlan:
    """Find start weights for every row.

    A seed comes after the one before has been through all rows, so that a whole table is there as
    early as possible.

    Raises:
        UsageError: for a row or a setting that does not exist, or if no row can be run.
        WeightsError: if a file of start weights cannot be read.
    """
    _require_known(experiment)
    files = [read_start_file(path) for path in experiment.init]
    recipes = {name: experiment.recipe(name) for name in experiment.rows}
    pretraining, why_not = None, None
    wanted = [recipe for recipe in recipes.values() if recipe.start == "kinetics"]
    if wanted and experiment.kinetics and not any(file.origin == "kinetics" for file in files):
        recipe = experiment.recipe(PRETRAINING)
        start = choose_start(recipe, files)
        if start is None:
            why_not = f"pre-training, which lacks {lacking_for(recipe, files)}"
        else:
            pretraining = TableRun(recipe, start, experiment.folder / PRETRAINING)
            files.append(StartFile(pretraining.weights, recipe.preset, "kinetics", True, True))
    lacking: dict[str, str] = {}
    runs: list[TableRun] = []
    for name, recipe in recipes.items():
        start = choose_start(recipe, files)
        if recipe.preset == "brox" and experiment.flow_images is None:
            lacking[name] = "--flow-images FOLDER"
        elif start is None:
            of_pretraining = why_not if recipe.start == "kinetics" else None
            lacking[name] = of_pretraining or lacking_for(recipe, files)
        else:
            runs += (_run(experiment, recipe, start, seed) for seed in range(experiment.seeds))
    if not runs:
        needs = "; ".join(f"{name}: {lack}" for name, lack in lacking.items())
        raise UsageError(f"no row can be run; they lack {needs}")
    runs.sort(key=lambda run: run.recipe.seed - recipes[run.recipe.name].seed)
    return TablePlan(pretraining, tuple(runs), lacking)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file of the experiment; UsageError if there is none."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: expected JSON ({error}); remove it, it is made again") from error
    return content


def _run(experiment: Experiment, recipe: Recipe, start: tuple[Path, ...], seed: int) -> TableRun:
    recipe = replace(recipe, seed=recipe.seed + seed)
    return TableRun(recipe, start, experiment.folder / recipe.name / f"seed-{recipe.seed}")


def _owner(setting: str) -> str | None:
    """The recipe that a setting is for; None for all."""
    name, colon, _ = setting.partition("=")[0].rpartition(":")
    return name if colon else None


def _require_known(experiment: Experiment) -> None:
    owners = [owner for owner in map(_owner, experiment.settings) if owner is not None]
    for what, names, known in (
        ("--rows", experiment.rows, list(ROWS)),
        ("--set", owners, [*ROWS, PRETRAINING]),
    ):
        for name in names:
            if name not in known:
                raise UsageError(f"{what} {name}: expected one of {', '.join(known)}")
