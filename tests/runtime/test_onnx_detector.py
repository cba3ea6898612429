"""Detectors run by ONNX Runtime, beside the same ones run by PyTorch."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.small_detector import (
    heed_context,
    learn_statistics,
    seeded_clip,
    small_config,
    small_network,
)
from tests.synthetic_video import write_video
from tubedet.checkpoints.native import CheckpointHeader, save_checkpoint
from tubedet.errors import UsageError
from tubedet.models.light.detector import LightDetector
from tubedet.models.presets import LightConfig
from tubedet.pipeline import detect_video, export_graphs, load_detector
from tubedet.runtime.detector import PairPrediction, PairTask, StreamState
from tubedet.runtime.onnx_detector import OnnxDetector, OnnxLightDetector, pick_runtime
from tubedet.runtime.onnx_graphs import graph_metadata, write_graphs
from tubedet.runtime.torch import TorchDetector
from tubedet.runtime.torch_light import TorchLightDetector
from tubedet.tubes.best_box import SelectionRule

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

LIGHT = replace(small_config("light"), flow_size=64)
ROOT = Path(__file__).parents[2]


def light_network() -> LightDetector:
    network = small_network(LIGHT)
    heed_context(network)
    learn_statistics(network, seeded_clip(64, batch=4))
    return network


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("light") / "small.safetensors"
    save_checkpoint(path, light_network(), CheckpointHeader(config=LIGHT.to_dict(), licence="CC0"))
    return path


@pytest.fixture(scope="module")
def graphs(checkpoint: Path) -> Path:
    folder = checkpoint.parent / "graphs"
    assert {path.name for path in export_graphs(checkpoint, folder)} == {
        "steps.onnx",
        "pairs.onnx",
        "window.onnx",
    }
    return folder


def frames_of_noise(count: int) -> Tensor:
    """(count, 3, 64, 64), RGB 0..255."""
    clip = seeded_clip(64, batch=count)[:, :, 0]
    return 0.5 * clip + 0.5 * clip[:1]


def predicted(detector: TorchDetector, frames: Tensor, batch: int) -> list[PairPrediction]:
    """Of all pairs of successive frames, so many at once; every third frame has no boxes."""
    pairs = torch.stack([frames[:-1], frames[1:]], dim=2)
    tasks = [PairTask(n % 3 != 1, n % 2 == 0, n % 2 == 1, 1 / 25) for n in range(len(pairs))]
    state: StreamState | None = None
    found: list[PairPrediction] = []
    for at in range(0, len(pairs), batch):
        of_batch, state = detector.predict(pairs[at : at + batch], tasks[at : at + batch], state)
        found += of_batch
    return found


@pytest.mark.parametrize("batch", [1, 4])
def test_light_predicts_what_it_does_with_pytorch(graphs: Path, batch: int) -> None:
    ours = OnnxLightDetector(light_network(), LIGHT, graphs=graphs)
    theirs = TorchLightDetector(light_network(), LIGHT, device="cpu", precision="fp32")
    frames = frames_of_noise(11)
    found, expected = (predicted(each, frames, batch) for each in (ours, theirs))
    for ours_of_pair, theirs_of_pair in zip(found, expected, strict=True):
        torch.testing.assert_close(ours_of_pair, theirs_of_pair, atol=1e-4, rtol=1e-4)
    windows = [[each.step for each in of if each.step] for of in (found, expected)]
    assert len(windows[0]) == 5
    for one, other in zip(
        ours.decode(found[3], windows[0]), theirs.decode(expected[3], windows[1]), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_network_of_the_paper_predicts_what_it_does_with_pytorch(tmp_path: Path) -> None:
    config = small_config("flownet2-sd")
    network = small_network(config)
    learn_statistics(network, seeded_clip(64, batch=4))
    metadata = graph_metadata(config, None, "0", None)
    assert write_graphs(network, 64, tmp_path, metadata) == [tmp_path / "pairs.onnx"]
    ours = OnnxDetector(network, config, graphs=tmp_path)
    theirs = TorchDetector(network, config, device="cpu", precision="fp32")
    frames = frames_of_noise(5)
    for one, other in zip(predicted(ours, frames, 4), predicted(theirs, frames, 4), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_file_says_what_other_programs_have_to_know(graphs: Path, checkpoint: Path) -> None:
    import onnxruntime

    for name in ("steps", "pairs", "window"):
        session = onnxruntime.InferenceSession(graphs / f"{name}.onnx")
        stored: dict[str, Any] = {
            key: json.loads(value)
            for key, value in session.get_modelmeta().custom_metadata_map.items()
            if key.startswith("tubedet.")
        }
        assert stored["tubedet.class_names"] == ["walk", "run"]
        assert stored["tubedet.anchors_wh"] == [[1.0, 1.5], [0.5, 0.5]]
        assert stored["tubedet.input_size"] == 64
        assert stored["tubedet.step_seconds"] == pytest.approx(1 / 15)
        assert stored["tubedet.window_seconds"] == pytest.approx(16 / 30)
        assert stored["tubedet.licence"] == "CC0"


def test_the_example_finds_without_tubedet_what_tubedet_finds(
    graphs: Path, checkpoint: Path, tmp_path: Path
) -> None:
    video = write_video(tmp_path / "clip.mp4", width=64, height=64, fps=Fraction(30))
    program = (
        "import sys, runpy; sys.modules['torch'] = sys.modules['tubedet'] = None; "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0])"
    )
    given = [ROOT / "examples/run_onnx.py", graphs, video]
    command = [sys.executable, "-c", program, *map(str, given)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    rows = [line.split() for line in lines]
    detector = load_detector(checkpoint, device="cpu", precision="fp32", runtime="torch")
    rule = SelectionRule(min_score=0)
    expected = list(detect_video(video, detector, rule=rule, smooth=False, link=False))
    assert [int(row[0]) for row in rows] == list(range(23))
    for row, one in zip(rows, expected, strict=False):
        assert row[1] == one.detections[0].label
        assert float(row[2]) == pytest.approx(one.detections[0].score, abs=2e-3)


def test_auto_takes_what_is_quicker_and_can_do_what_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain: dict[str, Any] = {"device": "cpu", "precision": "auto", "compile": False}
    assert isinstance(LIGHT, LightConfig)
    assert pick_runtime("auto", LIGHT, **plain) == "onnx"
    assert pick_runtime("auto", LIGHT, **{**plain, "precision": "bf16"}) == "torch"
    assert pick_runtime("auto", LIGHT, **{**plain, "compile": True}) == "torch"
    assert pick_runtime("auto", small_config("flownet2-sd"), **plain) == "torch"
    monkeypatch.setattr("tubedet.runtime.onnx_detector.can_write_and_run", lambda: False)
    assert pick_runtime("auto", LIGHT, **plain) == "torch"
    assert pick_runtime("onnx", LIGHT, **plain) == "onnx"


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("some", {}, "runtime 'some' is unknown; choose one of auto, torch, onnx"),
        ("onnx", {"device": "cuda"}, "--device cuda: --runtime onnx works on the CPU in fp32; cho"),
        ("onnx", {"precision": "bf16"}, "--precision bf16: .*choose one of auto, fp32, or --runti"),
        ("onnx", {"compile": True}, "--compile is of --runtime torch"),
    ],
)
def test_what_cannot_be_had_is_a_usage_error(name: str, how: dict[str, Any], message: str) -> None:
    plain: dict[str, Any] = {"device": "cpu", "precision": "auto", "compile": False}
    with pytest.raises(UsageError, match=message):
        pick_runtime(name, LIGHT, **{**plain, **how})


def test_graphs_are_made_once_and_said_to_be(
    checkpoint: Path, graphs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "cache")
    made: list[Path] = []

    def write(_network: Any, _input_size: int, folder: Path, _metadata: Any) -> list[Path]:
        made.append(folder)
        return [Path(shutil.copy(path, folder)) for path in graphs.iterdir()]

    monkeypatch.setattr("tubedet.pipeline.write_graphs", write)
    said: list[str] = []
    for _ in range(2):
        detector = load_detector(checkpoint, device="cpu", runtime="onnx", told=said.append)
        assert detector.description == "light on cpu in fp32, ONNX Runtime"
    assert len(made) == 1
    assert said == ["small.safetensors: making graphs for ONNX Runtime, once for these weights"]


def test_onnx_runtime_keeps_no_identity(graphs: Path, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tubedet.runtime.onnx_graphs import OnnxGraph; "
        "OnnxGraph(Path(sys.argv[1]), 'window')"
    )
    home = {"XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    unset = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", program, str(graphs)], env=unset | home, check=True)
    assert not list(tmp_path.glob("**/*onnxruntime*"))
