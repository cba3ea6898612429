"""Boxes of successive frames linked into tubes, and a tube's class scores smoothed over time.

Beyond the paper, which labels every frame by itself. Online: a frame is answered before the next
one is seen, so there is no latency, and only tubes that may still go on are kept, so memory is
flat. What a frame has shown is never taken back.

Which box belongs to which tube is decided by overlap and by class scores together, the best pair
first, as in the linking score of Gkioxari and Malik, *Finding Action Tubes* (2015); theirs looks at
the whole video before it decides. A tube is expected to move on as it did, so people who cross
keep their tubes. A cut ends tubes as far as boxes before and after it do not overlap.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

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
        self.candidates = replace(rule, min_score=min(rule.min_score, WEAKEST_LINKED))
        self._rule = rule
        self._class_names = tuple(class_names)
        self._tubes: list[_Tube] = []
        self._numbers = count()

    def link(self, found: FrameDetections) -> FrameDetections:
        """The frame's boxes as parts of tubes, best first; to be called in the order of frames.

        A box's new class is the most probable one of its tube so far, its new score the probability
        of that × the box's own overlap. A box that `rule` no longer lets pass is left out. Tubes
        are numbered from 0 in the order in which they are first shown.

        Args:
            found: boxes by the rule `candidates`, with their class scores.
        """
        for tube in self._tubes:
            tube.move_on()
        shown = []
        for tube, detection in zip(self._tubes_of(found.detections), found.detections, strict=True):
            tube.take(detection)
            linked = tube.label(detection, self._class_names)
            if self._passes(linked):
                shown.append(self._show(tube, linked))
        best_first = sorted(shown, key=lambda linked: -linked.score)
        return replace(found, detections=tuple(best_first), ended_tubes=self._end_tubes())

    def _tubes_of(self, detections: Sequence[Detection]) -> "list[_Tube]":
        """The tube of every box: the one that suits it best, or a new one."""
        matched = _match(self._tubes, detections)
        tubes = [matched.get(i) or _Tube(detections[i]) for i in range(len(detections))]
        self._tubes += [tube for i, tube in enumerate(tubes) if i not in matched]
        return tubes

    def _passes(self, linked: Detection) -> bool:
        classes = self._rule.classes
        return linked.score >= self._rule.min_score and (classes is None or linked.label in classes)

    def _show(self, tube: "_Tube", linked: Detection) -> Detection:
        tube.hidden = 0
        tube.number = next(self._numbers) if tube.number is None else tube.number
        return replace(linked, tube=tube.number)

    def _end_tubes(self) -> tuple[int, ...]:
        """Forget the tubes that were hidden for too long; the numbers of those once shown."""
        ended = [tube for tube in self._tubes if tube.hidden > MOST_MISSED]
        self._tubes = [tube for tube in self._tubes if tube.hidden <= MOST_MISSED]
        return tuple(tube.number for tube in ended if tube.number is not None)


class _Tube:
    """A tube up to now: where it is expected, how it moves, what it shows.

    Attributes:
        box_xyxy: the latest box, moved on to the frame at hand.
        class_scores: (C,) smoothed overlap × class probability.
        hidden: linked frames since it was last shown.
        number: None until it is shown.
    """

    def __init__(self, first: Detection) -> None:
        self.box_xyxy = np.array(first.box_xyxy)
        self.class_scores = np.zeros(len(first.class_scores))
        self.hidden = 0
        self.number: int | None = None
        self._velocity = np.zeros(2)  # px a linked frame
        self._boxes = 0

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
