"""From frames to boxes: pairs through the network, boxes picked, smoothed, linked, maybe drawn."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from tubedet.detections import Detection, FrameDetections
from tubedet.errors import UsageError, VideoError
from tubedet.notes import Note
from tubedet.render.annotate import annotate
from tubedet.render.label_text import drawn_label, undrawable
from tubedet.run.asked_frames import AskedPair, asked_pairs
from tubedet.run.earlier_rows import EarlierRows
from tubedet.run.overlap import HELD, Overlap
from tubedet.run.part_boxes import FramePart, KnownBoxes, PartFound, part_behind
from tubedet.run.picking import PickedFrame, rule_for, timed_boxes
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
from tubedet.runtime.detector import Detector, TemporalReach
from tubedet.runtime.torch import a_core_left
from tubedet.tubes.best_box import SelectionRule
from tubedet.tubes.linking import TubeLinker
from tubedet.tubes.smoothing import WEAKEST_VOTE, smooth
from tubedet.video.frame import VideoFrame, VideoInfo
from tubedet.video.frame_pairs import pair_frames
from tubedet.video.frame_source import FrameSource
from tubedet.video.preprocess import FrameGeometry, PairInputs
from tubedet.video.reader import VideoReader
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
        parts: what `find_part` found in the parts of the video, in their order; each is taken when
            the run comes to it. The network sees only what they lack.

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
        parts: Iterable[PartFound] | None = None,
    ) -> None:
        if detector.uses_flow_images and flow_images is None:
            raise UsageError(f"{detector.description}: needs a folder of flow images")
        if flow_images is not None and not detector.uses_flow_images:
            raise UsageError(f"{detector.description}: makes its own flow, leave flow images out")
        self.plan = plan
        self._detector, self._earlier, self._parts = detector, earlier, parts
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
            for label in undrawable(self._drawn)
        ]
        return [Note(f"drawn in other letters: {', '.join(names)}")] if names else []

    @property
    def temporal(self) -> TemporalReach | None:
        """That of the detector."""
        return self._detector.temporal

    @property
    def known_frames(self) -> int:
        """The first frame that no earlier run has looked at."""
        return self._earlier.end_frame if self._earlier else 0

    @property
    def can_be_split(self) -> bool:
        """Whether parts have the boxes of the whole, and the network is what takes long.

        Batches are composed from the beginning of a run on, which shows in the last digits.
        """
        return self.plan.stride == self.plan.batch_size == 1 and self._flow_images is None

    def with_parts(self, parts: Iterable[PartFound]) -> "DetectionWork":
        """The same work, of a video in whose parts this was found."""
        return DetectionWork(
            self._detector,
            self.plan,
            flow_images=self._flow_images,
            earlier=self._earlier,
            parts=parts,
        )

    def resume_state(self) -> dict[str, Any]:
        """The linker's, as it was behind the latest result."""
        return self._state

    def results(
        self, reader: FrameSource, stop: StopRequest, *, with_pictures: bool
    ) -> Generator[FrameResult]:
        """Every frame of the span with its detections; None where the stride passes over it."""
        picked_by = self._picked_by_network if self._parts is None else self._picked_by_parts
        frames = 0
        with closing(picked_by(reader, self.reach(reader.info), stop, with_pictures)) as picked:
            for result in self._linked(picked):
                frames += 1
                yield result
        if not frames and not stop.asked:
            raise VideoError(
                f"{reader.path}: expected frames {self.plan.span}, found none; choose another range"
            )

    def find_part(self, path: Path, part: FramePart, stop: StopRequest) -> PartFound:
        """What linking is given in a part of the video, wherever that is at; see `parts.split`.

        Raises:
            VideoError, UsageError: as `results`.
        """
        plan = replace(self.plan, span=part.span, max_frames=part.max_frames)
        work = DetectionWork(self._detector, plan)
        with VideoReader(path, video_stream=plan.video_stream) as reader:
            reach = work.reach(reader.info)
            if part.before_s is not None:
                reach = reach.back_to(part.before_s)
            with closing(work._picked_by_network(reader, reach, stop, False)) as picked:
                return PartFound.of(each for each in picked if each.is_reported or part.is_last)

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
        inputs = PairInputs(self._detector.input_size, self._flow_images)
        return with_inputs(self._asked(frames, reach), inputs.inputs_of)

    def predicted(
        self, given: Iterable[GivenPair], reach: Reach, *, with_pictures: bool
    ) -> Iterator[PredictedFrame]:
        """Every frame with what its boxes are made of.

        Where nobody shows pictures, frames go on without pixels: as many are held as a window has.
        """
        predicted = predicted_frames(
            given,
            self._detector,
            batch_size=self.plan.batch_size,
            needed_from=reach.first_frame_needed(self.known_frames),
            with_pictures=with_pictures,
        )
        return with_windows(predicted, self._detector.temporal, tolerance_s(reach.rate))

    def found(self, predicted: Iterable[PredictedFrame], info: VideoInfo) -> Iterator[FrameResult]:
        """Every frame of the span with its detections, or None where the stride passes over it."""
        return self._linked(self._picked(predicted, info))

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

    def _picked_by_network(
        self, reader: FrameSource, reach: Reach, stop: StopRequest, with_pictures: bool
    ) -> Generator[PickedFrame]:
        """Every frame that is read, as soon as there is nothing left to find in it."""
        most = max(HELD, self.plan.batch_size)
        with Overlap() as overlap, a_core_left(to_others=self.is_quick and with_pictures):
            read = reader.frames(reach.reading_from(self.plan.span.start), stop=stop)
            given = overlap.ahead(self.given(read, reach), most)
            predicted = self.predicted(given, reach, with_pictures=with_pictures)
            yield from self._picked(predicted, reader.info)

    def _picked_by_parts(
        self, reader: FrameSource, reach: Reach, stop: StopRequest, with_pictures: bool
    ) -> Generator[PickedFrame]:
        """The same with what was found in parts; frames have pixels where somebody shows them."""
        assert isinstance(reader, VideoReader)
        assert self._parts is not None
        path = reader.path
        first: int | None = None

        def find(frame: VideoFrame) -> PartFound:
            # Packets of a damaged file promise other numbers than its frames have.
            begin = frame.frame if first is None else first
            part = part_behind(self.plan, begin, frame.frame, frame.time_s)
            return self.find_part(path, part, stop)

        known = KnownBoxes(self._parts, self.class_names, find)
        start = reach.reading_from(self.plan.span.start)
        read = reader.frames(start, stop=stop, with_pictures=with_pictures)
        for each in self._asked(read, reach, known.may_begin_shot):
            frame = each.pair.at
            first = frame.frame if first is None and each.is_reported else first
            boxes = known.of(frame, is_due=each.is_due and not self._is_known(frame))
            detections = (boxes and boxes.detections) or ()
            begins = boxes.begins_shot if boxes else each.pair.shot_begins
            yield PickedFrame(frame, detections, each.is_reported, each.is_due, begins)

    def _asked(
        self,
        frames: Iterable[VideoFrame],
        reach: Reach,
        known_shots: Callable[[VideoFrame], bool] | None = None,
    ) -> Iterator[AskedPair]:
        temporal = self._detector.temporal
        end = None if reach.after_s else self.plan.span.end
        pairs = pair_frames(frames, end, find_cuts=self._find_cuts, known_shots=known_shots)
        stepped = with_steps(pairs, reach.rate, temporal and temporal.step_seconds)
        return asked_pairs(stepped, self.plan, reach)

    def _linked(self, picked: Iterable[PickedFrame]) -> Iterator[FrameResult]:
        for one in picked:
            if self._linker and one.begins_shot and not self._is_known(one.frame):
                self._linker.begin_shot()
            if one.is_reported:
                found = self._detections(one.frame, one.detections) if one.is_due else None
                yield FrameResult(one.frame, found)

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
        self, predicted: Iterable[PredictedFrame], info: VideoInfo
    ) -> Iterator[PickedFrame]:
        """Every frame with the boxes in it that the rule keeps, in its own pixels."""
        geometry = FrameGeometry(info.width, info.height)
        timed = timed_boxes(predicted, self._detector, self._candidates, geometry)
        if not self._smooth:
            for each in timed:
                yield _picked(each.payload, each.detections or ())
            return
        for each in smooth(timed, with_scores=self._steadies_scores):
            picked = sorted(each.detections or (), key=lambda box: -box.score)
            if self._steadies_scores and not self._linker:
                picked = [box for box in picked if self._passes(box)]
            yield _picked(each.payload, tuple(picked))

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


def _picked(one: PredictedFrame, boxes: tuple[Detection, ...]) -> PickedFrame:
    return PickedFrame(one.frame, boxes, one.is_reported, one.is_due, one.begins_shot)
