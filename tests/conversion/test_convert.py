"""Rows go into other formats and come back as they were, as far as the format holds them."""

import csv
import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from tests.output_targets import RUN_META
from tests.scripted_detector import ScriptedDetector
from tests.scripted_run import job_of, names_in, run
from tests.synthetic_video import write_video
from tubedet.conversion.class_lines import class_at
from tubedet.conversion.convert import convert_rows
from tubedet.errors import DatasetError, OutputError, UsageError
from tubedet.run.detection import DetectionWork
from tubedet.run.plan import RunPlan
from tubedet.writers.run_meta import RunMeta

META = replace(
    RUN_META,
    video="sub/my clip.mp4",
    width=1920,
    height=1080,
    fps="30000/1001",
    stride=1,
    processed_frames=400,
    class_names=("walk", "run"),
)
LABELS = ["walk", "run", "two\nlines", "=1+1", "<script>", '"quoted"', " walk ", "", "😀 שלום"]
HEADER = "video frame pts time_s tube label score x1 y1 x2 y2".split()
# What a format gives back otherwise than it was, and as what.
LOST: dict[str, dict[str, str]] = {
    "csv": {},
    "json": {},
    "jsonl": {},
    "parquet": {},
    "coco": {},
    "cvat": {"pts": ""},
    "mot": {"pts": ""},
    "ava": {"pts": "", "score": "1.0000"},
    "yolo": {"pts": "", "score": "1.0000", "tube": ""},
}
SUFFIXES = {
    "csv": ".csv", "json": ".json", "jsonl": ".jsonl", "parquet": ".parquet", "coco": ".coco.json",
    "cvat": ".cvat.xml", "mot": ".mot", "ava": ".ava", "yolo": ".yolo",
}  # fmt: skip


def rows() -> list[dict[str, str]]:
    """300 boxes, hundredths of a pixel apart, some without a tube; two a frame now and then."""
    made = []
    for n in range(300):
        frame = n - n % 7 // 6
        time_s = float(frame / Fraction(META.fps))
        edges = (n / 7, n / 11, 1700 + n / 3, 1000 + n / 13)
        box = (f"{edge:.2f}" for edge in edges)
        tube, label = "" if n % 5 == 4 else n % 3, LABELS[n % len(LABELS)]
        pts, score = frame * 512, f"{n / 997:.4f}"
        cells = (META.video, frame, pts, f"{time_s:.6f}", tube, label, score, *box)
        made.append(dict(zip(HEADER, map(str, cells), strict=True)))
    return made


def write_rows(folder: Path, made: list[dict[str, str]], meta: RunMeta | None = META) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "my clip.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, HEADER, lineterminator="\n")
        table.writeheader()
        table.writerows(made)
    if meta:
        (folder / "my clip.meta.json").write_text(meta.to_json())
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def in_order(made: list[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(made, key=lambda row: (int(row["frame"]), row["label"], row["x1"]))


@pytest.mark.parametrize("name", LOST)
def test_rows_come_back_as_they_were_but_for_what_the_format_lacks(
    tmp_path: Path, name: str
) -> None:
    source = write_rows(tmp_path / "in", rows())
    *_, meta_path = convert_rows(source, [name], folder=tmp_path / "out")
    assert meta_path == tmp_path / "out/my clip.meta.json"

    written = tmp_path / f"out/my clip{SUFFIXES[name]}"
    convert_rows(written, ["csv"], folder=tmp_path / "back")

    back = read(tmp_path / "back/my clip.csv")
    assert in_order(back) == in_order([{**row, **LOST[name]} for row in rows()])


@pytest.mark.parametrize("source", [".csv", ".json", ".parquet", ".coco.json"])
@pytest.mark.parametrize("stride", [1, 2])
def test_conversion_writes_what_the_run_itself_would_have_written(
    tmp_path: Path, source: str, stride: int
) -> None:
    """Of a turned video of varying rate with an awkward name."""
    name = "=a 'b', שלום <i>😀"
    times = [0, 1, 2, 3, 50, 51, 52, 60, 61, 62, 90, 91]
    video = write_video(tmp_path / f"{name}.mp4", frames=12, timestamps=times, rotation=90)
    formats = ["csv", "json", "jsonl", *list(SUFFIXES)[3:], "label-studio", "srt", "vtt"]
    run(job_of(video), DetectionWork(ScriptedDetector(), RunPlan(stride=stride)), formats)

    convert_rows(tmp_path / f"out/{name}{source}", formats, folder=tmp_path / "again")

    written = [each for each in names_in(tmp_path / "out") if not each.endswith(".meta.json")]
    endings = {each.removeprefix(name).split("/")[0] for each in written}
    assert endings == {*SUFFIXES.values(), ".label-studio.json", ".srt", ".vtt"}
    for each in written:
        if not each.endswith(".parquet"):
            again = (tmp_path / "again" / each).read_bytes()
            assert again == (tmp_path / "out" / each).read_bytes(), each
    run_meta, again_meta = (
        RunMeta.read(tmp_path / folder / f"{name}.meta.json") for folder in ("out", "again")
    )
    assert run_meta == again_meta


def test_all_formats_are_written_at_once_and_the_meta_tells_of_them_beside_the_run_s(
    tmp_path: Path,
) -> None:
    run = replace(META, outputs={"csv": {"name": "my clip.csv", "bytes": 1}})
    source = write_rows(tmp_path, rows(), run)
    before = source.read_bytes()

    convert_rows(source, ["cvat", "srt", "label-studio"])

    meta = RunMeta.read(tmp_path / "my clip.meta.json")
    assert meta is not None
    assert list(meta.outputs) == ["csv", "cvat", "srt", "label-studio"]
    assert source.read_bytes() == before
    assert meta.settings == META.settings


def test_rows_may_be_in_any_order(tmp_path: Path) -> None:
    source = write_rows(tmp_path / "in", rows()[::-1])

    convert_rows(source, ["csv"], folder=tmp_path)

    frames = [int(row["frame"]) for row in read(tmp_path / "my clip.csv")]
    assert frames == sorted(frames)


def test_results_are_not_replaced_unasked_and_neither_are_those_of_another_run(
    tmp_path: Path,
) -> None:
    source = write_rows(tmp_path, rows())
    convert_rows(source, ["coco"])
    with pytest.raises(OutputError, match=r"my clip\.coco\.json: exists already; give --overwrite"):
        convert_rows(source, ["coco"])
    convert_rows(source, ["coco"], overwrite=True)

    other = replace(META, settings={"min_score": 0.9})
    write_rows(tmp_path / "other", rows(), other)
    with pytest.raises(OutputError, match=r"my clip\.meta\.json: exists already"):
        convert_rows(source, ["jsonl"], folder=tmp_path / "other")
    assert not (tmp_path / "other/my clip.jsonl").exists()


def test_frames_that_a_person_has_reviewed_stay_in_their_meta(tmp_path: Path) -> None:
    source = write_rows(tmp_path, rows(), None)
    meta_path = tmp_path / "my clip.meta.json"
    corrected = json.dumps({**json.loads(META.to_json()), "reviewed_frames": [1, 2]})
    meta_path.write_text(corrected)

    for overwrite in (False, True):
        with pytest.raises(
            OutputError, match="which frames were reviewed, and stays; name another"
        ):
            convert_rows(source, ["jsonl"], overwrite=overwrite)
    assert meta_path.read_text() == corrected
    convert_rows(source, ["jsonl"], folder=tmp_path / "out")


def test_the_meta_of_corrected_rows_may_be_that_of_the_run(tmp_path: Path) -> None:
    source = write_rows(tmp_path, rows())
    corrected = source.rename(tmp_path / "my clip.corrected.csv")

    first, _ = convert_rows(corrected, ["cvat"])

    assert first.name == "my clip.corrected.cvat.xml"


def test_without_a_meta_the_video_says_size_and_rate(tmp_path: Path) -> None:
    source = write_rows(tmp_path, rows()[:2], None)
    with pytest.raises(UsageError, match=r"my clip\.meta\.json beside it.*--video"):
        convert_rows(source, ["coco"])
    video = write_video(tmp_path / "clip.mp4", frames=12, width=64, height=48)

    convert_rows(source, ["coco"], video=video)

    coco = json.loads((tmp_path / "my clip.coco.json").read_text("utf-8"))
    sizes = {(each["width"], each["height"]) for each in coco["images"]}
    assert (len(coco["images"]), sizes) == (12, {(64, 48)})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"video": "other.mp4"}, "one video a file"),
        ({"frame": "-1"}, "row 2: frame -1"),
        ({"x1": "nan"}, "row 2: frame 1"),
        ({"score": "much"}, "rows of tubedet's"),
        ({"time_s": "inf"}, "row 2: frame 1: time inf"),
        ({"tube": str(2**63)}, "a whole number of 64 bits"),
    ],
)
def test_bad_rows_are_one_line_that_names_the_file_and_leave_nothing(
    tmp_path: Path, change: dict[str, str], words: str
) -> None:
    bad = rows()[:2]
    bad[1] |= change
    source = write_rows(tmp_path / "in", bad)

    with pytest.raises(DatasetError, match=rf"my clip\.csv: expected .*{words}") as error:
        convert_rows(source, ["cvat"], folder=tmp_path / "out")

    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [name for name in LOST if name not in {"mot", "ava", "yolo"}])
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe\x00", b"<annotations>"])
def test_a_file_of_another_kind_is_a_dataset_error(
    tmp_path: Path, name: str, content: bytes
) -> None:
    write_rows(tmp_path, [])
    path = tmp_path / f"my clip{SUFFIXES[name]}"
    path.write_bytes(content)
    if name == "jsonl" and content == b"":
        return  # no rows
    with pytest.raises(DatasetError, match="my clip"):
        convert_rows(path, ["srt"], folder=tmp_path / "out")


def test_an_export_of_cvat_s_without_scores_is_read_as_annotated(tmp_path: Path) -> None:
    write_rows(tmp_path, [])
    path = tmp_path / "my clip.cvat.xml"
    path.write_text(
        '<annotations><track id="4" label="run">'
        '<box frame="3" outside="0" xtl="1" ytl="2" xbr="3.5" ybr="4"/>'
        '<box frame="4" outside="1" xtl="1" ytl="2" xbr="3.5" ybr="4"/></track></annotations>'
    )

    convert_rows(path, ["csv"], overwrite=True)

    (row,) = read(tmp_path / "my clip.csv")
    assert list(row.values()) == ["sub/my clip.mp4", "3", "", "0.100100", "0", "run", "1.0000",
                                  "1.00", "2.00", "3.50", "4.00"]  # fmt: skip


def test_rows_of_a_run_that_was_stopped_are_refused(tmp_path: Path) -> None:
    source = write_rows(tmp_path, rows(), replace(META, complete=False))
    with pytest.raises(UsageError, match="go on with `tubedet detect --resume`"):
        convert_rows(source, ["cvat"])


@pytest.mark.parametrize("number", [-1, 0, 3])
def test_a_class_that_is_not_listed_has_no_name(number: int) -> None:
    with pytest.raises(LookupError, match=f"class {number} of 2"):
        class_at(number, ["walk", "run"])
    assert [class_at(each, ["walk", "run"]) for each in (1, 2)] == ["walk", "run"]
