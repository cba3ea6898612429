"""Every number of a training run; `settings.py` prints and changes them.

`LoopRecipe` holds what every run has, each further class what one kind of run adds, so that no
recipe has a number that means nothing for it. Recipes with names are in `paper_recipes.py`.
"""

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal

from tubedet.errors import UsageError

Anchors = Literal["clusters", "voc-2016", "ucf101-24"]
Loss = Literal["giou", "yolo2-pytorch"]
OptimizerName = Literal["adamw", "adam", "sgd"]
Sampling = Literal["class", "sequence"]
Start = Literal["any", "voc", "kinetics"]
Task = Literal["detection", "recognition", "flow"]
TrainingPrecision = Literal["auto", "bf16", "fp32"]

SHARES = (
    *("ema_decay", "dropout", "label_smoothing", "teacher_share"),
    *("min_side", "min_visible", "background_chance", "flip_chance", "grey_chance"),
    *("widen_chance", "blank_chance", "max_blank", "drift_chance"),
)
ABOVE_ZERO = (
    *("input_size", "steps", "batch_size", "accumulation", "save_every", "width"),
    *("judged", "grad_steps"),
)
FROM_ONE = ("max_scale", "max_aspect", "saturation", "exposure", "max_widening")


@dataclass(frozen=True, kw_only=True)
class LoopRecipe:
    """What the training loop is told, whatever is learned.

    The learning rate warms up, stays, and falls along a cosine in the last `cooldown_steps`, so
    that a run can be prolonged (`--resume --set steps=N`) without having been planned that long.

    Attributes:
        steps: optimiser steps in all.
        batch_size: samples a step, of all processes together.
        accumulation: parts that a process computes its share of a batch in, one after another, to
            save memory.
        precision: of convolutions: `bf16` where that is safe (autocast), `fp32`, or `auto`: bf16
            on a device that multiplies it itself. Weights and loss are float32.
        optimizer: `adamw`, `adam` or `sgd`.
        momentum: of `sgd`.
        weight_decay: of weights with more than one dimension.
        warmup_steps: length of the rise of the rates.
        cooldown_steps: length of their fall.
        max_gradient_norm: larger gradients are scaled down to it; none: never.
        ema_decay: of the averaged weights that are evaluated and kept; 0: no average.
        evaluate_every: steps between two validations; 0: never.
        patience: validations without a better one after which the run ends; 0: it goes on to its
            steps.
        save_every: steps between two saved states.
        keep: checkpoints of the last validations or saves that stay beside the best; 0: none.
        seed: of sampling, initialisation and dropout.
        name: of the recipe that all this was before anything was set.

    Raises:
        UsageError: if a number is out of its range.
    """

    task: ClassVar[Task]
    keeps_latest: ClassVar[bool] = False  # as best.safetensors, whatever validations say

    steps: int = 20_000
    batch_size: int = 16
    accumulation: int = 1
    precision: TrainingPrecision = "auto"
    optimizer: OptimizerName = "adamw"
    momentum: float = 0.9
    weight_decay: float = 0.05
    warmup_steps: int = 300
    cooldown_steps: int = 4_000
    max_gradient_norm: float | None = 10.0
    ema_decay: float = 0.998
    evaluate_every: int = 1_500
    patience: int = 0
    save_every: int = 250
    keep: int = 0
    seed: int = 0
    name: str

    def __post_init__(self) -> None:
        """Refuse what could only fail, or silently do nothing, hours later."""
        self._require("seed", 0 <= self.seed < 2**32, "a number from 0 to 2^32 - 1")
        ranges = (
            (SHARES, 0, 1, "a number from 0 to 1"),
            (FROM_ONE, 1, math.inf, "a number from 1"),
        )
        for names, least, most, expected in ranges:
            for name in names:
                value = getattr(self, name, None)
                self._require(name, value is None or least <= value <= most, expected)
        for name in (*ABOVE_ZERO, "max_gradient_norm"):
            value = getattr(self, name, None)
            self._require(name, value is None or value > 0, "a number above 0")
        even = self.batch_size % self.accumulation == 0
        self._require("accumulation", even, f"a divisor of batch_size={self.batch_size}")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float):
                self._require(field.name, 0 <= value < math.inf, "a number from 0")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise UsageError(f"{name}={getattr(self, name)}: expected {expected}")

    def rate_factor(self, step: int) -> float:
        """Share of the full learning rate at a step, from 0: up, level, half a cosine down."""
        rise = min(1.0, (step + 1) / max(1, self.warmup_steps))
        remaining = (self.steps - step) / max(1, self.cooldown_steps)
        return rise * (1.0 if remaining >= 1 else 0.5 - 0.5 * math.cos(math.pi * remaining))

    def phases(self) -> tuple[range, ...]:
        """All steps, parted where from one to the next other parameters are trained."""
        return (range(self.steps),)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with the task."""
        return {"task": self.task, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class FlowRecipe(LoopRecipe):
    """How the flow network of `light` learns optical flow by itself.

    Attributes:
        width: of the network, a share of FlowNet2-SD's.
        sizes: sides of the square samples in px, multiples of 64; one is drawn for each batch.
        learning_rate: the optimiser's, at its plateau.
        teacher_share: share of samples that are real pairs under DIS's flow; the rest is made.
        evaluation_samples: procedural pairs that the averaged weights are measured on.
    """

    task = "flow"

    width: float = 0.25
    sizes: tuple[int, ...] = (128, 192, 256)
    steps: int = 14_000
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    cooldown_steps: int = 5_000
    max_gradient_norm: float | None = 1.0
    teacher_share: float = 0.3
    evaluate_every: int = 500
    evaluation_samples: int = 24
    name: str = "flow"


@dataclass(frozen=True, kw_only=True)
class Recipe(LoopRecipe):
    """How a two-stream network is trained.

    Attributes:
        preset: the network, see `models/presets.py`.
        input_size: side of the network's square input, px.
        start: what the streams have to come from: `any`, `voc` (imported), `kinetics`
            (kinetics-pretraining).
        rgb_rate: the optimiser's learning rate of the RGB stream.
        motion_rate: the same for the motion stream.
        head_rate: of everything that starts from scratch.
        flow_rate: of the flow network; 0 freezes it. Weak, as paper §IV-C has it (1e-7 there).
        frozen_batch_norm: keep the statistics of all batch norms as they start.
        max_scale: the frame is enlarged up to so many times, and a random window of its former
            size cut out (yolo2-pytorch's 1.1).
        flip_chance: probability of a horizontal flip.
        hue: largest shift of the hue, in turns (Darknet's 0.1).
        saturation: largest factor of the saturation, or its inverse (Darknet's 1.5).
        exposure: the same for the brightness (Darknet's 1.5).
    """

    presets: ClassVar[tuple[str, ...]] = ("flownet2", "flownet2-css", "flownet2-sd", "brox")

    preset: str
    input_size: int
    start: Start = "any"
    rgb_rate: float = 1e-4
    motion_rate: float = 1e-3
    head_rate: float = 1.5e-3
    flow_rate: float = 0.0
    frozen_batch_norm: bool = False
    max_scale: float | None = 1.1
    flip_chance: float = 0.5
    hue: float = 0.1
    saturation: float = 1.5
    exposure: float = 1.5

    def __post_init__(self) -> None:
        """Refuse a network that the recipe is not for, too."""
        super().__post_init__()
        self._require("preset", self.preset in self.presets, f"one of {', '.join(self.presets)}")


@dataclass(frozen=True, kw_only=True)
class DetectionRecipe(Recipe):
    """How a detector is trained: boxes and actions of annotated clips.

    Attributes:
        preset: the network: `flownet2`, `flownet2-css`, `flownet2-sd` or `brox`.
        sampling: `class`: a random class, then one of its sources, then one of the clips cut from
            it; `sequence`: every clip once an epoch.
        anchors: `clusters` of the training boxes, or fixed ones: `voc-2016`, `ucf101-24`.
        loss: `giou` with cross-entropies, or `yolo2-pytorch`'s squares.
        label_smoothing: of the class target of `giou`.
        background_chance: share of samples that show no actor.
    """

    task = "detection"

    preset: str = "flownet2-sd"
    input_size: int = 320
    sampling: Sampling = "class"
    anchors: Anchors = "clusters"
    loss: Loss = "giou"
    label_smoothing: float = 0.1
    background_chance: float = 0.08
    name: str = "two-stream"


@dataclass(frozen=True, kw_only=True)
class LightRecipe(DetectionRecipe):
    """How `light` is trained: on windows of video, with the video backbone frozen, then tuned.

    Attributes:
        preset: the network: `light`.
        patience: without effect: the last weights count.
        batch_size: windows a step, of all processes together.
        flow_size: side of the square that flow is estimated on.
        tune_steps: the last steps, in which the video backbone and the flow network learn too.
        rgb_rate: the video backbone's learning rate, relative to the root mean square of each of
            its tensors; 0 freezes it throughout.
        flow_rate: of the flow network; 0 freezes it throughout.
        motion_rate: without effect: the motion stream starts from scratch, at `head_rate`.
        loss: `giou` with cross-entropies.
        judged: frames of a window that are judged.
        grad_steps: last steps of a window that have a gradient and that judged frames lie among.
        label_weight: of the actions' cross-entropy; the layers that name them are fitted at the
            end.
        hold_weight: of what the tuned backbone's context may differ by from that of the start.
        dropout: on the fused activations.
        max_scale: none: crops have the sides that follow.
        min_side: shortest side of a random crop, as a share of the frame's.
        max_aspect: largest factor by which a crop changes the aspect ratio.
        min_visible: share of every actor's box that a crop keeps.
        grey_chance: probability that a sample loses its colour.
        widen_chance: probability of a window larger than the frame in place of a crop.
        max_widening: its largest side, as a multiple of the frame's.
        mosaic_chance: probability of four windows as one.
        blank_chance: probability of a blanked rectangle.
        max_blank: its largest side, as a share of the input's.
        drift_chance: probability that the camera pans and zooms from frame to frame.
        drift: standard deviation of that movement, as a share of the window's sides.
    """

    presets = ("light",)
    keeps_latest = True  # validations on the way judge names that are fitted anew at the end

    preset: str = "light"
    input_size: int = 256
    steps: int = 2_250
    batch_size: int = 12
    warmup_steps: int = 100
    cooldown_steps: int = 1_100
    evaluate_every: int = 450
    flow_size: int = 192
    tune_steps: int = 600
    head_rate: float = 1.5e-3
    rgb_rate: float = 3e-3
    flow_rate: float = 2.5e-5
    judged: int = 2
    grad_steps: int = 4
    label_weight: float = 0.5
    hold_weight: float = 3.0
    dropout: float = 0.3
    background_chance: float = 0.25
    max_scale: float | None = None
    min_side: float = 0.45
    max_aspect: float = 1.5
    min_visible: float = 0.7
    grey_chance: float = 0.2
    widen_chance: float = 0.35
    max_widening: float = 2.4
    mosaic_chance: float = 0.25
    blank_chance: float = 0.2
    max_blank: float = 0.4
    drift_chance: float = 0.5
    drift: float = 0.003
    name: str = "light"

    def __post_init__(self) -> None:
        """Refuse a loss that the network has no predictions for, too."""
        super().__post_init__()
        self._require("loss", self.loss == "giou", "giou")

    def phases(self) -> tuple[range, ...]:
        """Before the video backbone and the flow network are tuned, and while they are."""
        border = max(0, self.steps - self.tune_steps)
        return (range(border), range(border, self.steps))
