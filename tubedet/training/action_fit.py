"""Fits a trained detector's action layers again, by logistic regression on its frozen features.

Training crops, recolours and partly blanks its frames. That is how boxes are learned, but the
network is used on whole frames, whose features differ. So the action weights of the general RGB
context and of the flow histograms, which training leaves as they are, are fitted to whole frames
and their mirror images: convex, without a learning rate or a seed. The context window around a pair
is fitted here too, which training on single pairs cannot do. The logits of the tuned part of the
backbone are kept: it is overfitted to the training frames, so no fit on them can judge it.

On the same frames boxes turn out a little too wide, and better than their overlap says. Both are
corrected by one number for all boxes, too few to overfit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, cat, stack

from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset
from tubedet.datasets.augmentation import View
from tubedet.datasets.batching import NO_CLASS, TrainingBatch, collate, make_sample
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.frame_pair_sampling import pair_at
from tubedet.datasets.ignore_regions import IgnoreRegions
from tubedet.errors import UsageError
from tubedet.models.light.context_window import (
    CONTEXT_FRAMES,
    WINDOW_CHANNELS,
    ContextWindow,
    window_histograms,
)
from tubedet.models.light.detector import LightDetector
from tubedet.models.light.flow_histograms import FlowHistogramStream, cell_motion_maps
from tubedet.models.presets import DetectorConfig, LightConfig
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.models.yolov2.box_decoding import decode_boxes
from tubedet.runtime.torch import autocast, pick_device, pick_precision
from tubedet.training.anchor_matching import iou
from tubedet.training.logistic_regression import fit_logistic_regression

EVERY = 8  # frames of a clip look alike
# One of so many of these frames is used a second time without its context window: with strides and
# single images a pair has none. In cross-validation that costs half a point, and saves them four.
ALONE_EVERY = 4
FLOW_BATCH = 8
HIT_IOU = 0.3


class FitSamples(NamedTuple):
    """Annotated boxes of whole frames with the features and the predictions of the detector there.

    `features` (N, K) at the centres of N boxes, of the pair and then of its context window,
    `classes` (N,) and `sources` (N,), the number of the footage that each is from; of M frames with
    a single box, that box and the predicted one of the greatest overlap, `true_xyxy` and
    `predicted_xyxy` (M, 4) in fractions of the frame, with its predicted `overlap` (M,).
    """

    features: Tensor
    classes: Tensor
    sources: Tensor
    true_xyxy: Tensor
    predicted_xyxy: Tensor
    overlap: Tensor


class ActionFit:
    """Fits a detector's action layers and corrects its boxes, in place.

    `config` is then that of the network as it is: one with flow histograms has a context window.

    Args:
        network: a trained one whose RGB stream has a general context: the `light` preset.
        config: of that network.
        data: the clips that it learned from.
        frames: their frames.
        device: see `pick_device`.

    Raises:
        UsageError: if the network has no such stream, or other classes than the data.
    """

    def __init__(
        self,
        network: TwoStreamDetector,
        config: DetectorConfig,
        data: AnnotatedDataset,
        frames: ClipFrames,
        *,
        device: str = "auto",
    ) -> None:
        if not isinstance(config, LightConfig) or config.streams == "motion":
            streams = config.to_dict().get("streams", "both")
            raise UsageError(
                f"preset {config.preset}, streams {streams}: no general context of an RGB "
                "stream to read actions from"
            )
        assert isinstance(network, LightDetector)
        if config.class_names != data.class_names:
            raise UsageError(f"the weights have other classes than {data.name}")
        data.require_every_class()
        self._device = pick_device(device)
        self._precision = pick_precision("auto", self._device)
        self._network = network.eval().to(self._device)
        has_histograms = isinstance(network.motion_stream, FlowHistogramStream)
        self._context_frames = CONTEXT_FRAMES if has_histograms else 0
        self.config, self._data, self._frames = config, data, frames
        groups = dict.fromkeys(clip.group for clip in data.clips)
        self._number_of_source = {group: number for number, group in enumerate(groups)}

    def run(self) -> Iterator[str]:
        """Yield the name of every clip measured; after the last one the layers are fitted."""
        of_views: list[FitSamples] = []
        for clip in self._data.clips:
            of_views += self.measure(clip)
            yield clip.video
        all_ = FitSamples(*map(cat, zip(*of_views, strict=True)))
        self._install(*fit_logistic_regression(all_.features, all_.classes, all_.sources))
        self._correct(*box_corrections(all_.true_xyxy, all_.predicted_xyxy, all_.overlap))
        self._network.cpu()

    def measure(self, clip: AnnotatedClip) -> list[FitSamples]:
        """Some frames of a clip and of its mirror image; nothing if none of them is annotated."""
        frames = [t for t in range(0, clip.frames, EVERY) if clip.boxes_by_frame[t]]
        if not frames:
            return []
        flow_uv = self._flow_of(clip) if self._context_frames else None
        return [self._measure_view(clip, frames, flow_uv, flip=flip) for flip in (False, True)]

    @torch.inference_mode()
    def _flow_of(self, clip: AnnotatedClip) -> Tensor:
        """Flow (T, 2, S, S) of the pair of every frame."""
        assert self._network.flow is not None
        parts = []
        for first in range(0, clip.frames, FLOW_BATCH):
            numbers = range(first, min(first + FLOW_BATCH, clip.frames))
            pairs = self._pairs(clip, numbers, flip=False).clip
            with autocast(self._device, self._precision):
                parts.append(self._network.flow(pairs.float().to(self._device)).float().cpu())
        return cat(parts)

    @torch.inference_mode()
    def _measure_view(
        self, clip: AnnotatedClip, frames: Sequence[int], flow_uv: Tensor | None, *, flip: bool
    ) -> FitSamples:
        batch = self._pairs(clip, frames, flip=flip)
        with autocast(self._device, self._precision):
            outputs = self._network.with_fixed_contexts(batch.clip.float().to(self._device))
        raw, features = (output.float().cpu() for output in outputs)
        present = batch.class_indices != NO_CLASS
        classes = batch.class_indices[present]
        frame = present.nonzero()[:, 0]
        column, row = _cells(batch.boxes_xyxy[present], *features.shape[-2:])
        at_boxes = features[frame, :, row, column]
        if flow_uv is not None:
            maps = cell_motion_maps(mirrored(flow_uv) if flip else flow_uv)
            with_context = self._histograms(maps, frames, self._context_frames)
            alone = self._histograms(maps, frames, 0)
            again = frame % ALONE_EVERY == 0
            at_boxes = cat(
                [
                    cat([at_boxes, with_context[frame, :, row, column]], dim=1),
                    cat([at_boxes, alone[frame, :, row, column]], dim=1)[again],
                ]
            )
            classes = cat([classes, classes[again]])
        anchors_wh = torch.tensor(self.config.anchors_wh)
        predicted = decode_boxes(raw, anchors_wh, len(self.config.class_names))
        single = present.sum(dim=1) == 1
        best = predicted.overlap.argmax(dim=1)[single]
        return FitSamples(
            at_boxes,
            classes,
            torch.full_like(classes, self._number_of_source[clip.group]),
            batch.boxes_xyxy[single][:, :1].flatten(0, 1),
            predicted.boxes_xyxy[single, best].clamp(0, 1),
            predicted.overlap[single, best],
        )

    def _pairs(self, clip: AnnotatedClip, frames: Sequence[int], *, flip: bool) -> TrainingBatch:
        """The pairs of whole frames, as the network is used on them."""
        view = View((0, 0, clip.width, clip.height), flip)
        size = self.config.input_size
        pairs = (pair_at(clip, frame) for frame in frames)
        return collate(
            [make_sample(pair, view, size, self._frames, IgnoreRegions({})) for pair in pairs]
        )

    def _histograms(self, maps: Tensor, frames: Sequence[int], context_frames: int) -> Tensor:
        """Histograms (B, 1404, h, w) of the windows of so many frames before and after each."""
        windows = (maps[max(0, t - context_frames) : t + context_frames + 1] for t in frames)
        return stack([window_histograms(window) for window in windows])

    @torch.no_grad()
    def _install(self, weight: Tensor, bias: Tensor) -> None:
        action = self._network.fusion.action
        assert action.bias is not None
        of_pair = weight.shape[1] - (WINDOW_CHANNELS if self._context_frames else 0)
        action.weight[:, -of_pair:] = weight[:, :of_pair, None, None].to(action.weight)
        action.bias.copy_(bias)
        self.config = replace(self.config, context_frames=self._context_frames)
        self._network.over_time = None
        if self._context_frames:
            over_time = ContextWindow(num_classes=len(weight))
            over_time.action.weight.copy_(weight[:, of_pair:, None, None])
            self._network.over_time = over_time

    @torch.no_grad()
    def _correct(self, log_size: Tensor, overlap_logit: Tensor) -> None:
        bias = self._network.fusion.conv.bias
        assert bias is not None
        of_an_anchor = bias.view(len(self.config.anchors_wh), -1)
        of_an_anchor[:, 2:4] += log_size.to(bias)
        of_an_anchor[:, 4] += overlap_logit.to(bias)


def mirrored(flow_uv: Tensor) -> Tensor:
    """The flow (..., 2, H, W) of the mirror image: what moved to the right moves to the left."""
    u, v = flow_uv.flip(-1).unbind(dim=-3)
    return stack([-u, v], dim=-3)


def _cells(boxes_xyxy: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Column and row (N,) of the cell in which each box (N, 4), in fractions, has its centre."""
    x, y = ((boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2).unbind(dim=1)
    column = (x * columns).long().clamp(max=columns - 1)
    return column, (y * rows).long().clamp(max=rows - 1)


def box_corrections(
    true_xyxy: Tensor, predicted_xyxy: Tensor, overlap: Tensor
) -> tuple[Tensor, Tensor]:
    """What to add to the logarithms of width and height (2,), and to the overlap's logit ().

    Half the boxes are then too wide, half too narrow, the same with their heights, and the
    predicted overlap is right on average. Boxes with an IoU of at most `HIT_IOU` are left out.

    Args:
        true_xyxy: (M, 4); if none is left, nothing is corrected.
        predicted_xyxy: (M, 4).
        overlap: (M,) predicted IoU in (0, 1).
    """
    hit = iou(true_xyxy, predicted_xyxy) > HIT_IOU
    true_xyxy, predicted_xyxy, overlap = true_xyxy[hit], predicted_xyxy[hit], overlap[hit]
    if not len(overlap):
        return torch.zeros(2), torch.zeros(())
    true_wh, predicted_wh = (boxes[:, 2:] - boxes[:, :2] for boxes in (true_xyxy, predicted_xyxy))
    log_size = (true_wh / predicted_wh).log().median(dim=0).values
    center = (predicted_xyxy[:, :2] + predicted_xyxy[:, 2:]) / 2
    half_wh = predicted_wh * log_size.exp() / 2
    corrected = cat([center - half_wh, center + half_wh], dim=1)
    return log_size, iou(true_xyxy, corrected).mean().logit() - overlap.mean().logit()
