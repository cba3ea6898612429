"""However a run fails, in whichever stage: its reason, the right exit code, no hang, no thread."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.synthetic_video import write_video

ROOT = Path(__file__).parents[2]
RUNS = int(os.environ.get("TUBEDET_FAILURES", "24"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that share what is loaded")
def test_a_failure_anywhere_ends_a_run_with_its_reason_and_the_right_exit_code(
    tmp_path: Path,
) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=40, width=64, height=48, audio=["aac"])
    command = [sys.executable, "-m", "tests.injected_failures", video, tmp_path, str(RUNS)]
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, check=True, capture_output=True, text=True
    )
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(runs) == RUNS
    assert not [one for one in runs if one["found"] != one["expected"]]
    for one in runs:
        *kept, reason = one["stderr"].splitlines()
        assert reason.startswith("tubedet: "), one
        assert not kept or (len(kept) == 1 and "frames were done and are kept" in kept[0]), one
    # A failure leaves whole files or none, never those that a run writes to.
    assert not [one for one in runs if any(name.endswith(".part") for name in one["outputs"])]
