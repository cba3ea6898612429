"""Commands, options and numbers of the README and of the pages are those of the program."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from tests.known_flow import KnownFlow
from tests.scripted_detector import ScriptedDetector
from tests.sintel_layout import write_sintel
from tests.synthetic_video import square_xyxy, write_video
from tests.ucf_layout import tube, video_record, write_layout
from tubedet import errors, pipeline
from tubedet.cli.app import app
from tubedet.labels import UCF101_24
from tubedet.models.light.detector import LightDetector
from tubedet.models.presets import PRESETS, build_detector, config_from_dict
from tubedet.models.yolov2.anchors import VOC_2016
from tubedet.runtime.torch_flow import TorchFlow
from tubedet.training.paper_recipes import RECIPES

ROOT = Path(__file__).parents[1]
PAGES = "index quick-start detect own-classes trouble-shooting accuracy networks".split()
PAGES += ["paper", "paper-experiments"]
TEXT = "\n".join(
    path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *(ROOT / "docs" / f"{page}.md" for page in PAGES))
)
CONSOLE = "\n".join(re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL))
LINES = dict.fromkeys(line.partition(" #")[0].strip() for line in CONSOLE.splitlines())
COMMANDS = [line for line in LINES if line]  # each once, wherever it stands


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the videos and frames that the pages name, and no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "load_detector", lambda *_, **__: ScriptedDetector())
    (tmp_path / "holiday").mkdir()
    write_video(tmp_path / "holiday" / "beach.mp4", frames=4, width=64, height=48)
    # Long enough for the minute at which one of the commands begins.
    write_video(tmp_path / "video.mp4", frames=125, width=64, height=48, fps=Fraction(2))
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "bike-2.avi", frames=4, width=64, height=48)
    (tmp_path / "frames").mkdir()
    for number in range(1, 5):
        picture = np.full((48, 64, 3), 9 * number, np.uint8)
        cv2.imwrite(str(tmp_path / "frames" / f"{number:05d}.jpg"), picture)
    return tmp_path


def test_every_detect_command_runs(folder: Path) -> None:
    commands = [command for command in COMMANDS if command.startswith("tubedet detect")]
    assert len(commands) >= 3
    written = set()  # a run with other settings takes away what an earlier one has left
    for command in commands:
        words = shlex.split(command)[1:]
        overwrite = [] if {"--help", "--resume"} & set(words) else ["--overwrite"]
        result = CliRunner().invoke(app, [*words, *overwrite])
        assert result.exit_code == 0, f"{command}: {result.output}"
        written |= {path.name for path in (folder / "tubedet-output").glob("*")}
    assert {"video.tubedet.mp4", "video.csv", "video.segments.csv", "beach.json"} <= written


def test_every_flow_command_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = TorchFlow(KnownFlow(), device="cpu")
    monkeypatch.setattr(pipeline, "load_flow_estimator", lambda *_, **__: estimator)
    commands = [command for command in COMMANDS if command.startswith("tubedet flow")]
    assert commands
    for command in commands:
        result = CliRunner().invoke(app, shlex.split(command)[1:])
        assert result.exit_code == 0, f"{command}: {result.output}"
    assert (folder / "tubedet-output" / "video.flow.mp4").is_file()
    assert (folder / "tubedet-output" / "video" / "000000.flo").is_file()


def test_every_evaluate_command_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = TorchFlow(KnownFlow(), device="cpu")
    monkeypatch.setattr(pipeline, "load_flow_estimator", lambda *_, **__: estimator)
    video = "Biking/v_Biking_g01_c01"
    boxes = [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in (square_xyxy(0, 320, 240),)]
    write_layout(folder / "UCF", {video: video_record(1, tube(0, boxes))}, [video])
    write_video(folder / "UCF" / "videos" / f"{video}.avi", frames=1)
    write_sintel(folder / "SINTEL", {"alley_1": (3.0, -2.0)})
    columns, row = "video,frame,label,score,x1,y1,x2,y2", f"{video},0,Biking,1,0,0,9,9"
    (folder / "rows.csv").write_text(f"{columns}\n{row}\n")
    pattern = r"tubedet evaluate.* ?(?:ucf101-24:|sintel:|\w+\.json)"
    commands = [command for command in COMMANDS if re.match(pattern, command)]
    for command in commands:
        result = CliRunner().invoke(app, shlex.split(command)[1:])
        assert result.exit_code == 0, f"{command}: {result.output}"
    written = ("figure2.png", "figure2.csv", "table2.md", "table3.tex", "table4.csv")
    assert all((folder / name).is_file() for name in written)
    assert {command.split()[1] for command in commands} == {
        "evaluate", "evaluate-curve", "evaluate-flow", "evaluate-table"
    }  # fmt: skip


def test_a_video_on_stdin_becomes_json_lines_on_stdout(folder: Path) -> None:
    (command,) = (command for command in COMMANDS if command.startswith("cat "))
    into, program, _ = command.split(" | ")
    assert into == "cat video.mp4"
    assert program.startswith("tubedet detect - -o -")
    run = subprocess.run(
        [sys.executable, "-m", "tests.scripted_program", "detect", "-", "-o", "-"],
        cwd=ROOT,
        input=(folder / "video.mp4").read_bytes(),
        capture_output=True,
        check=True,
    )
    assert len(run.stdout.splitlines()) == 125


def test_the_python_example_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = {
        block
        for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
        if "import tubedet" in block
    }
    exec(compile(example, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    CliRunner().invoke(app, ["detect", "video.mp4"], catch_exceptions=False)
    rows = (folder / "tubedet-output" / "video.csv").read_text().splitlines()[1:]
    assert len(printed) == 125
    assert [line.split()[1] for line in printed] == [row.split(",")[5] for row in rows]


def test_every_recipe_has_its_command() -> None:
    named = set(re.findall(r"--recipe (\S+)", TEXT)) - {"R"}
    assert named == set(RECIPES) - {"light", "two-stream"}
    lines = [line for line in TEXT.splitlines() if "`--recipe " in line and line.startswith("|")]
    train = vars(typer.main.get_command(app))["commands"]["train"]
    options = {option.opts[0] for option in train.params}
    for line in lines:
        words = shlex.split(re.findall(r"`(--recipe .*)`", line)[0])
        assert {word for word in words if word.startswith("--")} <= options
        preset = RECIPES[words[1]].preset
        assert ("--flow-images" in words) == (preset == "brox")


def test_every_make_target_is_in_the_makefile() -> None:
    targets = {command.split()[1] for command in COMMANDS if command.startswith("make ")}
    assert targets >= {"demo", "test"}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets <= set(re.findall(r"^(\w+):", makefile, re.MULTILINE))


@pytest.mark.parametrize("preset", PRESETS)
def test_the_table_of_networks_says_their_sizes_and_costs(preset: str) -> None:
    config = config_from_dict({"preset": preset, "class_names": UCF101_24, "anchors_wh": VOC_2016})
    with torch.device("meta"):
        network = build_detector(config).eval()
        if isinstance(network, LightDetector):
            expected = f"{cost_of_light(network, config.input_size) / 1e9:.1f} at 256×256"
        else:
            clip = torch.empty(1, 3, 2, 320, 320)
            expected = f"{cost_of(lambda: network(clip)) / 1e9:.1f}"
    parameters = sum(parameter.numel() for parameter in network.parameters())
    (row,) = set(re.findall(rf"^\| `{preset}` \|.*", TEXT, re.MULTILINE))
    size, cost = row.strip("| ").split(" | ")[-2:]
    assert size == f"{parameters / 1e6:.1f} M"
    assert cost == expected


def cost_of_light(network: LightDetector, size: int) -> float:
    """FLOPs a frame of a video of 30 frames a second, of which the backbone takes every second."""
    clip, seconds = torch.empty(1, 3, 2, size, size), torch.empty(1)
    (steps, _), (motion, _) = network.steps(clip[:, None, :, 0]), network.motion(clip, seconds)
    return (
        cost_of(lambda: network.steps(clip[:, None, :, 0])) / 2
        + cost_of(lambda: network.motion(clip, seconds))
        + cost_of(lambda: network.fusion(steps.last[:, 0], motion))
    )


def cost_of(run: Callable[[], object]) -> int:
    """FLOPs, of which a multiplication and its addition are two."""
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def test_the_table_of_exit_codes_is_that_of_the_program() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    raised = {kind.exit_code for kind in kinds if issubclass(kind, errors.TubedetError)}
    assert documented == {0, errors.EXIT_BATCH_FAILED} | raised
    assert "| 130, 143, 129 |" in TEXT  # 128 + the number of SIGINT, SIGTERM, SIGHUP
