"""What holds for every test; torch reads its settings once, when it is loaded."""

import os

import pytest

# Its threads spin while they wait for each other, and on a machine that is busy with something else
# a suite of small networks then takes seven times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# On processors with AMX oneDNN crashes in the backward pass of bf16 convolutions on the few pixels
# of a test; real sizes train there.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
# Making graphs of every test's weights would take longer than the tests.
os.environ.setdefault("TUBEDET_RUNTIME", "torch")


@pytest.fixture(autouse=True)
def frame_by_frame(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame is written before the next one is made, so that tests can tell what was written.

    Where a run goes on meanwhile, that depends on the moment: those tests are marked `overlapped`.
    """
    if not request.node.get_closest_marker("overlapped"):
        monkeypatch.setattr("tubedet.run.overlap.HELD", 0)
