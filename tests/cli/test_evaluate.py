"""`tubedet evaluate` on a tiny J-HMDB-21 made here, with a scripted detector for the weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests.jhmdb_layout import empty_layout, list_clip, video_path, write_mask
from tests.scripted_detector import ScriptedBox, ScriptedDetector
from tests.synthetic_video import write_video
from tubedet.cli.evaluate import evaluate
from tubedet.errors import DatasetError
from tubedet.labels import JHMDB_21

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
    app = typer.Typer()
    app.command()(evaluate)
    return app


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
