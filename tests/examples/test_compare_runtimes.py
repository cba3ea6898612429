from collections.abc import Callable
from pathlib import Path

import pytest

from examples import compare_runtimes
from tests.scripted_detector import ScriptedBox, ScriptedDetector
from tests.synthetic_video import write_video
from tubedet.errors import UsageError

WIDTH, HEIGHT = 128, 96


def script(shift_px: float, score: float) -> list[tuple[ScriptedBox, ...]]:
    """A box in each of eight frames, moved to the right."""
    left, right = (20 + shift_px) / WIDTH, (60 + shift_px) / WIDTH
    return [(ScriptedBox(left, 0.25, right, 0.75, 1, score),)] * 8


def compared(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    video: Path,
    of_way: Callable[[str, str], list[tuple[ScriptedBox, ...]]],
) -> list[str]:
    def load(weights: object, *, device: str, precision: str, runtime: str) -> ScriptedDetector:
        # Its raw outputs are taken first, its boxes after: it has to say all twice.
        return ScriptedDetector(script=2 * of_way(runtime, precision))

    monkeypatch.setattr(compare_runtimes, "load_detector", load)
    compare_runtimes.compare([video], 1000, None)
    return capsys.readouterr().out.splitlines()


def test_boxes_that_moved_are_the_same_only_within_what_they_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "a.mp4", frames=8, width=WIDTH, height=HEIGHT)
    ways = {
        ("torch", "fp32"): script(0, 0.8),
        ("torch", "bf16"): script(1.5, 0.8),
        ("onnx", "fp32"): script(0, 0.825),
    }

    lines = compared(monkeypatch, capsys, video, lambda *way: ways[way])

    same, none = "100.00 %", "0.00 %"
    for line, raw, within_1, within_2 in zip(
        lines, ("0", "0.012", "0.025"), (same, none, none), (same, same, same), strict=True
    ):
        assert f"8 frames, raw at most {raw} apart" in line
        assert line.endswith(f"within 1 px and 0.01: {within_1}, 2 px and 0.03: {within_2}")


def test_a_runtime_that_is_not_installed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "a.mp4", frames=8, width=WIDTH, height=HEIGHT)

    def of_way(runtime: str, precision: str) -> list[tuple[ScriptedBox, ...]]:
        if runtime == "onnx":
            raise UsageError("ONNX graphs need onnxruntime")
        return script(0, 0.8)

    lines = compared(monkeypatch, capsys, video, of_way)

    assert lines[-1] == "onnx fp32: left out: ONNX graphs need onnxruntime"
