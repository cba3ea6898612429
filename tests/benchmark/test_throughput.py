"""The benchmark with narrow networks: which figures there are, not how large they are."""

import json
import math
import re
import sys
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from tests.scripted_run import TellingDetector
from tests.synthetic_video import write_video
from tubedet import __version__
from tubedet.benchmark import machine, preset_figures, rounds, throughput
from tubedet.benchmark.stages import STAGES, StageTime
from tubedet.cli.app import app
from tubedet.cli.benchmark import _show_stages
from tubedet.errors import OutputError
from tubedet.models.presets import DetectorConfig, build_detector, config_from_dict
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.runtime.detector import PairPrediction, StepPrediction, TemporalReach

STEP = torch.zeros(1)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every network a sixteenth as wide, two rounds of hardly any length; a wide terminal."""
    monkeypatch.setenv("COLUMNS", "200")

    def build(config: DetectorConfig) -> TwoStreamDetector:
        return build_detector(config_from_dict({**config.to_dict(), "width": 1 / 16}))

    monkeypatch.setattr(preset_figures, "build_detector", build)
    monkeypatch.setattr(rounds, "ROUNDS", 2)
    monkeypatch.setattr(machine, "COPIED_BYTES", 1_000_000)
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
    assert re.search(r"paper, Titan X +320 +SD +1 +25\.0\s", result.stdout)
    assert re.search(r"paper, Titan X +320 +SD +4 +31\.0\s", result.stdout)


def test_an_absent_folder_for_the_figures_is_told_before_anything_is_measured(
    tmp_path: Path,
) -> None:
    words = [str(tmp_path / "none.mp4"), "--json", str(tmp_path / "none" / "figures.json")]

    result = CliRunner().invoke(app, ["benchmark", *words])

    assert result.exit_code == OutputError.exit_code
    assert "expected a folder to write to" in " ".join(result.stderr.split())


def test_a_frame_s_cost_is_told_stage_by_stage_and_against_the_machine(
    narrow: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(preset_figures, "convolution_peaks", lambda _: {"fp32": 200.0})
    monkeypatch.setattr(preset_figures, "gflop_a_frame", lambda _: 3.0)
    video = write_video(tmp_path / "a.mp4", frames=6, width=64, height=48)
    wanted = ["--preset", "flownet2-sd", "--preset", "brox", "--device", "cpu"]
    figures = tmp_path / "figures.json"
    words = [*wanted, "--precision", "fp32", "--json", str(figures)]

    result = CliRunner().invoke(app, ["benchmark", str(video), *words])

    assert result.exit_code == 0, result.output
    content = json.loads(figures.read_text("utf-8"))
    assert datetime.fromisoformat(content["created"]).utcoffset() == timedelta(0)
    assert content["tubedet_version"] == __version__
    assert 0 < content["memory_gb_per_s"] < math.inf
    own, stored = content["costs"]
    assert tuple(each["stage"] for each in own["stages"]) == STAGES
    ms = [each["ms"] for each in own["stages"]]
    assert all(each > 0 for each, stage in zip(ms, STAGES, strict=True) if stage != "streams")
    assert [each["share"] for each in own["stages"]] == pytest.approx([e / sum(ms) for e in ms])
    of_processors = sum(each["processor_ms"] for each in own["stages"]) / content["threads"]
    assert own["least_ms"] == pytest.approx(max(*ms, of_processors))
    row = content["rows"][0]
    assert own["overlap"] == pytest.approx(1000 / row["pipeline"] / own["least_ms"])
    # Of two rounds the median is the mean.
    assert own["of_peak"] == pytest.approx(3 * row["network"] / 200)
    assert (own["delay_frames"], own["delay_s"]) == (0, 0)
    assert (stored["stages"], stored["least_ms"], stored["overlap"]) == ([], None, None)
    assert stored["gflop"] == 3
    for stage in STAGES:
        assert re.search(rf"^ +{stage} +\d+\.\d +\d+%", result.stdout, re.MULTILINE), stage


def test_light_is_drawn_with_its_stages_and_told_with_its_delay(
    narrow: None, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "a.mp4", frames=6, width=64, height=48)
    figures, picture = tmp_path / "figures.json", tmp_path / "stages.png"
    words = ["--preset", "light", "--json", str(figures), "--plot", str(picture)]

    result = CliRunner().invoke(app, ["benchmark", str(video), *words, "--device", "cpu"])

    assert result.exit_code == 0, result.output
    (cost,) = json.loads(figures.read_text("utf-8"))["costs"]
    # At 24 frames a second, 16/30 s of window and 0.27 s of smoothing.
    assert (cost["delay_frames"], cost["delay_s"]) == (19, pytest.approx(0.8033, abs=1e-4))
    assert "19 frames, 0.80 s" in result.stdout
    assert round(cost["gflop"], 1) == 0.9
    assert 0 < cost["of_peak"] < math.inf
    assert len(cost["stages"]) == len(STAGES)
    drawn = cv2.imread(str(picture))
    assert drawn is not None
    assert drawn.shape == (280, 900, 3)
    assert len(set(map(tuple, drawn.reshape(-1, 3).tolist()))) > len(STAGES), "bars have colours"


def test_only_stages_can_be_drawn(tmp_path: Path) -> None:
    words = ["--preset", "brox", "--plot", str(tmp_path / "stages.png")]
    result = CliRunner().invoke(app, ["benchmark", "a.mp4", *words])

    assert result.exit_code == 2
    assert "brox needs flow images and has no stages" in result.stderr


def test_an_absent_matplotlib_is_told_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = CliRunner().invoke(app, ["benchmark", "a.mp4", "--plot", "stages.png"])

    assert result.exit_code == 2
    assert "pip install 'tubedet[train]'" in result.stderr


def test_light_is_measured_on_successive_frames_with_every_second_one_a_step(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "a.mp4", frames=40, width=64, height=48)
    temporal = TemporalReach(1 / 15, 3, 0.2, 0.15)
    asked: list[tuple[bool, bool]] = []
    states: list[bool] = []
    windows: set[int] = set()

    class Watched(TellingDetector):
        def predict(self, clip: Tensor, tasks: Any, state: Any = None) -> Any:
            asked.extend((task.is_step, task.next_is_step) for task in tasks)
            states.append(state is not None)
            return [PairPrediction(torch.tensor([0]), StepPrediction(STEP, STEP))] * len(tasks), (
                STEP,
            )

        def decode(self, prediction: Any, window: Any = ()) -> Any:
            windows.add(len(window))
            return super().decode(PairPrediction(torch.tensor([0])), ())

    case = throughput.Case(Watched(temporal), 3, video, torch.device("cpu"))
    assert case.predictions % 2 == 0, "as many steps as there are"
    assert asked == [(n % 2 == 0, n % 2 == 1) for n in range(len(asked))]
    assert states == [False] + [True] * (len(states) - 1)
    assert windows == {6}  # 0.35 s of steps every 1/15 s, and the frame's own
    case.measure()
    assert case.row("light", "random").pipeline is not None
    # At 24 a second 10 frames behind: 0.15 s of window and 0.27 s of smoothing.
    assert [case._frames_behind(frames) for frames in (10, 30, 35, 40)] == [10, 10, 5, 0]


def test_a_card_is_named_with_its_memory_and_its_own_peak_and_waited_for(
    narrow: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The network stays on the processor: only what is said and waited for is the card's."""
    card = torch.device("cuda:0")
    waits: list[torch.device] = []
    monkeypatch.setattr(rounds, "pick_device", lambda _: card)
    monkeypatch.setattr(preset_figures, "convolution_peaks", lambda device: {"fp16": 700_000.0})
    monkeypatch.setattr(preset_figures, "memory_bandwidth", lambda device: 4_800.0)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 2_000_000_000)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA Card")
    memory = SimpleNamespace(total_memory=24 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: memory)
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    figures = tmp_path / "f.json"
    words = ["--preset", "brox", "--device", "cpu", "--json", str(figures)]

    result = CliRunner().invoke(app, ["benchmark", "a.mp4", *words])

    assert result.exit_code == 0, result.output
    assert "NVIDIA Card, 24 GiB" in result.stdout
    assert "convolution peak of NVIDIA Card: 700000 GFLOP/s in fp16" in result.stdout
    content = json.loads(figures.read_text("utf-8"))
    assert (content["device_name"], content["memory_bytes"]) == ("NVIDIA Card", 25_769_803_776)
    assert content["peaks"] == {"fp16": 700_000.0}
    assert content["memory_gb_per_s"] == 4_800.0
    assert "its memory: 4800.0 GB/s" in result.stdout
    assert {row["memory_bytes"] for row in content["rows"]} == {2_000_000_000}
    assert "2000 MB" in result.stdout
    assert content["costs"][0]["of_peak"] is None, "the peak of its precision was not measured"
    assert waits == [card] * 8  # before and after: two rounds of two batch sizes


def test_a_compiled_network_is_measured_as_such(
    narrow: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The compiler is stood in for: what it makes of a network is the network."""
    compiled: list[str | None] = []

    def compile_(forward: object, *, mode: str | None, dynamic: bool) -> object:
        compiled.append(mode)
        return forward

    monkeypatch.setattr(torch, "compile", compile_)
    figures = tmp_path / "f.json"
    words = ["--preset", "brox", "--device", "cpu", "--compile", "--json", str(figures)]

    result = CliRunner().invoke(app, ["benchmark", "a.mp4", *words])

    assert result.exit_code == 0, result.output
    assert compiled == [None]
    rows = json.loads(figures.read_text("utf-8"))["rows"]
    assert {row["detector"].partition(", ")[2] for row in rows} == {"compiled"}
    assert re.search(r"brox +320 +random +(bf16|fp32), compiled +1 ", result.stdout)


def test_an_unknown_preset_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["benchmark", "a.mp4", "--preset", "x3d"])

    assert result.exit_code == 2
    assert "--preset x3d: not one of flownet2" in result.stderr


def test_no_video_is_said_to_be_none(narrow: None, tmp_path: Path) -> None:
    command = ["benchmark", str(tmp_path / "a.mp4"), "--preset", "flownet2-sd"]
    result = CliRunner().invoke(app, command)

    assert result.exit_code == 3
    assert "nothing there" in result.stderr


def test_a_preset_whose_flow_cannot_be_had_alone_stands_beside_one_whose_can(
    capsys: pytest.CaptureFixture[str],
) -> None:
    alone = SimpleNamespace(
        preset="flownet2-sd", stages=[StageTime(s, 2.0, 2.0, 1 / 7) for s in STAGES]
    )
    of_graphs = [StageTime(stage, 3.0, 3.0, 1 / 6) for stage in STAGES if stage != "flow"]
    result: Any = SimpleNamespace(costs=[alone, SimpleNamespace(preset="light", stages=of_graphs)])
    _show_stages(result)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["flow", "2.0", "14%", "-"] in rows
    assert ["draw", "2.0", "14%", "3.0", "17%"] in rows
    assert ["sum", "14.0", "100%", "18.0", "100%"] in rows
