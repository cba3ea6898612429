"""Formats of annotators, trackers, analysts and players, read by their own programs' readers."""

import csv
import json
import sqlite3
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import asdict, replace
from fractions import Fraction
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.output_targets import RUN_META, finished, open_writer, target_for
from tests.synthetic_video import write_video
from tubedet.datasets.ava import load_ava
from tubedet.datasets.coco import load_coco
from tubedet.datasets.cvat import load_cvat
from tubedet.detections import Detection, FrameDetections
from tubedet.errors import OutputError, UsageError
from tubedet.video.frame import VideoFrame
from tubedet.writers.row_store import RowStore
from tubedet.writers.target import OutputTarget
from tubedet.writers.writer import FrameResult, Writer

VIDEO = "sub dir/=a 'b' & שלום.mp4"
AWKWARD = [
    "<script>alert('x')</script>",
    "two\nlines, a comma",
    "=1+1",
    'say "hi"',
    "😀 שלום",
    " walk ",
    "",
    "nan",
    "a --> b",
    "bell\x07",
    "#no: comment",
]
META = replace(
    RUN_META,
    video=VIDEO,
    width=200,
    height=100,
    fps="25/1",
    first_frame=0,
    stride=1,
    processed_frames=10,
    decoded_frames=10,
    class_names=("walk", "run"),
)
# Frames of a varying rate: frame 3 is shown for two seconds.
TIMES = [Fraction(n, 25) for n in range(4)] + [2 + Fraction(n, 25) for n in range(4, 10)]
BOX = (10.25, 20.5, 60.13, 70.01)
Boxes = dict[int, list[tuple[str, float, int | None]]]
STORY: Boxes = {
    0: [("walk", 0.9, 0)],
    1: [("walk", 0.8, 0), ("run", 0.5, None)],
    3: [("walk", 0.7, 0)],
    4: [("run", 0.6, 0), ("walk", 0.25, 7)],
}


@pytest.fixture
def target(tmp_path: Path) -> OutputTarget:
    return target_for(tmp_path, Path("clip.mp4"), video=VIDEO, run_meta=lambda: META)


def results(boxes: Boxes) -> Iterator[FrameResult]:
    for number, time_s in enumerate(TIMES):
        of_frame = [
            Detection(label, 0, score, BOX, tube=tube)
            for label, score, tube in boxes.get(number, ())
        ]
        rgb = np.zeros((1, 1, 3), np.uint8)
        found = FrameDetections(number, number * 512, float(time_s), tuple(of_frame))
        yield FrameResult(VideoFrame(number, number * 512, time_s, rgb), found)


def written(name: str, target: OutputTarget, boxes: Boxes = STORY) -> Path:
    writer = open_writer(name, target)
    for result in results(boxes):
        writer.write(result)
    path = finished(writer)
    writer.abandon()
    return path


def awkward() -> Boxes:
    boxes: Boxes = {}
    for tube, label in enumerate(AWKWARD):
        boxes.setdefault(min(tube, 9), []).append((label, 0.5, tube))
    return boxes


def test_pandas_reads_parquet_with_whole_numbers_and_the_meta(target: OutputTarget) -> None:
    pd = pytest.importorskip("pandas")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = written("parquet", target)

    table = pd.read_parquet(path, dtype_backend="pyarrow")

    assert list(table) == "video frame pts time_s tube label score x1 y1 x2 y2".split()
    assert table["tube"].isna().sum() == 1
    assert tuple(table.iloc[5]) == (VIDEO, 4, 2048, 2.16, 7, "walk", 0.25, *BOX)
    told = json.loads(parquet.read_schema(path).metadata[b"tubedet"])
    assert told == json.loads(json.dumps(asdict(META)))


def test_pycocotools_reads_images_boxes_categories_and_results(
    target: OutputTarget, capsys: pytest.CaptureFixture[str]
) -> None:
    coco_module = pytest.importorskip("pycocotools.coco")
    coco = coco_module.COCO(str(written("coco", target)))

    assert [each["name"] for each in coco.loadCats(coco.getCatIds())] == ["walk", "run"]
    assert sorted(coco.getImgIds()) == list(range(1, 11)), "frames without a box are background"
    (image,) = coco.loadImgs([5])
    assert image["file_name"] == "sub dir/=a 'b' & שלום/00005.jpg"
    assert (image["width"], image["height"], image["video_id"]) == (200, 100, 1)
    run, walk = coco.loadAnns(coco.getAnnIds(imgIds=[5]))
    assert (run["category_id"], walk["category_id"]) == (2, 1)
    assert walk["bbox"] == [10.25, 20.5, 49.88, 49.51]
    told = [walk[name] for name in ("score", "track_id", "frame", "time_s", "pts")]
    assert told == [0.25, 7, 4, 2.16, 2048]
    assert coco.dataset["info"]["tubedet"]["tubedet_version"] == "0.1.0"
    again = coco.loadRes(coco.dataset["annotations"])
    assert len(again.getAnnIds()) == 6
    capsys.readouterr()


def test_cvat_has_a_track_for_each_tube_and_label_that_pauses_where_there_is_no_box(
    target: OutputTarget,
) -> None:
    root = ElementTree.parse(written("cvat", target)).getroot()

    shown = [
        (
            track.attrib["label"],
            [(int(box.attrib["frame"]), box.attrib["outside"]) for box in track],
        )
        for track in root.findall("track")
    ]
    assert shown == [
        ("run", [(4, "0"), (5, "1")]),
        ("walk", [(0, "0"), (1, "0"), (2, "1"), (3, "0"), (4, "1")]),
        ("walk", [(4, "0"), (5, "1")]),
        ("run", [(1, "0"), (2, "1")]),
    ]
    box = root.findall("track")[2][0]
    assert [box.attrib[edge] for edge in ("xtl", "ytl", "xbr", "ybr")] == [
        "10.25", "20.50", "60.13", "70.01"
    ]  # fmt: skip
    assert [each.text for each in box] == ["7", "0.2500"]
    assert json.loads(root.findtext("meta/tubedet") or "")["video"] == VIDEO
    assert (root.findtext(".//stop_frame"), root.findtext(".//source")) == (
        "9",
        "=a 'b' & שלום.mp4",
    )


def test_a_stride_is_said_to_cvat_and_gaps_begin_at_the_next_frame_that_was_looked_at(
    target: OutputTarget,
) -> None:
    every_third = replace(META, stride=3, processed_frames=4)
    path = written("cvat", replace(target, run_meta=lambda: every_third), {3: STORY[3]})

    root = ElementTree.parse(path).getroot()
    assert root.findtext(".//frame_filter") == "step=3"
    assert [box.attrib["frame"] for box in root.iter("box")] == ["3", "6"]


@pytest.mark.parametrize("name", ["cvat", "coco", "ava"])
def test_a_detector_can_be_trained_on_what_is_written(
    target: OutputTarget, tmp_path: Path, name: str
) -> None:
    pytest.importorskip("defusedxml")
    load = {"cvat": load_cvat, "coco": load_coco, "ava": load_ava}[name]
    constant = {n: boxes for n, boxes in STORY.items() if n < 4}  # before the rate varies
    plain = replace(META, video="clip.mp4")
    of_clip = replace(target, video="clip.mp4", run_meta=lambda: plain, folder=tmp_path / "in")
    path = written(name, of_clip, constant)
    root = path if path.is_dir() else path.parent
    write_video(root / "clip.mp4", frames=10, width=200, height=100, fps=Fraction(25))

    dataset = load(root, part="trainval")

    (clip,) = dataset.clips
    assert set(dataset.class_names) == {"run", "walk"}
    assert [len(boxes) for boxes in clip.boxes_by_frame] == [1, 2, 0, 1, 0, 0, 0, 0, 0, 0]
    assert clip.boxes_by_frame[0][0].box_xyxy == pytest.approx(BOX, abs=0.005)
    assert dataset.class_names[clip.boxes_by_frame[0][0].class_index] == "walk"
    background = [] if name == "ava" else [2, 4, 5, 6, 7, 8, 9]
    assert sorted(clip.background_frames) == background


def test_datumaro_reads_cvat_and_mot(target: OutputTarget) -> None:
    datumaro = pytest.importorskip("datumaro", reason="it would replace the headless OpenCV")
    cvat = datumaro.Dataset.import_from(str(written("cvat", target)), "cvat")
    mot = datumaro.Dataset.import_from(str(written("mot", target)), "mot_seq")

    for dataset in (cvat, mot):
        boxes = [each for item in dataset for each in item.annotations]
        shown = [each for each in boxes if not each.attributes.get("outside")]
        assert len(shown) == 6


@pytest.mark.filterwarnings("ignore:Operation with tuple")  # motmetrics beside pandas 3
def test_motmetrics_reads_frames_tracks_boxes_and_classes_from_1(target: OutputTarget) -> None:
    motmetrics = pytest.importorskip("motmetrics")
    folder = written("mot", target)

    table = motmetrics.io.loadtxt(folder / "gt/gt.txt", fmt="mot16")

    walk = table.loc[(5, 8)]  # frame 4, tube 7
    assert [walk["X"], walk["Y"], walk["Width"], walk["Height"]] == [10.25, 20.5, 49.88, 49.51]
    assert (walk["Confidence"], walk["ClassId"]) == (0.25, 1)
    assert table.loc[(2, -1)]["ClassId"] == 2, "a box without a tube"
    assert (folder / "gt/labels.txt").read_text("utf-8") == "walk\nrun\n"
    told = (folder / "seqinfo.ini").read_text("utf-8").splitlines()
    assert len([line for line in told if "=" in line]) == 7, "Datumaro takes a comment for a field"
    sequence = ConfigParser()
    sequence.read(folder / "seqinfo.ini", encoding="utf-8")
    assert dict(sequence["Sequence"]) == {
        "name": "clip", "imdir": "img1", "framerate": "25", "seqlength": "10",
        "imwidth": "200", "imheight": "100", "imext": ".jpg",
    }  # fmt: skip


def test_ava_has_the_frames_own_times_and_boxes_in_fractions(target: OutputTarget) -> None:
    folder = written("ava", target)

    with (folder / "ava.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    name = "sub dir/=a 'b' & שלום"
    assert rows[-1] == [name, "2.160000", "0.051250", "0.205000", "0.300650", "0.700100", "1", "7"]
    assert [row[1] for row in rows] == ["0.000000", "0.040000", "0.040000", "0.120000",
                                        "2.160000", "2.160000"]  # fmt: skip
    assert [row[6:] for row in rows[:3]] == [["1", "0"], ["1", "0"], ["2", ""]]
    listed = (folder / "action_list.pbtxt").read_text("utf-8").splitlines()
    assert listed[1:5] == ["item {", '  name: "walk"', "  id: 1", "}"]


def test_supervision_reads_yolo_boxes_to_a_hundredth_of_a_pixel(
    target: OutputTarget, tmp_path: Path
) -> None:
    yolo = pytest.importorskip("supervision.dataset.formats.yolo")
    cv2 = pytest.importorskip("cv2")
    folder = written("yolo", target)
    images = tmp_path / "images"
    images.mkdir()
    for number in range(10):
        cv2.imwrite(str(images / f"{number:06d}.jpg"), np.zeros((100, 200, 3), np.uint8))

    classes, _, found = yolo.load_yolo_annotations(
        str(images), str(folder), str(folder / "data.yaml")
    )

    assert list(classes) == ["walk", "run"]
    by_frame = {int(Path(name).stem): each for name, each in found.items()}
    assert [len(by_frame[n]) for n in range(10)] == [1, 2, 0, 1, 2, 0, 0, 0, 0, 0]
    assert by_frame[4].class_id.tolist() == [1, 0]
    np.testing.assert_allclose(by_frame[4].xyxy, [BOX, BOX], atol=0.01)


def test_label_studio_gets_rectangles_whose_times_are_the_frames_own(target: OutputTarget) -> None:
    (task,) = json.loads(written("label-studio", target).read_text("utf-8"))

    assert task["data"] == {"video": VIDEO}
    assert task["meta"]["tubedet"]["weights_sha256"] is None
    (prediction,) = task["predictions"]
    walk = next(each for each in prediction["result"] if len(each["value"]["sequence"]) == 3)
    assert (walk["type"], walk["from_name"], walk["to_name"]) == ("videorectangle", "box", "video")
    assert (walk["value"]["labels"], walk["meta"], walk["score"]) == (["walk"], {"tube": 0}, 0.8)
    keyframes = walk["value"]["sequence"]
    assert [each["frame"] for each in keyframes] == [1, 2, 4]
    assert [each["enabled"] for each in keyframes] == [True, False, False]
    assert [each["time"] for each in keyframes] == [0.0, 0.04, 0.12]
    (late,) = (each for each in prediction["result"] if each["meta"] == {"tube": 7})
    assert late["value"]["sequence"][0]["time"] == 2.16
    shares = [keyframes[0][side] for side in ("x", "y", "width", "height")]
    assert shares == [5.125, 20.5, 24.94, 49.51]


CUES = [(0, 160, "walk (0)"), (2160, 2200, "run (0)"), (2160, 2200, "walk (7)")]


def test_pysubs2_reads_cues_of_a_varying_rate(target: OutputTarget) -> None:
    pysubs2 = pytest.importorskip("pysubs2")
    subtitles = pysubs2.load(str(written("srt", target)))

    assert [(each.start, each.end, each.text) for each in subtitles] == CUES


def test_webvtt_reads_cues_and_leaves_the_note_out(target: OutputTarget) -> None:
    webvtt = pytest.importorskip("webvtt")
    path = written("vtt", target)
    cues = webvtt.read(path)

    found = [(1000 * each.start_in_seconds, 1000 * each.end_in_seconds, each.text) for each in cues]
    assert [text for *_, text in found] == [text for *_, text in CUES]
    assert [each.start for each in cues] == ["00:00:00.000", "00:00:02.160", "00:00:02.160"]
    note = path.read_text("utf-8").split("\n\n")[1]
    assert json.loads(note.removeprefix("NOTE tubedet "))["video"] == VIDEO


def test_a_cue_ends_where_its_tube_begins_to_do_something_else(target: OutputTarget) -> None:
    pysubs2 = pytest.importorskip("pysubs2")
    quick = replace(META, fps="5/1")  # a nominal frame of 200 ms, of which these last 40
    boxes: Boxes = {0: [("walk", 0.5, 0)], 1: [("run", 0.5, 0)], 2: [("run", 0.5, 0)]}
    subtitles = pysubs2.load(str(written("srt", replace(target, run_meta=lambda: quick), boxes)))

    assert [(each.start, each.end) for each in subtitles] == [(0, 40), (40, 280)]


@pytest.mark.parametrize("boxes", [{}, {1: [("run", 0.5, None)]}], ids=["none", "no tube"])
def test_a_video_without_boxes_or_tubes_is_whole_in_every_format(
    target: OutputTarget, boxes: Boxes
) -> None:
    pysubs2, webvtt = pytest.importorskip("pysubs2"), pytest.importorskip("webvtt")

    assert list(pysubs2.load(str(written("srt", target, boxes)), format_="srt")) == []
    assert list(webvtt.read(written("vtt", target, boxes))) == []
    coco = json.loads(written("coco", target, boxes).read_text("utf-8"))
    assert (len(coco["images"]), len(coco["annotations"])) == (10, len(boxes))
    cvat = ElementTree.parse(written("cvat", target, boxes)).getroot()
    assert len(cvat.findall("track")) == len(boxes)
    (studio,) = json.loads(written("label-studio", target, boxes).read_text("utf-8"))
    assert len(studio["predictions"][0]["result"]) == len(boxes)
    table = written("mot", target, boxes) / "gt/gt.txt"
    assert len(table.read_text("utf-8").splitlines()) == len(boxes)
    assert len(list(written("yolo", target, boxes).glob("*.txt"))) == len(boxes)
    pq = pytest.importorskip("pyarrow.parquet")
    assert pq.read_table(written("parquet", target, boxes)).num_rows == len(boxes)


def test_awkward_labels_are_one_label_in_every_list(target: OutputTarget) -> None:
    boxes = awkward()
    labels = ["walk", "run", *AWKWARD]

    coco = json.loads(written("coco", target, boxes).read_text("utf-8"))
    assert [each["name"] for each in coco["categories"]] == labels
    cvat = ElementTree.parse(written("cvat", target, boxes)).getroot()
    spelled = [label.replace("\x07", "\\x07") for label in AWKWARD]  # XML has no bell
    assert sorted(each.attrib["label"] for each in cvat.iter("track")) == sorted(spelled)
    assert [each.findtext("name") for each in cvat.iter("label")] == ["walk", "run", *spelled]
    mot = (written("mot", target, boxes) / "gt/labels.txt").read_text("utf-8").split("\n")
    assert len(mot) == len(labels) + 1
    assert mot[2:9] == [AWKWARD[0], '"two\\nlines, a comma"', "=1+1", 'say "hi"', "😀 שלום",
                        '" walk "', '""']  # fmt: skip
    (studio,) = json.loads(written("label-studio", target, boxes).read_text("utf-8"))
    named = [each["value"]["labels"][0] for each in studio["predictions"][0]["result"]]
    assert sorted(named) == sorted(AWKWARD)


def test_awkward_labels_are_read_from_yaml_and_subtitles(target: OutputTarget) -> None:
    yaml = pytest.importorskip("yaml")
    pysubs2 = pytest.importorskip("pysubs2")
    webvtt = pytest.importorskip("webvtt")
    boxes = awkward()

    named = yaml.safe_load((written("yolo", target, boxes) / "data.yaml").read_text("utf-8"))
    assert list(named["names"].values()) == ["walk", "run", *AWKWARD]
    assert len(pysubs2.load(str(written("srt", target, boxes)))) == len(AWKWARD)
    cues = list(webvtt.read(written("vtt", target, boxes)))
    texts = [unescape(cue.raw_text) for cue in cues]
    expected = [f"{' '.join(label.split())} ({n})" for n, label in enumerate(AWKWARD)]
    assert [text.strip() for text in texts] == [text.strip() for text in expected]


@pytest.mark.parametrize(
    "name", ["parquet", "coco", "cvat", "mot", "ava", "yolo", "label-studio", "srt", "vtt"]
)
def test_closed_again_it_is_what_it_was_without_a_frame_that_was_taken_back(
    target: OutputTarget, tmp_path: Path, name: str
) -> None:
    """As a run ends that finds the disk full: once more, and as not complete."""
    writer = open_writer(name, target)
    other = open_writer(name, replace(target, folder=tmp_path / "other"))
    for result in list(results(STORY))[:4]:
        writer.write(result)
        other.write(result)
    writer.write(list(results(STORY))[4])
    writer.close(complete=True)
    writer.take_back()
    writer.close(complete=False)
    other.close(complete=False)

    assert contents(writer) == contents(other)
    for each in (writer, other):
        each.abandon()
        each.remove()


def contents(writer: Writer) -> dict[str, bytes]:
    path = writer.path
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return {each.relative_to(path).as_posix(): each.read_bytes() for each in files}


@pytest.mark.parametrize("name", ["coco", "mot"])
def test_rows_that_find_no_room_are_an_output_error_that_names_the_output(
    target: OutputTarget, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    writer = open_writer(name, target)
    monkeypatch.setattr(RowStore, "add", refuse)
    with pytest.raises(OutputError, match=r"cannot write .*clip\..*: database or disk is full"):
        writer.write(next(results(STORY)))
    writer.abandon()


def test_without_pyarrow_one_line_says_what_to_install_and_nothing_is_left(
    target: OutputTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"Parquet files need .* 'tubedet\[formats\]'"):
        open_writer("parquet", target)
    assert list(target.folder.iterdir()) == []


def test_a_folder_with_somebodys_files_is_not_replaced(target: OutputTarget) -> None:
    written("yolo", target)
    written("yolo", target)  # its own files are
    picture = target.folder / "clip.yolo/000000.jpg"
    picture.write_bytes(b"of the user")

    with pytest.raises(OutputError, match="a folder that holds something else is in the way"):
        written("yolo", target)

    assert picture.read_bytes() == b"of the user"
