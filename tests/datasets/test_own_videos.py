"""A user's own annotation: CVAT, AVA and COCO files, and the rows that `tubedet detect` writes."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
from typer.testing import CliRunner, Result

from tests.light_augmentation import LIGHT
from tests.scripted_detector import ScriptedDetector
from tests.synthetic_video import square_xyxy, write_video
from tubedet import pipeline
from tubedet.cli.app import app
from tubedet.datasets import frame_pair_sampling
from tubedet.datasets.batching import BatchShare, TrainingSamples
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.named_datasets import load_named_dataset
from tubedet.errors import DatasetError
from tubedet.video.reader import VideoReader

FRAMES, WIDTH, HEIGHT = 6, 64, 48
HEADER = """<?xml version="1.0" encoding="utf-8"?>
"""
TINY = [
    "input_size=64", "flow_size=64", "batch_size=1", "warmup_steps=1", "cooldown_steps=1",
    "steps=2", "evaluate_every=0",
]  # fmt: skip


def cvat_box(frame: int, label_of_outside: int = 0, corners: Any = None) -> str:
    x1, y1, x2, y2 = corners or square_xyxy(frame, WIDTH, HEIGHT)
    return (
        f'<box frame="{frame}" keyframe="1" outside="{label_of_outside}" occluded="0" '
        f'xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}" z_order="0"></box>'
    )


def cvat_xml(source: str, tracks: dict[str, list[str]]) -> str:
    body = "".join(
        f'<track id="{number}" label="{label}" source="manual">{"".join(boxes)}</track>'
        for number, (label, boxes) in enumerate(tracks.items())
    )
    return (
        f"{HEADER}<annotations><version>1.1</version><meta><task><size>{FRAMES}</size>"
        "<mode>interpolation</mode><start_frame>0</start_frame>"
        f"<stop_frame>{FRAMES - 1}</stop_frame><original_size><width>{WIDTH}</width>"
        f"<height>{HEIGHT}</height></original_size><source>{source}</source></task></meta>"
        f"{body}</annotations>"
    )


@pytest.fixture
def cvat(tmp_path: Path) -> Path:
    """Two videos: someone walks in frames 0 to 2; someone runs all the time."""
    root = tmp_path / "cvat"
    root.mkdir()
    for name in ("a", "b"):
        write_video(root / f"{name}.mp4", frames=FRAMES, width=WIDTH, height=HEIGHT)
    walk = [*(cvat_box(frame) for frame in range(3)), cvat_box(3, 1)]
    (root / "a.xml").write_text(cvat_xml("a.mp4", {"walk": walk}), "utf-8")
    run = [cvat_box(frame) for frame in range(FRAMES)]
    (root / "b.xml").write_text(cvat_xml("b.mp4", {"run": run}), "utf-8")
    return root


def train(data: str, run: Path) -> Result:
    settings = [part for setting in TINY for part in ("--set", setting)]
    return CliRunner().invoke(app, ["train", "--data", data, "-o", str(run), *settings])


def edited(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text("utf-8")
    assert change(before) != before
    path.write_text(change(before), "utf-8")


def test_a_cvat_export_is_read_as_it_was_drawn(cvat: Path) -> None:
    data = load_named_dataset(f"cvat:{cvat}", 1, "all")

    assert data.class_names == ("run", "walk")
    walker = data.clips[0]
    assert (walker.video, walker.path.name, walker.frames) == ("a", "a.mp4", FRAMES)
    boxes = [[box.box_xyxy for box in boxes] for boxes in walker.boxes_by_frame]
    assert boxes == [*([square_xyxy(t, WIDTH, HEIGHT)] for t in range(3)), [], [], []]
    assert walker.background_frames == [3, 4, 5]
    assert {box.class_index for boxes in walker.boxes_by_frame for box in boxes} == {1}


def test_frames_that_a_cvat_task_skipped_are_unknown(cvat: Path) -> None:
    boxes = "".join(cvat_box(frame) for frame in (1, 3))
    edited(cvat / "a.xml", lambda text: text.replace("<start_frame>0", "<start_frame>1"))
    edited(
        cvat / "a.xml",
        lambda text: (
            f"{text[: text.index('<track')]}<track label='walk'>{boxes}</track></annotations>"
        ).replace("<source>", "<frame_filter>step=2</frame_filter><source>"),
    )

    clip, _ = load_named_dataset(f"cvat:{cvat}", 1, "all").clips

    assert clip.examined_frames == frozenset({1, 3, 5})
    assert clip.background_frames == [5]


def test_boxes_of_cvat_are_measured_in_the_frame_that_was_annotated(cvat: Path) -> None:
    edited(cvat / "a.xml", lambda text: text.replace("<width>64", "<width>128"))

    clip, _ = load_named_dataset(f"cvat:{cvat}", 1, "all").clips

    assert (clip.width, clip.height) == (128, HEIGHT)


def test_frames_that_show_nobody_make_samples_without_a_box(
    cvat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_pair_sampling, "BACKGROUND_SHARE", 1.0)
    data = load_named_dataset(f"cvat:{cvat}", 1, "all")
    recipe = replace(LIGHT, background_chance=1.0)
    samples = TrainingSamples(
        data, ClipFrames(), seed=0, input_size=32, share=BatchShare(4), recipe=recipe
    )

    assert [len(samples.sample(index).boxes_xyxy) for index in range(8)] == [0] * 8


def test_a_cvat_export_corrected_by_hand_trains(cvat: Path, tmp_path: Path) -> None:
    edited(cvat / "b.xml", lambda text: text.replace('label="run"', 'label="jump"'))

    result = train(f"cvat:{cvat}", tmp_path / "run")

    assert result.exit_code == 0, result.output
    config = json.loads((tmp_path / "run" / "config.json").read_text("utf-8"))
    assert config["detector"]["class_names"] == ["jump", "walk"]


BOMB = HEADER + (
    '<!DOCTYPE bomb [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<annotations><source>&b;</source></annotations>"
)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace('label="walk"', 'label="wakl"'), "did you mean 'walk'?"),
        (lambda text: text.replace('xtl="2"', 'xtl="nan"'), "expected a box inside 64x48"),
        (lambda text: text.replace('ybr="30"', 'ybr="50"'), "expected a box inside 64x48"),
        (lambda text: text.replace('xtl="2"', 'xtl="19"'), "expected a box inside 64x48"),
        (lambda text: text.replace('frame="2"', 'frame="6"'), "frame 6: expected frames 0 to 5"),
        (lambda text: text.replace('frame="2"', 'frame="two"'), "expected CVAT for video 1.1"),
        (lambda text: text.replace("annotations>", "notes>"), "expected CVAT for video 1.1"),
        (lambda text: "", "expected CVAT for video 1.1"),
        (lambda text: text[:300], "expected CVAT for video 1.1"),
        (lambda text: BOMB, "EntitiesForbidden"),
        (lambda text: text.replace("utf-8", "utf-99"), "expected CVAT for video 1.1"),
        (lambda text: text.replace("<source>a.mp4", "<source>/"), "expected CVAT for video 1.1"),
        (lambda text: text.replace("</meta>", "</meta><image/>"), "export each task for video"),
        (lambda text: text.replace("<task>", "<project/><task>"), "export each task for video"),
    ],
)
def test_a_bad_cvat_file_is_refused_in_one_line(
    cvat: Path, tmp_path: Path, change: Callable[[str], str], said: str
) -> None:
    (cvat / "classes.txt").write_text("walk\nrun\n")
    edited(cvat / "a.xml", change)

    result = train(f"cvat:{cvat}", tmp_path / "run")

    assert result.exit_code == 5, result.output
    (line,) = result.stderr.splitlines()
    assert said in line
    assert not list(tmp_path.glob("run/*"))


def meta_of(**changes: int) -> str:
    facts = {"width": WIDTH, "height": HEIGHT, "stride": 1, "first_frame": 0}
    return json.dumps({**facts, "processed_frames": 6, "decoded_frames": 6, **changes})


@pytest.fixture
def detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `tubedet detect --stride 2` leaves beside two videos."""
    root = tmp_path / "own"
    (root / "day").mkdir(parents=True)
    for name in ("a", "b"):
        write_video(root / "day" / f"{name}.mp4", frames=FRAMES, width=WIDTH, height=HEIGHT)
    monkeypatch.setattr(pipeline, "load_detector", lambda *_, **__: ScriptedDetector())
    command = ["detect", str(root), "-o", str(root), "-f", "csv", "--stride", "2", "--end", "5f"]
    assert CliRunner().invoke(app, command).exit_code == 0
    return root


def test_what_detect_wrote_is_a_data_set_whose_unprocessed_frames_are_unknown(
    detected: Path,
) -> None:
    lines = (detected / "day" / "a.csv").read_text("utf-8").splitlines()
    rows = list(csv.reader(lines))
    with (detected / "day" / "a.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(row for row in rows if row[1] != "2")  # it was a mistake

    data = load_named_dataset(f"folder:{detected}", 1, "all")

    first, second = data.clips
    assert (first.video, first.frames, data.class_names) == ("day/a", FRAMES, ("walk",))
    assert first.examined_frames == frozenset({0, 2, 4})
    assert first.background_frames == [2]
    assert [frame for frame in range(FRAMES) if second.boxes_by_frame[frame]] == [0, 2, 4]
    ((box,),) = [second.boxes_by_frame[2]]
    assert box.box_xyxy == pytest.approx(square_xyxy(2, WIDTH, HEIGHT), abs=1.5)


def test_what_detect_wrote_trains(detected: Path, tmp_path: Path) -> None:
    result = train(f"folder:{detected}", tmp_path / "run")

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "", "expected rows of detections"),
        ("a.csv", "video,frame,label,score,x1,y1,x2,y2\nx,0,walk,1,nan,0,5,5\n", "a finite score"),
        ("a.json", "[]", "expected one file of rows beside it"),
        ("a.meta.json", "{}", "expected what tubedet detect writes"),
        ("a.meta.json", meta_of(stride=0), "expected a stride of 1 or more"),
        ("a.meta.json", meta_of(first_frame=-2), "expected a frame number in first_frame"),
        ("a.meta.json", meta_of(processed_frames=9), "speaks of frame 6: expected frames 0 to 5"),
    ],
)
def test_a_bad_folder_is_refused_in_one_line(
    detected: Path, tmp_path: Path, name: str, content: str, said: str
) -> None:
    (detected / "day" / name).write_text(content, "utf-8")

    result = train(f"folder:{detected}", tmp_path / "run")

    assert result.exit_code == 5, result.output
    (line,) = result.stderr.splitlines()
    assert said in line


def test_ava_s_keyframes_are_known_and_all_else_is_not(tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", frames=48, width=WIDTH, height=HEIGHT)  # 24 fps
    (tmp_path / "classes.txt").write_text("walk\nrun\n")
    rows = ["film,1.0,0.25,0.5,0.75,1.0,2,7", "film,1.0,0.25,0.5,0.75,1.0,1,7", "film,1.5,,,,,,"]
    (tmp_path / "train.csv").write_text("\n".join(rows))

    (clip,) = load_named_dataset(f"ava:{tmp_path}", 1, "all").clips

    assert clip.examined_frames == frozenset({24, 36})
    assert clip.boxes_by_frame[24] == (
        (1, (16.0, 24.0, 48.0, 48.0), 7),
        (0, (16.0, 24.0, 48.0, 48.0), 7),
    )
    (tmp_path / "train.csv").write_text("film,1.0,0.25,0.5,0.75,1.0,3,7")
    with pytest.raises(DatasetError, match="expected an action from 1 to 2"):
        load_named_dataset(f"ava:{tmp_path}", 1, "all")


@pytest.mark.parametrize("row", ["film,902.0,0.1,0.1,0.5,0.5,walk,1", "film,-0.5,,,,,,"])
def test_a_time_outside_the_video_is_refused(tmp_path: Path, row: str) -> None:
    write_video(tmp_path / "film.mp4", frames=24, width=WIDTH, height=HEIGHT)  # 24 fps
    end = "film,1.0,0.25,0.5,0.75,1.0,walk,7"
    (tmp_path / "train.csv").write_text(end)
    (clip,) = load_named_dataset(f"ava:{tmp_path}", 1, "all").clips
    assert clip.examined_frames == frozenset({23})

    (tmp_path / "train.csv").write_text(f"{end}\n{row}")

    with pytest.raises(DatasetError, match="expected frames 0 to 23"):
        load_named_dataset(f"ava:{tmp_path}", 1, "all")


def test_coco_s_images_are_frames_of_videos(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.avi", frames=3, width=WIDTH, height=HEIGHT)
    frames = tmp_path / "coco" / "day" / "v"
    frames.mkdir(parents=True)
    with VideoReader(video) as reader:
        for frame in reader.frames():
            cv2.imwrite(str(frames / f"{frame.frame + 1:05d}.jpg"), frame.rgb[..., ::-1])
    content: dict[str, Any] = {
        "categories": [{"id": 4, "name": "walk"}],
        "images": [
            {"id": n, "file_name": f"day/v/{n:05d}.jpg", "width": WIDTH, "height": HEIGHT}
            for n in (1, 3)
        ],
        "annotations": [{"image_id": 3, "category_id": 4, "bbox": [4, 5, 10, 20], "track_id": 2}],
    }
    notes = tmp_path / "coco" / "train.json"
    notes.write_text(json.dumps(content))

    (clip,) = load_named_dataset(f"coco:{tmp_path / 'coco'}", 1, "all").clips

    assert clip.boxes_by_frame == ((), (), ((0, (4.0, 5.0, 14.0, 25.0), 2),))
    assert (clip.examined_frames, clip.background_frames) == (frozenset({0, 2}), [0])
    assert ClipFrames().of(clip).shape == (3, HEIGHT, WIDTH, 3)
    far = {"id": 9, "file_name": "day/v/00009.jpg", "width": WIDTH, "height": HEIGHT}
    notes.write_text(json.dumps({**content, "images": [*content["images"], far]}))
    with pytest.raises(DatasetError, match="speaks of frame 8: expected frames 0 to 2"):
        load_named_dataset(f"coco:{tmp_path / 'coco'}", 1, "all")
    notes.write_text(json.dumps({**content, "images": [{"id": 3, "file_name": "../../x/1.jpg"}]}))
    with pytest.raises(DatasetError, match=r"expected <video>/<number>\.jpg"):
        load_named_dataset(f"coco:{tmp_path / 'coco'}", 1, "all")


def test_lists_say_which_videos_validate_and_test(cvat: Path) -> None:
    def videos(part: str) -> list[str]:
        return [clip.video for clip in load_named_dataset(f"cvat:{cvat}", 1, part).clips]

    (cvat / "validation.txt").write_text("b\n")
    assert [videos(part) for part in ("train", "validation", "trainval")] == [
        ["a"],
        ["b"],
        ["a", "b"],
    ]
    with pytest.raises(DatasetError, match=r"no video in part test: .* name some in"):
        videos("test")
    (cvat / "test.txt").write_text("c\n")
    with pytest.raises(DatasetError, match="a list names c, which is not annotated"):
        videos("train")


def test_a_list_may_name_videos_that_are_not_annotated_beside_some_that_are(cvat: Path) -> None:
    (cvat / "validation.txt").write_text("c\nB.MOV\nb.mp4\n", "utf-16")

    data = load_named_dataset(f"cvat:{cvat}", 1, "train")

    assert [clip.video for clip in data.clips] == ["a"]
    (note,) = data.notes
    assert "validation.txt: names of videos that are not annotated, left out (2): c, B.MOV" in (
        note.text
    )


def test_a_video_annotated_twice_and_differently_is_refused(cvat: Path) -> None:
    (cvat / "again.xml").write_text((cvat / "a.xml").read_text("utf-8"), "utf-8")
    assert [
        (note.text, note.loss) for note in load_named_dataset(f"cvat:{cvat}", 1, "all").notes
    ] == [("a: its annotation lies there 2 times, all alike: taken once", False)]
    edited(cvat / "again.xml", lambda text: text.replace('ybr="30"', 'ybr="31"'))

    with pytest.raises(DatasetError, match="a is annotated 2 times"):
        load_named_dataset(f"cvat:{cvat}", 1, "all")


def test_a_listed_class_that_nobody_shows_is_refused_beside_a_video_of_nobody(cvat: Path) -> None:
    (cvat / "classes.txt").write_text("jump\nrun\nwalk\n")
    (cvat / "b.xml").write_text(cvat_xml("b.mp4", {}), "utf-8")

    with pytest.raises(DatasetError, match="no clip of jump, run"):
        frame_pair_sampling.FramePairSampler(load_named_dataset(f"cvat:{cvat}", 1, "all"))


@pytest.mark.parametrize(
    "row", ["a,1e308,0.1,0.1,0.5,0.9,walk,1", f"{'n' * 300},0.0,0.1,0.1,0.5,0.9,walk,1"]
)
def test_an_absurd_row_of_ava_is_a_problem_of_the_data(tmp_path: Path, row: str) -> None:
    write_video(tmp_path / "a.mp4", frames=4, width=WIDTH, height=HEIGHT)
    (tmp_path / "all.csv").write_text(row)

    with pytest.raises(DatasetError):
        load_named_dataset(f"ava:{tmp_path}", 1, "all")


def test_a_byte_order_mark_belongs_to_no_name(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames=4, width=WIDTH, height=HEIGHT)
    (tmp_path / "all.csv").write_text("a,0.0,0.1,0.1,0.5,0.9,walk,1", "utf-8-sig")

    assert load_named_dataset(f"ava:{tmp_path}", 1, "all").clips[0].video == "a"
