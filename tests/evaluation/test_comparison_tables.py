"""Runs beside the paper's tables; the paper's figures are checked against its text."""

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.golden import PROJECT_ROOT
from tubedet.errors import DatasetError, UsageError
from tubedet.evaluation.comparison_tables import TABLES, as_latex, as_markdown, write_table
from tubedet.evaluation.frame_figures import CURVE_THRESHOLDS
from tubedet.evaluation.plots import plot_iou_curves
from tubedet.evaluation.published import PAPER, TABLE_1, TABLE_2, TABLE_3, TABLE_4
from tubedet.evaluation.run_files import RunFigures, curve_table, read_run, settings_of

PAPER_TEXT = PROJECT_ROOT.parent / "shared" / "paper.txt"


def run(name: str = "my_run", rate: float = 30.4, batch_size: int = 1) -> RunFigures:
    return RunFigures(
        name=name,
        setting="jhmdb-21, split 1, part validation; one box a frame",
        trimmed={0.2: 0.5, 0.5: 0.41234, 0.75: 0.1},
        all_frames={0.2: 0.4, 0.5: 0.3, 0.75: 0.05},
        curve=dict.fromkeys(CURVE_THRESHOLDS, 0.5),
        frames_per_second={batch_size: rate},
    )


def run_file(path: Path, **changes: Any) -> Path:
    figures = {
        "data": "d", "split": 1, "part": "test", "protocol": "p", "batch_size": 4,
        "frames_per_second": 12.5, "f_map": {"0.5": 0.25}, "f_map_all_frames": {"0.5": 0.125},
        "f_map_curve": {"0.05": 0.75, "0.5": 0.25}, "videos": 3, "missing_videos": [],
    }  # fmt: skip
    path.write_text(json.dumps(figures | changes))
    return path


def numbers_of_paper(first: str, last: str) -> list[float]:
    """The numbers that stand alone on their lines between two lines of the paper's text."""
    if not PAPER_TEXT.is_file():
        pytest.skip("the paper's text (../shared/paper.txt) is not here")
    text = PAPER_TEXT.read_text(encoding="utf-8")
    part = text[text.index(first) :]
    part = part[: part.index(last)]
    return [float(number) for number in re.findall(r"^\d+(?:\.\d+)?$", part, re.MULTILINE)]


def test_tables_1_and_2_are_the_papers() -> None:
    expected = numbers_of_paper("AVERAGE E NDPOINT", "C. Pre-Training")
    assert [row.error_px for row in TABLE_1] + [row.ms_a_frame for row in TABLE_1] == expected
    columns = zip(*(row[1:] for row in TABLE_2), strict=True)
    variants = numbers_of_paper("α = 0.75", "B. Comparison")
    assert [value for column in columns for value in column] == variants


def test_tables_3_and_4_are_the_papers() -> None:
    of_paper = [row.at_50 for row in TABLE_3 if row.source == PAPER]
    expected = numbers_of_paper("α = 0.5\n35.84", "C. Detection Runtime")
    # The footnote's 1 sticks to two of them.
    assert of_paper == [68.31 if n == 68.311 else 65.66 if n == 65.661 else n for n in expected]
    rates = numbers_of_paper("batch size = 1", "[5]")
    ones = [row.batch_1 for row in TABLE_4 if row.batch_1 is not None]
    assert [*ones, *(row.batch_4 for row in TABLE_4)] == rates


def last_rows(table: int, runs: Sequence[RunFigures], count: int) -> list[list[str]]:
    rows: list[list[str]] = TABLES[table](runs).cells.to_numpy().tolist()
    return rows[-count:]


def test_a_run_stands_below_with_its_marks() -> None:
    assert last_rows(2, [run()], 1) == [["my_run", "50.00", "41.23", "10.00", "measured"]]
    assert last_rows(3, [run(rate=25)], 2) == [
        ["my_run", "⋆ ψ", "41.23", "measured"],
        ["my_run", "† ψ", "30.00", "measured"],
    ]
    assert last_rows(3, [run(rate=24.9)], 1) == [["my_run", "†", "30.00", "measured"]]
    assert last_rows(4, [run(), run("b", batch_size=4)], 2) == [
        ["my_run", "30", "", "measured"],
        ["b", "", "30", "measured"],
    ]


def test_what_was_measured_on_other_data_says_so() -> None:
    notes = TABLES[3]([run("a"), run("b")]).notes

    assert notes[-1] == "a, b: jhmdb-21, split 1, part validation; one box a frame"


def test_markdown_and_latex_hold_every_row(tmp_path: Path) -> None:
    table = TABLES[3]([run()])

    markdown, latex = as_markdown(table), as_latex(table)

    assert (
        "\n| Singh et al. RGB + DIS-Fast | † ψ | 65.66 | El-Nouby and Taylor (2018) |\n" in markdown
    )
    assert markdown.count("\n|") == len(table.cells) + 2
    assert "\nSingh et al. RGB + DIS-Fast & $\\dagger$ $\\psi$ & 65.66 & El-Nouby" in latex
    assert "\nmy\\_run & $\\star$ $\\psi$ & 41.23 & measured \\\\\n" in latex
    assert latex.isascii()
    write_table(table, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["model", "marks", "α = 0.5", "source"]
    assert rows[-1] == ["my_run", "† ψ", "30.00", "measured"]


def test_a_table_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected a table's name to end in \.md, \.csv, \.tex"):
        write_table(TABLES[2]([run()]), tmp_path / "t.xlsx")


def test_runs_are_read_back_from_their_files(tmp_path: Path) -> None:
    found = read_run(run_file(tmp_path / "mine.json"))

    assert (found.name, found.setting) == ("mine", "d, split 1, part test; p")
    part = read_run(run_file(tmp_path / "part.json", missing_videos=["a", "b"]))
    assert part.setting == "d, split 1, part test (3 of 5 videos); p"
    assert found.trimmed == {0.5: 0.25}
    assert found.curve == {0.05: 0.75, 0.5: 0.25}
    assert found.frames_per_second == {4: 12.5}
    assert read_run(run_file(tmp_path / "f.json", frames_per_second=None)).frames_per_second == {}


def test_a_run_says_on_what_and_in_what_precision_it_was_measured(tmp_path: Path) -> None:
    how = {"device": "NVIDIA H200", "precision": "fp16", "detector": "brox on cuda in fp16"}
    found = read_run(run_file(tmp_path / "a.json", **how))
    how["detector"] += ", compiled; linked into tubes"
    compiled = read_run(run_file(tmp_path / "b.json", **how))

    assert found.setting == "d, split 1, part test; p; on NVIDIA H200 in fp16"
    assert compiled.setting == f"{found.setting}, compiled"
    assert TABLES[4]([found]).notes[-1] == f"a: {found.setting}"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"f_map": 1}'])
def test_a_file_that_is_no_run_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)

    with pytest.raises(DatasetError, match=r"run\.json: expected a file of `tubedet evaluate --js"):
        read_run(tmp_path / "run.json")


def test_curves_become_a_table_and_a_picture(tmp_path: Path) -> None:
    runs = [run("a"), run("b")]

    plot_iou_curves({each.name: sorted(each.curve.items()) for each in runs}, tmp_path / "c.png")

    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    table = curve_table(runs)
    assert table["iou_threshold"].tolist() == list(CURVE_THRESHOLDS)
    assert table["b"].tolist() == [0.5] * 19
    assert settings_of(runs)[0].startswith("a, b: ")
