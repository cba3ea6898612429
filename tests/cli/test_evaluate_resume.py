"""`tubedet evaluate --rows`: ended by whatever, and gone on with; and clips that are bad."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.drawn_jhmdb import draw_jhmdb
from tests.scripted_detector import ScriptedDetector
from tubedet import pipeline
from tubedet.cli.app import app
from tubedet.evaluation.rows_file import sole_writer

ROOT = Path(__file__).parents[2]
NAMES = ["a", "b", "c"]
VIDEOS = [
    f"{label}/{name}_{label}_f_cm_np1_ri_med_0" for label in ("run", "walk") for name in NAMES
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three clips of each of two classes; the detector finds all, and calls them all walking."""
    return draw_jhmdb(tmp_path / "jhmdb", {"run": NAMES, "walk": NAMES})


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "load_detector", lambda *_, **__: ScriptedDetector())


def words(root: Path, folder: Path) -> list[str]:
    written = ["--rows", str(folder / "r.csv"), "--json", str(folder / "r.json")]
    return ["evaluate", "--data", f"jhmdb-21:{root}", *written]


def evaluate(root: Path, folder: Path, *options: str) -> Result:
    folder.mkdir(exist_ok=True)
    return CliRunner().invoke(app, [*words(root, folder), *options])


def figures(folder: Path) -> dict[str, Any]:
    """All but the rate, which no two runs share."""
    content = json.loads((folder / "r.json").read_text("utf-8"))
    assert content.pop("frames_per_second") > 0
    return dict(content)


def clips_done(folder: Path) -> int:
    progress = folder / "r.progress.jsonl"
    return progress.read_text().count('"video"') if progress.exists() else 0


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.parametrize(("clips", "wait_s"), [(0, 0.0), (1, 0.05), (4, 0.15)])
def test_a_killed_evaluation_gives_what_an_undisturbed_one_gives(
    root: Path, tmp_path: Path, clips: int, wait_s: float
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert evaluate(root, whole).exit_code == 0
    killed.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.scripted_program", *words(root, killed)],
        cwd=ROOT,
        env=os.environ | {"SECONDS_PER_FRAME": "0.1"},
    ) as process:
        deadline = time.monotonic() + 60
        while clips_done(killed) < clips or not (killed / "r.csv").exists():
            assert time.monotonic() < deadline, "the evaluation did not begin"
            time.sleep(0.01)
        time.sleep(wait_s)
        process.kill()
    done = clips_done(killed)
    assert clips <= done < len(VIDEOS)
    assert not (killed / "r.json").exists()

    resumed = evaluate(root, killed, "--resume")

    assert resumed.exit_code == 0, resumed.output
    assert figures(killed) == figures(whole)
    assert (killed / "r.csv").read_bytes() == (whole / "r.csv").read_bytes()


def test_clips_that_are_done_are_not_run_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert evaluate(root, tmp_path).exit_code == 0
    before = figures(tmp_path)
    detector = ScriptedDetector()
    monkeypatch.setattr(pipeline, "load_detector", lambda *_, **__: detector)

    assert evaluate(root, tmp_path, "--resume").exit_code == 0

    assert detector.batch_sizes == []
    assert figures(tmp_path) == before


def test_two_evaluations_do_not_write_to_one_file(root: Path, tmp_path: Path) -> None:
    with sole_writer(tmp_path / "r.csv"):
        result = evaluate(root, tmp_path, "--resume")

    assert result.exit_code == 6
    assert f"{tmp_path / 'r.csv'}: another run is writing it" in result.stderr
    assert not (tmp_path / "r.csv").exists()


def test_the_rows_of_an_evaluation_can_be_scored_by_any_rule(root: Path, tmp_path: Path) -> None:
    assert evaluate(root, tmp_path).exit_code == 0
    scored = tmp_path / "scored.json"
    rows = ["--detections", str(tmp_path / "r.csv"), "--json", str(scored)]

    for rule in ("tubedet", "act"):
        result = CliRunner().invoke(
            app, ["evaluate", "--data", f"jhmdb-21:{root}", *rows, "--rule", rule]
        )
        assert result.exit_code == 0, result.output
        same = ("f_map", "f_map_curve", "per_class", "errors", "box_right")
        found = json.loads(scored.read_text("utf-8"))
        if rule == "tubedet":
            assert {key: found[key] for key in same} == {
                key: figures(tmp_path)[key] for key in same
            }
        else:
            assert found["rule"] == "act"


@pytest.mark.parametrize(
    ("options", "complaint", "code"),
    [
        (["--resume", "--batch-size", "2"], "was made with batch_size 1, not 2; give the same", 2),
        (["--resume", "--all-classes"], "boxes the best of each frame, not every box under", 2),
        ([], "exists already; go on with --resume or choose another name", 6),
    ],
)
def test_rows_of_another_evaluation_are_refused_in_one_line(
    root: Path, tmp_path: Path, options: list[str], complaint: str, code: int
) -> None:
    assert evaluate(root, tmp_path).exit_code == 0

    result = evaluate(root, tmp_path, *options)

    assert result.exit_code == code, result.output
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--resume"], "name them with --rows"),
        (
            ["--detections", "r.csv", "--rows", "s.csv"],
            "leave --link, --flow-images and --rows out",
        ),
    ],
)
def test_options_that_contradict_are_named(root: Path, options: list[str], complaint: str) -> None:
    result = CliRunner().invoke(app, ["evaluate", "--data", f"jhmdb-21:{root}", *options])

    assert result.exit_code == 2
    assert complaint in result.stderr


def test_bad_clips_are_named_and_the_rest_is_measured_with_the_code_of_a_partial_failure(
    root: Path, tmp_path: Path
) -> None:
    bad = next(root.rglob("b_walk*.avi"))
    content = bad.read_bytes()
    bad.write_bytes(b"this is no video")

    result = evaluate(root, tmp_path)

    assert result.exit_code == 7, result.output
    assert (
        f"clip {VIDEOS[4]} was not run: {VIDEOS[4]}: a clip of the data set is b" in result.stderr
    )
    assert "could not be run: 1, of another length than annotated: 0; true boxes" in result.stderr
    found = figures(tmp_path)
    assert found["boxes_not_decoded"] == found["errors"]["counts"]["missed"] - 12 == 4

    bad.write_bytes(content)
    mended = evaluate(root, tmp_path, "--resume")

    assert mended.exit_code == 0, mended.output
    assert evaluate(root, tmp_path / "whole").exit_code == 0
    assert figures(tmp_path) == figures(tmp_path / "whole")


def test_clips_of_another_length_are_named_with_both(root: Path, tmp_path: Path) -> None:
    longer = draw_jhmdb(tmp_path / "longer", {"walk": ["a"]}, frames=5)
    for video in longer.rglob("a_walk*.avi"):
        next(root.rglob("a_walk*.avi")).write_bytes(video.read_bytes())

    result = evaluate(root, tmp_path)

    assert result.exit_code == 0, result.output
    assert f"{VIDEOS[3]}: annotated are 4 frames, found 5: the first 4 count" in result.stderr
    assert "of another length than annotated: 1; true boxes of frames" in result.stderr
    assert figures(tmp_path)["decoded_frames_of_other_lengths"] == {VIDEOS[3]: 5}


def test_precision_and_compilation_are_passed_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}

    def load(weights: str | None, *, told: object, **how: Any) -> ScriptedDetector:
        asked.update(how)
        detector = ScriptedDetector()
        detector.precision = how["precision"]
        return detector

    monkeypatch.setattr(pipeline, "load_detector", load)

    assert evaluate(root, tmp_path, "--precision", "fp32", "--compile").exit_code == 0

    expected = {"device": "auto", "precision": "fp32", "compile": True, "latency": "half-second"}
    assert asked == {**expected, "runtime": "torch"}  # the environment's
    assert figures(tmp_path)["precision"] == "fp32"
