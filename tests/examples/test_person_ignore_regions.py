"""The example that finds unlabelled people, on one real clip."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jhmdb_layout import empty_layout, list_clip, real_jhmdb_root

PROJECT = Path(__file__).resolve().parents[2]
DETECTOR = PROJECT.parent / "shared" / "data" / "weights" / "yolox_nano.onnx"
CROWDED = "56b4c447e39b"  # SHA-256 of a clip in which several people stand around the actor


def test_regions_are_people_beside_the_actor(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="the example needs onnxruntime")
    real = real_jhmdb_root()
    if not DETECTOR.is_file():
        pytest.skip("the person detector (../shared/data/weights) is not here")
    records = json.loads((real / "boxes.json").read_text())
    record = next(record for record in records if record["sha256"].startswith(CROWDED))
    root = empty_layout(tmp_path / "jhmdb")
    label, clip = record["key"].split("/")
    list_clip(root, label, clip)
    for folder in ("ReCompress_Videos", "puppet_mask"):
        (root / folder).symlink_to(real / folder)
    script = PROJECT / "examples" / "person_ignore_regions.py"

    subprocess.run(
        [sys.executable, str(script), str(root), str(DETECTOR), str(tmp_path / "regions.json")],
        check=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
    )

    (regions,) = json.loads((tmp_path / "regions.json").read_text()).values()
    assert list(map(int, regions)) == list(range(0, record["frames"], 3))
    boxes = [box for found in regions.values() for box in found]
    assert boxes
    assert all(0 <= x1 < x2 <= 320 and 0 <= y1 < y2 <= 240 for x1, y1, x2, y2 in boxes)
