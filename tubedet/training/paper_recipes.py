"""The recipes that have names: the eight rows of the paper's Table II, their pre-training, ours.

Behind every number stands its section of El-Nouby and Taylor 2018, or what it is taken from where
the paper is silent. "Tuned" flow learns at 1e-7, other flow is frozen; `+voc` and `+kinetics`
differ in what the streams start from.
"""

from dataclasses import dataclass

from tubedet.errors import UsageError
from tubedet.training.recipes import (
    Anchors,
    DetectionRecipe,
    LightRecipe,
    Loss,
    OptimizerName,
    Recipe,
    Sampling,
    Start,
    TrainingPrecision,
)

TUNED = 1e-7  # §IV-C: "for fine-tuning all the Flownet2 architectures"
UCF101_24_CLIPS = 2_284  # of the corrected split 1's training part
KINETICS_400_CLIPS = 240_000  # about: those still on YouTube differ from year to year


@dataclass(frozen=True, kw_only=True)
class PaperRecipe(Recipe):
    """What the paper's §IV-C has of both its data sets.

    Attributes:
        input_size: side of the network's square input, px (§IV-C).
        batch_size: pairs a step, of all processes together (§IV-C).
        precision: of convolutions: `bf16` (autocast) or `fp32` (not stated; PyTorch's of 2017).
        rgb_rate: learning rate of the RGB stream (§IV-C).
        motion_rate: of the motion stream (§IV-C).
        head_rate: of the fused 1x1 convolution (§IV-C).
        flow_rate: of the flow network where it is tuned (§IV-C); 0 freezes it.
        weight_decay: of weights with more than one dimension (not stated).
        warmup_steps: length of the rise of the rates (not stated: none).
        cooldown_steps: length of their fall (not stated: none).
        max_gradient_norm: larger gradients are scaled down to it (not stated); none: never.
        ema_decay: of averaged weights (not stated: none).
        max_scale: the frame is enlarged up to so many times, and a random window of its former
            size cut out (§IV-C: random cropping; not stated, yolo2-pytorch's).
        flip_chance: probability of a horizontal flip (§IV-C; not stated, yolo2-pytorch's).
        hue: largest shift of the hue, in turns (§IV-C: HSV distortion; not stated, Darknet's).
        saturation: largest factor of the saturation, or its inverse (as `hue`).
        exposure: the same for the brightness (as `hue`).
    """

    input_size: int = 320
    batch_size: int = 32
    precision: TrainingPrecision = "fp32"
    rgb_rate: float = 5e-5
    motion_rate: float = 5e-5
    head_rate: float = 5e-5
    weight_decay: float = 0.0
    warmup_steps: int = 0
    cooldown_steps: int = 0
    max_gradient_norm: float | None = None
    ema_decay: float = 0.0


@dataclass(frozen=True, kw_only=True)
class UcfRecipe(PaperRecipe, DetectionRecipe):
    """Training on UCF101-24 as the paper's §IV-C has it.

    Attributes:
        steps: optimiser steps in all (not stated; 160 epochs of UCF101-24, as yolo2-pytorch).
        sampling: `sequence`: two consecutive frames at random of every clip, once an epoch
            (§IV-C), or `class`.
        anchors: `voc-2016` (not stated; yolo2-pytorch's), `ucf101-24` (k-means on its boxes, which
            fit much better), or `clusters` of the training boxes.
        loss: `yolo2-pytorch`'s (not stated; §III builds on YOLOv2), or `giou`.
        optimizer: `adam` (§IV-C), `adamw` or `sgd`.
        label_smoothing: not the paper's.
        background_chance: share of samples that show no actor (§IV-A: trimmed videos).
        evaluate_every: steps between two validations; UCF101-24 has no such part, so 0.
    """

    steps: int = 160 * UCF101_24_CLIPS // 32
    sampling: Sampling = "sequence"
    anchors: Anchors = "voc-2016"
    loss: Loss = "yolo2-pytorch"
    optimizer: OptimizerName = "adam"
    label_smoothing: float = 0.0
    background_chance: float = 0.0
    evaluate_every: int = 0


@dataclass(frozen=True, kw_only=True)
class KineticsRecipe(PaperRecipe):
    """Pre-training on Kinetics as the paper's §III-C and §IV-C have it.

    The class scores of the fused map are averaged over its cells, and their cross-entropy with the
    clip's action is minimised (not stated; the plainest reading).

    Attributes:
        preset: the network: flow from FlowNet2 (§IV-C).
        start: what the streams have to come from: `voc` (§III-C, §IV-C).
        steps: optimiser steps in all (not stated; ten epochs of Kinetics-400).
        batch_size: pairs a step, of all processes together (not stated; as on UCF101-24).
        optimizer: `sgd` (§IV-C), `adam` or `adamw`.
        momentum: of `sgd` (not stated; yolo2-pytorch's).
        rgb_rate: learning rate of the RGB stream, weak, to keep what helps to localise (§III-C,
            §IV-C).
        flow_rate: of the flow network (§IV-C does not tune it here); 0 freezes it.
        weight_decay: of weights with more than one dimension (not stated; yolo2-pytorch's).
        evaluate_every: steps between two validations on those clips of the lists; 0: never.
    """

    task = "recognition"

    preset: str = "flownet2"
    start: Start = "voc"
    steps: int = 10 * KINETICS_400_CLIPS // 32
    optimizer: OptimizerName = "sgd"
    rgb_rate: float = 8e-4
    motion_rate: float = 8e-4
    head_rate: float = 8e-4
    weight_decay: float = 5e-4
    evaluate_every: int = 0
    name: str = "kinetics-pretraining"


def _row(flow: str, preset: str, start: Start, flow_rate: float = 0.0) -> UcfRecipe:
    """One row of Table II."""
    return UcfRecipe(preset=preset, start=start, flow_rate=flow_rate, name=f"{flow}+{start}")


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        LightRecipe(),
        DetectionRecipe(),
        _row("brox", "brox", "voc"),
        _row("brox", "brox", "kinetics"),
        _row("flownet2", "flownet2", "voc"),
        _row("flownet2", "flownet2", "kinetics"),
        _row("tuned-flownet2", "flownet2", "voc", TUNED),
        _row("tuned-flownet2", "flownet2", "kinetics", TUNED),
        _row("tuned-flownet2-css", "flownet2-css", "kinetics", TUNED),
        _row("tuned-flownet2-sd", "flownet2-sd", "kinetics", TUNED),
        KineticsRecipe(),
    )
}


def named_recipe(name: str) -> Recipe:
    """One of `RECIPES`; UsageError if there is none of that name."""
    if name not in RECIPES:
        raise UsageError(f"recipe {name!r}: expected one of {', '.join(RECIPES)}")
    return RECIPES[name]
