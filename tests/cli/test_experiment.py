"""`tubedet experiment table2` from narrow start weights to tables, on a tiny UCF101-24."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import equal
from typer.testing import CliRunner, Result

from tests.experiment_files import (
    FRAMES,
    TEST,
    TINY,
    write_flow_images,
    write_kinetics,
    write_starts,
    write_ucf,
)
from tests.small_training import one_thread_of_torch
from tests.synthetic_video import write_video
from tubedet.cli.app import app
from tubedet.evaluation.rows_file import sole_writer
from tubedet.experiment import table_run
from tubedet.experiment.table_plan import ROWS
from tubedet.training.recipes import Recipe
from tubedet.training.train_detector import prepare_training

ROOT = Path(__file__).parents[2]
TABLES = [f"table{n}.{suffix}" for n in (2, 3, 4) for suffix in ("md", "csv", "tex")]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """See `one_thread_of_torch`."""
    with one_thread_of_torch():
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The data under "ucf", "kinetics" and "flow", start weights by preset."""
    folder = tmp_path_factory.mktemp("files")
    return {
        "ucf": write_ucf(folder / "ucf"),
        "kinetics": write_kinetics(folder / "kinetics"),
        "flow": write_flow_images(folder / "flow"),
        **write_starts(folder),
    }


def words(
    files: dict[str, Path], folder: Path, *init: str, settings: list[str] = TINY
) -> list[str]:
    given = [text for name in init for text in ("--init", str(files[name]))]
    given += [text for setting in settings for text in ("--set", setting)]
    data = ["--data", f"ucf101-24:{files['ucf']}", "-o", str(folder), "--device", "cpu"]
    return ["experiment", "table2", *data, "--loader-workers", "0", *given]


def run(files: dict[str, Path], folder: Path, *init: str, options: list[str]) -> Result:
    return CliRunner().invoke(app, [*words(files, folder, *init), *options])


def cells(folder: Path, table: int) -> dict[str, list[str]]:
    """The measured rows of a table."""
    with (folder / f"table{table}.csv").open(encoding="utf-8", newline="") as file:
        return {row[0]: row[1:-1] for row in csv.reader(file) if row[-1] == "measured"}


def figures(path: Path) -> dict[str, Any]:
    """All but the rate, which no two runs share."""
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    assert content.pop("frames_per_second") > 0
    return content


def test_every_row_is_trained_and_evaluated_and_stands_in_the_tables(
    files: dict[str, Path], tmp_path: Path
) -> None:
    own = ["--kinetics", f"kinetics:{files['kinetics']}", "--flow-images", str(files["flow"])]
    presets = ("flownet2", "flownet2-css", "flownet2-sd", "brox")

    result = run(files, tmp_path, *presets, options=own)

    assert result.exit_code == 0, result.output
    assert "(8 of 8)" in result.stderr
    for table in (2, 3, 4):
        assert list(cells(tmp_path, table)) == list(ROWS.values())
    for rates in cells(tmp_path, 4).values():
        assert all(int(rate) > 0 for rate in rates)  # batch size 1 and 4
    assert {path.name for path in tmp_path.iterdir()} == {
        *(*TABLES, "figure2.png", "figure2.csv"),
        *(*ROWS, "kinetics-pretraining"),
    }
    for name in ROWS:
        folder = tmp_path / name / "seed-0"
        found = figures(folder / "evaluation.json")
        assert (found["videos"], found["batch_size"], found["precision"]) == (
            3,
            1,
            found["precision"],
        )
        config = json.loads((folder / "config.json").read_text("utf-8"))
        assert (config["recipe"]["name"], config["recipe"]["steps"]) == (name, 2)
        speed = json.loads((folder / "speed-batch-4.json").read_text("utf-8"))
        assert (speed["batch_size"], speed["videos"]) == (4, 3)
    with (tmp_path / "figure2.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["iou_threshold", *ROWS.values()]


def test_rows_that_lack_something_are_named_and_the_others_run_and_are_not_run_again(
    files: dict[str, Path], tmp_path: Path
) -> None:
    options = ["--rows", "tuned-flownet2+voc,flownet2+kinetics"]

    first = run(files, tmp_path, "flownet2", options=options)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    second = run(files, tmp_path, "flownet2", options=options)

    assert (first.exit_code, second.exit_code) == (7, 7), first.output + second.output
    assert "flownet2+kinetics is left out: it lacks --kinetics kinetics:PATH, or" in first.stderr
    assert list(cells(tmp_path, 2)) == ["Tuned FlowNet2 + VOC"]
    assert ": training (2)" in first.stderr
    assert ": speed at the larger batch size (3)" in first.stderr
    for stage in ("training", "evaluation", "speed at the larger batch size"):
        assert f": {stage} (" not in second.stderr
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == before


def test_rows_of_a_second_command_join_those_of_the_first(
    files: dict[str, Path], tmp_path: Path
) -> None:
    for rows in ("flownet2+voc", "flownet2+voc,tuned-flownet2+voc"):
        assert run(files, tmp_path, "flownet2", options=["--rows", rows]).exit_code == 0

    assert list(cells(tmp_path, 2)) == ["FlowNet2 + VOC", "Tuned FlowNet2 + VOC"]


def test_several_seeds_give_mean_and_deviation(files: dict[str, Path], tmp_path: Path) -> None:
    options = ["--rows", "flownet2+voc", "--seeds", "3"]

    result = run(files, tmp_path, "flownet2", options=options)

    assert result.exit_code == 0, result.output
    found = [
        100
        * figures(tmp_path / "flownet2+voc" / f"seed-{seed}" / "evaluation.json")["f_map"]["0.2"]
        for seed in range(3)
    ]
    mean = sum(found) / 3
    deviation = (sum((value - mean) ** 2 for value in found) / 2) ** 0.5
    assert cells(tmp_path, 2)["FlowNet2 + VOC"][0] == f"{mean:.2f} ± {deviation:.2f}"
    assert "mean ± sample standard deviation of 3 seeds" in (tmp_path / "table2.md").read_text(
        "utf-8"
    )
    weights = [load_file(path) for path in sorted(tmp_path.rglob("best.safetensors"))]
    assert len({float(each["fusion.conv.weight"].sum()) for each in weights}) == 3


def test_a_row_that_fails_does_not_end_the_others(files: dict[str, Path], tmp_path: Path) -> None:
    options = ["--rows", "flownet2+voc,tuned-flownet2+voc"]
    broken = ["head_rate=1e30", "rgb_rate=1e30", "motion_rate=1e30", "save_every=9"]
    options += [text for each in broken for text in ("--set", f"flownet2+voc:{each}")]

    result = run(files, tmp_path, "flownet2", options=options)

    assert result.exit_code == 7, result.output
    assert "FlowNet2 + VOC, seed 0: the loss of step 2 is not finite" in result.stderr
    assert list(cells(tmp_path, 2)) == ["Tuned FlowNet2 + VOC"]


def test_a_network_is_gone_before_the_next_is_made(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[object]] = []

    def prepare(recipe: Recipe, *arguments: Any, **options: Any) -> object:
        assert [network() for network in made] == [None] * len(made)
        trainer = prepare_training(recipe, *arguments, **options)
        made.append(weakref.ref(trainer.network))
        return trainer

    monkeypatch.setattr(table_run, "prepare_training", prepare)
    options = ["--rows", "flownet2+voc,tuned-flownet2+voc,brox+voc"]
    options += ["--flow-images", str(files["flow"])]
    for rate in ("head_rate", "rgb_rate", "motion_rate"):  # which fails
        options += ["--set", f"flownet2+voc:{rate}=1e30"]

    result = run(files, tmp_path, "flownet2", options=options)

    assert result.exit_code == 7, result.output
    assert len(made) == 3
    assert list(cells(tmp_path, 2)) == ["Brox + VOC", "Tuned FlowNet2 + VOC"]


def test_rows_do_not_start_from_half_a_pre_training(files: dict[str, Path], tmp_path: Path) -> None:
    options = ["--rows", "flownet2+voc,flownet2+kinetics", "--set", "save_every=1"]
    options += ["--kinetics", f"kinetics:{files['kinetics']}"]
    for rate in ("head_rate", "rgb_rate", "motion_rate"):
        options += ["--set", f"kinetics-pretraining:{rate}=1e30"]

    result = run(files, tmp_path, "flownet2", options=options)

    assert result.exit_code == 7, result.output
    assert "FlowNet2 + Kinetics, seed 0: its start weights could not be made" in result.stderr
    assert list(cells(tmp_path, 2)) == ["FlowNet2 + VOC"]


def test_clips_that_cannot_be_run_are_told_counted_and_tried_again(
    files: dict[str, Path], tmp_path: Path
) -> None:
    ucf = write_ucf(tmp_path / "ucf")
    own = {**files, "ucf": ucf}
    bad = ucf / "videos" / "Biking" / f"{TEST[1]}.avi"
    content = bad.read_bytes()
    write_video(bad, frames=4 * FRAMES)  # it can be opened, and is another video
    options = ["--rows", "flownet2+voc"]

    first = run(own, tmp_path / "x", "flownet2", options=options)
    bad.write_bytes(content)
    second = run(own, tmp_path / "x", "flownet2", options=options)

    assert (first.exit_code, second.exit_code) == (7, 0), first.output + second.output
    assert "clips that could not be run: 1; true boxes of frames that were not see" in first.stderr
    assert "evaluation (3)" in second.stderr
    found = figures(tmp_path / "x" / "flownet2+voc" / "seed-0" / "evaluation.json")
    assert (found["failed_clips"], found["boxes_not_decoded"]) == ({}, 0)


def test_what_rows_start_from_must_not_change_under_an_experiment(
    files: dict[str, Path], tmp_path: Path
) -> None:
    options = ["--rows", "brox+voc", "--flow-images", str(files["flow"])]
    assert run(files, tmp_path, "brox", options=options).exit_code == 0

    other = run(files, tmp_path, "flownet2", options=options)
    changed = run(files, tmp_path, "brox", options=[*options, "--set", "steps=3"])

    assert other.exit_code == 7
    assert "was begun from another brox.safetensors; give that with --init" in other.stderr
    assert changed.exit_code == 0, changed.output
    assert "begun with steps=2, not 3, kept; remove " in changed.stderr


def test_two_commands_do_not_write_one_experiment(files: dict[str, Path], tmp_path: Path) -> None:
    with sole_writer(tmp_path / "table2"):
        result = run(files, tmp_path, "flownet2", options=["--rows", "flownet2+voc"])

    assert result.exit_code == 6
    assert "another run is writing it" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_says_what_would_run_from_what_and_leaves_nothing(
    files: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "dry"
    own = ["--kinetics", f"kinetics:{files['kinetics']}", "--dry-run"]
    rows = ["--rows", "flownet2+voc,tuned-flownet2-sd+kinetics"]

    result = run(files, folder, "flownet2", "flownet2-sd", options=[*own, *rows])

    assert result.exit_code == 0, result.output
    of_kinetics, of_voc, of_sd = result.stdout.splitlines()
    measured = r"; training, 2 steps: 0:00:\d\d, without validations; memory \d+\.\d\d GiB"
    init = re.escape(str(files["flownet2"]))
    begun = rf"kinetics-pretraining, seed 0: to be trained, from {init}{measured}"
    assert re.fullmatch(begun, of_kinetics)
    assert re.fullmatch(rf"FlowNet2 \+ VOC, seed 0: to be trained, from {init}{measured}", of_voc)
    pre = re.escape(str(folder / "kinetics-pretraining" / "best.safetensors"))
    flow = re.escape(str(files["flownet2-sd"]))
    name = r"Tuned FlowNet2-SD \+ Kinetics, seed 0"
    assert re.fullmatch(rf"{name}: to be trained, from {pre} and {flow}{measured}", of_sd)
    assert not folder.exists()


def trained_once(folder: Path) -> bool:
    """A state is there, and training is not at its end."""
    return (folder / "last.safetensors").exists() and not (folder / "trained.json").exists()


def evaluated_once(folder: Path) -> bool:
    """A clip is done, and not all are."""
    progress = folder / "rows.progress.jsonl"
    return progress.exists() and 1 <= progress.read_text().count('"video"') < len(TEST)


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_experiment_goes_on_with_the_same_command_and_ends_the_same(
    files: dict[str, Path], tmp_path: Path
) -> None:
    settings = [*TINY[1:-1], "steps=6", "save_every=1"]
    alike = {**os.environ, "OMP_NUM_THREADS": "1"}  # sums of other threads are others
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    rows = ["--rows", "tuned-flownet2+voc"]
    row = killed / "tuned-flownet2+voc" / "seed-0"
    command = [*words(files, killed, "flownet2", settings=settings), *rows]
    moments: list[Callable[[Path], bool]] = [trained_once, evaluated_once]
    first_steps = set()
    for moment in moments:
        with subprocess.Popen(
            [sys.executable, "-m", "tubedet", *command], cwd=ROOT, env=alike
        ) as process:
            deadline = time.monotonic() + 120
            while not moment(row):
                assert time.monotonic() < deadline
                assert process.poll() is None, "it ended before it was killed"
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
        assert moment(row)
        first_steps.add((row / "log.jsonl").read_text().splitlines()[0])
    assert len(first_steps) == 1  # it was taken once: the line says how long it took

    last = CliRunner().invoke(app, command)
    undisturbed = CliRunner().invoke(
        app, [*words(files, whole, "flownet2", settings=settings), *rows]
    )

    assert (last.exit_code, undisturbed.exit_code) == (0, 0), last.output + undisturbed.output
    other = whole / "tuned-flownet2+voc" / "seed-0"
    assert figures(row / "evaluation.json") == figures(other / "evaluation.json")
    assert (row / "rows.csv").read_bytes() == (other / "rows.csv").read_bytes()
    weights, expected = (load_file(each / "best.safetensors") for each in (row, other))
    assert all(equal(weights[name], value) for name, value in expected.items())
    assert (killed / "table2.csv").read_text("utf-8") == (whole / "table2.csv").read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "complaint", "code"),
    [
        (["--rows", "brox"], "--rows brox: expected one of brox+voc, ", 2),
        (["--rows", "flownet2+voc", "--set", "stepps=1"], "--set stepps=1: expected key=value", 2),
        (["--rows", "brox+voc"], "no row can be run; they lack brox+voc: --flow-images", 2),
        (["--flow-images", "absent"], "--flow-images absent: expected a folder", 5),
        (["--data", "ucf101-24:absent"], "absent: expected the folder of ucf101-24", 5),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    files: dict[str, Path], tmp_path: Path, options: list[str], complaint: str, code: int
) -> None:
    result = run(files, tmp_path, "flownet2", options=options)

    assert result.exit_code == code, result.output
    assert complaint in result.stderr.splitlines()[-1]
