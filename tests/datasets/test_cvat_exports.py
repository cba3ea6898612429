"""Exports of CVAT as they come: tasks, jobs and projects, zipped or not, with all its shapes."""

import unicodedata
import zipfile
from pathlib import Path

import pytest

from tests.synthetic_video import write_video
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.named_datasets import load_named_dataset
from tubedet.errors import DatasetError

FRAMES, WIDTH, HEIGHT = 6, 64, 48
SIZE = f"<original_size><width>{WIDTH}</width><height>{HEIGHT}</height></original_size>"


def box(frame: int, corners: str = "10 10 30 20", more: str = "") -> str:
    x1, y1, x2, y2 = corners.split()
    return (
        f'<box frame="{frame}" keyframe="1" outside="0" occluded="0" xtl="{x1}" ytl="{y1}" '
        f'xbr="{x2}" ybr="{y2}" {more} z_order="0"></box>'
    )


def track(*shapes: str, label: str = "walk", more: str = "") -> str:
    return f'<track id="0" label="{label}" source="manual" {more}>{"".join(shapes)}</track>'


def task(source: str, *, number: int = 1, start: int = 0, step: int = 1) -> str:
    size = len(range(start, FRAMES, step))
    return (
        f"<task><id>{number}</id><size>{size}</size><subset>default</subset>"
        f"<start_frame>{start}</start_frame><stop_frame>{FRAMES - 1}</stop_frame>"
        f"<frame_filter>{f'step={step}' if step > 1 else ''}</frame_filter>{SIZE}"
        f"<source>{source}</source></task>"
    )


def export(meta: str, *tracks: str) -> str:
    body = f"<version>1.1</version><meta>{meta}</meta>{''.join(tracks)}"
    return f'<?xml version="1.0" encoding="utf-8"?><annotations>{body}</annotations>'


def video(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, frames=FRAMES, width=WIDTH, height=HEIGHT)


def load(root: Path) -> AnnotatedDataset:
    return load_named_dataset(f"cvat:{root}", 1, "all")


def texts(data: AnnotatedDataset) -> list[str]:
    return [note.text for note in data.notes]


def test_turned_boxes_become_the_upright_ones_around_them(tmp_path: Path) -> None:
    video(tmp_path / "a.mp4")
    # 20x10 about (20, 15); 60° makes it 20 cos + 10 sin = 18.660 by 20 sin + 10 cos = 22.321.
    turns = (0, 90, 180, 60)
    boxes = [box(frame, more=f'rotation="{turn}.00"') for frame, turn in enumerate(turns)]
    (tmp_path / "a.xml").write_text(export(task("a.mp4"), track(*boxes)))

    data = load(tmp_path)

    found = [boxes[0].box_xyxy for boxes in data.clips[0].boxes_by_frame[:4]]
    expected = [
        (10, 10, 30, 20),
        (15, 5, 25, 25),
        (10, 10, 30, 20),
        (10.670, 3.840, 29.330, 26.160),
    ]
    assert found == [pytest.approx(each, abs=1e-3) for each in expected]
    assert texts(data) == ["a: turned boxes, replaced by the upright ones around them (2)"]


SHAPES = {
    "polygon": 'points="1,1;9,1;9,9"',
    "polyline": 'points="1,1;9,1;9,9"',
    "points": 'points="1,1;9,1"',
    "ellipse": 'cx="9" cy="9" rx="3" ry="4"',
    "mask": 'rle="3, 4" left="1" top="1" width="3" height="3"',
    "cuboid": "".join(f'{c}{k}{n}="5" ' for c in "xy" for k in ("tl", "br") for n in "12"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_tracks_of_other_shapes_are_left_out_and_counted(tmp_path: Path, shape: str) -> None:
    video(tmp_path / "a.mp4")
    shapes = [
        f'<{shape} frame="{frame}" keyframe="1" outside="{int(frame == 4)}" {SHAPES[shape]}/>'
        for frame in (0, 3, 4)
    ]
    (tmp_path / "a.xml").write_text(export(task("a.mp4"), track(box(0)), track(*shapes)))

    data = load(tmp_path)

    assert [len(boxes) for boxes in data.clips[0].boxes_by_frame] == [1, 0, 0, 0, 0, 0]
    assert data.clips[0].background_frames == [1, 2, 4, 5]  # someone is in frame 3
    assert texts(data) == [f"a: annotated otherwise than by boxes, left out: {shape} (2)"]
    assert data.notes[0].loss


def test_a_skeleton_is_seen_where_one_of_its_points_is(tmp_path: Path) -> None:
    def skeleton(frame: int, *outside: int) -> str:
        points = "".join(
            f'<points label="{n}" keyframe="1" outside="{each}" occluded="0" points="3,4"/>'
            for n, each in enumerate(outside)
        )
        return f'<skeleton frame="{frame}" keyframe="1" z_order="0">{points}</skeleton>'

    video(tmp_path / "a.mp4")
    body = track(skeleton(0, 0, 0), skeleton(1, 0, 1), skeleton(2, 1, 1))
    (tmp_path / "a.xml").write_text(export(task("a.mp4"), body, track(box(5))))

    data = load(tmp_path)

    assert texts(data) == ["a: annotated otherwise than by boxes, left out: skeleton (2)"]
    assert data.clips[0].background_frames == [2, 3, 4]


def test_a_video_of_other_shapes_alone_says_which_and_is_no_hindrance(tmp_path: Path) -> None:
    for name in "ab":
        video(tmp_path / f"{name}.mp4")
    shapes = [f'<mask frame="{n}" outside="0" {SHAPES["mask"]}/>' for n in range(FRAMES)]
    (tmp_path / "a.xml").write_text(export(task("a.mp4"), track(*shapes)))
    with pytest.raises(DatasetError, match=r"no box is annotated in 1 videos; a: .*: mask \(6\)"):
        load(tmp_path)
    (tmp_path / "b.xml").write_text(export(task("b.mp4"), track(box(0))))

    data = load(tmp_path)

    assert [clip.video for clip in data.clips] == ["b"]
    assert texts(data)[1] == "a: nothing to learn from, left out"


def test_a_box_that_says_no_frame_is_refused(tmp_path: Path) -> None:
    video(tmp_path / "a.mp4")
    body = track(box(0).replace('frame="0" keyframe', "keyframe"))
    (tmp_path / "a.xml").write_text(export(task("a.mp4"), body))

    with pytest.raises(DatasetError, match=r"a\.xml: expected CVAT for video 1\.1: .*frame"):
        load(tmp_path)


def zipped(path: Path, **files: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return path


def test_zips_are_read_where_they_lie_beside_their_videos(tmp_path: Path) -> None:
    annotations = {name: export(task(f"{name}.mp4"), track(box(0))) for name in "ab"}
    for name in "ab":
        video(tmp_path / "day" / f"{name}.mp4")
        zipped(
            tmp_path / "day" / f"task_{name}_annotations_cvat for video 1.1.ZIP",
            **{
                "annotations.xml": annotations[name],
                "images__frame_000000.PNG": "",
                "__MACOSX__._annotations.xml": "\0",
            },
        )
    video(tmp_path / "c.mp4")
    zipped(tmp_path / "unlike.zip", **{"readme.txt": "hello"})

    data = load(tmp_path)

    assert [clip.video for clip in data.clips] == ["day/a", "day/b"]
    assert texts(data) == [f"{tmp_path / 'unlike.zip'}: no annotation in it, left out"]
    (tmp_path / "day" / "annotations.xml").write_text(annotations["a"])
    assert "day/a: its annotation lies there 2 times, all alike: taken once" in texts(
        load(tmp_path)
    )


def test_a_damaged_zip_and_a_malformed_file_in_one_are_named(tmp_path: Path) -> None:
    video(tmp_path / "a.mp4")
    (tmp_path / "a.zip").write_bytes(b"PK\3\4 and no more")
    zipped(tmp_path / "b.zip", **{"annotations.xml": "<annotations>"})

    with pytest.raises(DatasetError) as raised:
        load(tmp_path)

    first, second = raised.value.problems
    assert first.startswith(f"{tmp_path / 'a.zip'}: expected a file that can be read")
    assert second.startswith(f"{tmp_path / 'b.zip' / 'annotations.xml'}: expected CVAT for video")


def test_a_job_names_no_video_and_knows_its_own_frames_only(tmp_path: Path) -> None:
    video(tmp_path / "a.mp4")
    meta = (
        "<job><id>7</id><size>2</size><start_frame>2</start_frame><stop_frame>3</stop_frame>"
        f"</job>{SIZE}"
    )
    zipped(tmp_path / "job_7.zip", **{"annotations.xml": export(meta, track(box(2)))})

    data = load(tmp_path)

    assert (data.clips[0].video, data.clips[0].examined_frames) == ("a", frozenset({2, 3}))
    assert texts(data) == [
        f"a: {tmp_path / 'job_7.zip'} names no video: taken for that of the only one beside it"
    ]
    video(tmp_path / "job_7.mp4")
    assert [(clip.video, clip.background_frames) for clip in load(tmp_path).clips] == [
        ("job_7", [3])
    ]


def test_a_project_counts_the_frames_of_its_tasks_through(tmp_path: Path) -> None:
    for name in "abc":
        video(tmp_path / f"{name}.mp4")
    # Frames 2, 4 of b follow the six of a: 6 + 2, 6 + 4; c begins behind b's 2 + 2 * 2.
    tasks = [task("a.mp4"), task("b.mp4", number=2, start=2, step=2), task("c.mp4", number=3)]
    meta = f"<project><name>p</name><tasks>{''.join(tasks)}</tasks></project>"
    tracks = [
        track(box(1), more='task_id="1"'),
        track(box(6 + 2), box(6 + 4), more='task_id="2"'),
        track(box(12 + 5), more='task_id="3"'),
    ]
    (tmp_path / "annotations.xml").write_text(export(meta, *tracks))

    clips = load(tmp_path).clips

    boxed = [[t for t in range(FRAMES) if clip.boxes_by_frame[t]] for clip in clips]
    assert ([clip.video for clip in clips], boxed) == (["a", "b", "c"], [[1], [2, 4], [5]])
    assert clips[1].examined_frames == frozenset({2, 4})


@pytest.mark.parametrize("xml_is_composed", [True, False])
def test_a_source_in_another_unicode_form_is_found(tmp_path: Path, xml_is_composed: bool) -> None:
    name = "Grüße"
    forms = [unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)]
    in_xml, on_disk = forms if xml_is_composed else forms[::-1]
    video(tmp_path / f"{on_disk}.MP4")
    source = f"{in_xml}.mp4"
    (tmp_path / "export.xml").write_text(export(task(source), track(box(0))), "utf-8")
    (tmp_path / "validation.txt").write_text(unicodedata.normalize("NFD", f"{name}\n"), "utf-8")

    (clip,) = load_named_dataset(f"cvat:{tmp_path}", 1, "validation").clips

    assert clip.video == unicodedata.normalize("NFC", name)


def test_a_video_shorter_than_its_task_is_said(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames=4, width=WIDTH, height=HEIGHT)
    (tmp_path / "a.xml").write_text(export(task("a.mp4"), track(box(0))))

    data = load(tmp_path)

    assert texts(data) == ["a: annotated up to frame 5, but it has 4 frames"]
    assert data.clips[0].examined_frames == frozenset(range(4))
