"""Tables of runs that are there: means over seeds, worked out by hand."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tubedet.evaluation.comparison_tables import as_latex, as_markdown
from tubedet.evaluation.frame_figures import CURVE_THRESHOLDS
from tubedet.evaluation.run_files import RunFigures
from tubedet.experiment.table_files import figures_of_rows, write_tables
from tubedet.experiment.table_plan import TableRun
from tubedet.training.paper_recipes import named_recipe

NAME = "tuned-flownet2+voc"


def run_with(folder: Path, seed: int, f_map: float | None, rate: float = 10.0) -> TableRun:
    """A run of the row that was evaluated to so much at every threshold, or not at all."""
    run = TableRun(replace(named_recipe(NAME), seed=seed), (), folder / NAME / f"seed-{seed}")
    run.folder.mkdir(parents=True)
    if f_map is not None:
        figures = {
            "data": "ucf101-24", "split": 1, "part": "test", "protocol": "p", "batch_size": 1,
            "videos": 2, "missing_videos": [], "frames_per_second": rate,
            "device": "NVIDIA Card", "precision": "fp32",
            "detector": "flownet2 on cuda in fp32",
            "f_map": dict.fromkeys(("0.2", "0.5", "0.75"), f_map),
            "f_map_all_frames": dict.fromkeys(("0.2", "0.5", "0.75"), f_map / 2),
            "f_map_curve": {str(at): f_map for at in CURVE_THRESHOLDS},
        }  # fmt: skip
        run.evaluation.write_text(json.dumps(figures))
        speed = {"batch_size": 4, "frames_per_second": 2 * rate}
        run.speed.write_text(json.dumps(speed))
    return run


def test_the_mean_and_the_deviation_are_those_of_the_seeds_that_are_evaluated(
    tmp_path: Path,
) -> None:
    runs = [run_with(tmp_path, seed, f_map) for seed, f_map in enumerate((0.7, 0.8, 0.75, None))]

    (row,) = figures_of_rows(runs)

    # 70, 80 and 75 %: squares of the gaps to 75 are 25, 25 and 0; 50 / 2 has the root 5.
    assert row.name == "Tuned FlowNet2 + VOC"
    assert row.trimmed[0.5] == pytest.approx(0.75)
    assert row.deviation[0.5] == pytest.approx(0.05)
    assert row.deviation_on_all_frames[0.5] == pytest.approx(0.025)
    assert row.curve[0.05] == pytest.approx(0.75)
    assert row.frames_per_second == {1: 10.0, 4: 20.0}


def test_tables_show_both_and_say_what_they_are(tmp_path: Path) -> None:
    runs = [run_with(tmp_path, seed, f_map) for seed, f_map in enumerate((0.7, 0.8, 0.75))]

    tables = write_tables(tmp_path, figures_of_rows(runs))

    assert tables[2].cells.to_numpy().tolist()[-1] == [
        "Tuned FlowNet2 + VOC", *["75.00 ± 5.00"] * 3, "measured"
    ]  # fmt: skip
    assert [row[2] for row in tables[3].cells.to_numpy().tolist()[-2:]] == [
        "75.00 ± 5.00",
        "37.50 ± 2.50",
    ]
    assert tables[4].cells.to_numpy().tolist()[-1][1:3] == ["10", "20"]
    expected = (
        "Tuned FlowNet2 + VOC: ucf101-24, split 1, part test; p; on NVIDIA Card in fp32; mean ± "
        "sample standard deviation of 3 seeds"
    )
    assert {table.notes[-1] for table in tables.values()} == {expected}
    assert "75.00 $\\pm$ 5.00" in as_latex(tables[2])
    assert as_latex(tables[2]).isascii()
    assert (tmp_path / "table2.md").read_text("utf-8") == as_markdown(tables[2])
    with (tmp_path / "figure2.csv").open(newline="") as file:
        head, first, *_ = csv.reader(file)
    assert (head, first) == (["iou_threshold", "Tuned FlowNet2 + VOC"], ["0.050000", "0.750000"])
    assert (tmp_path / "figure2.png").read_bytes().startswith(b"\x89PNG")


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    rows = figures_of_rows([run_with(tmp_path, 0, 0.7)])

    assert write_tables(tmp_path, rows)[2].cells.to_numpy().tolist()[-1][1] == "70.00"
    assert "seeds" not in rows[0].setting


def test_without_a_run_there_is_no_row(tmp_path: Path) -> None:
    rows: list[RunFigures] = figures_of_rows([run_with(tmp_path, 0, None)])

    assert rows == []
