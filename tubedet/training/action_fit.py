"""What names actions, once more: logistic regression on what the trained streams see.

A detector learns boxes and actions from frames that are cropped, recoloured and partly blanked.
That is how boxes are learned, but the whole scenes that it will see look different. So the general
context and the histograms of flow, which training leaves as they are, are read anew, by a linear
classifier of whole frames and of their mirror images: convex, without a rate or a seed. What the
tuned tail of the backbone says is added as it is: that tail knows the training frames by heart, so
no fit on them can judge it.

On the same frames boxes turn out a little too wide, and better than their overlap says. Both are
set right by one number for all boxes, which no training frame can be remembered by.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, cat, nn

from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset
from tubedet.datasets.augmentation import View
from tubedet.datasets.batching import collate, make_sample
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.frame_pair_sampling import pair_at
from tubedet.datasets.ignore_regions import IgnoreRegions
from tubedet.errors import UsageError
from tubedet.models.presets import DetectorConfig
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.models.yolov2.box_decoding import decode_boxes
from tubedet.models.yolov2.efficientnet_lite import EfficientNetLiteStream
from tubedet.runtime.torch import DTYPES, pick_device, pick_precision
from tubedet.training.anchor_matching import generalised_iou
from tubedet.training.detection_loss import samples_of
from tubedet.training.logistic_regression import fit_logistic_regression

EVERY = 8  # frames of a clip look alike
HIT_IOU = 0.3


class Seen(NamedTuple):
    """Annotated boxes of whole frames, and what the detector makes of each.

    `contexts` (N, K) at their centres, `classes` (N,) and `sources` (N,), which footage each is
    from; of M frames with a single box, that box and the found one of the greatest overlap,
    `true_xyxy` and `found_xyxy` (M, 4) in fractions of the frame, with its predicted `overlap`
    (M,).
    """

    contexts: Tensor
    classes: Tensor
    sources: Tensor
    true_xyxy: Tensor
    found_xyxy: Tensor
    overlap: Tensor


class ActionFit:
    """Refits a detector's action layer, and sets its boxes right, in place.

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
        self._network = network.eval().to(self._device)
        self._config, self._data, self._frames = config, data, frames
        groups = dict.fromkeys(clip.group for clip in data.clips)
        self._number_of_source = {group: number for number, group in enumerate(groups)}

    def run(self) -> Iterator[str]:
        """Look at every clip, yielding its name; after the last one the layer is fitted."""
        of_clips: list[Seen] = []
        for clip in self._data.clips:
            both = (self._look_at(clip, flip=flip) for flip in (False, True))
            of_clips += [seen for seen in both if seen is not None]
            yield clip.video
        seen = Seen(*map(cat, zip(*of_clips, strict=True)))
        self._install(*fit_logistic_regression(seen.contexts, seen.classes, seen.sources))
        self._correct(*box_corrections(seen.true_xyxy, seen.found_xyxy, seen.overlap))
        self._network.cpu()

    @torch.inference_mode()
    def _look_at(self, clip: AnnotatedClip, *, flip: bool) -> Seen | None:
        """Some frames of a clip, or of its mirror image; None if none of them is annotated."""
        view = View((0, 0, clip.width, clip.height), flip)
        samples = [
            make_sample(
                pair_at(clip, frame),
                view,
                self._config.input_size,
                self._frames,
                IgnoreRegions({}),
            )
            for frame in range(0, clip.frames, EVERY)
            if clip.boxes_by_frame[frame]
        ]
        if not samples:
            return None
        batch = collate(samples)
        precision = DTYPES[pick_precision("auto", self._device)]
        with torch.autocast(self._device.type, precision, enabled=precision != torch.float32):
            seen = self._network.with_contexts(batch.clip.float().to(self._device))
        raw, contexts = (of_cells.float().cpu() for of_cells in seen)
        height, width = contexts.shape[-2:]
        x1, y1, x2, y2 = cat(batch.boxes_xyxy).unbind(dim=1)
        column = ((x1 + x2) / 2 * width).long().clamp(max=width - 1)
        row = ((y1 + y2) / 2 * height).long().clamp(max=height - 1)
        frame = samples_of(batch.boxes_xyxy)
        fitted = contexts[:, self._stream.tuned_channels :]
        anchors_wh = torch.tensor(self._config.anchors_wh)
        found = decode_boxes(raw, anchors_wh, len(self._config.class_names))
        best = found.overlap.argmax(dim=1)
        single = [i for i, boxes in enumerate(batch.boxes_xyxy) if len(boxes) == 1]
        return Seen(
            fitted[frame, :, row, column],
            cat(batch.class_indices),
            torch.full_like(frame, self._number_of_source[clip.group]),
            cat([batch.boxes_xyxy[i] for i in single] or [torch.empty(0, 4)]),
            found.boxes_xyxy[single, best[single]].clamp(0, 1),
            found.overlap[single, best[single]],
        )

    @torch.no_grad()
    def _install(self, weight: Tensor, bias: Tensor) -> None:
        action = self._network.fusion.action
        assert isinstance(action, nn.Conv2d)
        assert action.bias is not None
        tuned = self._stream.tuned_channels
        action.weight[:, tuned:] = weight[..., None, None].to(action.weight)
        action.bias.copy_(bias)

    @torch.no_grad()
    def _correct(self, log_size: Tensor, overlap_logit: Tensor) -> None:
        bias = self._network.fusion.conv.bias
        assert bias is not None
        of_an_anchor = bias.view(len(self._config.anchors_wh), -1)
        of_an_anchor[:, 2:4] += log_size.to(bias)
        of_an_anchor[:, 4] += overlap_logit.to(bias)


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
