import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from tests.synthetic_video import write_video
from tubedet.batch.find_videos import FoundVideos, find_videos
from tubedet.batch.own_names import shortened
from tubedet.batch.wanted import Wanted
from tubedet.errors import UsageError
from tubedet.video.file_names import VIDEO_SUFFIXES

DETECT = (".tubedet.mp4", ".csv", ".meta.json")
FLOW = ("", ".flow.meta.json")
ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes and case")


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def search(*inputs: Path, output: Path, suffixes: Sequence[str] = DETECT) -> FoundVideos:
    return find_videos(inputs, output, suffixes=suffixes)


def names(found: FoundVideos) -> list[tuple[str, str]]:
    """What rows call a video, and where its outputs begin below the output folder."""
    return [(job.video, str(job.place)) for job in found.jobs]


def videos(found: FoundVideos) -> list[str]:
    return [job.video for job in found.jobs]


def notes(found: FoundVideos) -> list[str]:
    return [note.text for note in found.left_out]


def test_a_folder_is_searched_for_videos_by_name_and_its_tree_mirrored(tmp_path: Path) -> None:
    touch(tmp_path / "in", "b.MP4", "a.avi", "c.gif", "day 1/ü.webm")
    found = search(tmp_path / "in", output=tmp_path / "out")
    assert names(found) == [
        ("a.avi", "a"),
        ("b.MP4", "b"),
        ("c.gif", "c"),
        ("day 1/ü.webm", "day 1/ü"),
    ]
    assert [job.folder for job in found.jobs] == [tmp_path / "out"] * 3 + [tmp_path / "out/day 1"]
    assert [job.stem for job in found.jobs] == ["a", "b", "c", "ü"]
    assert found.jobs[3].source == tmp_path / "in/day 1/ü.webm"
    assert not found.left_out


def test_a_named_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    found = search(tmp_path / "x.tubedet.mp4", tmp_path / "y", output=tmp_path)
    assert names(found) == [("x.tubedet.mp4", "x.tubedet"), ("y", "y")]


def test_a_video_that_is_given_twice_is_one_job(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.mp4")
    again = tmp_path / "x" / ".." / "x" / "a.mp4"
    assert len(search(tmp_path / "x/a.mp4", again, tmp_path / "x", output=tmp_path).jobs) == 1


def test_a_folder_without_videos_stays_as_a_job_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path / "empty", "notes.txt")
    found = search(tmp_path / "empty", output=tmp_path / "out")
    assert names(found) == [("empty", "empty")]
    assert notes(found) == ["1 other file left out: .txt (1)"]
    monkeypatch.chdir(tmp_path / "empty")
    assert names(search(Path(), output=tmp_path / "out")) == [("empty", "empty")]


@pytest.mark.parametrize(
    "name",
    """GL010042.LRV VID_1.insv MOV001.MOD MOV002.TOD cam.264 cam.h264 cam.265 cam.h265 cam.hevc
    GS01.360 rec.m2t rec.m2ts 00001.MTS tv.trp old.qt old.mpe web.ivf nvr.dav x.mp4v x.m1v x.m2v
    VR_MOVIE.VRO x.mpv x.ogx x.nut""".split(),
)
def test_the_names_of_cameras_and_recorders_are_known(tmp_path: Path, name: str) -> None:
    assert videos(search(touch(tmp_path, name), output=tmp_path)) == [name]


def test_no_suffix_is_listed_twice_or_not_in_lower_case() -> None:
    assert len(set(VIDEO_SUFFIXES)) == len(VIDEO_SUFFIXES)
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in VIDEO_SUFFIXES)


# What is left out


def test_other_files_are_counted_by_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "x.jpg", "y.JPG", "LICENSE", "sub/3.txt", "sub/1.txt", "sub/2.txt")
    found = search(tmp_path, output=tmp_path)
    assert videos(found) == ["a.mp4"]
    assert notes(found) == ["6 other files left out: .txt (3), .jpg (2), no suffix (1)"]
    assert not found.left_out[0].loss


def test_hidden_videos_and_folders_are_left_out_and_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", ".hidden.mp4", ".git/x.mp4", ".DS_Store", ".a.csv.part")
    found = search(tmp_path, output=tmp_path)
    assert videos(found) == ["a.mp4"]
    assert notes(found) == [
        f"2 hidden files or folders left out: {tmp_path / '.git'}, {tmp_path / '.hidden.mp4'}"
    ]


def test_the_output_folder_is_not_searched_unless_it_is_given(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "out/old.mp4", "sub/out/kept.mp4")
    found = search(tmp_path, output=tmp_path / "sub" / ".." / "out")
    assert videos(found) == ["a.mp4", "sub/out/kept.mp4"]
    assert notes(found) == [f"1 folder left out, where results go: {tmp_path / 'out'}"]
    assert videos(search(tmp_path / "out", output=tmp_path / "out")) == ["old.mp4"]


def test_results_are_left_out_and_the_first_named(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "a.tubedet.mp4", "a.partial.mp4", "a.partial-2.mp4", "a.flow.mp4")
    touch(tmp_path, "a.partial-12.flow.mp4", "A.Partial-3.MP4")
    found = search(tmp_path, output=tmp_path / "out")
    assert videos(found) == ["a.mp4"]
    [note] = found.left_out
    assert note.text.startswith("6 files left out that look like tubedet's own results: ")
    assert note.text.endswith("a.partial-12.flow.mp4, … and 3 more")
    assert not note.loss


def test_the_copy_that_a_page_plays_is_left_out_and_a_video_of_such_a_name_is_not(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "a.view.mp4", "a.html", "b.view.mp4")
    assert videos(search(tmp_path, output=tmp_path / "out")) == ["b.view.mp4"]


def test_results_away_from_their_source_are_known_by_their_meta(tmp_path: Path) -> None:
    touch(tmp_path, "yoga.flow.mp4", "b.partial-3.mp4", "c.flow.mp4")
    for stem, video in (("yoga.flow", "yoga.mp4"), ("b.partial-3", "day/b.mp4")):
        (tmp_path / f"{stem}.meta.json").write_text(json.dumps({"video": video}))
    (tmp_path / "c.flow.meta.json").write_text("{")  # damaged: still nobody else's name
    found = search(tmp_path, output=tmp_path / "out")
    assert videos(found) == [tmp_path.name]
    assert "3 files left out that look like tubedet's own results" in notes(found)[0]


def test_a_users_own_video_with_such_a_name_is_taken(tmp_path: Path) -> None:
    touch(tmp_path, "yoga.flow.mp4", "x.partial.mp4", "flow.mp4", "partial.mp4", "b.partial-x.mp4")
    everything = ["b.partial-x.mp4", "flow.mp4", "partial.mp4", "x.partial.mp4", "yoga.flow.mp4"]
    assert videos(search(tmp_path, output=tmp_path)) == everything
    # Its own results beside it change nothing.
    (tmp_path / "yoga.flow.meta.json").write_text(json.dumps({"video": "yoga.flow.mp4"}))
    touch(tmp_path, "yoga.flow.tubedet.mp4", "yoga.flow.csv")
    assert videos(search(tmp_path, output=tmp_path)) == everything


@pytest.mark.parametrize("name", ["a.ts", "b.mts", "c.mod"])
def test_text_is_no_video_whatever_its_suffix(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "v.mp4", "empty.ts")
    (tmp_path / name).write_bytes("export const größe = 1\r\n".encode("latin-1") * 300)
    (tmp_path / "utf16.ts").write_text("const a = 1", encoding="utf-16")
    write_video(tmp_path / "real.ts", frames=3, width=64, height=48)
    found = search(tmp_path, output=tmp_path / "out")
    assert videos(found) == ["empty.ts", "real.ts", "v.mp4"]
    assert "that is text (" in notes(found)[0]
    assert notes(found)[0].startswith("2 other files left out: ")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_called_as_a_video_is_not_opened(tmp_path: Path) -> None:
    touch(tmp_path, "v.mp4")
    for name in ("a.ts", "b.mp4"):
        os.mkfifo(tmp_path / name)
    found = search(tmp_path, output=tmp_path)
    assert videos(found) == ["v.mp4"]
    assert notes(found) == [
        "2 other files left out: .ts that is a device (1), .mp4 that is a device (1)"
    ]


def test_what_overlapping_inputs_leave_out_is_counted_once(tmp_path: Path) -> None:
    touch(tmp_path, "a/v.mp4", "a/x.txt")
    assert notes(search(tmp_path, tmp_path / "a", output=tmp_path)) == [
        "1 other file left out: .txt (1)"
    ]


# Links, and what cannot be read


def test_linked_folders_are_searched_once_behind_all_others(tmp_path: Path) -> None:
    touch(tmp_path, "nas/far.mp4", "tree/z/near.mp4", "tree/b.mp4")
    tree = tmp_path / "tree"
    (tree / "a_link").symlink_to(tmp_path / "nas")
    (tree / "again").symlink_to(tmp_path / "nas")
    (tree / "to_z").symlink_to("z")
    (tree / "z/up").symlink_to("..")
    found = search(tree, output=tmp_path / "out")
    assert names(found) == [
        ("b.mp4", "b"),
        ("z/near.mp4", "z/near"),
        ("a_link/far.mp4", "a_link/far"),
    ]
    assert notes(found) == [
        "3 links left out to folders that are searched anyway: "
        f"{tree / 'again'}, {tree / 'to_z'}, {tree / 'z/up'}"
    ]


def test_a_given_link_to_a_folder_is_searched_under_its_own_name(tmp_path: Path) -> None:
    touch(tmp_path, "nas/far.mp4")
    (tmp_path / "link").symlink_to("nas")
    found = search(tmp_path / "link", output=tmp_path / "out")
    assert found.jobs[0].source == tmp_path / "link/far.mp4"
    assert names(found) == [("far.mp4", "far")]


def test_a_dead_link_is_a_video_if_it_is_called_as_one(tmp_path: Path) -> None:
    (tmp_path / "gone.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "nas").symlink_to("not mounted")
    (tmp_path / "circle.mp4").symlink_to("circle.mp4")
    (tmp_path / "circle").symlink_to("circle")
    found = search(tmp_path, output=tmp_path / "out")
    assert videos(found) == ["circle.mp4", "gone.mp4"]
    assert notes(found) == [
        f"2 links left out that lead nowhere: {tmp_path / 'circle'}, {tmp_path / 'nas'}"
    ]


def test_a_folder_that_cannot_be_read_is_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.mp4", "private/b.mp4", "z/c.mp4")
    scandir = os.scandir

    def refuse(folder: Path) -> object:
        if folder.name == "private":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    found = search(tmp_path, output=tmp_path / "out")
    assert videos(found) == ["a.mp4", "z/c.mp4"]
    [note] = found.left_out
    assert note.loss
    assert note.text == (
        f"could not be read, videos may be missing: {tmp_path / 'private'} (Permission denied)"
    )


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="root may read everything")
def test_what_one_may_not_look_at_is_a_loss_or_a_job_that_fails(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.mp4", "in/private/b.mp4", "in/listed/c.mp4", "in/listed/d.txt")
    touch(tmp_path, "in/listed/sub/e.mp4", "locked/videos/f.mp4")
    (tmp_path / "in/link").symlink_to("../locked/videos")
    (tmp_path / "in/g.mp4").symlink_to("../locked/g.mp4")
    modes = {"in/private": 0o000, "in/listed": 0o444, "locked": 0o000}
    program = (
        "import sys; from pathlib import Path; from tubedet.batch.find_videos import find_videos\n"
        "inputs = [Path(name) for name in sys.argv[1:]]\n"
        "found = find_videos(inputs, Path('out'), suffixes=['.csv'])\n"
        "print([job.video for job in found.jobs],"
        " [note.text for note in found.left_out if note.loss])"
    )
    bounded = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    as_user = bounded if os.getuid() == 0 else []
    inputs = ["in", "locked/f.mp4", "locked"]
    try:
        for name, mode in modes.items():
            (tmp_path / name).chmod(mode)
        done = subprocess.run(
            [*as_user, sys.executable, "-c", program, *inputs],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        for name in modes:
            (tmp_path / name).chmod(0o755)
    assert done.stdout == (
        "['a.mp4', 'g.mp4', 'listed/c.mp4', 'f.mp4', 'locked'] "
        "['could not be read, videos may be missing: in/link (Permission denied), "
        "in/listed/sub (Permission denied), in/private (Permission denied), "
        "locked (Permission denied)']\n"
    ), done.stderr


# Frames as files


def test_a_folder_of_frames_is_a_video_called_as_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "seq.v1/00001.jpg", "seq.v1/00002.jpg", "seq.v1/readme.txt")
    found = search(tmp_path / "seq.v1", output=tmp_path / "out")
    assert names(found) == [("seq.v1", "seq.v1")]
    assert found.jobs[0].source == tmp_path / "seq.v1"
    assert found.jobs[0].folder == tmp_path / "out"
    assert notes(found) == ["1 other file left out: .txt (1)"]
    monkeypatch.chdir(tmp_path / "seq.v1")
    found = search(Path(), output=Path("../out"))
    assert (found.jobs[0].source, *names(found)) == (Path(), ("seq.v1", "seq.v1"))


def test_a_folder_of_frames_that_is_given_twice_is_one_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "seq/1.jpg", "seq/2.jpg")
    (tmp_path / "link").symlink_to("seq")
    monkeypatch.chdir(tmp_path / "seq")
    assert len(search(Path(), Path("../seq"), tmp_path / "link", output=tmp_path).jobs) == 1


def test_a_tree_of_frames_is_a_video_a_folder(tmp_path: Path) -> None:
    for video in ("Biking/v_Biking_g01_c01", "Biking/v_Biking_g01_c02", "Diving/v_Diving_g01_c01"):
        touch(tmp_path / "rgb-images" / video, *(f"{i:05d}.jpg" for i in range(1, 4)))
    found = search(tmp_path / "rgb-images", output=tmp_path / "out")
    assert [(job.video, str(job.folder.relative_to(tmp_path)), job.stem) for job in found.jobs] == [
        ("Biking/v_Biking_g01_c01", "out/Biking", "v_Biking_g01_c01"),
        ("Biking/v_Biking_g01_c02", "out/Biking", "v_Biking_g01_c02"),
        ("Diving/v_Diving_g01_c01", "out/Diving", "v_Diving_g01_c01"),
    ]


@pytest.mark.parametrize(
    ("files", "is_video"),
    [
        (["frame_0001.png", "frame_0002.png"], True),
        (["1.bmp", "2.bmp", "cover.jpg"], True),
        (["img-000099.JPEG", "img-000100.JPEG"], True),
        (["0001.jpg"], False),
        (["0001.jpg", "0002.txt"], False),
        (["me.jpg", "you.jpg"], False),
        (["a1.jpg", "b1.jpg"], False),
        ([".0001.jpg", ".0002.jpg"], False),
        (["a.jp2", "b.jp2"], False),
        (["1.JP2", "2.JP2"], True),
    ],
)
def test_frames_are_images_that_differ_in_their_numbers(
    tmp_path: Path, files: list[str], is_video: bool
) -> None:
    touch(tmp_path, "v.mp4", *(f"frames/{name}" for name in files))
    found = videos(search(tmp_path, output=tmp_path))
    assert found == ["v.mp4", *(["frames"] if is_video else [])]


def test_images_beside_videos_are_left_out_and_folders_below_frames_searched(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "a/v.mp4", "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg", "b/deep/w.mp4")
    found = search(tmp_path, output=tmp_path)
    assert videos(found) == ["a/v.mp4", "b", "b/deep/w.mp4"]
    assert notes(found) == ["2 other files left out: .jpg (2)"]


def test_a_pattern_is_a_video_called_as_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "seq/00001.jpg", "seq/00002.jpg", "50%d.jpg")
    found = search(tmp_path / "seq/%05d.jpg", output=tmp_path / "out")
    assert names(found) == [("seq", "seq")]
    assert found.jobs[0].source == tmp_path / "seq/%05d.jpg"
    monkeypatch.chdir(tmp_path / "seq")
    assert names(search(Path("%05d.jpg"), output=tmp_path / "out")) == [("seq", "seq")]
    assert names(search(tmp_path / "50%d.jpg", output=tmp_path / "out")) == [
        ("50%d.jpg", "50%d")  # there is a file of that name
    ]


def test_patterns_of_one_folder_get_names_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path, "seq/l_1.png", "seq/l_2.png", "seq/r_1.png", "seq/r_2.png")
    found = search(
        tmp_path / "seq/l_%d.png",
        tmp_path / "seq/r_%d.png",
        tmp_path / "seq",
        output=tmp_path / "out",
    )
    assert names(found) == [
        ("seq-l_d.png", "seq-l_d.png"),
        ("seq-r_d.png", "seq-r_d.png"),
        ("seq", "seq"),
    ]


def test_flow_images_are_no_frames_beside_their_meta(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "a/00001.jpg", "a/00002.jpg", "a/below.mp4.txt")
    touch(tmp_path, "b.partial/00001.jpg", "b.partial/00002.jpg")
    (tmp_path / "a.flow.meta.json").write_text(json.dumps({"video": "a.mp4"}))
    (tmp_path / "b.partial.flow.meta.json").write_text(json.dumps({"video": "b.mp4"}))
    found = search(tmp_path, output=tmp_path)
    assert videos(found) == ["a.mp4"]
    assert notes(found) == [
        "2 files left out that look like tubedet's own results: "
        f"{tmp_path}/a, {tmp_path / 'b.partial'}",
        "3 other files left out: .json (2), .txt (1)",
    ]


def test_flow_images_of_frames_or_beside_a_video_of_flow_are_results_too(tmp_path: Path) -> None:
    touch(tmp_path, "a/00001.jpg", "a/00002.jpg", "b/00001.jpg", "b/00002.jpg", "b.flow.mp4")
    (tmp_path / "a.flow.meta.json").write_text(json.dumps({"video": "day/a"}))
    (tmp_path / "b.flow.meta.json").write_text(json.dumps({"video": "day/b.mp4"}))
    found = search(tmp_path, output=tmp_path)
    assert videos(found) == [tmp_path.name]
    assert f"results: {tmp_path / 'b.flow.mp4'}, {tmp_path}/a, {tmp_path}/b" in notes(found)[0]
    assert videos(search(tmp_path / "a", output=tmp_path)) == ["a"]  # given by name


def test_frames_stay_a_video_when_their_flow_was_written_as_one(tmp_path: Path) -> None:
    touch(tmp_path, "a/00001.jpg", "a/00002.jpg", "a.flow.mp4")
    (tmp_path / "a.flow.meta.json").write_text(json.dumps({"video": "a"}))
    assert videos(search(tmp_path, output=tmp_path)) == ["a"]


# Names of their own


def test_videos_that_share_a_stem_keep_their_extension(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.avi", "A.mp4", "b.mp4", "sub/a.mkv", "seq.mp4")
    touch(tmp_path / "in/seq", "1.jpg", "2.jpg")
    assert names(search(tmp_path / "in", output=tmp_path)) == [
        ("A.mp4", "A.mp4"),
        ("a.avi", "a.avi"),
        ("b.mp4", "b"),
        ("seq.mp4", "seq.mp4"),
        ("seq", "seq"),
        ("sub/a.mkv", "sub/a"),
    ]


def test_an_extension_that_is_kept_is_in_no_other_videos_way(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.avi", "a.mkv", "a.avi.mp4")
    assert names(search(tmp_path / "in", output=tmp_path)) == [
        ("a.avi", "a.avi"),
        ("a.avi.mp4", "a.avi.mp4"),
        ("a.mkv", "a.mkv"),
    ]


@pytest.mark.parametrize("suffixes", [DETECT, FLOW, (".json", ".meta.json"), ()])
@pytest.mark.parametrize(
    "other", ["a.meta", "a.partial", "a.partial-2", "a.flow", "A.tubedet", "a.coco", "a.mot"]
)
def test_a_name_that_is_an_output_of_another_keeps_its_extension_whatever_is_written(
    tmp_path: Path, suffixes: tuple[str, ...], other: str
) -> None:
    given = [tmp_path / "in/a.mp4", tmp_path / f"in/{other}.mp4"]
    found = search(*given, output=tmp_path / "out", suffixes=suffixes)
    assert names(found) == [("a.mp4", "a.mp4"), (f"{other}.mp4", f"{other}.mp4")]


@pytest.mark.parametrize("suffixes", [DETECT, FLOW, ()])
def test_files_of_one_name_are_told_apart_by_their_folders(
    tmp_path: Path, suffixes: tuple[str, ...]
) -> None:
    given = [tmp_path / name for name in ("cam1/0001.mp4", "cam2/0001.mp4", "cam2/0002.mp4")]
    found = search(*given, output=tmp_path / "out", suffixes=suffixes)
    assert names(found) == [
        ("cam1/0001.mp4", "cam1-0001"),
        ("cam2/0001.mp4", "cam2-0001"),
        ("0002.mp4", "0002"),
    ]
    assert {job.folder for job in found.jobs} == {tmp_path / "out"}
    assert [job.place for job in found.jobs] == [PurePosixPath(job.stem) for job in found.jobs]


def test_as_many_folders_are_named_as_tell_apart(tmp_path: Path) -> None:
    given = [tmp_path / name for name in ("a/x/1.mp4", "b/x/1.mp4", "c/y/1.mp4", "c/y/1.avi")]
    assert names(search(*given, output=tmp_path)) == [
        ("a/x/1.mp4", "a-x-1"),
        ("b/x/1.mp4", "b-x-1"),
        ("y/1.mp4", "y-1"),
        ("1.avi", "1.avi"),
    ]


def test_a_name_made_of_folders_is_in_no_other_videos_way(tmp_path: Path) -> None:
    given = [tmp_path / name for name in ("x/a.mp4", "y/a.mp4", "z/x-a.mp4", "z/y-a.mkv")]
    assert [str(job.place) for job in search(*given, output=tmp_path).jobs] == [
        "x-a",
        "y-a",
        "x-a.mp4",
        "y-a.mkv",
    ]


def test_twins_of_two_trees_stay_in_the_mirrored_folder(tmp_path: Path) -> None:
    touch(tmp_path, "x/day/a.mp4", "y/day/a.mp4", "y/b.mp4")
    assert names(search(tmp_path / "x", tmp_path / "y", output=tmp_path / "out")) == [
        ("x/day/a.mp4", "day/x-day-a"),
        ("b.mp4", "b"),
        ("y/day/a.mp4", "day/y-day-a"),
    ]


def test_relative_names_are_told_apart_by_the_folders_they_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "cam1/a.mp4", "cam2/a.mp4")
    monkeypatch.chdir(tmp_path / "cam1")
    assert names(search(Path("a.mp4"), Path("../cam2/a.mp4"), output=tmp_path)) == [
        ("cam1/a.mp4", "cam1-a"),
        ("cam2/a.mp4", "cam2-a"),
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [("in/a.mp4", "in/A.MP4"), ("x/a.mp4", "X/a.mp4"), ("in/\u00fc.mp4", "in/u\u0308.mp4")],
)
def test_names_that_some_systems_take_for_one_are_told_apart(
    tmp_path: Path, first: str, second: str
) -> None:
    found = search(tmp_path / first, tmp_path / second, output=tmp_path / "out")
    parted = [job.stem.rpartition("-") for job in found.jobs]
    assert [stem for stem, _, _ in parted] == [Path(first).name, Path(second).name]
    assert len({ending for _, _, ending in parted}) == 2
    assert {len(ending) for _, _, ending in parted} == {8}
    assert len(set(videos(found))) == 2


@ONLY_LINUX
def test_folders_that_some_systems_take_for_one_are_one(tmp_path: Path) -> None:
    touch(tmp_path / "in", "Day/a.mp4", "day/a.avi")
    assert names(search(tmp_path / "in", output=tmp_path / "out")) == [
        ("Day/a.mp4", "Day/a.mp4"),
        ("day/a.avi", "day/a.avi"),
    ]


def test_where_flow_images_go_they_are_looked_for(tmp_path: Path) -> None:
    touch(tmp_path / "in", "day1/a.mp4", "day1/a.avi", "day2/a.mp4", "day2/b.partial.mp4")
    flow = search(tmp_path / "in", output=tmp_path / "flow", suffixes=FLOW)
    for suffixes in (DETECT, (".json", ".meta.json"), ()):
        detect = search(tmp_path / "in", output=tmp_path / "out", suffixes=suffixes)
        assert [job.place for job in detect.jobs] == [job.place for job in flow.jobs]
    assert [tmp_path / "flow" / job.place for job in flow.jobs] == [
        job.folder / job.stem for job in flow.jobs
    ]


def test_two_results_in_one_file_are_a_usage_error(tmp_path: Path) -> None:
    given = [tmp_path / "a.mp4", tmp_path / "a.csv.mp4"]  # a.csv, a folder and a table
    with pytest.raises(UsageError, match=r"a\.mp4 and .*a\.csv\.mp4 would both write .*a\.csv: "):
        search(*given, output=tmp_path / "out", suffixes=("", ".csv"))
    assert len(search(*given, output=tmp_path / "out").jobs) == 2
    given[1] = tmp_path / "a.partial.flow.mp4.mkv"
    with pytest.raises(UsageError, match=r"would both write .*a\.partial\.flow\.mp4: "):
        search(*given, output=tmp_path / "out", suffixes=("", ".flow.mp4"))


def test_a_result_in_the_place_of_a_source_is_a_usage_error(tmp_path: Path) -> None:
    touch(tmp_path, "in/day/a.mp4", "out/day/a.tubedet.mp4", "seq/1.jpg", "seq/2.jpg")
    result = tmp_path / "out/day/a.tubedet.mp4"
    with pytest.raises(UsageError, match=r"in/day/a\.mp4: its result .* would take the place of"):
        search(tmp_path / "in", result, output=tmp_path / "out")
    assert search(tmp_path / "in", result, output=tmp_path / "out", suffixes=[".csv"]).jobs
    for given in (tmp_path / "seq", tmp_path / "seq/%d.jpg"):
        assert search(given, output=tmp_path).jobs
        with pytest.raises(UsageError, match="would take the place of"):
            search(given, output=tmp_path, suffixes=FLOW)


@ONLY_LINUX
def test_a_name_that_is_not_utf8_becomes_text_that_can_be_written(tmp_path: Path) -> None:
    for letter in (b"\xe9", b"\xe8"):
        Path(os.fsdecode(bytes(tmp_path) + b"/caf" + letter + b".mp4")).touch()
    Path(os.fsdecode(bytes(tmp_path) + b"/.\xe9.mp4")).touch()
    found = search(tmp_path, output=tmp_path)
    assert [os.fsencode(job.stem) for job in found.jobs] == [b"caf\xe8", b"caf\xe9"]
    assert videos(found) == [r"caf\xe8.mp4", r"caf\xe9.mp4"]
    assert notes(found)[0].endswith(".\N{REPLACEMENT CHARACTER}.mp4")
    alone = search(found.jobs[0].source, output=tmp_path)
    assert videos(alone) == ["caf\N{REPLACEMENT CHARACTER}.mp4"]


# Names that are given or cut


def test_a_name_replaces_the_stem_of_the_only_video(tmp_path: Path) -> None:
    touch(tmp_path, "in/day/a.mp4", "in/day/b.mp4")
    [job] = find_videos([tmp_path / "in/day/a.mp4"], tmp_path, suffixes=DETECT, name="clip 1").jobs
    assert (job.stem, job.video, job.place) == ("clip 1", "a.mp4", PurePosixPath("clip 1"))
    with pytest.raises(UsageError, match="--name clip: for the results of one video, but 2"):
        find_videos([tmp_path / "in"], tmp_path, suffixes=DETECT, name="clip")


@pytest.mark.parametrize("name", ["", " ", "a/b", "/", ".", "..", "a\0b"])
def test_a_name_that_is_no_file_name_is_a_usage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="expected the first part of file names"):
        find_videos([tmp_path / "a.mp4"], tmp_path, suffixes=DETECT, name=name)


def test_a_name_of_255_bytes_is_cut_so_that_every_result_has_room(tmp_path: Path) -> None:
    touch(tmp_path, "長" * 83 + ".mp4")  # 253 bytes
    found = search(tmp_path, output=tmp_path / "out")
    [job] = found.jobs
    kept, _, ending = job.stem.rpartition("-")
    assert kept == "長" * 68  # 204 bytes; with "-" and 8 digits 213 of 215
    assert len(ending) == 8
    assert job.video == "長" * 83 + ".mp4"
    assert job.place == PurePosixPath(job.stem)
    assert notes(found) == [
        f"1 name was too long for files of results and cut to {job.stem}",
    ]
    longest = job.folder / f".{job.stem}.partial-99.flow.meta.json.part"
    longest.parent.mkdir()
    longest.touch()


def test_a_name_is_cut_more_where_something_comes_before_the_ending() -> None:
    assert shortened("x" * 195, added_bytes=20) == "x" * 195
    assert len(shortened("x" * 196, added_bytes=20)) == 195


def test_a_name_that_leaves_room_is_not_cut(tmp_path: Path) -> None:
    found = search(tmp_path / ("x" * 215 + ".mp4"), output=tmp_path)
    assert found.jobs[0].stem == "x" * 215
    assert not found.left_out
    assert len(search(tmp_path / ("x" * 216 + ".mp4"), output=tmp_path).jobs[0].stem) == 215


def test_long_names_that_begin_alike_stay_apart(tmp_path: Path) -> None:
    given = [tmp_path / f"{'x' * 240}{end}" for end in ("1.mp4", "2.mp4", "2.avi")]
    stems = [job.stem for job in search(*given, output=tmp_path).jobs]
    assert len(set(stems)) == 3
    assert all(stem.startswith("x" * 206 + "-") and len(stem) == 215 for stem in stems)
    again = find_videos(given[:1], tmp_path, suffixes=(), name="y" * 300)
    assert len(again.jobs[0].stem) == 215
    assert again.left_out


def test_an_input_is_shown_as_told_and_told_apart_from_a_file_of_that_name(tmp_path: Path) -> None:
    spooled, other = tmp_path / "tubedet-x7/stdin", tmp_path / "day/stdin"
    found = find_videos([spooled], tmp_path, suffixes=DETECT, shown_as={spooled: "stdin"})
    assert [(job.name, job.video, job.stem) for job in found.jobs] == [("stdin", "stdin", "stdin")]
    found = find_videos([spooled, other], tmp_path, suffixes=DETECT, shown_as={spooled: "stdin"})
    assert [job.name for job in found.jobs] == ["stdin", str(other)]
    assert found.jobs[1].stem == "day-stdin"
    assert "x7" not in found.jobs[0].stem + found.jobs[0].video  # the folder's name is made up


# What is chosen


@pytest.mark.parametrize(
    ("include", "exclude", "taken"),
    [
        ((), (), ["a.mp4", "B.MP4", "cam1/a.avi", "cam1/raw/x.mp4", "cam2/a.avi"]),
        (("*.mp4",), (), ["a.mp4", "B.MP4", "cam1/raw/x.mp4"]),
        (("a.*",), (), ["a.mp4", "cam1/a.avi", "cam2/a.avi"]),
        (("cam1",), (), ["cam1/a.avi", "cam1/raw/x.mp4"]),
        (("cam1/*",), (), ["cam1/a.avi", "cam1/raw/x.mp4"]),
        (("cam1/*.avi", "b.mp4"), (), ["B.MP4", "cam1/a.avi"]),
        ((), ("RAW/",), ["a.mp4", "B.MP4", "cam1/a.avi", "cam2/a.avi"]),
        ((), ("cam?",), ["a.mp4", "B.MP4"]),
        ((), ("cam[13]/*", "a.mp4"), ["B.MP4", "cam2/a.avi"]),
        (("cam1",), ("raw",), ["cam1/a.avi"]),
        (("a.mp4",), ("*.mp4",), None),
        ((), ("am1",), ["a.mp4", "B.MP4", "cam1/a.avi", "cam1/raw/x.mp4", "cam2/a.avi"]),
    ],
)
def test_patterns_choose_among_the_videos_of_a_folder_and_exclude_wins(
    tmp_path: Path, include: Sequence[str], exclude: Sequence[str], taken: list[str] | None
) -> None:
    folder = touch(
        tmp_path / "cam1 in", "a.mp4", "B.MP4", "cam1/a.avi", "cam1/raw/x.mp4", "cam2/a.avi"
    )
    wanted = Wanted(include, exclude)
    if taken is None:
        with pytest.raises(UsageError, match="leave nothing"):
            find_videos([folder], tmp_path / "out", suffixes=DETECT, wanted=wanted)
        return
    found = find_videos([folder], tmp_path / "out", suffixes=DETECT, wanted=wanted)
    assert sorted(videos(found), key=str.casefold) == taken
    assert bool(found.left_out) == (len(taken) < 5)


def test_a_file_that_is_named_is_taken_whatever_the_patterns(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    wanted = Wanted(exclude=("*",))
    found = find_videos([tmp_path / "a.mp4"], tmp_path / "out", suffixes=DETECT, wanted=wanted)
    assert videos(found) == ["a.mp4"]


def test_an_excluded_folder_is_not_looked_into(tmp_path: Path) -> None:
    """It may be one that nobody may read, which would be a loss."""
    touch(tmp_path, "a.mp4", "lost+found/x.mp4")
    wanted = Wanted(exclude=("lost+found",))
    found = find_videos([tmp_path], tmp_path / "out", suffixes=DETECT, wanted=wanted)
    assert videos(found) == ["a.mp4"]
    assert notes(found) == [
        f"1 video or folder left out by --include and --exclude: {tmp_path / 'lost+found'}"
    ]


def test_whether_videos_come_from_folders_is_known(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.mp4", "frames/1.png", "frames/2.png", "empty/notes.txt")
    of_folders = [
        search(tmp_path / name, output=tmp_path / "out").of_folders
        for name in ("in", "in/a.mp4", "frames", "empty")
    ]
    assert of_folders == [True, False, False, False]
