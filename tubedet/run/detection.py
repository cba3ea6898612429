"""From frames to boxes: pairs through the network, boxes picked and linked, drawn if need be."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from tubedet.detections import Detection, FrameDetections
from tubedet.errors import UsageError, VideoError
from tubedet.notes import Note
from tubedet.render.annotate import annotate
from tubedet.render.label_text import drawn_label, undrawable
from tubedet.run.earlier_rows import EarlierRows
from tubedet.run.plan import RunPlan, on_stride
from tubedet.run.stop import StopRequest
from tubedet.runtime.detector import Detector, PairPrediction, context_windows
from tubedet.tubes.best_box import SelectionRule, select_boxes
from tubedet.tubes.linking import TubeLinker
from tubedet.video.frame import VideoFrame
from tubedet.video.frame_pairs import FramePair, pair_frames
from tubedet.video.preprocess import FrameGeometry, stack_pairs, stack_with_flow_images
from tubedet.video.reader import VideoReader
from tubedet.writers.formats import Kind
from tubedet.writers.track_rows import as_in_rows
from tubedet.writers.writer import FrameResult

# A batch that a stride makes long closes early rather than hold more; a 4K frame is 25 MB.
MOST_FRAMES_HELD = 32


class DetectionWork:
    """Boxes of one video; implements `tubedet.run.work.Work`.

    Args:
        detector: from `load_detector`.
        plan: which frames, and how boxes are picked.
        flow_images: folder of this video's flow images; None for a detector that makes its own.
        earlier: rows of an earlier run with the same plan, which are taken over; the network sees
            only the frames behind them.
    """

    kind: Kind = "boxes"

    def __init__(
        self,
        detector: Detector,
        plan: RunPlan,
        *,
        flow_images: Path | None = None,
        earlier: EarlierRows | None = None,
    ) -> None:
        self.plan = plan
        self._detector, self._earlier = detector, earlier
        self._flow_images = flow_images
        self._rule = plan.rule or SelectionRule(min_score=detector.min_score)
        self._linker = TubeLinker(self._rule, detector.class_names) if plan.link else None
        self._state: dict[str, Any] = {}
        self._latest: tuple[Detection, ...] = ()
        self._drawn: dict[str, int] = {}  # class indices by label
        if self._linker and earlier and earlier.linker_state:
            self._linker.restore(earlier.linker_state)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Those of the detector."""
        return self._detector.class_names

    @property
    def weights_sha256(self) -> str | None:
        """Those of the detector."""
        return self._detector.weights_sha256

    @property
    def settings(self) -> Mapping[str, object]:
        """How boxes are picked and linked."""
        plan, rule = self.plan, self._rule
        return {
            "input_size": self._detector.input_size,
            "max_frames": plan.max_frames,
            "video_stream": plan.video_stream,
            "flow_images": str(plan.flow_images) if plan.flow_images else None,
            "min_score": rule.min_score,
            "classes": sorted(rule.classes) if rule.classes is not None else None,
            "max_boxes": rule.max_boxes,
            "nms_iou": rule.nms_iou,
            "link": plan.link,
        }

    @property
    def runtime(self) -> Mapping[str, object]:
        """Preset, device, precision and batch."""
        return {"detector": self._detector.description, "batch_size": self.plan.batch_size}

    @property
    def notes(self) -> list[Note]:
        """Labels that could not be drawn as they are written."""
        names = [
            f"{label} (as {drawn_label(label, self._drawn[label])})"
            for label in undrawable(self._drawn)
        ]
        return [Note(f"drawn in other letters: {', '.join(names)}")] if names else []

    def resume_state(self) -> dict[str, Any]:
        """The linker's, as it was behind the latest result."""
        return self._state

    def results(
        self, reader: VideoReader, stop: StopRequest, *, with_pictures: bool
    ) -> Iterator[FrameResult]:
        """Every frame of the span with its detections; None where the stride passes over it."""
        geometry = FrameGeometry(reader.info.width, reader.info.height)
        plan = self.plan
        pairs = pair_frames(reader.frames(plan.span.start, stop=stop), plan.span.end)
        frames = 0
        predicted = self._predicted(_batches(pairs, plan), with_pictures=with_pictures)
        for frame, prediction, window in context_windows(predicted, self._detector.context_frames):
            frames += 1
            if prediction is None:
                yield FrameResult(frame)
            elif self._is_known(frame):
                yield FrameResult(frame, self._taken_over(frame))
            else:
                yield FrameResult(frame, self._detected(frame, geometry, prediction, window))
        if not frames and not stop.asked:
            raise VideoError(
                f"{reader.path}: expected frames {plan.span}, found none; choose another range"
            )

    def drawn(self, result: FrameResult) -> FrameResult:
        """With its boxes, or faintly the latest ones where none were looked for."""
        faint = result.found is None
        if result.found is not None:
            # As where rows are taken over.
            self._latest = tuple(map(as_in_rows, result.found.detections))
            self._drawn |= {box.label: box.class_index for box in self._latest}
        frame = result.frame
        rgb = annotate(frame.rgb, self._latest, faint=faint)
        return replace(result, frame=replace(frame, rgb=rgb))

    def _is_known(self, frame: VideoFrame) -> bool:
        return self._earlier is not None and frame.frame < self._earlier.end_frame

    def _taken_over(self, frame: VideoFrame) -> FrameDetections:
        assert self._earlier is not None
        is_last = frame.frame == self._earlier.end_frame - 1
        self._state = {"linker": self._earlier.linker_state} if is_last and self._linker else {}
        detections = self._earlier.at(frame.frame, self.class_names)
        found = FrameDetections(frame.frame, frame.pts, float(frame.time_s), detections)
        return self._linker.repeat(found) if self._linker else found

    def _detected(
        self,
        frame: VideoFrame,
        geometry: FrameGeometry,
        prediction: PairPrediction,
        window: Sequence[PairPrediction],
    ) -> FrameDetections:
        """The boxes of a frame, in its own pixels, that the rule keeps."""
        decoded = self._detector.decode(prediction, window)
        boxes_fraction, overlap, class_prob = (each[0].numpy() for each in decoded)
        picked = select_boxes(
            geometry.to_source_xyxy(boxes_fraction),
            overlap,
            class_prob,
            self.class_names,
            self._linker.candidates if self._linker else self._rule,
        )
        found = FrameDetections(frame.frame, frame.pts, float(frame.time_s), picked)
        if self._linker:
            found = self._linker.link(found)
            self._state = {"linker": self._linker.state()}
        return found

    def _predicted(
        self, batches: Iterable[Sequence[tuple[FramePair, bool]]], *, with_pictures: bool
    ) -> Iterator[tuple[VideoFrame, PairPrediction | None]]:
        """Every frame with the prediction of its pair; None where the stride passes over it.

        The network is spared batches that only lead to known frames, and only those: so the others
        are composed as if nothing were known, and give the same numbers to the last bit. Where
        nobody shows pictures, frames go on without pixels, since half a second of them is held.
        """
        needed_from = (
            self._earlier.end_frame if self._earlier else 0
        ) - self._detector.context_frames
        for batch in batches:
            due = [pair for pair, is_due in batch if is_due]
            if due and due[-1].at.frame < needed_from:
                predictions = iter([SKIPPED] * len(due))
            else:
                predictions = iter(self._detector.predict(self._to_clip(due)) if due else ())
            for pair, is_due in batch:
                frame = pair.at if with_pictures else replace(pair.at, rgb=NO_PIXELS)
                yield frame, next(predictions) if is_due else None

    def _to_clip(self, pairs: Sequence[FramePair]) -> Tensor:
        """The network's input; UsageError if detector and flow images do not go together."""
        detector, folder = self._detector, self._flow_images
        if not detector.uses_flow_images and folder is None:
            return stack_pairs(pairs, detector.input_size)
        if folder is None:
            raise UsageError(f"{detector.description}: needs a folder of flow images")
        if not detector.uses_flow_images:
            raise UsageError(f"{detector.description}: makes its own flow, leave flow images out")
        return stack_with_flow_images(pairs, detector.input_size, folder)


SKIPPED = PairPrediction(Tensor())  # stands for a pair of which the rows are known
NO_PIXELS = np.empty((0, 0, 3), np.uint8)


def _batches(pairs: Iterator[FramePair], plan: RunPlan) -> Iterator[list[tuple[FramePair, bool]]]:
    """Runs of pairs, each with whether the stride falls on it; at most a batch of them are due."""
    batch: list[tuple[FramePair, bool]] = []
    most_held = max(MOST_FRAMES_HELD, plan.batch_size)
    for pair, is_due in on_stride(pairs, plan):
        batch.append((pair, is_due))
        due = sum(each for _, each in batch)
        if due in (0, plan.batch_size) or len(batch) == most_held:
            yield batch
            batch = []
    if batch:
        yield batch
