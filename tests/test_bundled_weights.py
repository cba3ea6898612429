"""The checkpoint that comes with tubedet, on real clips: it is what people meet first."""

from dataclasses import replace
from pathlib import Path

import pytest

from tubedet.checkpoints.catalog import resolve_weights
from tubedet.checkpoints.native import read_header
from tubedet.datasets.jhmdb_21 import load_jhmdb_21
from tubedet.evaluation.frame_outcomes import frame_outcomes
from tubedet.labels import JHMDB_21
from tubedet.pipeline import load_detector

DATA = Path(__file__).parents[2] / "shared/data/jhmdb-21"
CARD = (resolve_weights().parent / "README.md").read_text(encoding="utf-8")


def test_the_bundled_checkpoint_says_what_a_user_has_to_know() -> None:
    path = resolve_weights()
    header = read_header(path)

    assert path.stat().st_size < 30e6
    assert tuple(header.config["class_names"]) == JHMDB_21
    assert header.min_score is not None
    assert header.licence is not None
    assert "HMDB51" in str(header.source)
    assert header.metrics["jhmdb-21_validation_f_map@0.5"] > 0


def test_the_model_card_is_that_of_the_bundled_checkpoint() -> None:
    path = resolve_weights()
    detector = load_detector(device="cpu")
    header = read_header(path)

    assert str(detector.weights_sha256) in CARD
    assert f"{path.stat().st_size:,} bytes" in CARD
    assert f"{100 * header.metrics['jhmdb-21_validation_f_map@0.5']:.1f}" in CARD
    assert all(f"| {name} |" in CARD for name in JHMDB_21)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}")
def test_the_bundled_checkpoint_finds_actors_it_never_saw() -> None:
    data = load_jhmdb_21(DATA, part="validation")
    # A clip of every third class, and every one of a clip's frames: about 240.
    chosen = [next(c for c in data.clips if c.class_index == i) for i in range(0, 21, 3)]

    outcomes = list(frame_outcomes(load_detector(device="cpu"), replace(data, clips=tuple(chosen))))

    share = sum(outcome.box_right for outcome in outcomes) / len(outcomes)
    assert share > 0.8  # the same box in the middle of every frame: 0.34
    named = sum(outcome.action_right for outcome in outcomes) / len(outcomes)
    assert named > 0.3  # chance: 1/21
