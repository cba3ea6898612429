import re
from pathlib import Path

import pytest

from examples import measure_speed
from tests.drawn_jhmdb import save_small_checkpoint
from tests.synthetic_video import write_video
from tubedet.benchmark.machine import processor_name


def test_all_four_figures_stand_below_the_machine_and_the_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write_video(tmp_path / "squares.mp4", frames=6, width=64, height=48)
    weights = save_small_checkpoint(tmp_path / "small.safetensors")
    monkeypatch.setattr(measure_speed, "ROUNDS", 1)
    monkeypatch.setattr(measure_speed, "PREDICTIONS", 2)

    measure_speed.main([str(video), "--weights", str(weights)])

    machine, network, *figures = capsys.readouterr().out.splitlines()
    assert machine.startswith(f"{processor_name()}, ")
    assert re.search(r"flownet2-sd on \S+ in \S+ at 64 px; 6 frames of .*squares\.mp4$", network)
    names, values = zip(*(line.rsplit(maxsplit=1) for line in figures), strict=True)
    assert names == (
        "convolution peak, fp32, GFLOP/s",
        "convolution peak, bf16, GFLOP/s",
        "network, batch 1, frames/s",
        "pipeline, batch 1, frames/s",
    )
    assert min(map(float, values)) > 0
