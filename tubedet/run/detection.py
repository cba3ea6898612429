"""From frames to boxes: pairs through the network, boxes picked, smoothed, linked, maybe drawn."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tubedet.detections import Detection, FrameDetections
from tubedet.errors import UsageError, VideoError
from tubedet.notes import Note
from tubedet.render.annotate import annotate
from tubedet.render.label_text import drawn_label, undrawable
from tubedet.run.asked_frames import asked_pairs
from tubedet.run.earlier_rows import EarlierRows
from tubedet.run.overlap import HELD, Overlap
from tubedet.run.picking import rule_for, timed_boxes
from tubedet.run.plan import RunPlan
from tubedet.run.prediction import (
    GivenPair,
    PredictedFrame,
    predicted_frames,
    with_inputs,
    with_windows,
)
from tubedet.run.reach import Reach, delay_s, tolerance_s
from tubedet.run.steps import with_steps
from tubedet.run.stop import StopRequest
from tubedet.runtime.detector import Detector
from tubedet.runtime.torch import a_core_left
from tubedet.tubes.best_box import SelectionRule
from tubedet.tubes.linking import TubeLinker
from tubedet.tubes.smoothing import WEAKEST_VOTE, smooth
from tubedet.video.frame import VideoFrame, VideoInfo
from tubedet.video.frame_pairs import pair_frames
from tubedet.video.frame_source import FrameSource
from tubedet.video.preprocess import FrameGeometry, PairInputs
from tubedet.writers.formats import Kind
from tubedet.writers.track_rows import as_in_rows
from tubedet.writers.writer import FrameResult


class DetectionWork:
    """Boxes of one video; implements `tubedet.run.work.Work`.

    Args:
        detector: from `load_detector`.
        plan: which frames, and how boxes are picked.
        flow_images: folder of this video's flow images; None for a detector that makes its own.
        earlier: rows of an earlier run with the same plan, which are taken over; the network sees
            only the frames behind them.

    Raises:
        UsageError: if detector and flow images do not go together.
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
        if detector.uses_flow_images and flow_images is None:
            raise UsageError(f"{detector.description}: needs a folder of flow images")
        if flow_images is not None and not detector.uses_flow_images:
            raise UsageError(f"{detector.description}: makes its own flow, leave flow images out")
        self.plan = plan
        self._detector, self._earlier = detector, earlier
        self._flow_images = flow_images
        temporal = detector.temporal
        # Without a delay there is nothing behind a frame to smooth its boxes with.
        self._smooth = plan.smooth and temporal is not None and temporal.seconds_after > 0
        self._find_cuts = plan.find_cuts or temporal is not None
        rule = plan.rule or SelectionRule(min_score=detector.min_score)
        self._rule = rule_for(detector, rule)
        self._steadies_scores = self._smooth and not rule.every_class
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
        """How boxes are picked, smoothed and linked."""
        plan, rule = self.plan, self._rule
        return {
            "input_size": self._detector.input_size,
            "max_frames": plan.max_frames,
            "video_stream": plan.video_stream,
            "flow_images": str(plan.flow_images) if plan.flow_images else None,
            "cuts": self._find_cuts,
            "score": rule.score,
            "vote": rule.vote,
            "min_score": rule.min_score,
            "classes": sorted(rule.classes) if rule.classes is not None else None,
            "max_boxes": rule.max_boxes,
            "nms_iou": rule.nms_iou,
            "smooth": self._smooth,
            "link": plan.link,
        }

    @property
    def runtime(self) -> Mapping[str, object]:
        """Preset, device, precision and batch; for how many seconds of video a box waits."""
        return {
            "detector": self._detector.description,
            "batch_size": self.plan.batch_size,
            "delay_s": round(delay_s(self._detector.temporal, smooth=self._smooth), 3),
        }

    @property
    def notes(self) -> list[Note]:
        """Labels that could not be drawn as they are written."""
        names = [
            f"{label} (as {drawn_label(label, self._drawn[label])})"
            for label in undrawable(dict(self._drawn))  # another thread may be drawing
        ]
        return [Note(f"drawn in other letters: {', '.join(names)}")] if names else []

    def resume_state(self) -> dict[str, Any]:
        """The linker's, as it was behind the latest result."""
        return self._state

    def results(
        self, reader: FrameSource, stop: StopRequest, *, with_pictures: bool
    ) -> Generator[FrameResult]:
        """Every frame of the span with its detections; None where the stride passes over it."""
        reach = self.reach(reader.info)
        frames = 0
        most = max(HELD, self.plan.batch_size)
        with Overlap() as overlap, a_core_left(to_others=self.is_quick and with_pictures):
            read = reader.frames(reach.reading_from(self.plan.span.start), stop=stop)
            given = overlap.ahead(self.given(read, reach), most)
            predicted = self.predicted(given, reach, with_pictures=with_pictures)
            for result in self.found(predicted, reader.info):
                frames += 1
                yield result
        if not frames and not stop.asked:
            raise VideoError(
                f"{reader.path}: expected frames {self.plan.span}, found none; choose another range"
            )

    @property
    def is_quick(self) -> bool:
        """Whether reading and writing count beside the network; the paper's takes far longer."""
        return self._detector.temporal is not None

    def reach(self, info: VideoInfo) -> Reach:
        """How far the run looks around what is asked for, in a video."""
        temporal, smooth = self._detector.temporal, self._smooth
        return Reach.of(temporal, info.fps, smooth=smooth, find_cuts=self._find_cuts)

    def given(self, frames: Iterable[VideoFrame], reach: Reach) -> Iterator[GivenPair]:
        """What is asked of every pair of frames, and what the network is given of it.

        The first frame is the first that anything depends on; the last may be behind the span.
        """
        temporal = self._detector.temporal
        end = None if reach.after_s else self.plan.span.end
        pairs = pair_frames(frames, end, find_cuts=self._find_cuts)
        stepped = with_steps(pairs, reach.rate, temporal and temporal.step_seconds)
        inputs = PairInputs(self._detector.input_size, self._flow_images)
        return with_inputs(asked_pairs(stepped, self.plan, reach), inputs.inputs_of)

    def predicted(
        self, given: Iterable[GivenPair], reach: Reach, *, with_pictures: bool
    ) -> Iterator[PredictedFrame]:
        """Every frame with what its boxes are made of.

        Where nobody shows pictures, frames go on without pixels: as many are held as a window has.
        """
        known = self._earlier.end_frame if self._earlier else 0
        predicted = predicted_frames(
            given,
            self._detector,
            batch_size=self.plan.batch_size,
            needed_from=reach.first_frame_needed(known),
            with_pictures=with_pictures,
        )
        return with_windows(predicted, self._detector.temporal, tolerance_s(reach.rate))

    def found(self, predicted: Iterable[PredictedFrame], info: VideoInfo) -> Iterator[FrameResult]:
        """Every frame of the span with its detections, or None where the stride passes over it."""
        for one, picked in self._picked(predicted, FrameGeometry(info.width, info.height)):
            if self._linker and one.begins_shot and not self._is_known(one.frame):
                self._linker.begin_shot()
            if one.is_reported:
                found = self._detections(one.frame, picked) if one.is_due else None
                yield FrameResult(one.frame, found)

    def drawn(self, result: FrameResult) -> FrameResult:
        """With its boxes, or faintly the latest ones where none were looked for."""
        faint = result.found is None
        if result.found is not None:
            # As where rows are taken over.
            self._latest = tuple(map(as_in_rows, result.found.detections))
            self._drawn |= {box.label: box.class_index for box in self._latest}
        frame = result.frame
        rgb = annotate(frame.rgb, self._latest, faint=faint)
        return replace(result, frame=replace(frame, rgb=rgb), undrawn=frame)

    def _is_known(self, frame: VideoFrame) -> bool:
        return self._earlier is not None and frame.frame < self._earlier.end_frame

    def _taken_over(self, frame: VideoFrame) -> FrameDetections:
        assert self._earlier is not None
        is_last = frame.frame == self._earlier.end_frame - 1
        self._state = {"linker": self._earlier.linker_state} if is_last and self._linker else {}
        detections = self._earlier.at(frame.frame, self.class_names)
        found = FrameDetections(frame.frame, frame.pts, float(frame.time_s), detections)
        return self._linker.repeat(found) if self._linker else found

    def _picked(
        self, predicted: Iterable[PredictedFrame], geometry: FrameGeometry
    ) -> Iterator[tuple[PredictedFrame, tuple[Detection, ...]]]:
        """Every frame with the boxes in it that the rule keeps, in its own pixels."""
        timed = timed_boxes(predicted, self._detector, self._candidates, geometry)
        if not self._smooth:
            yield from ((each.payload, each.detections or ()) for each in timed)
            return
        for each in smooth(timed, with_scores=self._steadies_scores):
            picked = sorted(each.detections or (), key=lambda box: -box.score)
            if self._steadies_scores and not self._linker:
                picked = [box for box in picked if self._passes(box)]
            yield each.payload, tuple(picked)

    def _passes(self, box: Detection) -> bool:
        return box.score >= self._rule.min_score and self._rule.reports(box.label)

    @property
    def _candidates(self) -> SelectionRule:
        """What passes before scores are steadied, or linked."""
        if self._linker:
            return self._linker.candidates
        return self._rule.of_candidates(WEAKEST_VOTE) if self._steadies_scores else self._rule

    def _detections(self, frame: VideoFrame, picked: tuple[Detection, ...]) -> FrameDetections:
        """The detections of a frame: those in its rows, if there are some, or linked ones."""
        if self._is_known(frame):
            return self._taken_over(frame)
        found = FrameDetections(frame.frame, frame.pts, float(frame.time_s), picked)
        if self._linker:
            found = self._linker.link(found)
            self._state = {"linker": self._linker.state()}
        return found
