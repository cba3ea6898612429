"""The last stage of training `light`: its action layers are fitted to frozen features.

Training crops, recolours and partly blanks its frames. That is how boxes are learned, but the
network is used on whole frames, whose features differ. So what names actions, of the context of the
video backbone and of the flow histograms, is fitted to whole frames and their mirror images by
logistic regression: convex, without a learning rate or a seed. Boxes are corrected by the way.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, cat, stack

from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset
from tubedet.datasets.augmentation import View
from tubedet.datasets.batching import TrainingSample, make_sample
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.frame_pair_sampling import pair_at
from tubedet.datasets.ignore_regions import IgnoreRegions
from tubedet.datasets.step_windows import frames_a_step
from tubedet.errors import UsageError
from tubedet.models.light.context_window import WINDOW_SECONDS
from tubedet.models.light.detector import REFERENCE_SECONDS, LightDetector, joined_predictions
from tubedet.models.light.flow_histograms import neighbourhood_histograms
from tubedet.models.light.flow_stream import FlowFeatures
from tubedet.models.light.video_backbone import State
from tubedet.models.light.video_stream import CONTEXT_CHANNELS, VideoFeatures
from tubedet.models.presets import LightConfig
from tubedet.models.yolov2.box_decoding import decode_boxes
from tubedet.runtime.torch import autocast, pick_device, pick_precision
from tubedet.training.box_corrections import box_corrections
from tubedet.training.logistic_regression import fit_logistic_regression

EVERY = 8  # frames that show a class: those in between look alike
PIECE = 16  # steps, or pairs, that are computed at once


class FitSamples(NamedTuple):
    """Annotated boxes of whole frames with the features and the predictions of the detector there.

    `features` (N, 960 + 234) at the centres of N boxes: mean context, histograms; `classes` (N,)
    and `sources` (N,), the number of the footage that each is from; of M frames with a single box,
    that box and the predicted one of the greatest overlap, `true_xyxy` and `predicted_xyxy` (M, 4)
    in fractions of the frame, with its predicted `overlap` (M,).
    """

    features: Tensor
    classes: Tensor
    sources: Tensor
    true_xyxy: Tensor
    predicted_xyxy: Tensor
    overlap: Tensor


class ActionFit:
    """Fits a detector's action layers and corrects its boxes, in place.

    Args:
        network: a trained one.
        config: of that network.
        data: the clips that it learned from.
        frames: their frames.
        device: see `pick_device`.

    Raises:
        UsageError: if the network has other classes than the data.
        DatasetError: if a class has no clip.
    """

    def __init__(
        self,
        network: LightDetector,
        config: LightConfig,
        data: AnnotatedDataset,
        frames: ClipFrames,
        *,
        device: str = "auto",
    ) -> None:
        if config.class_names != data.class_names:
            raise UsageError(f"the weights have other classes than {data.name}")
        data.require_every_class()
        self._device = pick_device(device)
        self._precision = pick_precision("auto", self._device)
        self._network = network.eval().to(self._device)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._config, self._data, self._frames = config, data, frames
        groups = dict.fromkeys(clip.group for clip in data.clips)
        self._number_of_source = {group: number for number, group in enumerate(groups)}

    def run(self) -> Iterator[str]:
        """Yield the name of every clip measured; after the last one the layers are fitted."""
        of_frames: list[FitSamples] = []
        for clip in self._data.clips:
            of_frames += self.measure(clip)
            yield clip.video
        all_ = FitSamples(*map(cat, zip(*of_frames, strict=True)))
        self._install(*fit_logistic_regression(all_.features, all_.classes, all_.sources))
        self._correct(*box_corrections(all_.true_xyxy, all_.predicted_xyxy, all_.overlap))
        self._network.cpu()

    @torch.inference_mode()
    def measure(self, clip: AnnotatedClip) -> list[FitSamples]:
        """Some frames of a clip, then of its mirror image; nothing if none is annotated."""
        clip, rate = clip.up_to(self._frames.length(clip)), self._frames.rate(clip)
        steps = range(0, clip.frames, frames_a_step(rate))
        reach = WINDOW_SECONDS * rate + 0.01
        windows = {
            frame: [number for number, step in enumerate(steps) if abs(step - frame) <= reach]
            for frame in chosen_frames(clip)
        }
        pairs = {*windows} | {steps[number] for window in windows.values() for number in window}
        return [
            frame
            for flip, motions in enumerate(self._motions(clip, sorted(pairs), rate))
            for frame in self._measure_view(clip, steps, windows, motions, flip=bool(flip))
        ]

    def _motions(
        self, clip: AnnotatedClip, frames: Sequence[int], rate: float
    ) -> tuple[dict[int, FlowFeatures], ...]:
        """What the motion stream makes of the pairs of frames, and of their mirror images."""
        assert self._network.flow is not None
        found: tuple[dict[int, FlowFeatures], ...] = ({}, {})
        for first in range(0, len(frames), PIECE):
            piece = frames[first : first + PIECE]
            pairs = stack([self._whole(clip, frame, flip=False).clip for frame in piece])
            with autocast(self._device, self._precision):
                flow_uv = self._network.flow(pairs.to(self._device).float()).float()
                flow_uv = flow_uv * (REFERENCE_SECONDS * rate)
                for of_view, flow in zip(found, (flow_uv, mirrored(flow_uv)), strict=True):
                    last, maps = (e.float().cpu() for e in self._network.motion_stream(flow))
                    of_view.update(zip(piece, map(FlowFeatures, last, maps), strict=True))
        return found

    def _measure_view(
        self,
        clip: AnnotatedClip,
        steps: range,
        windows: Mapping[int, Sequence[int]],
        motions: Mapping[int, FlowFeatures],
        *,
        flip: bool,
    ) -> Iterator[FitSamples]:
        stream = enumerate(self._stream(clip, steps, flip=flip))
        seen: dict[int, VideoFeatures] = {}
        for frame, window in windows.items():
            # A frame's boxes are read from the latest step that its pair reaches.
            latest = min((frame + 1) // steps.step, len(steps) - 1)
            while max(seen, default=-1) < max(latest, window[-1]):
                seen.update([next(stream)])
            for past in [number for number in seen if number < min(latest, window[0])]:
                del seen[past]
            maps = stack([motions[steps[number]].maps for number in window])
            context = stack([seen[number].context for number in window]).mean(dim=0)
            features = cat([context, neighbourhood_histograms(maps.mean(0, keepdim=True))[0]])
            with autocast(self._device, self._precision):
                last = (seen[latest].last, motions[frame].last)
                boxes = self._network.fusion(*(each[None].to(self._device) for each in last))
            yield self._of_frame(clip, self._whole(clip, frame, flip=flip), features, boxes.cpu())

    def _stream(self, clip: AnnotatedClip, steps: range, *, flip: bool) -> Iterator[VideoFeatures]:
        """Features of every step, (F, h, w) and (960, h/2, w/2)."""
        state: State | None = None
        for first in range(0, len(steps), PIECE):
            piece = steps[first : first + PIECE]
            pairs = [self._whole(clip, step, flip=flip).clip for step in piece]
            frames = [
                pair[:, step - pair_at(clip, step).first]
                for pair, step in zip(pairs, piece, strict=True)
            ]
            given = stack(frames)[None].to(self._device) / 255.0
            with autocast(self._device, self._precision):
                of_piece, state = self._network.rgb_stream(given, state)
            yield from map(VideoFeatures, *(each[0].float().cpu() for each in of_piece))

    def _whole(self, clip: AnnotatedClip, frame: int, *, flip: bool) -> TrainingSample:
        """The pair of a whole frame, as the network is used on it."""
        view = View((0, 0, clip.width, clip.height), flip)
        pair = pair_at(clip, frame)
        return make_sample(pair, view, self._config.input_size, self._frames, IgnoreRegions({}))

    def _of_frame(
        self, clip: AnnotatedClip, sample: TrainingSample, features: Tensor, boxes: Tensor
    ) -> FitSamples:
        column, row = _cells(sample.boxes_xyxy, *features.shape[-2:])
        classes = sample.class_indices
        no_actions = boxes.new_zeros(1, len(self._config.class_names), *features.shape[-2:])
        predicted = decode_boxes(
            joined_predictions(boxes, no_actions),
            torch.tensor(self._config.anchors_wh),
            len(self._config.class_names),
        )
        best = predicted.overlap[0].argmax()
        single = slice(1 if len(classes) == 1 else 0)
        return FitSamples(
            features[:, row, column].T,
            classes,
            torch.full_like(classes, self._number_of_source[clip.group]),
            sample.boxes_xyxy[single],
            predicted.boxes_xyxy[0, best].clamp(0, 1)[None][single],
            predicted.overlap[0, best][None][single],
        )

    @torch.no_grad()
    def _install(self, weight: Tensor, bias: Tensor) -> None:
        window = self._network.context_window
        assert window.appearance.bias is not None
        assert window.motion.bias is not None
        window.appearance.weight.copy_(weight[:, :CONTEXT_CHANNELS, None, None])
        window.motion.weight.copy_(weight[:, CONTEXT_CHANNELS:, None, None])
        window.appearance.bias.copy_(bias)
        window.motion.bias.zero_()

    @torch.no_grad()
    def _correct(self, log_size: Tensor, overlap_logit: Tensor) -> None:
        bias = self._network.fusion.conv.bias
        assert bias is not None
        of_an_anchor = bias.view(len(self._config.anchors_wh), -1)
        of_an_anchor[:, 2:4] += log_size.to(bias)
        of_an_anchor[:, 4] += overlap_logit.to(bias)


def chosen_frames(clip: AnnotatedClip) -> list[int]:
    """Annotated frames, of every class that a clip shows one of `EVERY` at most."""
    latest: dict[int, int] = {}
    chosen = []
    for frame, boxes in enumerate(clip.boxes_by_frame):
        if any(frame - latest.get(box.class_index, -EVERY) >= EVERY for box in boxes):
            chosen.append(frame)
            latest |= {box.class_index: frame for box in boxes}
    return chosen


def mirrored(flow_uv: Tensor) -> Tensor:
    """The flow (..., 2, H, W) of the mirror image: what moved to the right moves to the left."""
    u, v = flow_uv.flip(-1).unbind(dim=-3)
    return stack([-u, v], dim=-3)


def _cells(boxes_xyxy: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Column and row (N,) of the cell in which each box (N, 4), in fractions, has its centre."""
    x, y = ((boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2).unbind(dim=1)
    column = (x * columns).long().clamp(max=columns - 1)
    return column, (y * rows).long().clamp(max=rows - 1)
