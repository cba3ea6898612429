"""Which frames are drawn, and how often."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, LabelledBox
from tubedet.datasets.frame_pair_sampling import (
    BACKGROUND_SHARE,
    FramePairSampler,
    SequenceSampler,
    pair_at,
)
from tubedet.errors import DatasetError


def clip_of(video: str, class_index: int, annotated: str) -> AnnotatedClip:
    """A clip with one frame a letter: "x" is annotated, "-" is not."""
    box = LabelledBox(class_index, (0, 0, 4, 4))
    boxes = tuple((box,) if mark == "x" else () for mark in annotated)
    return AnnotatedClip(video, Path(video), class_index, video, 8, 6, boxes)


def data_of(*clips: AnnotatedClip) -> AnnotatedDataset:
    return AnnotatedDataset("d", 1, "train", ("walk", "run"), clips)


@pytest.mark.parametrize(
    ("frames", "frame", "pair"), [(3, 0, (0, 1)), (3, 1, (1, 2)), (3, 2, (1, 2)), (1, 0, (0, 0))]
)
def test_the_last_frame_goes_with_the_one_before_and_a_single_one_with_itself(
    frames: int, frame: int, pair: tuple[int, int]
) -> None:
    choice = pair_at(clip_of("a", 0, "x" * frames), frame)

    assert (choice.first, choice.second) == pair
    assert choice.at == frame


def test_classes_are_drawn_alike_and_then_the_clips_of_a_class() -> None:
    data = data_of(clip_of("a", 0, "x"), clip_of("b", 0, "x" * 50), clip_of("c", 1, "xx"))
    rng = np.random.default_rng(0)
    draws = 4000

    drawn = Counter(FramePairSampler(data).draw(rng).clip.video for _ in range(draws))

    for video, share in {"a": 0.25, "b": 0.25, "c": 0.5}.items():
        assert drawn[video] / draws == pytest.approx(share, abs=0.03)


def test_clips_of_one_source_are_drawn_as_often_together_as_a_single_one() -> None:
    cut = [replace(clip_of(name, 0, "x"), group="film") for name in "abc"]
    data = data_of(*cut, clip_of("d", 0, "x"), replace(clip_of("e", 1, "x"), group="film"))
    rng = np.random.default_rng(0)
    draws = 4000

    drawn = Counter(FramePairSampler(data).draw(rng).clip.video for _ in range(draws))

    for video, share in {"a": 1 / 12, "b": 1 / 12, "c": 1 / 12, "d": 0.25, "e": 0.5}.items():
        assert drawn[video] / draws == pytest.approx(share, abs=0.03)


def test_only_annotated_frames_are_drawn() -> None:
    data = data_of(clip_of("a", 0, "-x-x-"), clip_of("b", 1, "--x"))
    sampler, rng = FramePairSampler(data), np.random.default_rng(0)

    drawn = {(pair.clip.video, pair.at) for pair in (sampler.draw(rng) for _ in range(200))}

    assert drawn == {("a", 1), ("a", 3), ("b", 2)}


def test_a_class_without_a_clip_is_refused() -> None:
    with pytest.raises(DatasetError, match="no clip of run"):
        FramePairSampler(data_of(clip_of("a", 0, "x")))


def test_a_clip_without_an_annotated_frame_is_refused() -> None:
    with pytest.raises(DatasetError, match="no box in any frame of b"):
        FramePairSampler(data_of(clip_of("a", 0, "x"), clip_of("b", 1, "--")))


def test_every_sequence_is_drawn_once_an_epoch_in_changing_order() -> None:
    data = data_of(*(clip_of(name, 0, "-xx") for name in "abcdefgh"))
    sampler, rng = SequenceSampler(data, seed=0), np.random.default_rng(0)

    drawn = [sampler.draw(rng, index) for index in range(24)]

    epochs = ["".join(pair.clip.video for pair in drawn[i : i + 8]) for i in (0, 8, 16)]
    assert all(sorted(epoch) == list("abcdefgh") for epoch in epochs)
    assert len(set(epochs)) == 3
    assert {pair.at for pair in drawn} == {1, 2}
    assert SequenceSampler(data, seed=0).draw(rng, 9).clip == drawn[9].clip


def test_sequences_need_no_clip_of_every_class_but_one_box() -> None:
    sampler = SequenceSampler(data_of(clip_of("a", 0, "x"), clip_of("b", 0, "--")), seed=0)
    assert sampler.draw(np.random.default_rng(0), 1).clip.video == "a"
    with pytest.raises(DatasetError, match="no clip has a box"):
        SequenceSampler(data_of(clip_of("b", 0, "--")), seed=0)


def test_frames_known_to_show_nobody_are_drawn_now_and_then_and_unknown_ones_never() -> None:
    data = data_of(replace(clip_of("a", 0, "x---"), examined_frames=frozenset({0, 2})))
    data = replace(data, class_names=("walk",))
    sampler, rng = FramePairSampler(data), np.random.default_rng(0)
    draws = 2000

    drawn = Counter(sampler.draw(rng).at for _ in range(draws))

    assert set(drawn) == {0, 2}
    assert drawn[2] / draws == pytest.approx(BACKGROUND_SHARE, abs=0.02)
