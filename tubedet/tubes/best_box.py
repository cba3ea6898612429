"""Which of a frame's candidate boxes are detections.

The paper's rule: the single box with the highest overlap × class probability. Around it stands what
a user may ask for: a threshold, classes, several boxes. Numpy in, frozen detections out; no tensor
comes this far.
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tubedet.boxes import FloatArray, nms_xyxy
from tubedet.detections import Detection
from tubedet.errors import UsageError
from tubedet.tubes.box_voting import voted_boxes


@dataclass(frozen=True, slots=True)
class SelectionRule:
    """What makes a candidate a detection; the defaults are the paper's one box a frame.

    Attributes:
        min_score: lowest score that passes; it passes itself.
        classes: names to report, None for all: of what would be reported without it, what has one
            of these labels. It changes neither a label nor a score, nor which boxes are linked.
        max_boxes: at most so many a frame, None for all.
        nms_iou: within a class, a box that overlaps a better one by more than this is dropped;
            None for no suppression.
        score: what a box is ranked and reported by: `product`, overlap × class probability, as in
            the paper, or `overlap` alone, where that says whether somebody acts.
        vote: a box that is kept becomes the mean of all that overlap it, see `box_voting`.
        every_class: a box counts once for every class of which it has `min_score`, with that
            class's score, as if it were as many boxes; the frame's best one, under its best class,
            whatever its score.

    Raises:
        UsageError: if `max_boxes` is below 1 or `nms_iou` outside [0, 1].
    """

    min_score: float
    classes: frozenset[str] | None = None
    max_boxes: int | None = 1
    nms_iou: float | None = 0.45
    score: Literal["product", "overlap"] = "product"
    vote: bool = False
    every_class: bool = False

    def __post_init__(self) -> None:
        if self.max_boxes is not None and self.max_boxes < 1:
            raise UsageError(f"boxes a frame: expected 1 or more, found {self.max_boxes}")
        if self.nms_iou is not None and not 0 <= self.nms_iou <= 1:
            raise UsageError(f"IoU of suppression: expected 0 to 1, found {self.nms_iou}")

    def reports(self, label: str) -> bool:
        """Whether boxes of this label are reported."""
        return self.classes is None or label in self.classes

    def of_candidates(self, weakest: float) -> "SelectionRule":
        """The same for boxes whose score and label are still to change: weak ones pass too."""
        return replace(self, min_score=min(self.min_score, weakest), classes=None)


def select_boxes(
    boxes_xyxy: FloatArray,
    overlap: FloatArray,
    class_prob: FloatArray,
    class_names: tuple[str, ...],
    rule: SelectionRule,
) -> tuple[Detection, ...]:
    """The detections of one frame by `rule`, highest score first; ties in the network's order.

    A box whose score isn't finite, or that has no area, is never a detection.

    Args:
        boxes_xyxy: (N, 4) in source pixels, inside the frame.
        overlap: (N,) predicted IoU, in [0, 1].
        class_prob: (N, C), in [0, 1].
        class_names: C names.
        rule: what passes.

    Source: El-Nouby and Taylor §IV (the box with the highest confidence is kept); `--all-boxes`
    is ours: greedy suppression in each class, IoU without +1.
    """
    found = _score(boxes_xyxy, overlap, class_prob)
    if rule.score == "overlap":
        found = found._replace(scores=np.where(np.isfinite(found.scores), overlap, np.nan))
    left, top, right, bottom = found.boxes_xyxy.T
    least = -np.inf if rule.every_class else rule.min_score
    passing = (found.scores >= least) & (right > left) & (bottom > top)
    found = found.take(np.flatnonzero(passing))
    if rule.every_class and len(found.scores):
        found = _in_every_class(found, rule.min_score)
    if rule.nms_iou is not None and rule.max_boxes != 1:  # the best box is never suppressed
        found = found.take(_survivors(found, rule.nms_iou))
    found = found.take(_best_first(found.scores)[: rule.max_boxes])
    if rule.vote:
        found = found._replace(boxes_xyxy=voted_boxes(found.boxes_xyxy, boxes_xyxy, overlap))
    best = found.detections(class_names)
    return tuple(detection for detection in best if rule.reports(detection.label))


class _Candidates(NamedTuple):
    """Boxes (N, 4) with score and most probable class, (N,) each, and all class scores (N, C)."""

    boxes_xyxy: FloatArray
    scores: FloatArray
    class_indices: NDArray[np.intp]
    class_scores: FloatArray

    def take(self, indices: NDArray[np.intp]) -> "_Candidates":
        return _Candidates(
            self.boxes_xyxy[indices],
            self.scores[indices],
            self.class_indices[indices],
            self.class_scores[indices],
        )

    def detections(self, class_names: tuple[str, ...]) -> tuple[Detection, ...]:
        rows = zip(*(values.tolist() for values in self), strict=True)
        return tuple(
            Detection(
                label=class_names[class_index],
                class_index=class_index,
                score=score,
                box_xyxy=(x1, y1, x2, y2),
                class_scores=tuple(class_scores),
            )
            for (x1, y1, x2, y2), score, class_index, class_scores in rows
        )


def _score(boxes_xyxy: FloatArray, overlap: FloatArray, class_prob: FloatArray) -> _Candidates:
    """Every box with its best class; a score that isn't finite becomes NaN: it passes nothing."""
    with np.errstate(invalid="ignore"):
        class_scores = overlap[:, None] * class_prob
        scores = overlap * class_prob.max(axis=1)
    finite = np.where(np.isfinite(scores), scores, np.nan)
    return _Candidates(boxes_xyxy, finite, class_prob.argmax(axis=1), class_scores)


def _in_every_class(found: _Candidates, min_score: float) -> _Candidates:
    """Every box under every class that passes; the best under its best class is the first."""
    passing = found.class_scores >= min_score
    best = int(found.scores.argmax())
    passing[best, found.class_indices[best]] = False
    boxes, classes = np.nonzero(passing)
    boxes = np.concatenate([[best], boxes])
    classes = np.concatenate([found.class_indices[[best]], classes])
    scores = found.class_scores[boxes, classes]
    return found.take(boxes)._replace(scores=scores, class_indices=classes)


def _survivors(found: _Candidates, nms_iou: float) -> NDArray[np.intp]:
    """Indices that non-maximum suppression within each class leaves, in their order."""
    survives = np.zeros(len(found.scores), dtype=bool)
    for class_index in np.unique(found.class_indices):
        rivals = np.flatnonzero(found.class_indices == class_index)
        survives[rivals[nms_xyxy(found.boxes_xyxy[rivals], found.scores[rivals], nms_iou)]] = True
    return np.flatnonzero(survives)


def _best_first(scores: FloatArray) -> NDArray[np.intp]:
    """Indices by falling score; ties keep their order."""
    return np.argsort(-scores, kind="stable")
