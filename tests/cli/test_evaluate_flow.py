"""`tubedet evaluate-flow` on a tiny MPI-Sintel made here, with networks that know their answer."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.known_flow import KnownFlow
from tests.sintel_layout import write_sintel
from tubedet import pipeline
from tubedet.cli.app import app
from tubedet.datasets.flow_sample import FlowSample
from tubedet.datasets.sintel import list_sintel, sintel_samples
from tubedet.errors import DatasetError
from tubedet.evaluation.flow_error import zero_flow
from tubedet.evaluation.flow_table import measure_flow, torch_estimator
from tubedet.runtime.torch_flow import TorchFlow


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """96x72 is no multiple of 64: 4 and 2 px too far, 3-4-5 triangles away."""
    return write_sintel(tmp_path / "sintel", {"a": (3.0, 4.0), "b": (6.0, 8.0)})


def test_errors_are_those_of_the_known_flow_at_any_size(root: Path) -> None:
    samples = sintel_samples(list_sintel(root, "final"))
    # The network sees 128x128 and its 3 px there are 3 * 96/128 in the frame.
    known = torch_estimator(TorchFlow(KnownFlow(4.0, 0.0), device="cpu"))

    *done, rows = measure_flow({"known": known, "none": zero_flow}, samples)

    assert done == [1, 2, 3, 4]
    assert isinstance(rows, list)
    # (3, 0) against (3, 4) and (6, 8): 4 and sqrt(9 + 64); nothing: 5 and 10.
    assert [row.error.mean_px for row in rows] == pytest.approx([(4 + 73**0.5) / 2, 7.5], abs=1e-4)
    assert rows[1].error.by_speed_px == pytest.approx({5.0: 5.0, 10.0: 10.0})
    assert all(row.ms_a_pair > 0 for row in rows)
    assert rows[0].error.pixels == 4 * 96 * 72


def test_without_a_pair_there_is_no_table() -> None:
    nothing: list[FlowSample] = []

    with pytest.raises(DatasetError, match="no pair"):
        list(measure_flow({"none": zero_flow}, nothing))


def test_the_table_has_the_papers_rows_dis_and_every_network(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    def load(weights: str | None, *, device: str) -> TorchFlow:
        asked.append(weights)
        return TorchFlow(KnownFlow(3.0 * 128 / 96, 4.0 * 128 / 72), device="cpu")

    monkeypatch.setattr(pipeline, "load_flow_estimator", load)
    words = ["evaluate-flow", "--data", f"sintel:{root}", "--frames", "clean"]

    words += ["-o", str(root / "table.md")]

    result = CliRunner().invoke(app, [*words, "--weights", "a.st", "--weights", "b.st"])

    assert result.exit_code == 0, result.output
    assert asked == ["a.st", "b.st"]
    assert "MPI-Sintel, training, clean: 4 pairs" in result.stdout
    assert "mean end-point error in px over all pixels" in result.stdout
    lines = (root / "table.md").read_text("utf-8").splitlines()
    assert "whole frames stretched to multiples of 64 px, where NVIDIA's code crops" in lines[-1]
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    table = {method: rest for method, *rest in cells}
    assert table["FlowNet2 (GPU)"] == ["3.14", "123", "El-Nouby and Taylor (2018)"]
    for weights in ("a.st", "b.st"):  # right in one scene, 5 px off in the other
        assert table[weights][0] == "2.50"
        assert table[weights][2] == "measured"
    assert float(table["DIS-fast (OpenCV, CPU)"][0]) > 0
    assert "a.st" in result.stdout


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["--data", "kitti:x"], "expected sintel:PATH", 2),
        (["--data", "sintel:x", "--frames", "albedo"], "expected clean or final", 2),
        (["--data", "sintel:x"], "found none", 5),
    ],
)
def test_mistakes_are_named_in_one_line(words: list[str], message: str, code: int) -> None:
    result = CliRunner().invoke(app, ["evaluate-flow", *words])

    assert result.exit_code == code
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
