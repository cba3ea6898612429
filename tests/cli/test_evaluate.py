"""`tubedet evaluate` on a tiny J-HMDB-21 made here, with a scripted detector for the weights."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from tests.golden import reference_json
from tests.jhmdb_layout import empty_layout, list_clip, video_path, write_mask
from tests.scripted_detector import ScriptedBox, ScriptedDetector
from tests.synthetic_video import write_video
from tests.ucf_layout import real_ucf_root
from tubedet.cli.app import app
from tubedet.cli.evaluate import evaluate
from tubedet.datasets.named_datasets import load_named_dataset
from tubedet.errors import DatasetError
from tubedet.labels import JHMDB_21, UCF101_24

CLIP = "A_golf_f_cm_np1_ri_med_0"
FRAMES, WIDTH, HEIGHT = 3, 64, 48


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A test part of two listed clips, of which one is there; its actor fills the left half."""
    root = empty_layout(tmp_path / "jhmdb")
    list_clip(root, "golf", CLIP, mark=2)
    list_clip(root, "walk", "B_walk_f_cm_np1_ri_med_0", mark=2)
    write_video(video_path(root, "golf", CLIP), frames=FRAMES, width=WIDTH, height=HEIGHT)
    mask = np.zeros((HEIGHT, WIDTH, FRAMES), dtype=np.uint8)
    mask[:, : WIDTH // 2] = 1
    write_mask(root, "golf", CLIP, mask)
    return root


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """The command alone, its weights saying golf in the left half, with hardly any score."""
    golf = ScriptedBox(0, 0, 0.5, 1, JHMDB_21.index("golf"), score=0.01)
    detector = ScriptedDetector(class_names=JHMDB_21, script=[(golf,)] * FRAMES)
    monkeypatch.setattr("tubedet.pipeline.load_detector", lambda *_, **__: detector)
    alone = typer.Typer()
    alone.command()(evaluate)
    return alone


def test_figures_are_shown_with_their_convention_and_what_was_absent(
    command: typer.Typer, root: Path
) -> None:
    result = CliRunner().invoke(command, ["--data", f"jhmdb-21:{root}"])

    assert result.exit_code == 0, result.output
    assert "jhmdb-21, split 1, part test: 1 of 2 videos, 3 frames" in result.stdout
    assert result.stdout.count("100.0") >= 6
    assert "VOC all-points area, IoU without +1" in result.stdout
    assert "listed but absent, so left out (1): walk/B_walk" in result.stderr


def test_figures_are_written_where_asked(command: typer.Typer, root: Path, tmp_path: Path) -> None:
    names = {"--json": "r.json", "--csv": "r.csv", "--plot": "r.png"}
    options = [text for option, name in names.items() for text in (option, str(tmp_path / name))]

    result = CliRunner().invoke(command, ["--data", f"jhmdb-21:{root}", "--split", "1", *options])

    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert figures["f_map"] == {"0.2": 1.0, "0.5": 1.0, "0.75": 1.0}
    assert figures["missing_videos"] == ["walk/B_walk_f_cm_np1_ri_med_0"]
    assert (tmp_path / "r.csv").read_text().splitlines()[1].startswith("golf,3,1.0")
    assert (tmp_path / "r.png").stat().st_size > 0


def test_a_part_that_is_absent_raises_for_the_program_to_report(
    command: typer.Typer, root: Path
) -> None:
    result = CliRunner().invoke(command, ["--data", f"jhmdb-21:{root}", "--part", "train"])

    assert isinstance(result.exception, DatasetError)


def write_rows(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join(["video,frame,tube,label,score,x1,y1,x2,y2", *rows]))
    return path


def golf_rows(tube: str = "", box: str = "0,0,32,48") -> list[str]:
    return [f"golf/{CLIP}.avi,{frame},{tube},golf,0.9,{box}" for frame in range(FRAMES)]


def evaluate_rows(path: Path, root: Path, *options: str) -> Result:
    return CliRunner().invoke(
        app, ["evaluate", "--data", f"jhmdb-21:{root}", "--detections", str(path), *options]
    )


def test_rows_of_a_file_are_scored_without_video_or_network(root: Path, tmp_path: Path) -> None:
    video_path(root, "golf", CLIP).unlink()
    rows = [*golf_rows(), "golf/other.avi,0,,golf,0.9,0,0,1,1", f"golf/{CLIP},0,,dive,0.1,0,0,1,1"]

    result = evaluate_rows(write_rows(tmp_path / "r.csv", rows), root, "--all-classes")

    assert result.exit_code == 0, result.output
    assert "1 of 2 videos, 3 frames; rows of r.csv" in result.stdout
    assert "f-mAP, one box a frame; rule tubedet: VOC all-points area, IoU with" in result.stdout
    assert "f-mAP, all rows; rule tubedet: VOC all-points area, IoU without +1" in result.stdout
    assert "right 3 (100.0 %)" in result.stdout
    assert "video-mAP" not in result.stdout
    assert "videos that are not in the data, left out (1): golf/other.avi" in result.stderr
    assert "labels that the data does not have, never right (1): dive" in result.stderr


def test_the_best_box_of_a_frame_counts_and_all_beside_it_if_asked_for(
    root: Path, tmp_path: Path
) -> None:
    wrong = [f"golf/{CLIP},{frame},,golf,1.0,40,0,64,48" for frame in range(FRAMES)]
    file = write_rows(tmp_path / "r.csv", [*golf_rows(), *wrong])
    written = tmp_path / "r.json"

    alone = evaluate_rows(file, root, "--json", str(written))
    assert json.loads(written.read_text("utf-8"))["all_classes"] is None
    both = evaluate_rows(file, root, "--json", str(written), "--all-classes")

    figures = json.loads(written.read_text("utf-8"))
    assert figures["f_map"]["0.5"] == 0.0
    assert figures["all_classes"]["f_map"]["0.5"] == pytest.approx(0.5)
    shown = [line.split() for line in both.stdout.splitlines()]
    assert ["golf", "3", *["0.0"] * 3, *["50.0"] * 3] in shown
    assert ["all", "classes,", "annotated", *["50.0", "-"] * 3] in shown  # of one source
    assert ["golf", "3", *["0.0"] * 3] in [line.split() for line in alone.stdout.splitlines()]


def test_an_interval_by_source_stands_beside_each_f_map(root: Path, tmp_path: Path) -> None:
    """By hand: golf is found, walk of another source is not: a draw gives 1, 0.5 or 0."""
    write_mask(root, "walk", "B_walk_f_cm_np1_ri_med_0", np.ones((48, 64, 3), dtype=np.uint8))
    file, written = write_rows(tmp_path / "r.csv", golf_rows()), tmp_path / "r.json"

    result = evaluate_rows(file, root, "--json", str(written))

    assert result.exit_code == 0, result.output
    figures = json.loads(written.read_text("utf-8"))
    assert figures["f_map_interval"] == {at: [0.0, 1.0] for at in figures["f_map"]}
    assert figures["f_map_interval"] == figures["f_map_all_frames_interval"]
    assert "95 % percentile interval of 1,000 draws of 2 sources" in figures["intervals"]
    assert figures["intervals"] in result.stdout
    assert result.stdout.count("50.0 0.0–100.0") == 6


def test_rows_with_tubes_are_scored_as_tubes_and_the_rule_is_shown(
    root: Path, tmp_path: Path
) -> None:
    file = write_rows(tmp_path / "r.csv", golf_rows(tube="3")[:2])
    written = tmp_path / "r.json"

    result = evaluate_rows(file, root, "--rule", "gurkirt", "--json", str(written))

    assert result.exit_code == 0, result.output
    assert "rule gurkirt: VOC all-points area, mean IoU of common frames +1 on" in result.stdout
    figures = json.loads(written.read_text("utf-8"))
    # 2 of 3 frames, 32x48 against 33x49 px; one of 21 classes has its one tube found up to 0.64.
    assert figures["video_map"] == pytest.approx(
        {"0.2": 1 / 21, "0.5": 1 / 21, "0.75": 0.0, "0.5:0.95": 3 / 10 / 21}
    )
    assert figures["rule"] == "gurkirt"
    assert len(figures["f_map_curve"]) == 19


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (["--rule", "padilla"], "expected one of tubedet, gurkirt, act, yowo, voc2007", 2),
        (["--weights", "light"], "give one of them", 2),
        (["--part", "nowhere"], "no part 'nowhere'", 5),
    ],
)
def test_mistakes_are_named_in_one_line(
    root: Path, tmp_path: Path, options: list[str], message: str, code: int
) -> None:
    result = evaluate_rows(write_rows(tmp_path / "r.csv", golf_rows()), root, *options)

    assert result.exit_code == code
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_file_without_rows_scores_nothing(root: Path, tmp_path: Path) -> None:
    written = tmp_path / "r.json"

    result = evaluate_rows(write_rows(tmp_path / "r.csv", []), root, "--json", str(written))

    assert result.exit_code == 0, result.output
    figures = json.loads(written.read_text("utf-8"))
    assert set(figures["f_map"].values()) == {0.0}
    assert figures["errors"]["counts"]["missed"] == FRAMES


def test_a_frame_out_of_range_is_refused(root: Path, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "r.csv", [f"golf/{CLIP},3,,golf,0.9,0,0,1,1"])

    result = evaluate_rows(file, root)

    assert result.exit_code == 5
    assert "expected frames 0 to 2, found 3; 1 such rows" in result.stderr


def test_pictures_of_best_and_worst_frames_are_drawn(
    command: typer.Typer, root: Path, tmp_path: Path
) -> None:
    options = ["--pictures", "2", "--pictures-folder", str(tmp_path / "pictures")]

    result = CliRunner().invoke(command, ["--data", f"jhmdb-21:{root}", *options])

    assert result.exit_code == 0, result.output
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["golf.best.png"]
    assert f"1 pictures of best and worst frames are in {tmp_path / 'pictures'}" in result.stdout


def test_pictures_of_absent_videos_are_left_out_and_the_score_stays(
    root: Path, tmp_path: Path
) -> None:
    file, written = write_rows(tmp_path / "r.csv", golf_rows()), tmp_path / "r.json"
    write_mask(root, "walk", "B_walk_f_cm_np1_ri_med_0", np.ones((48, 64, 3), dtype=np.uint8))
    pictures = ["--pictures", "1", "--pictures-folder", str(tmp_path / "pictures")]

    result = evaluate_rows(file, root, "--json", str(written), *pictures)

    assert result.exit_code == 0, result.output
    assert json.loads(written.read_text("utf-8"))["f_map"]["0.5"] == 0.5  # walk is never found
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["golf.best.png"]
    assert "no picture of 1 clips, whose videos are not there: walk/B_walk" in result.stderr


def test_scoring_a_file_loads_no_torch(root: Path, tmp_path: Path) -> None:
    file = write_rows(tmp_path / "r.csv", golf_rows(tube="1"))
    words = ["evaluate", "--data", f"jhmdb-21:{root}", "--detections", str(file)]

    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tubedet", *words],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )

    loaded = set(re.findall(r"\| +(\S+)$", run.stderr, re.MULTILINE))
    assert "pandas" in loaded
    assert "torch" not in loaded
    assert "best box, annotated" in run.stdout


def test_the_first_true_box_of_each_frame_gives_the_known_ceiling_of_ucf101_24(
    tmp_path: Path,
) -> None:
    expected = reference_json("top1_ceiling.json")
    data = f"ucf101-24:{real_ucf_root()}"
    frames = [
        f"{clip.video},{frame},,{UCF101_24[boxes[0].class_index]},1,"
        + ",".join(map(str, boxes[0].box_xyxy))
        for clip in load_named_dataset(data, 1, "test", require_videos=False).clips
        for frame, boxes in enumerate(clip.boxes_by_frame)
        if boxes
    ]
    file, written = write_rows(tmp_path / "first.csv", frames), tmp_path / "r.json"

    result = CliRunner().invoke(
        app, ["evaluate", "--data", data, "--detections", str(file), "--json", str(written)]
    )

    assert result.exit_code == 0, result.output
    assert "910 of 910 videos, 159289 frames" in result.stdout
    figures = json.loads(written.read_text("utf-8"))
    for threshold in ("0.2", "0.5", "0.75"):
        assert figures["f_map"][threshold] == pytest.approx(expected["mean_ceiling"], abs=1e-12)
    assert len(figures["per_class"]) == 24
    for name, of_class in figures["per_class"].items():
        assert of_class["ground_truths"] == expected["per_class"][name]["boxes"]
        ceiling = expected["per_class"][name]["ceiling"]  # to four decimals
        assert of_class["ap"]["0.5"] == pytest.approx(ceiling, abs=5e-5)
    counts = figures["errors"]["counts"]
    assert counts["right"] / (counts["right"] + counts["missed"]) == pytest.approx(
        expected["pooled"]
    )
