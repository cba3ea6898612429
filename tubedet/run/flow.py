"""From frames to their optical flow, in colour if need be."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tubedet.notes import Note
from tubedet.render.flow_color import SteadyScale, flow_to_rgb
from tubedet.run.overlap import Overlap
from tubedet.run.plan import FramePlan, on_stride
from tubedet.run.stop import StopRequest
from tubedet.runtime.torch_flow import TorchFlow
from tubedet.video.frame_pairs import FramePair, pair_frames
from tubedet.video.frame_source import FrameSource
from tubedet.video.preprocess import stack_pair
from tubedet.writers.formats import Kind
from tubedet.writers.writer import FlowArray, FrameResult


class FlowWork:
    """Optical flow of one video; implements `tubedet.run.work.Work`.

    Args:
        estimator: from `load_flow_estimator`.
        plan: which frames.
    """

    kind: Kind = "flow"
    class_names: tuple[str, ...] = ()

    def __init__(self, estimator: TorchFlow, plan: FramePlan) -> None:
        self.plan = plan
        self._estimator = estimator
        self._scale = SteadyScale()
        self._latest: FlowArray | None = None

    @property
    def weights_sha256(self) -> str | None:
        """Those of the estimator."""
        return self._estimator.weights_sha256

    @property
    def settings(self) -> Mapping[str, object]:
        """At which size the network sees frames, and how many."""
        plan, size = self.plan, self._estimator.size
        return {
            "size": list(size) if size else None,
            "max_frames": plan.max_frames,
            "video_stream": plan.video_stream,
        }

    @property
    def runtime(self) -> Mapping[str, object]:
        """The device."""
        return {"estimator": self._estimator.description}

    @property
    def notes(self) -> list[Note]:
        """Nothing is to be said of colours."""
        return []

    def resume_state(self) -> dict[str, Any]:
        """No frame depends on those before it."""
        return {}

    def results(
        self, reader: FrameSource, stop: StopRequest, *, with_pictures: bool
    ) -> Generator[FrameResult]:
        """Every frame with its flow (2, H, W) in source pixels: to its successor, u right, v down.

        The last frame, and one before a gap, has the flow of the pair before it; None where the
        stride passes over a frame.
        """
        plan = self.plan
        pairs = pair_frames(reader.frames(plan.span.start, stop=stop), plan.span.end)
        with Overlap() as overlap:
            yield from self._estimated(overlap.ahead(pairs))

    def _estimated(self, pairs: Iterable[FramePair]) -> Iterator[FrameResult]:
        latest: FramePair | None = None
        for pair, is_due in on_stride(pairs, self.plan):
            if not is_due:
                yield FrameResult(pair.at)
                continue
            if latest is None or pair[:2] != latest[:2]:
                flow_uv = self._estimator.estimate(stack_pair(pair))[0].numpy()
            latest = pair
            yield FrameResult(pair.at, flow_uv=flow_uv)

    def drawn(self, result: FrameResult) -> FrameResult:
        """The flow in colour, or the latest one where none was estimated."""
        if result.flow_uv is not None:
            self._latest = result.flow_uv
            self._longest_px = self._scale.follow(result.flow_uv)
        assert self._latest is not None  # the first frame of a span is always due
        rgb = flow_to_rgb(self._latest, max_magnitude=self._longest_px)
        return replace(result, frame=replace(result.frame, rgb=rgb))
