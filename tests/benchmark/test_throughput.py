"""The benchmark with narrow networks: which figures there are, not how large they are."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.synthetic_video import write_video
from tubedet.benchmark import throughput
from tubedet.cli.app import app
from tubedet.models.presets import DetectorConfig, build_detector
from tubedet.models.two_stream import TwoStreamDetector


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network a sixteenth as wide, two rounds of hardly any length."""

    def build(config: DetectorConfig) -> TwoStreamDetector:
        return build_detector(replace(config, width=1 / 16))

    monkeypatch.setattr(throughput, "build_detector", build)
    monkeypatch.setattr(throughput, "ROUNDS", 2)
    monkeypatch.setattr(throughput, "SECONDS", 0.01)


def test_every_preset_has_a_line_for_each_of_the_paper_s_batch_sizes(
    narrow: None, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "a.mp4", frames=6, width=64, height=48)
    wanted = ["--preset", "flownet2-sd", "--preset", "brox"]
    figures = tmp_path / "figures.json"

    result = CliRunner().invoke(app, ["benchmark", str(video), *wanted, "--json", str(figures)])

    assert result.exit_code == 0, result.output
    content = json.loads(figures.read_text("utf-8"))
    rows = [(row["preset"], row["batch_size"], row["weights"]) for row in content["rows"]]
    assert rows == [
        ("flownet2-sd", 1, "random"),
        ("flownet2-sd", 4, "random"),
        ("brox", 1, "random"),
        ("brox", 4, "random"),
    ]
    assert all(row["network"] > 0 and row["input_size"] == 320 for row in content["rows"])
    assert [row["pipeline"] is None for row in content["rows"]] == [False, False, True, True]
    assert all(row["pipeline"] > 0 for row in content["rows"][:2])
    assert min(content["peaks"].values()) > 0
    assert "random" in result.stdout
    assert "needs flow images" in result.stdout


def test_an_unknown_preset_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["benchmark", "a.mp4", "--preset", "x3d"])

    assert result.exit_code == 2
    assert "--preset x3d: not one of flownet2" in result.stderr


def test_no_video_is_said_to_be_none(narrow: None, tmp_path: Path) -> None:
    command = ["benchmark", str(tmp_path / "a.mp4"), "--preset", "flownet2-sd"]
    result = CliRunner().invoke(app, command)

    assert result.exit_code == 3
    assert "nothing there" in result.stderr
