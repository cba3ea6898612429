"""What names actions, once more: logistic regression on what the trained streams see.

A detector learns boxes and actions from frames that are cropped, recoloured and partly blanked.
That is how boxes are learned, but the whole scenes that it will see look different. So the general
context and the histograms of flow, which training leaves as they are, are read anew, by a linear
classifier of whole frames and of their mirror images: convex, without a rate or a seed. What the
tuned tail of the backbone says is added as it is: that tail knows the training frames by heart, so
no fit on them can judge it.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
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
from tubedet.models.yolov2.efficientnet_lite import EfficientNetLiteStream
from tubedet.runtime.torch import DTYPES, pick_device, pick_precision
from tubedet.training.detection_loss import samples_of

EVERY = 8  # frames of a clip look alike
# Of the squared weights of features of unit variance, beside the mean cross-entropy.
PENALTY = 0.8
LABEL_SMOOTHING = 0.05
ITERATIONS = 60


class ActionFit:
    """Refits a detector's action layer, in place.

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
        self._width = sum(network.fusion.context_channels) - self._stream.tuned_channels
        self._device = pick_device(device)
        self._network = network.eval().to(self._device)
        self._config, self._data, self._frames = config, data, frames

    def run(self) -> Iterator[str]:
        """Look at every clip, yielding its name; after the last one the layer is fitted."""
        seen: list[Tensor] = []
        actions: list[Tensor] = []
        for clip in self._data.clips:
            for flip in (False, True):
                features, classes = self._look_at(clip, flip=flip)
                seen.append(features)
                actions.append(classes)
            yield clip.video
        self._install(*fit_logistic_regression(cat(seen), cat(actions)))
        self._network.cpu()

    @torch.inference_mode()
    def _look_at(self, clip: AnnotatedClip, *, flip: bool) -> tuple[Tensor, Tensor]:
        """Contexts (N, K) at the centres of the boxes of some frames, and their classes (N,)."""
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
            return torch.empty(0, self._width), torch.empty(0, dtype=torch.int64)
        batch = collate(samples)
        precision = DTYPES[pick_precision("auto", self._device)]
        with torch.autocast(self._device.type, precision, enabled=precision != torch.float32):
            contexts = self._network.contexts(batch.clip.float().to(self._device)).float().cpu()
        height, width = contexts.shape[-2:]
        x1, y1, x2, y2 = cat(batch.boxes_xyxy).unbind(dim=1)
        column = ((x1 + x2) / 2 * width).long().clamp(max=width - 1)
        row = ((y1 + y2) / 2 * height).long().clamp(max=height - 1)
        frame = samples_of(batch.boxes_xyxy)
        fitted = contexts[:, self._stream.tuned_channels :]
        return fitted[frame, :, row, column], cat(batch.class_indices)

    @torch.no_grad()
    def _install(self, weight: Tensor, bias: Tensor) -> None:
        action = self._network.fusion.action
        assert isinstance(action, nn.Conv2d)
        assert action.bias is not None
        tuned = self._stream.tuned_channels
        action.weight[:, tuned:] = weight[..., None, None].to(action.weight)
        action.bias.copy_(bias)


def fit_logistic_regression(features: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Multinomial, with a ridge on standardised features, every class as heavy as the others.

    Args:
        features: (N, K) float.
        classes: (N,) int64, each of 0..C-1 at least once.

    Returns:
        Weight (C, K) and bias (C,) of the features as they are.
    """
    mean, scale = features.mean(dim=0), features.std(dim=0) + 1e-3
    standardised = (features - mean) / scale
    counts = torch.bincount(classes).float()
    importance = (len(classes) / len(counts) / counts)[classes]
    weight = torch.zeros(len(counts), features.shape[1], requires_grad=True)
    bias = torch.zeros(len(counts), requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        each = F.cross_entropy(
            standardised @ weight.T + bias,
            classes,
            reduction="none",
            label_smoothing=LABEL_SMOOTHING,
        )
        value = (importance * each).mean() + PENALTY * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    of_the_features = weight.detach() / scale
    return of_the_features, bias.detach() - of_the_features @ mean
