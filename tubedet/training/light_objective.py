"""What `light` learns from windows of video: boxes, overlap, actions, and not to forget.

The backbone sees whole windows, but has a gradient in their last steps alone: memory, and two
thirds of the time, are saved, and its buffers are nothing that steps long past could better.

A few hundred clips are learned by heart long before a backbone of millions of other videos sees
them better. So, once tuned, it is held to what it said of each frame at the start.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, cat

from tubedet.datasets.batching import NO_CLASS
from tubedet.datasets.step_windows import WindowBatch
from tubedet.models.light.detector import LightDetector, joined_predictions
from tubedet.models.light.video_backbone import BackboneMaps, VideoBackbone
from tubedet.models.light.video_stream import context
from tubedet.models.presets import LightConfig
from tubedet.runtime.torch import autocast, pick_training_precision
from tubedet.training.detection_loss import detection_loss
from tubedet.training.recipes import LightRecipe

LEAST_SPREAD = 0.02  # of a channel's context: one that hardly varies isn't held for that


class LightPrediction(NamedTuple):
    """Of B windows with J judged frames: `raw` (B·J, A*(5+C), h, w), see `decode_boxes`.

    `strayed` (), the mean squared difference of the context from that of the start, in spreads.
    """

    raw: Tensor
    strayed: Tensor


class LightObjective:
    """Implements `Objective` for `light`.

    Args:
        config: of the network.
        recipe: weights of the terms.
        backbone: as the run starts with it; a copy is kept.
        windows: makes the steps (W, 3, S, S) of windows that spreads are measured on, when needed.

    Attributes:
        start: that copy; never trained.
    """

    def __init__(
        self,
        config: LightConfig,
        recipe: LightRecipe,
        backbone: VideoBackbone,
        windows: Callable[[], Iterable[Tensor]],
    ) -> None:
        self.recipe = recipe
        self.num_classes = len(config.class_names)
        self.anchors_wh = torch.tensor(config.anchors_wh)
        self.start = deepcopy(backbone).eval().requires_grad_(False)
        self._windows = windows
        self._spread: Tensor | None = None

    def count(self, batch: WindowBatch) -> int:
        """True boxes."""
        return int((batch.class_indices != NO_CLASS).sum())

    def predict(self, network: LightDetector, batch: WindowBatch) -> LightPrediction:
        """Boxes of the judged frames, and actions by the mean context of their window."""
        stream, steps = network.rgb_stream, batch.steps / 255.0
        earlier = max(0, steps.shape[1] - self.recipe.grad_steps)
        before, maps = _in_two(stream.backbone, steps, earlier)
        contexts = context(maps.wide)
        strayed = contexts.new_zeros(())
        if next(stream.backbone.parameters()).requires_grad:
            with torch.no_grad():
                held = context(_in_two(self.start, steps, earlier)[1].wide)
                spread = self.spread(steps.device)
            strayed = ((contexts - held) / spread).square().mean()
        windows = contexts if before is None else cat([context(before.wide), contexts], dim=1)
        actions = network.context_window.appearance(windows.mean(dim=1))
        last = stream.joined(_chosen(maps, batch.step_of_judged - earlier)).flatten(0, 1)
        pairs = batch.clip.flatten(0, 1).float()
        motion = network.motion(pairs, batch.seconds.flatten())
        boxes = network.fusion(last, motion.last)
        of_judged = actions.repeat_interleave(batch.clip.shape[1], dim=0)
        return LightPrediction(joined_predictions(boxes, of_judged), strayed)

    def losses(
        self, predicted: LightPrediction, batch: WindowBatch, count: int
    ) -> dict[str, Tensor]:
        """Terms `box`, `overlap`, `label` and `hold`, weighted; `hold` is 0 until all is tuned."""
        found = detection_loss(
            predicted.raw.float(),
            batch.judged(),
            self.anchors_wh.to(predicted.raw.device),
            self.num_classes,
            self.recipe.label_smoothing,
            num_boxes=count,
        )
        share = len(batch.steps) / self.recipe.batch_size
        terms = {
            "box": found.box,
            "overlap": found.overlap,
            "label": found.label * self.recipe.label_weight,
            "hold": predicted.strayed * self.recipe.hold_weight * share,
        }
        return {"total": torch.stack([*terms.values()]).sum(), **terms}

    def spread(self, device: torch.device) -> Tensor:
        """Standard deviation (960, 1, 1) of each channel of the start's context, measured once."""
        if self._spread is None:
            precision = pick_training_precision(self.recipe.precision, device)
            with torch.no_grad(), autocast(device, precision):
                wide = [
                    self.start(steps[None].to(device) / 255.0)[0].wide for steps in self._windows()
                ]
            contexts = cat([context(each)[0] for each in wide])
            self._spread = contexts.std(dim=(0, 2, 3)).clamp(min=LEAST_SPREAD)[:, None, None]
        return self._spread


def _in_two(
    backbone: VideoBackbone, steps: Tensor, earlier: int
) -> tuple[BackboneMaps | None, BackboneMaps]:
    """Maps of so many steps without a gradient, None if there are none, and of those after them."""
    before = state = None
    if earlier:
        with torch.no_grad():
            before, state = backbone(steps[:, :earlier])
        torch.clear_autocast_cache()  # PyTorch before 2.9 would go on with kernels cast in here
    return before, backbone(steps[:, earlier:], state)[0]


def _chosen(maps: BackboneMaps, numbers: Tensor) -> BackboneMaps:
    """Of (B, T) steps those with the numbers (B, J)."""
    rows = torch.arange(len(numbers), device=numbers.device)[:, None]
    return BackboneMaps(*(each[rows, numbers] for each in maps))
