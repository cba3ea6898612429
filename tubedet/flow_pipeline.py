"""The way from a video file to its optical flow, on one page.

    decode     video.reader          the file's frames, one at a time, with their timestamps
    → pair     video.frame_pairs     every frame with its successor
    → network  runtime.torch_flow    flow of the pair, in source pixels
    → colour   render.flow_color     for the MP4 alone
    → write    writers.flow_writer   .flo files, Brox's images, colour-wheel MP4

Every stage is an iterator, so memory doesn't grow with the video. `pipeline` is the detector's way.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from tubedet.checkpoints.catalog import resolve_weights
from tubedet.checkpoints.native import load_flow
from tubedet.errors import OutputError
from tubedet.render.flow_color import SteadyScale, flow_to_rgb
from tubedet.runtime.torch_flow import TorchFlow
from tubedet.video.frame import VideoFrame
from tubedet.video.frame_pairs import FramePair, pair_frames
from tubedet.video.preprocess import stack_pair
from tubedet.video.reader import VideoReader
from tubedet.video_run import FrameDone, VideoDone, VideoJob, notes_on_source
from tubedet.writers.flow_writer import FlowOutputs
from tubedet.writers.output_target import OutputTarget

FlowArray = NDArray[np.float32]


def load_flow_estimator(
    weights: str | Path | None = None, *, device: str = "auto", size: tuple[int, int] | None = None
) -> TorchFlow:
    """A ready flow network.

    Args:
        weights: a checkpoint file or a name in `tubedet weights list`; None for the default.
        device: `auto` (cuda before mps before cpu) or a name such as `cpu` or `cuda:1`.
        size: (height, width) that the network sees, multiples of 64; None: the frames' own, up to
            the next multiples of 64.

    Raises:
        WeightsError: if there is no such checkpoint, it is damaged, or without a flow network.
        UsageError: if the device cannot be had.
    """
    network, _ = load_flow(resolve_weights(weights))
    return TorchFlow(network, device=device, size=size)


def estimate_flow(
    reader: VideoReader, estimator: TorchFlow
) -> Iterator[tuple[VideoFrame, FlowArray]]:
    """Every frame with its flow (2, H, W) in source pixels: to its successor, u right, v down.

    The last frame, and one before a gap, has the flow of the pair before it.

    Raises:
        VideoError: if the file holds no frame.
    """
    latest: FramePair | None = None
    for pair in pair_frames(reader.frames()):
        if latest is None or pair[:2] != latest[:2]:
            flow_uv = estimator.estimate(stack_pair(pair))[0].numpy()
        latest = pair
        yield pair.at, flow_uv


def process_flow(
    job: VideoJob,
    estimator: TorchFlow,
    formats: Sequence[str],
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[FrameDone | VideoDone]:
    """Write the flow of a video, saying so frame by frame.

    Stopped, interrupted or left alone half way, it completes what there is as partial outputs;
    after any other exception nothing is left behind.

    Args:
        job: the video and its outputs.
        estimator: from `load_flow_estimator`.
        formats: names of `FLOW_WRITERS`.
        stop: asked after every frame.

    Raises:
        VideoError: if the file is no video.
        UsageError: if there is no such format.
        OutputError: if an output cannot be written.
    """
    with VideoReader(job.source) as reader:
        run = _FlowRun(job, reader)
        try:
            run.open_outputs(formats)
            for frame, flow_uv in estimate_flow(reader, estimator):
                run.write(frame, flow_uv)
                yield FrameDone(run.frames, reader.info.promised_frames)
                if stop():
                    run.complete = False
                    break
            run.finish()
        except (KeyboardInterrupt, GeneratorExit):
            run.complete = False
            run.finish()
            raise
        except BaseException:
            with suppress(OutputError):  # the first error says what happened
                run.outputs.discard()
            raise
    yield run.report()


class _FlowRun:
    """The outputs of a video while they are filled, and the tally of what went into them."""

    def __init__(self, job: VideoJob, reader: VideoReader) -> None:
        self.outputs = FlowOutputs()
        self.frames = 0
        self.complete = True
        self._job, self._reader = job, reader
        self._scale = SteadyScale()
        self._last_s: float | None = None
        self._began = perf_counter()

    def open_outputs(self, formats: Sequence[str]) -> None:
        job = self._job
        info = self._reader.info
        self.outputs.open(formats, OutputTarget(job.folder, job.stem, job.source, job.video, info))

    def write(self, frame: VideoFrame, flow_uv: FlowArray) -> None:
        shown = frame
        if self.outputs.needs_pixels:
            longest_px = self._scale.follow(flow_uv)
            shown = replace(frame, rgb=flow_to_rgb(flow_uv, max_magnitude=longest_px))
        self.outputs.write(shown, flow_uv)
        self.frames += 1
        self._last_s = frame.time_s

    def finish(self) -> None:
        """Complete the outputs; a run that was stopped before its first frame leaves none."""
        if self.frames:
            self.outputs.finish(partial=not self.complete)
        else:
            self.outputs.discard()

    def report(self) -> VideoDone:
        repaired = self.outputs.repaired_timestamps
        odd = notes_on_source(self._reader, repaired, self._last_s, to_the_end=self.complete)
        return VideoDone(
            job=self._job,
            outputs=tuple(dict.fromkeys(self.outputs.outputs)),
            partial=not self.complete,
            frames=self.frames,
            detected=0,
            found=None,
            seconds=perf_counter() - self._began,
            notes=(*odd, *self.outputs.warnings),
        )
