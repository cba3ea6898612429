"""Boxes of successive frames linked into tubes, and a tube's class scores smoothed over time.

Beyond the paper, which labels every frame by itself. Online: a frame is answered before the next
one is seen, so there is no latency, and only tubes that may still go on are kept, so memory is
flat. What a frame has shown is never taken back.

Which box belongs to which tube is decided by overlap and by class scores together, the best pair
first, as in the linking score of Gkioxari and Malik, *Finding Action Tubes* (2015); theirs looks at
the whole video before it decides. A tube is expected to move on as it did, so people who cross
keep their tubes. Where nobody looks for cuts, one ends tubes as far as boxes before and after it do
not overlap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from tubedet.boxes import FloatArray, iou_xyxy
from tubedet.detections import Detection, FrameDetections
from tubedet.tubes.best_box import SelectionRule

# Least overlap of a box with where its tube is expected. In J-HMDB's training part 99.9 % of actors
# overlap more with themselves one frame later; with an actor of another clip, as after a cut,
# 25 % do.
LINK_IOU = 0.4
# A tube ends when more linked frames in a row than this show nothing of it. After so long a gap
# 97 % of J-HMDB's actors still overlap that much with where they were; 93 % after nine frames.
MOST_MISSED = 5
# Boxes over which class scores are averaged: J-HMDB's actions last 15 to 40 frames. A tube's first
# boxes count alike; later a new action takes over after about 20 frames.
SCORE_MEMORY = 30
# The same for a tube's motion, which changes sooner.
MOTION_MEMORY = 4
# A box below this score neither begins a tube nor continues one.
WEAKEST_LINKED = 0.05


class TubeLinker:
    """Links the boxes of one video, frame by frame.

    Attributes:
        candidates: the rule by which boxes are to be picked for linking: also weak ones, since what
            counts is the score that a box has as a part of its tube.
    """

    def __init__(self, rule: SelectionRule, class_names: Sequence[str]) -> None:
        """Link for a detector with these classes, and show what `rule` lets pass."""
        self.candidates = rule.of_candidates(WEAKEST_LINKED)
        self._rule = rule
        self._class_names = tuple(class_names)
        self._tubes: list[_Tube] = []
        self._numbers = 0
        self._unreported: dict[int, int] = {}  # linked frames since each open tube was reported

    def link(self, found: FrameDetections) -> FrameDetections:
        """The frame's boxes as parts of tubes, best first; to be called in the order of frames.

        A box's new class is the most probable one of its tube so far, its new score the probability
        of that × the box's own overlap; by a rule whose scores are overlaps, its overlap alone. A
        box whose new score is too low is left out. Tubes are numbered from 0 in the order in which
        they are first shown, or would be if all classes were reported.

        Args:
            found: boxes by the rule `candidates`, with their class scores.
        """
        for tube in self._tubes:
            tube.move_on()
        shown = []
        for tube, detection in zip(self._tubes_of(found.detections), found.detections, strict=True):
            tube.take(detection)
            linked = tube.label(detection, self._class_names)
            if self._rule.score == "overlap":
                linked = replace(linked, score=detection.score)
            if linked.score >= self._rule.min_score:
                shown.append(self._show(tube, linked))
        best_first = sorted(shown, key=lambda linked: -linked.score)
        reported = tuple(linked for linked in best_first if self._rule.reports(linked.label))
        self._tubes = [tube for tube in self._tubes if tube.hidden <= MOST_MISSED]
        return self.repeat(replace(found, detections=reported))

    def begin_shot(self) -> None:
        """End all tubes: what comes next is behind a cut."""
        self._tubes = []

    def repeat(self, found: FrameDetections) -> FrameDetections:
        """A frame that was linked before, as far as its rows tell, with the tubes that end there.

        A tube ends when so many linked frames in a row report nothing of it.
        """
        for number in self._unreported:
            self._unreported[number] += 1
        self._unreported |= {box.tube: 0 for box in found.detections if box.tube is not None}
        ended = sorted(n for n, frames in self._unreported.items() if frames > MOST_MISSED)
        for number in ended:
            del self._unreported[number]
        return replace(found, ended_tubes=tuple(ended))

    def state(self) -> dict[str, Any]:
        """What the tubes of later frames depend on, as plain JSON values; rows tell the rest."""
        return {"numbers": self._numbers, "tubes": [tube.state() for tube in self._tubes]}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on as a linker for the same detector and rule whose `state` this was.

        The frames that it has linked are to be given to `repeat`, before or after.
        """
        self._numbers = int(state["numbers"])
        self._tubes = [_Tube.restored(tube) for tube in state["tubes"]]

    def _tubes_of(self, detections: Sequence[Detection]) -> "list[_Tube]":
        """The tube of every box: the one that suits it best, or a new one."""
        matched = _match(self._tubes, detections)
        tubes = [matched.get(i) or _Tube(detections[i]) for i in range(len(detections))]
        self._tubes += [tube for i, tube in enumerate(tubes) if i not in matched]
        return tubes

    def _show(self, tube: "_Tube", linked: Detection) -> Detection:
        tube.hidden = 0
        if tube.number is None:
            tube.number = self._numbers
            self._numbers += 1
        return replace(linked, tube=tube.number)


class _Tube:
    """A tube up to now: where it is expected, how it moves, what it shows.

    Attributes:
        box_xyxy: the latest box, moved on to the frame at hand.
        class_scores: (C,) smoothed overlap × class probability.
        hidden: linked frames since it was last shown.
        number: None until it is shown.
    """

    ARRAYS = ("box_xyxy", "class_scores", "_velocity")
    NUMBERS = ("hidden", "number", "_boxes")

    def __init__(self, first: Detection) -> None:
        self.box_xyxy = np.array(first.box_xyxy)
        self.class_scores = np.zeros(len(first.class_scores))
        self.hidden = 0
        self.number: int | None = None
        self._velocity = np.zeros(2)  # px a linked frame
        self._boxes = 0

    def state(self) -> dict[str, Any]:
        """Everything about the tube, as plain JSON values."""
        arrays = {name: getattr(self, name).tolist() for name in _Tube.ARRAYS}
        return arrays | {name: getattr(self, name) for name in _Tube.NUMBERS}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Self:
        """The tube whose `state` this was."""
        tube = cls.__new__(cls)
        for name in _Tube.ARRAYS:
            setattr(tube, name, np.array(state[name], dtype=np.float64))
        for name in _Tube.NUMBERS:
            setattr(tube, name, state[name])
        return tube

    def move_on(self) -> None:
        """Expect the box in the next frame."""
        self.box_xyxy = self.box_xyxy + np.tile(self._velocity, 2)
        self.hidden += 1

    def take(self, detection: Detection) -> None:
        """Go on with this box.

        Averages are running means at first, and forget exponentially when the memory is full. Every
        box weighs as much as its overlap, since its class scores have that as a factor.
        """
        box_xyxy = np.array(detection.box_xyxy)
        if self._boxes:  # a first box is where it was expected, and says nothing of a motion
            surprise = (box_xyxy - self.box_xyxy).reshape(2, 2).mean(axis=0)
            self._velocity = self._velocity + surprise / min(self._boxes, MOTION_MEMORY)
        self.box_xyxy = box_xyxy
        self._boxes += 1
        news = np.array(detection.class_scores) - self.class_scores
        self.class_scores = self.class_scores + news / min(self._boxes, SCORE_MEMORY)

    def label(self, detection: Detection, class_names: Sequence[str]) -> Detection:
        """The box with the tube's class and score."""
        best = int(self.class_scores.argmax())
        score = sum(detection.class_scores) * float(_shares(self.class_scores)[best])
        return replace(detection, label=class_names[best], class_index=best, score=score)


def _match(tubes: Sequence[_Tube], detections: Sequence[Detection]) -> dict[int, _Tube]:
    """The tubes of boxes that continue one, by the boxes' position."""
    if not tubes or not detections:
        return {}
    iou = iou_xyxy(
        np.array([tube.box_xyxy for tube in tubes]),
        np.array([detection.box_xyxy for detection in detections]),
    )
    shares = _shares(np.array([tube.class_scores for tube in tubes]))[:, None]
    others = _shares(np.array([detection.class_scores for detection in detections]))[None]
    agreement = np.minimum(shares, others).sum(axis=-1)
    affinity = np.where(iou >= LINK_IOU, iou + agreement, 0.0)
    matched: dict[int, _Tube] = {}
    while affinity.any():
        row, column = divmod(int(affinity.argmax()), len(detections))
        matched[column] = tubes[row]
        affinity[row], affinity[:, column] = 0.0, 0.0
    return matched


def _shares(class_scores: FloatArray) -> FloatArray:
    """Class scores (..., C) as probabilities; zeros stay zeros."""
    total = class_scores.sum(axis=-1, keepdims=True)
    shares: FloatArray = np.divide(
        class_scores, total, out=np.zeros_like(class_scores), where=total > 0
    )
    return shares
