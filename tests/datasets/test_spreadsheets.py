"""Tables that went through a spreadsheet: semicolons, decimal commas, encodings."""

from pathlib import Path

import pytest

from tests.synthetic_video import write_video
from tubedet.datasets.named_datasets import load_named_dataset
from tubedet.datasets.row_files import read_records
from tubedet.errors import DatasetError

HEADER = "video,frame,pts,time_s,tube,label,score,x1,y1,x2,y2".split(",")
CELLS = ["a,b;c.mp4", "3", "72", "0.125", "", "wälk", "0.75", "1.5", "2", "30.25", "40"]
EXPECTED = {
    "video": "a,b;c.mp4",
    "frame": 3,
    "label": "wälk",
    "score": 0.75,
    "x1": 1.5,
    "y1": 2.0,
    "x2": 30.25,
    "y2": 40.0,
}


def table(delimiter: str, cells: list[str] = CELLS) -> str:
    quoted = [f'"{cell}"' if set(cell) & {delimiter, '"'} else cell for cell in cells]
    return f"{delimiter.join(HEADER)}\r\n{delimiter.join(quoted)}\r\n"


def with_commas(cells: list[str]) -> list[str]:
    return [cells[0], *(cell.replace(".", ",") for cell in cells[1:])]


def records(path: Path, content: str, encoding: str = "utf-8") -> list[dict[str, object]]:
    path.write_bytes(content.encode(encoding))
    rows = read_records(path)
    return [{name: row[name] for name in EXPECTED} for row in rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_every_delimiter_in_every_encoding_gives_the_same_rows(
    tmp_path: Path, delimiter: str, encoding: str
) -> None:
    cells = CELLS if delimiter == "," else with_commas(CELLS)

    assert records(tmp_path / "r.csv", table(delimiter, cells), encoding) == [EXPECTED]


def test_a_spreadsheet_s_own_lines_are_no_rows(tmp_path: Path) -> None:
    content = f"sep=;\n{table(';')}{';' * 10}\n"

    assert records(tmp_path / "r.csv", content) == [EXPECTED]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["a.mp4", *with_commas(CELLS)[1:-1], "40.5"], "a decimal comma beside"),
        (["a.mp4", *CELLS[1:-1], "1.234,5"], "a decimal comma beside"),
        (["a.mp4", *CELLS[1:-1], "12. Mai"], "expected numbers in a row"),
        (["a.mp4", *CELLS[1:], "7"], "rows have more cells than the header"),
        (["a.mp4", *CELLS[1:-1]], "expected numbers in a row"),
    ],
)
def test_numbers_that_can_be_read_in_two_ways_are_refused(
    tmp_path: Path, cells: list[str], said: str
) -> None:
    (tmp_path / "r.csv").write_text(table(";", cells), "utf-8")

    with pytest.raises(DatasetError, match=said):
        read_records(tmp_path / "r.csv")


def test_commas_that_part_thousands_are_not_taken_for_decimal_ones(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(table(",", [*CELLS[:-1], "1,234"]), "utf-8")

    with pytest.raises(DatasetError, match="expected numbers in a row"):
        read_records(tmp_path / "r.csv")


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_keyframes_of_ava_may_have_decimal_commas(tmp_path: Path, delimiter: str) -> None:
    write_video(tmp_path / "a,1;b.mp4", frames=48, width=64, height=48)  # 24 fps
    rows = [["a,1;b", "1,5", "0,25", "0,5", "0,75", "1", "walk", "7"], ["a,1;b", "1"]]
    lines = [
        delimiter.join(f'"{cell}"' if delimiter in cell else cell for cell in row) for row in rows
    ]
    (tmp_path / "all.csv").write_text("\n".join(lines), "utf-8")

    (clip,) = load_named_dataset(f"ava:{tmp_path}", 1, "all").clips

    assert clip.boxes_by_frame[36] == ((0, (16.0, 24.0, 48.0, 48.0), 7),)
    assert clip.background_frames == [24]


def test_a_guessed_encoding_is_said_with_its_file(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames=4, width=64, height=48)
    (tmp_path / "all.csv").write_bytes("a,0.0,0.1,0.1,0.5,0.9,Stoß,1".encode("cp1252"))

    data = load_named_dataset(f"ava:{tmp_path}", 1, "all")

    assert data.class_names == ("Stoß",)
    (note,) = data.notes
    assert note.text.startswith(f"{tmp_path / 'all.csv'}: no Unicode, read as cp1252")


def test_a_result_without_rows_is_named_and_the_others_used(tmp_path: Path) -> None:
    meta = (
        '{"width": 64, "height": 48, "stride": 1, "first_frame": 0, "processed_frames": 4,'
        ' "decoded_frames": 4, "a field to come": []}'
    )
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", frames=4, width=64, height=48)
        (tmp_path / f"{name}.meta.json").write_text(meta, "utf-8-sig")
    (tmp_path / "a.csv").write_text(
        "video;frame;label;score;x1;y1;x2;y2\na.mp4;1;walk;1;0,5;0;64,5;48", "utf-8"
    )

    data = load_named_dataset(f"folder:{tmp_path}", 1, "all")

    assert data.clips[0].boxes_by_frame[1] == ((0, (0.5, 0.0, 64.0, 48.0), 0),)
    assert [note.text for note in data.notes] == [
        f"{tmp_path / 'b.meta.json'}: no annotation in it, left out",
        "a: boxes that stick out of the frame by a hair, clipped (1)",
    ]
