"""Which rows can be run, from which files, and in which order."""

from pathlib import Path
from typing import Any

import pytest

from tests.experiment_files import write_start, write_starts
from tubedet.errors import UsageError, WeightsError
from tubedet.experiment.table_plan import ROWS, Experiment, TablePlan, plan_table


@pytest.fixture(scope="module")
def starts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By preset imported weights, and under "kinetics" pre-trained ones."""
    folder = tmp_path_factory.mktemp("starts")
    (folder / "pre").mkdir()
    pretrained = write_start(folder / "pre", "flownet2", recipe={"task": "recognition"})
    return {**write_starts(folder), "kinetics": pretrained}


def planned(starts: dict[str, Path], *names: str, **options: Any) -> TablePlan:
    init = tuple(starts[name] for name in names)
    values = {"folder": Path("x"), "data": "ucf101-24:U", "flow_images": Path("B"), **options}
    return plan_table(Experiment(init=init, **values))


def starts_of(plan: TablePlan) -> dict[str, tuple[Path, ...]]:
    return {run.recipe.name: run.start for run in plan.runs}


def test_the_names_of_the_rows_are_the_papers() -> None:
    assert list(ROWS) == [
        *("brox+voc", "brox+kinetics", "flownet2+voc", "flownet2+kinetics", "tuned-flownet2+voc"),
        *("tuned-flownet2+kinetics", "tuned-flownet2-css+kinetics", "tuned-flownet2-sd+kinetics"),
    ]
    for name, published in ROWS.items():
        assert published.lower().replace(" + ", "+").replace(" ", "-") == name


@pytest.mark.parametrize("order", [1, -1])
def test_every_row_starts_from_the_files_that_the_readme_names(
    starts: dict[str, Path], order: int
) -> None:
    names = ["kinetics", "flownet2", "flownet2-css", "flownet2-sd", "brox"][::order]

    plan = planned(starts, *names)

    pre, flownet2, css, sd, brox = (starts[name] for name in names[::order])
    assert starts_of(plan) == {
        "brox+voc": (brox,),
        "brox+kinetics": (pre,),
        "flownet2+voc": (flownet2,),
        "flownet2+kinetics": (pre,),
        "tuned-flownet2+voc": (flownet2,),
        "tuned-flownet2+kinetics": (pre,),
        "tuned-flownet2-css+kinetics": (pre, css),
        "tuned-flownet2-sd+kinetics": (pre, sd),
    }
    assert (plan.lacking, plan.pretraining) == ({}, None)


def test_pre_training_comes_first_where_rows_need_it_and_is_one_for_all(
    starts: dict[str, Path],
) -> None:
    plan = planned(starts, "flownet2", "flownet2-sd", kinetics="kinetics:K", seeds=2)

    assert plan.pretraining is not None
    assert (plan.pretraining.recipe.name, plan.pretraining.start) == (
        "kinetics-pretraining",
        (starts["flownet2"],),
    )
    pre = Path("x/kinetics-pretraining/best.safetensors")
    assert starts_of(plan)["flownet2+kinetics"] == (pre,)
    assert starts_of(plan)["tuned-flownet2-sd+kinetics"] == (pre, starts["flownet2-sd"])
    assert list(plan.lacking) == ["tuned-flownet2-css+kinetics"]


def test_streams_of_another_network_start_the_brox_row_where_there_are_no_others(
    starts: dict[str, Path],
) -> None:
    assert starts_of(planned(starts, "flownet2"))["brox+voc"] == (starts["flownet2"],)


def test_no_row_of_voc_needs_kinetics(starts: dict[str, Path]) -> None:
    rows = ("brox+voc", "flownet2+voc")

    plan = planned(starts, "flownet2", kinetics="kinetics:K", rows=rows)

    assert plan.pretraining is None


def test_what_a_row_lacks_is_said(starts: dict[str, Path]) -> None:
    lacking = planned(starts, "flownet2", "kinetics", flow_images=None).lacking

    assert lacking == {
        "brox+voc": "--flow-images FOLDER",
        "brox+kinetics": "--flow-images FOLDER",
        "tuned-flownet2-css+kinetics": "an --init file with the flow network of preset "
        "flownet2-css",
        "tuned-flownet2-sd+kinetics": "an --init file with the flow network of preset flownet2-sd",
    }
    without = planned(starts, "flownet2").lacking
    assert without["tuned-flownet2+kinetics"] == (
        "--kinetics kinetics:PATH, or an --init file that kinetics-pretraining left"
    )
    no_start = planned(starts, "brox", kinetics="kinetics:K").lacking
    assert no_start["flownet2+kinetics"] == (
        "pre-training, which lacks an --init file with the flow network of preset flownet2"
    )


def test_if_no_row_can_be_run_that_is_an_error(starts: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=r"no row can be run; they lack flownet2\+voc: an --init"):
        planned(starts, rows=("flownet2+voc",))


def test_a_trained_detector_is_no_start(starts: dict[str, Path], tmp_path: Path) -> None:
    trained = write_start(tmp_path, "flownet2", recipe={"task": "detection"})

    with pytest.raises(UsageError, match="an --init file with both streams"):
        planned({"trained": trained}, "trained", rows=("flownet2+voc",))


def test_a_seed_comes_after_the_one_before_has_been_through_all_rows(
    starts: dict[str, Path],
) -> None:
    rows = ("flownet2+voc", "tuned-flownet2+voc")

    runs = planned(starts, "flownet2", rows=rows, seeds=2, settings=("seed=7",)).runs

    assert [run.folder for run in runs] == [
        Path(f"x/{name}/seed-{seed}") for seed in (7, 8) for name in rows
    ]
    assert [run.recipe.seed for run in runs] == [7, 7, 8, 8]


def test_settings_are_for_all_runs_or_for_the_recipe_that_they_name(
    starts: dict[str, Path],
) -> None:
    settings = ("steps=3", "loss=giou", "flownet2+voc:steps=5", "kinetics-pretraining:steps=9")

    plan = planned(starts, "flownet2", kinetics="kinetics:K", settings=settings)

    steps = {run.recipe.name: run.recipe.steps for run in plan.runs}
    assert steps == {**dict.fromkeys(steps, 3), "flownet2+voc": 5}
    assert plan.pretraining is not None
    assert plan.pretraining.recipe.steps == 9  # which has no loss of detection


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"rows": ("brox",)}, r"--rows brox: expected one of brox\+voc, "),
        ({"settings": ("brox:steps=1",)}, r"--set brox: expected one of brox\+voc, "),
        ({"settings": ("stepps=1",)}, r"--set stepps=1: expected key=value with one of "),
    ],
)
def test_what_does_not_exist_is_refused(
    starts: dict[str, Path], options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        planned(starts, "flownet2", **options)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "f.safetensors").write_bytes(b"no weights")

    with pytest.raises(WeightsError, match=r"f\.safetensors"):
        planned({"f": tmp_path / "f.safetensors"}, "f")
