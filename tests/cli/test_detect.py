import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest
from typer.testing import CliRunner

from tests.scripted_detector import ScriptedBox, ScriptedDetector
from tests.synthetic_video import write_video
from tubedet import pipeline
from tubedet.cli.app import app
from tubedet.run.detection import DetectionWork
from tubedet.run.plan import RunPlan

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "tests.scripted_program"]
# Best first; the second overlaps the first of its class, the third is of the other class.
BOXES = [
    ScriptedBox(0.1, 0.1, 0.5, 0.5, 0, 0.9),
    ScriptedBox(0.1, 0.1, 0.5, 0.4, 0, 0.6),
    ScriptedBox(0.5, 0.5, 0.9, 0.9, 1, 0.4),
    ScriptedBox(0.6, 0.1, 0.9, 0.3, 0, 0.2),
]

Detect = Callable[..., Any]


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, dict[str, object]]]:
    """Puts a scripted detector in the network's place; what it was asked to load."""
    calls: list[tuple[object, dict[str, object]]] = []

    def load(weights: object, *, told: object, **how: object) -> ScriptedDetector:
        calls.append((weights, how))
        return ScriptedDetector(script=[BOXES] * 100)

    monkeypatch.setattr(pipeline, "load_detector", load)
    return calls


@pytest.fixture
def detect(tmp_path: Path, loaded: object) -> Detect:
    """Runs `tubedet detect` with results in `tmp_path / "out"`."""

    def run(*arguments: object, output: object = tmp_path / "out") -> Any:
        return CliRunner().invoke(app, ["detect", *map(str, arguments), "-o", str(output)])

    return run


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", frames=8, width=64, height=48)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_video_gives_mp4_csv_and_meta_and_a_summary(
    detect: Detect, video: Path, tmp_path: Path
) -> None:
    result = detect(video)
    assert result.exit_code == 0
    assert names(tmp_path / "out") == ["clip.csv", "clip.meta.json", "clip.tubedet.mp4"]
    assert len(rows(tmp_path / "out/clip.csv")) == 8
    summary = next(line for line in result.stdout.splitlines() if "clip.mp4" in line).split()
    assert [*summary[:3], summary[-1]] == ["clip.mp4", "8", "8", "done"]
    assert str(tmp_path / "out/clip.tubedet.mp4") in result.stdout
    assert result.stderr == ""


def test_results_lie_in_tubedet_output_if_nothing_else_is_said(
    video: Path, tmp_path: Path, loaded: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["detect", "clip.mp4"]).exit_code == 0
    assert (tmp_path / "tubedet-output/clip.csv").exists()


@pytest.mark.parametrize(
    "formats",
    [
        ["-f", "json", "--format", "jsonl", "-f", "json"],
        ["-f", "json,jsonl"],
        ["-f", "JSON", "-f", "Jsonl"],
        ["-f", "jsonl, JSON,jsonl"],
    ],
)
def test_formats_are_written_as_asked(
    detect: Detect, video: Path, tmp_path: Path, formats: list[str]
) -> None:
    assert detect(video, *formats).exit_code == 0
    assert names(tmp_path / "out") == ["clip.json", "clip.jsonl", "clip.meta.json"]


def test_the_network_is_loaded_as_asked(
    detect: Detect, video: Path, loaded: list[tuple[object, dict[str, object]]]
) -> None:
    detect(video, "--weights", "brox", "--device", "cuda:1", "--precision", "bf16", "--compile")
    chosen = {"device": "cuda:1", "precision": "bf16", "compile": True, "latency": "half-second"}
    assert loaded == [("brox", {**chosen, "runtime": "torch"})]  # the environment's


def test_the_runtime_is_the_one_that_is_asked_for(
    detect: Detect, video: Path, loaded: list[tuple[object, dict[str, object]]]
) -> None:
    assert detect(video, "--runtime", "onnx").exit_code == 0
    assert loaded[0][1]["runtime"] == "onnx"


def test_that_graphs_are_made_is_said_on_stderr_unless_it_is_to_be_quiet(
    detect: Detect, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, told: Callable[[str], None], **__: object) -> ScriptedDetector:
        told("making graphs")
        return ScriptedDetector(script=[BOXES] * 100)

    monkeypatch.setattr(pipeline, "load_detector", load)
    assert detect(video).stderr == "making graphs\n"
    assert detect(video, "--overwrite", "--quiet").stderr == ""


def test_a_network_without_latency_is_loaded_as_asked(
    detect: Detect, video: Path, loaded: list[tuple[object, dict[str, object]]]
) -> None:
    assert detect(video, "--latency", "none").exit_code == 0
    assert loaded[0][1]["latency"] == "none"


@pytest.mark.parametrize("options", [[], ["--no-smoothing", "--cuts"]])
def test_smoothing_and_cuts_are_as_asked(
    detect: Detect,
    video: Path,
    tmp_path: Path,
    options: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plans: list[RunPlan] = []
    work = DetectionWork

    def watched(detector: Any, plan: RunPlan, **others: Any) -> DetectionWork:
        plans.append(plan)
        return work(detector, plan, **others)

    monkeypatch.setattr("tubedet.run.detection.DetectionWork", watched)
    assert detect(video, *options).exit_code == 0
    assert {(plan.smooth, plan.find_cuts) for plan in plans} == {(not options, bool(options))}


@pytest.mark.parametrize(
    ("options", "scores"),
    [
        ([], [0.9]),
        (["--max-boxes", "2"], [0.9, 0.4]),
        (["--all-boxes"], [0.9, 0.4]),
        (["--all-boxes", "--nms-iou", "0.8"], [0.9, 0.6, 0.4]),
        (["--all-boxes", "--min-score", "0.1"], [0.9, 0.4, 0.2]),
        (["--class", "run"], []),  # the best box of the frame is another class's
        (["--class", "run", "--all-boxes"], [0.4]),
        (["--class", "walk"], [0.9]),
        (["--class", "run", "--class", "walk", "--min-score", "0.5"], [0.9]),
        (["--min-score", "0.95"], []),
    ],
)
def test_boxes_are_picked_as_asked(
    detect: Detect, video: Path, tmp_path: Path, options: list[str], scores: list[float]
) -> None:
    assert detect(video, "--max-frames", "1", *options).exit_code == 0
    assert [float(row["score"]) for row in rows(tmp_path / "out/clip.csv")] == scores


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        (["--start", "2f"], [2, 3, 4, 5, 6, 7]),
        (["--start", "0.125", "--end", "00:00:00.25"], [3, 4, 5]),
        (["--start", "1f", "--duration", "3f"], [1, 2, 3]),
        (["--stride", "3"], [0, 3, 6]),
        (["--start", "1f", "--stride", "3", "--batch-size", "2"], [1, 4, 7]),
        (["--stride", "2", "--max-frames", "2"], [0, 2]),
    ],
)
def test_frames_are_picked_as_asked(
    detect: Detect, video: Path, tmp_path: Path, options: list[str], frames: list[int]
) -> None:
    assert detect(video, *options).exit_code == 0
    found = rows(tmp_path / "out/clip.csv")
    assert [int(row["frame"]) for row in found] == frames
    assert [float(row["time_s"]) for row in found] == pytest.approx(
        [frame / 24 for frame in frames], abs=1e-6
    )


@pytest.mark.parametrize(
    "options",
    [
        ["--overwrite", "--skip-existing"],
        ["--max-boxes", "2", "--all-boxes"],
        ["--start", "soon"],
        ["--end", "1", "--duration", "1"],
        ["--start", "2", "--end", "1"],
        ["--end", "0"],
        ["--end", "0f"],
        ["--end", "00:00"],
        ["--duration", "0"],
        ["--overwrite", "--resume"],
        ["--skip-existing", "--resume"],
        ["--format", "csv,avi"],
        ["--format", ","],
        ["--class", "fly"],
        ["--format", "avi"],
        ["--min-score", "1.5"],
        ["--batch-size", "0"],
        ["--flow-images", "."],
    ],
)
def test_options_that_make_no_sense_are_usage_errors_and_write_nothing(
    detect: Detect, video: Path, tmp_path: Path, options: list[str]
) -> None:
    result = detect(video, *options)
    assert result.exit_code == 2
    assert result.stderr
    assert not (tmp_path / "out").exists() or names(tmp_path / "out") == []


@pytest.mark.parametrize(
    "asked",
    [
        (["--format", "avi", "--overwrite"], 2),
        (["--format", "avi", "--skip-existing"], 2),
        (["--flow-images", "no-such-folder"], 5),
    ],
)
def test_what_can_be_known_to_fail_fails_before_the_network_is_loaded(
    detect: Detect, video: Path, tmp_path: Path, loaded: list[object], asked: tuple[list[str], int]
) -> None:
    options, code = asked
    result = detect(video, *options)
    assert result.exit_code == code
    assert len(result.stderr.splitlines()) == 1
    assert loaded == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["", "-o", "out"], ["clip.mp4", "-o", ""]])
def test_an_empty_name_does_not_stand_for_the_working_folder(
    video: Path,
    tmp_path: Path,
    loaded: object,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["detect", *arguments])
    assert result.exit_code == 2
    assert "empty name" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_an_existing_result_is_refused_unless_it_may_be_replaced(
    detect: Detect, video: Path, tmp_path: Path
) -> None:
    assert detect(video, "--max-frames", "2").exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    for options in ([], ["--max-frames", "2"], ["-f", "mp4"], ["-f", "json"]):
        refused = detect(video, *options)
        assert refused.exit_code == 6, options
        assert "--overwrite" in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
        assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert detect(video, "--overwrite").exit_code == 0
    assert len(rows(tmp_path / "out/clip.csv")) == 8


def test_skip_existing_leaves_whole_results_and_makes_missing_ones(
    detect: Detect, video: Path, tmp_path: Path
) -> None:
    other = write_video(tmp_path / "other.mp4", frames=2, width=64, height=48)
    detect(video)
    before = (tmp_path / "out/clip.csv").stat().st_mtime_ns
    result = detect(video, other, "--skip-existing")
    assert result.exit_code == 0
    assert "clip.mp4: skipped" in result.stdout
    assert (tmp_path / "out/clip.csv").stat().st_mtime_ns == before
    assert len(rows(tmp_path / "out/other.csv")) == 2
    (tmp_path / "out/clip.tubedet.mp4").unlink()
    assert detect(video, "--skip-existing").exit_code == 0
    assert names(tmp_path / "out")[:3] == ["clip.csv", "clip.meta.json", "clip.tubedet.mp4"]
    assert len(rows(tmp_path / "out/clip.csv")) == 8


def test_skip_existing_makes_anew_what_was_made_with_other_settings(
    detect: Detect, video: Path, tmp_path: Path
) -> None:
    detect(video, "--max-frames", "2")
    assert detect(video, "--skip-existing").exit_code == 0
    assert len(rows(tmp_path / "out/clip.csv")) == 8


def test_a_format_can_be_added_to_an_earlier_run(
    detect: Detect, video: Path, tmp_path: Path
) -> None:
    assert detect(video, "-f", "csv").exit_code == 0
    before = (tmp_path / "out/clip.csv").stat().st_mtime_ns

    assert detect(video, "-f", "csv,jsonl").exit_code == 0

    assert names(tmp_path / "out") == ["clip.csv", "clip.jsonl", "clip.meta.json"]
    assert (tmp_path / "out/clip.csv").stat().st_mtime_ns == before
    lines = (tmp_path / "out/clip.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(8))
    meta = json.loads((tmp_path / "out/clip.meta.json").read_text("utf-8"))
    assert set(meta["outputs"]) == {"csv", "jsonl"}


def test_results_are_named_as_asked(detect: Detect, video: Path, tmp_path: Path) -> None:
    assert detect(video, "--name", "a b.2").exit_code == 0
    assert names(tmp_path / "out") == ["a b.2.csv", "a b.2.meta.json", "a b.2.tubedet.mp4"]
    assert rows(tmp_path / "out/a b.2.csv")[0]["video"] == "clip.mp4"


@pytest.mark.parametrize("name", ["x/y", "", ".", "..", " "])
def test_a_name_that_no_file_can_have_is_a_usage_error(
    detect: Detect, video: Path, tmp_path: Path, name: str
) -> None:
    result = detect(video, "--name", name)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_name_is_for_one_video_alone(detect: Detect, video: Path, tmp_path: Path) -> None:
    other = write_video(tmp_path / "other.mp4", frames=2, width=64, height=48)
    result = detect(video, other, "--name", "x")
    assert result.exit_code == 2
    assert "one video" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, b"", b"not a video at all"])
def test_one_input_that_is_no_video_ends_with_the_code_for_videos(
    detect: Detect, tmp_path: Path, loaded: list[object], content: bytes | None
) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)
    result = detect(path)
    assert result.exit_code == 3
    assert len(result.stderr.splitlines()) == 1
    assert str(path) in result.stderr
    assert loaded == []
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_video_ends_with_the_code_for_videos(
    detect: Detect, tmp_path: Path
) -> None:
    assert detect(tmp_path).exit_code == 3


def test_a_missing_flow_image_is_named_and_ends_with_the_code_for_data(
    detect: Detect, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = ScriptedDetector()
    monkeypatch.setattr(detector, "uses_flow_images", True)
    monkeypatch.setattr(pipeline, "load_detector", lambda *_, **__: detector)
    result = detect(video, "--flow-images", tmp_path)
    assert result.exit_code == 5
    assert str(tmp_path / "clip" / "00001.jpg") in result.stderr


def test_an_output_folder_that_is_a_file_ends_with_the_code_for_outputs(
    detect: Detect, video: Path
) -> None:
    assert detect(video, output=video).exit_code == 6


def test_of_several_inputs_the_good_ones_are_done_and_the_bad_ones_explained(
    detect: Detect, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    write_video(folder / "sub/good.mp4", frames=2, width=64, height=48)
    (folder / "bad.mp4").write_bytes(b"not a video")
    result = detect(folder, tmp_path / "absent.mp4")
    assert result.exit_code == 7
    *reasons, last = result.stderr.splitlines()
    assert last == "tubedet: 2 of 3 videos failed"
    assert [reason.partition(": expected a video file, found ")[0] for reason in reasons] == [
        f"tubedet: {folder / 'bad.mp4'}",
        f"tubedet: {tmp_path / 'absent.mp4'}",
    ]
    assert [line.partition(",")[0] for line in result.stdout.splitlines()[:3]] == [
        "bad.mp4: failed",
        "sub/good.mp4: done",
        "absent.mp4: failed",
    ]
    results = ["sub/good.csv", "sub/good.meta.json", "sub/good.tubedet.mp4"]
    results.append("tubedet.manifest.jsonl")
    assert names(tmp_path / "out") == results
    assert rows(tmp_path / "out/sub/good.csv")[0]["video"] == "sub/good.mp4"


def test_a_narrow_terminal_shows_what_became_of_every_video(
    detect: Detect, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if stdout were a terminal
    name = "a-long-name-that-is-absent.mp4"
    result = detect(video, tmp_path / name)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", result.stdout).partition("Results are in")[0]
    table = re.split("^ +video", shown, flags=re.MULTILINE)[-1]  # behind the bars
    assert "done" in table
    assert "failed" in table
    assert name in "".join(line.split()[0] for line in table.splitlines() if line.strip())
    assert "…" not in table


@pytest.mark.parametrize(
    "option", [["-f", "csv"], ["--overwrite"], ["--skip-existing"], ["--resume"]]
)
def test_rows_on_stdout_go_with_no_option_about_files(
    detect: Detect, video: Path, option: list[str]
) -> None:
    assert detect(video, *option, output="-").exit_code == 2


def test_quiet_leaves_errors_alone_to_be_seen(detect: Detect, video: Path, tmp_path: Path) -> None:
    result = detect(video, tmp_path / "absent.mp4", "--quiet")
    assert result.exit_code == 7
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert "absent.mp4" in lines[0]


@pytest.mark.parametrize(
    "stem", ["Zürich [red]x", "a b'c\"d", "-dash", "100%", "二人", "clap!(x)", "a.b", "x:y"]
)
def test_odd_names_are_kept_in_outputs_rows_and_messages(
    detect: Detect, video: Path, tmp_path: Path, stem: str
) -> None:
    source = video.rename(tmp_path / f"{stem}.mp4")
    result = detect(source)
    assert result.exit_code == 0, result.stderr
    assert f"{stem}.tubedet.mp4" in result.stdout
    assert rows(tmp_path / f"out/{stem}.csv")[0]["video"] == f"{stem}.mp4"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names of any bytes")
def test_a_name_that_is_not_utf8_is_no_obstacle(video: Path, tmp_path: Path) -> None:
    source = os.fsencode(tmp_path) + b"/caf\xe9.mp4"
    os.rename(video, source)  # noqa: PTH104
    run = subprocess.run(
        [*PROGRAM, "detect", source, "-o", str(tmp_path / "out")],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert sorted(os.listdir(os.fsencode(tmp_path / "out"))) == [  # noqa: PTH208
        b"caf\xe9.csv",
        b"caf\xe9.meta.json",
        b"caf\xe9.tubedet.mp4",
    ]


def test_the_meta_stands_beside_rows_that_were_not_asked_for(
    detect: Detect, video: Path, tmp_path: Path
) -> None:
    detect(video, "-f", "mp4")
    assert names(tmp_path / "out") == ["clip.meta.json", "clip.tubedet.mp4"]
    with av.open(str(tmp_path / "out/clip.tubedet.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 8


def test_linked_boxes_bear_their_tube_and_segments_tell_when_it_was_seen(
    detect: Detect, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = BOXES[0]._replace(score=0.6)
    flicker = [[box._replace(class_index=int(number == 3))] for number in range(8)]
    monkeypatch.setattr(
        pipeline, "load_detector", lambda *_, **__: ScriptedDetector(script=flicker)
    )

    assert detect(video, "-f", "csv", "-f", "segments").exit_code == 0

    found = rows(tmp_path / "out/clip.csv")
    assert [(row["tube"], row["label"]) for row in found] == [("0", "walk")] * 8
    assert [row["score"] for row in found[2:5]] == ["0.6000", "0.4500", "0.4800"]  # 3/4, 4/5
    (segment,) = rows(tmp_path / "out/clip.segments.csv")
    assert (segment["label"], segment["start_frame"], segment["end_frame"]) == ("walk", "0", "7")
    settings = json.loads((tmp_path / "out/clip.meta.json").read_text("utf-8"))["settings"]
    assert settings["link"] is True


def test_without_links_every_frame_speaks_for_itself(
    detect: Detect, video: Path, tmp_path: Path
) -> None:
    assert detect(video, "--no-link").exit_code == 0
    assert {row["tube"] for row in rows(tmp_path / "out/clip.csv")} == {""}

    for name in ("segments", "srt", "vtt"):
        refused = detect(video, "--no-link", "-f", name, "--overwrite")
        assert refused.exit_code == 2
        assert f"-f {name} are those of linked boxes: leave --no-link out" in refused.stderr


def test_a_stream_that_a_video_does_not_have_is_named_with_those_it_has(
    detect: Detect, video: Path
) -> None:
    result = detect(video, "--video-stream", "2")
    assert result.exit_code == 3
    assert "found 2: 1 is h264 of 64x48" in result.stderr


@pytest.mark.parametrize("name", ["result.mp4", "rows.CSV"])
def test_the_name_of_a_file_is_no_output_folder(
    video: Path, tmp_path: Path, loaded: object, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["detect", str(video), "-o", name])
    assert result.exit_code == 2
    assert "--name" in result.stderr
    assert not (tmp_path / name).exists()
