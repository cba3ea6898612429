"""What names actions, once more: logistic regression on what the trained streams see.

A detector learns boxes and actions from frames that are cropped, recoloured and partly blanked.
That is how boxes are learned, but the whole scenes that it will see look different. So the general
context and the histograms of flow, which training leaves as they are, are read anew, by a linear
classifier of whole frames and of their mirror images: convex, without a rate or a seed. Here the
time around a pair gets its say, too, which training on pairs cannot give it. What the tuned tail of
the backbone says is added as it is: that tail knows the training frames by heart, so no fit on them
can judge it.

On the same frames boxes turn out a little too wide, and better than their overlap says. Both are
set right by one number for all boxes, which no training frame can be remembered by.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, cat, nn, stack

from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset
from tubedet.datasets.augmentation import View
from tubedet.datasets.batching import TrainingBatch, collate, make_sample
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.frame_pair_sampling import pair_at
from tubedet.datasets.ignore_regions import IgnoreRegions
from tubedet.errors import UsageError
from tubedet.models.flow_histograms import FlowHistogramStream, cell_energies
from tubedet.models.motion_over_time import REACH, MotionOverTime, volume_histograms
from tubedet.models.presets import DetectorConfig
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.models.yolov2.box_decoding import decode_boxes
from tubedet.models.yolov2.efficientnet_lite import EfficientNetLiteStream
from tubedet.runtime.torch import autocast, pick_device, pick_precision
from tubedet.training.anchor_matching import generalised_iou
from tubedet.training.detection_loss import samples_of
from tubedet.training.logistic_regression import fit_logistic_regression

EVERY = 8  # frames of a clip look alike
# Of these frames, so many are seen a second time with nothing around: strides and single pictures
# leave a pair alone. In cross-validation that costs half a point, and saves them four.
ALONE_EVERY = 4
FLOW_BATCH = 8
HIT_IOU = 0.3


class Seen(NamedTuple):
    """Annotated boxes of whole frames, and what the detector makes of each.

    `contexts` (N, K) at their centres, of the pair and of the time around it, `classes` (N,) and
    `sources` (N,), which footage each is from; of M frames with a single box, that box and the
    found one of the greatest overlap, `true_xyxy` and `found_xyxy` (M, 4) in fractions of the
    frame, with its predicted `overlap` (M,).
    """

    contexts: Tensor
    classes: Tensor
    sources: Tensor
    true_xyxy: Tensor
    found_xyxy: Tensor
    overlap: Tensor


class ActionFit:
    """Refits a detector's action layers, and sets its boxes right, in place.

    `config` is then that of the network as it is: with flow histograms, the time around a pair has
    a say.

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
        if not isinstance(network.rgb_stream, EfficientNetLiteStream):
            raise UsageError(
                f"preset {config.preset}, streams {config.streams}: no general context of an RGB "
                "stream to read actions from"
            )
        if config.class_names != data.class_names:
            raise UsageError(f"the weights have other classes than {data.name}")
        data.require_every_class()
        self._stream = network.rgb_stream
        self._device = pick_device(device)
        self._precision = pick_precision("auto", self._device)
        self._network = network.eval().to(self._device)
        self._reach = REACH if isinstance(network.motion_stream, FlowHistogramStream) else 0
        self.config, self._data, self._frames = config, data, frames
        groups = dict.fromkeys(clip.group for clip in data.clips)
        self._number_of_source = {group: number for number, group in enumerate(groups)}

    def run(self) -> Iterator[str]:
        """Look at every clip, yielding its name; after the last one the layer is fitted."""
        of_clips: list[Seen] = []
        for clip in self._data.clips:
            of_clips += self._look_at(clip)
            yield clip.video
        seen = Seen(*map(cat, zip(*of_clips, strict=True)))
        self._install(*fit_logistic_regression(seen.contexts, seen.classes, seen.sources))
        self._correct(*box_corrections(seen.true_xyxy, seen.found_xyxy, seen.overlap))
        self._network.cpu()

    def _look_at(self, clip: AnnotatedClip) -> list[Seen]:
        """Some frames of a clip and of its mirror image; nothing if none of them is annotated."""
        frames = [t for t in range(0, clip.frames, EVERY) if clip.boxes_by_frame[t]]
        if not frames:
            return []
        flow_uv = self._flow_of(clip) if self._reach else None
        return [self._look_at_view(clip, frames, flow_uv, flip=flip) for flip in (False, True)]

    @torch.inference_mode()
    def _flow_of(self, clip: AnnotatedClip) -> Tensor:
        """Flow (T, 2, S, S) of the pair of every frame."""
        assert self._network.flow is not None
        parts = []
        for first in range(0, clip.frames, FLOW_BATCH):
            numbers = range(first, min(first + FLOW_BATCH, clip.frames))
            pairs = self._samples(clip, numbers, flip=False).clip
            with autocast(self._device, self._precision):
                parts.append(self._network.flow(pairs.float().to(self._device)).float().cpu())
        return cat(parts)

    @torch.inference_mode()
    def _look_at_view(
        self, clip: AnnotatedClip, frames: Sequence[int], flow_uv: Tensor | None, *, flip: bool
    ) -> Seen:
        batch = self._samples(clip, frames, flip=flip)
        with autocast(self._device, self._precision):
            seen = self._network.with_contexts(batch.clip.float().to(self._device))
        raw, contexts = (of_cells.float().cpu() for of_cells in seen)
        height, width = contexts.shape[-2:]
        x1, y1, x2, y2 = cat(batch.boxes_xyxy).unbind(dim=1)
        column = ((x1 + x2) / 2 * width).long().clamp(max=width - 1)
        row = ((y1 + y2) / 2 * height).long().clamp(max=height - 1)
        frame = samples_of(batch.boxes_xyxy)
        fitted = contexts[:, self._stream.tuned_channels :]
        at_boxes = fitted[frame, :, row, column]
        classes = cat(batch.class_indices)
        if flow_uv is not None:
            energies = cell_energies(_mirrored(flow_uv) if flip else flow_uv)
            around, alone = self._volumes(energies, frames)
            again = frame % ALONE_EVERY == 0
            at_boxes = cat(
                [
                    cat([at_boxes, around[frame, :, row, column]], dim=1),
                    cat([at_boxes, alone[frame, :, row, column]], dim=1)[again],
                ]
            )
            classes = cat([classes, classes[again]])
        anchors_wh = torch.tensor(self.config.anchors_wh)
        found = decode_boxes(raw, anchors_wh, len(self.config.class_names))
        best = found.overlap.argmax(dim=1)
        single = [i for i, boxes in enumerate(batch.boxes_xyxy) if len(boxes) == 1]
        return Seen(
            at_boxes,
            classes,
            torch.full_like(classes, self._number_of_source[clip.group]),
            cat([batch.boxes_xyxy[i] for i in single] or [torch.empty(0, 4)]),
            found.boxes_xyxy[single, best[single]].clamp(0, 1),
            found.overlap[single, best[single]],
        )

    def _samples(self, clip: AnnotatedClip, frames: Sequence[int], *, flip: bool) -> TrainingBatch:
        """The pairs of whole frames, as the network sees them."""
        view = View((0, 0, clip.width, clip.height), flip)
        size = self.config.input_size
        pairs = (pair_at(clip, frame) for frame in frames)
        return collate(
            [make_sample(pair, view, size, self._frames, IgnoreRegions({})) for pair in pairs]
        )

    def _volumes(self, energies: Tensor, frames: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Histograms of the time around some frames, and of each frame alone, (B, 1404, h, w)."""
        around = [energies[max(0, t - self._reach) : t + self._reach + 1] for t in frames]
        alone = [energies[t : t + 1] for t in frames]
        return stack([*map(volume_histograms, around)]), stack([*map(volume_histograms, alone)])

    @torch.no_grad()
    def _install(self, weight: Tensor, bias: Tensor) -> None:
        action = self._network.fusion.action
        assert isinstance(action, nn.Conv2d)
        assert action.bias is not None
        tuned = self._stream.tuned_channels
        of_pair = action.weight.shape[1] - tuned
        action.weight[:, tuned:] = weight[:, :of_pair, None, None].to(action.weight)
        action.bias.copy_(bias)
        self.config = replace(self.config, motion_reach=self._reach)
        self._network.over_time = None
        if self._reach:
            over_time = MotionOverTime(num_classes=len(weight), reach=self._reach)
            over_time.action.weight.copy_(weight[:, of_pair:, None, None])
            self._network.over_time = over_time

    @torch.no_grad()
    def _correct(self, log_size: Tensor, overlap_logit: Tensor) -> None:
        bias = self._network.fusion.conv.bias
        assert bias is not None
        of_an_anchor = bias.view(len(self.config.anchors_wh), -1)
        of_an_anchor[:, 2:4] += log_size.to(bias)
        of_an_anchor[:, 4] += overlap_logit.to(bias)


def _mirrored(flow_uv: Tensor) -> Tensor:
    """The flow of the mirror image."""
    return stack([-flow_uv[:, 0], flow_uv[:, 1]], dim=1).flip(3)


def box_corrections(
    true_xyxy: Tensor, found_xyxy: Tensor, overlap: Tensor
) -> tuple[Tensor, Tensor]:
    """What to add to the logarithms of width and height (2,), and to the overlap's logit ().

    Half the boxes are then too wide, half too narrow, the same with their heights, and the overlap
    says on average what it is. Boxes that miss the true one by far have no say.

    Args:
        true_xyxy: (M, 4); of no box at all, nothing is corrected.
        found_xyxy: (M, 4).
        overlap: (M,) predicted IoU in (0, 1).
    """
    _, iou = generalised_iou(true_xyxy, found_xyxy)
    hit = iou > HIT_IOU
    true_xyxy, found_xyxy, overlap = true_xyxy[hit], found_xyxy[hit], overlap[hit]
    if not len(overlap):
        return torch.zeros(2), torch.zeros(())
    true_wh, found_wh = (boxes[:, 2:] - boxes[:, :2] for boxes in (true_xyxy, found_xyxy))
    log_size = (true_wh / found_wh).log().median(dim=0).values
    centre = (found_xyxy[:, :2] + found_xyxy[:, 2:]) / 2
    half_wh = found_wh * log_size.exp() / 2
    corrected = cat([centre - half_wh, centre + half_wh], dim=1)
    _, reached = generalised_iou(true_xyxy, corrected)
    return log_size, reached.mean().logit() - overlap.mean().logit()
