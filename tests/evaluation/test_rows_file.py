"""The rows of an evaluation on disk: what is kept, what is cut off, what is refused."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tubedet.datasets.row_files import read_rows
from tubedet.errors import DatasetError, OutputError, UsageError
from tubedet.evaluation.rows_file import RowsFile

SETTINGS = {"weights": "abc", "batch_size": 1}
WALK = ("walk", 0, None, "nan", 0.1 + 0.2, 1.0, 2.0, 3.0, 1 / 3)
RUN = ("run", 7, 2, 'a "b", c', 0.25, 1.0, 2.0, 3.0, 4.0)


def opened(folder: Path, *, resume: bool = True, **settings: object) -> RowsFile:
    return RowsFile(folder / "r.csv", {**SETTINGS, **settings}, resume=resume)


def values(file: RowsFile, *videos: str) -> list[Sequence[object]]:
    rows = file.table(videos).astype(object)
    return [tuple(row) for row in rows.where(rows.notna(), None).to_numpy().tolist()]


def test_rows_come_back_exactly_and_in_the_order_of_the_data(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.add("run", [RUN], 9, 1.0)
    file.add("walk", [WALK], 1, 1.0)

    assert values(file, "walk", "run") == [WALK, RUN]
    assert values(opened(tmp_path), "run", "walk") == [RUN, WALK]
    assert read_rows(tmp_path / "r.csv")["score"].tolist() == [0.25, 0.1 + 0.2]


def test_rows_of_a_clip_keep_their_order(tmp_path: Path) -> None:
    file = opened(tmp_path)
    rows = [("walk", 0, number, "walk", 0.5, 0.0, 0.0, 1.0, 1.0) for number in range(300)]
    file.add("walk", rows, 1, 1.0)
    file.add("run", [RUN], 9, 1.0)

    assert file.table(["run", "walk"])["tube"].tolist() == [2, *range(300)]


def test_nothing_found_anywhere_is_a_table_without_rows(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.add("walk", [], 5, 1.0)

    assert values(file, "walk") == []
    assert list(opened(tmp_path).done) == ["walk"]


@pytest.mark.parametrize("torn", ["rows", "rows and half a line", "progress"])
def test_what_a_kill_left_of_the_last_clip_is_cut_off(tmp_path: Path, torn: str) -> None:
    file = opened(tmp_path)
    file.add("walk", [WALK], 1, 1.0)
    whole = {path: path.read_bytes() for path in (file.path, file.progress)}
    file.add("run", [RUN, RUN], 9, 1.0)
    if torn != "progress":
        file.path.write_bytes(file.path.read_bytes()[:-5])
        line = file.progress.read_bytes().removeprefix(whole[file.progress])
        half = line[:20] if torn == "rows and half a line" else b""
        file.progress.write_bytes(whole[file.progress] + half)
    else:  # of which the disk took more than of the rows
        file.path.write_bytes(file.path.read_bytes()[:-5])

    again = opened(tmp_path)

    assert list(again.done) == ["walk"]
    assert {path: path.read_bytes() for path in whole} == whole
    again.add("run", [RUN, RUN], 9, 1.0)
    assert values(opened(tmp_path), "walk", "run") == [WALK, RUN, RUN]


@pytest.mark.parametrize("left", [b"", b'{"weig'])
def test_a_kill_at_the_very_beginning_leaves_nothing_to_go_on_with(
    tmp_path: Path, left: bytes
) -> None:
    (tmp_path / "r.progress.jsonl").write_bytes(left)

    file = opened(tmp_path)
    file.add("walk", [WALK], 1, 1.0)

    assert values(opened(tmp_path), "walk") == [WALK]


def test_rows_of_other_settings_are_refused_and_stay(tmp_path: Path) -> None:
    opened(tmp_path).add("walk", [WALK], 1, 1.0)
    before = (tmp_path / "r.csv").read_bytes()

    with pytest.raises(
        UsageError, match=r"r\.csv: was made with weights abc, not def; give the sa"
    ):
        opened(tmp_path, weights="def")

    assert (tmp_path / "r.csv").read_bytes() == before


def test_rows_that_are_there_are_not_replaced(tmp_path: Path) -> None:
    opened(tmp_path, resume=False)

    with pytest.raises(OutputError, match=r"r\.csv: exists already; go on with --resume"):
        opened(tmp_path, resume=False)
    (tmp_path / "r.progress.jsonl").unlink()
    with pytest.raises(OutputError, match=r"r\.csv: exists already"):
        opened(tmp_path)


@pytest.mark.parametrize("content", ["no json\n", "[]\n", '{"weights": "abc"}\n'])
def test_progress_of_another_form_is_named(tmp_path: Path, content: str) -> None:
    opened(tmp_path)
    (tmp_path / "r.progress.jsonl").write_text(content)

    with pytest.raises((DatasetError, UsageError), match=r"r\.(progress\.jsonl|csv): ") as failure:
        opened(tmp_path)
    assert "\n" not in str(failure.value)


def test_lines_that_are_no_clips_are_named(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.progress.write_text(json.dumps(SETTINGS) + '\n{"video": "walk"}\n')

    with pytest.raises(DatasetError, match=r"r\.progress\.jsonl: expected what `tubedet evaluate"):
        opened(tmp_path)


def test_a_name_without_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"r\.jsonl: expected a name for rows that ends in \.csv"):
        RowsFile(tmp_path / "r.jsonl", SETTINGS, resume=False)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"r\.progress\.jsonl: could not be written "):
        opened(tmp_path / "none")


def test_a_clip_that_failed_is_tried_again(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.add_failure("walk", "no video")
    file.add("run", [RUN], 9, 1.0)

    again = opened(tmp_path)

    assert list(again.done) == ["run"]
    again.add("walk", [WALK], 1, 1.0)
    assert values(opened(tmp_path), "walk", "run") == [WALK, RUN]


def test_the_rate_is_that_of_all_starts_without_the_first_clip_of_each(tmp_path: Path) -> None:
    file = opened(tmp_path)
    assert file.frames_per_second is None
    file.add("a", [], 10, 20.0)
    assert file.frames_per_second == 0.5  # there is no other
    file.add("b", [], 30, 2.0)
    file.add_failure("c", "no video")
    again = opened(tmp_path)
    again.add("c", [], 10, 50.0)
    again.add("d", [], 10, 3.0)

    assert again.frames_per_second == 8.0


@pytest.mark.parametrize(
    "edit",
    [
        lambda rows: rows.replace(b"0.25", b"0.75"),
        lambda rows: rows.replace(b"\n", b"\r\n"),
        lambda rows: b"".join(rows.splitlines(keepends=True)[::2]) + bytes(200),
    ],
    ids=["a score", "ends of lines", "a row removed"],
)
def test_rows_that_were_edited_are_refused(tmp_path: Path, edit: Callable[[bytes], bytes]) -> None:
    file = opened(tmp_path)
    file.add("walk", [WALK], 1, 1.0)
    file.add("run", [RUN], 9, 1.0)
    file.path.write_bytes(edit(file.path.read_bytes()))

    with pytest.raises(DatasetError, match=r"r\.csv: expected the rows as they were written"):
        opened(tmp_path)
