"""The checkpoint that comes with tubedet, on real clips: it is what people meet first."""

from dataclasses import replace
from pathlib import Path

import pytest

from tubedet.checkpoints.catalog import resolve_weights
from tubedet.checkpoints.native import read_header
from tubedet.datasets.ucf101_24 import load_ucf101_24
from tubedet.evaluation.evaluate import detect_rows
from tubedet.evaluation.frame_outcomes import frame_outcomes
from tubedet.labels import JHMDB_21
from tubedet.pipeline import detect_video, load_detector
from tubedet.tubes.best_box import SelectionRule

UCF = Path(__file__).parents[2] / "shared/data/ucf101-24"


def test_the_bundled_checkpoint_says_what_a_user_has_to_know() -> None:
    path = resolve_weights()
    header = read_header(path)

    assert path.stat().st_size < 30e6
    assert tuple(header.config["class_names"]) == JHMDB_21
    assert header.min_score is not None
    assert header.licence is not None
    assert "HMDB51" in str(header.source)
    assert 0 < header.metrics["jhmdb-21_validation_f_map@0.5"] < 1


def test_the_model_card_is_that_of_the_bundled_checkpoint() -> None:
    path = resolve_weights()
    header, card = read_header(path), (path.parent / "README.md").read_text(encoding="utf-8")

    assert str(load_detector(device="cpu", runtime="torch").weights_sha256) in card
    assert f"{path.stat().st_size:,} bytes" in card
    assert f"`min_score` {header.min_score} " in card
    assert f"| {100 * header.metrics['jhmdb-21_validation_f_map@0.5']:.1f} |" in card
    assert all(f"\n| {name} | " in card for name in JHMDB_21)


# The share of frames that the mean box of the training clips gets right (the card's table).
FIXED_BOX = {"Fencing": 0.0, "SalsaSpin": 0.607}


@pytest.mark.skipif(not UCF.is_dir(), reason=f"no {UCF}")
def test_the_bundled_checkpoint_finds_people_in_videos_of_another_kind() -> None:
    data, detector = load_ucf101_24(UCF, part="all"), load_detector(device="cpu", runtime="torch")
    right: list[bool] = []
    for sport, fixed in FIXED_BOX.items():
        clips = replace(data, clips=tuple(c for c in data.clips if sport in c.video))
        of_sport = [o.box_right for o in frame_outcomes(detect_rows(detector, clips), clips)]
        assert sum(of_sport) / len(of_sport) > fixed, sport
        right += of_sport

    # Both together: on two fencers the choice of one turns on the digits of bfloat16.
    assert sum(right) / len(right) > 0.7


@pytest.mark.skipif(not UCF.is_dir(), reason=f"no {UCF}")
def test_onnx_runtime_finds_the_boxes_that_pytorch_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path)
    video = next(c.path for c in load_ucf101_24(UCF, part="all").clips if "SalsaSpin" in c.video)
    rule = SelectionRule(min_score=0)
    by_runtime = [
        list(
            detect_video(
                video,
                load_detector(device="cpu", precision="fp32", runtime=runtime),
                rule=rule,
                link=False,
                max_frames=40,
            )
        )
        for runtime in ("onnx", "torch")
    ]
    for one, other in zip(*by_runtime, strict=True):
        ours, theirs = one.detections[0], other.detections[0]
        assert ours.box_xyxy == pytest.approx(theirs.box_xyxy, abs=0.5)
        assert ours.class_scores == pytest.approx(theirs.class_scores, abs=0.005)
