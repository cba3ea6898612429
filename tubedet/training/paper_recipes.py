"""The recipes that have names: the eight rows of the paper's Table II, their pre-training, `light`.

Behind every number stands its section of El-Nouby and Taylor 2018, or what it is taken from where
the paper is silent. "Tuned" flow learns at 1e-7, other flow is frozen; `+voc` and `+kinetics`
differ in what the streams start from.
"""

from dataclasses import dataclass

from tubedet.errors import UsageError
from tubedet.training.recipes import (
    Anchors,
    Augmentation,
    Loss,
    OptimizerName,
    Recipe,
    Sampling,
    Start,
    Task,
    TrainingPrecision,
)

TUNED = 1e-7  # §IV-C: "for fine-tuning all the Flownet2 architectures"
UCF101_24_CLIPS = 2_284  # of the corrected split 1's training part
KINETICS_400_CLIPS = 240_000  # about: those still on YouTube differ from year to year


@dataclass(frozen=True, kw_only=True)
class PaperRecipe(Recipe):
    """Training on UCF101-24 as the paper's §IV-C has it.

    Attributes:
        input_size: side of the network's square input, px (§IV-C).
        flow_size: of `light` alone; the paper's networks estimate flow on the input (§IV-C).
        steps: optimiser steps in all (not stated; 160 epochs of UCF101-24, as yolo2-pytorch).
        batch_size: pairs a step, of all processes together (§IV-C).
        precision: of convolutions: `bf16` (autocast) or `fp32` (not stated; PyTorch's of 2017).
        sampling: `sequence`: two consecutive frames at random of every clip, once an epoch
            (§IV-C), or `class`.
        augmentation: `paper`: random crop, HSV distortion, horizontal flip (§IV-C; strengths not
            stated, Darknet's), or `light`.
        anchors: `voc-2016` (not stated; yolo2-pytorch's), `ucf101-24` (k-means on its boxes, which
            fit much better), or `clusters` of the training boxes.
        loss: `yolo2-pytorch`'s (not stated; §III builds on YOLOv2), or `giou`.
        motion_alone: also judge what the motion stream says by itself (not the paper's).
        optimizer: `adam` (§IV-C), `adamw` or `sgd`.
        rgb_rate: learning rate of the RGB stream (§IV-C).
        motion_rate: of the motion stream (§IV-C).
        head_rate: of the fused 1x1 convolution (§IV-C).
        flow_rate: of the flow network where it is tuned (§IV-C); 0 freezes it.
        weight_decay: of weights with more than one dimension (not stated).
        warmup_steps: length of the rise of the rates (not stated: none).
        cooldown_steps: length of their fall (not stated: none).
        max_gradient_norm: larger gradients are scaled down to it (not stated); none: never.
        ema_decay: of averaged weights (not stated: none).
        frozen_rgb_blocks: of `light` alone.
        dropout: on the fused activations (not stated: none).
        stream_dropout: not the paper's.
        label_smoothing: not the paper's.
        background_fraction: share of samples that show no actor (§IV-A: trimmed videos).
        evaluate_every: steps between two looks at a validation part; UCF101-24 has none, so 0.
    """

    input_size: int = 320
    flow_size: int | None = None
    steps: int = 160 * UCF101_24_CLIPS // 32
    batch_size: int = 32
    precision: TrainingPrecision = "fp32"
    sampling: Sampling = "sequence"
    augmentation: Augmentation = "paper"
    anchors: Anchors = "voc-2016"
    loss: Loss = "yolo2-pytorch"
    motion_alone: bool = False
    optimizer: OptimizerName = "adam"
    rgb_rate: float = 5e-5
    motion_rate: float = 5e-5
    head_rate: float = 5e-5
    weight_decay: float = 0.0
    warmup_steps: int = 0
    cooldown_steps: int = 0
    max_gradient_norm: float | None = None
    ema_decay: float = 0.0
    frozen_rgb_blocks: int = 0
    dropout: float = 0.0
    stream_dropout: float = 0.0
    label_smoothing: float = 0.0
    background_fraction: float = 0.0
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
        loss: of `detection` alone.
        anchors: of `detection` alone.
        optimizer: `sgd` (§IV-C), `adam` or `adamw`.
        momentum: of `sgd` (not stated; yolo2-pytorch's).
        rgb_rate: learning rate of the RGB stream, weak, to keep what helps to localise (§III-C,
            §IV-C).
        motion_rate: of the motion stream (§IV-C).
        head_rate: of the fused 1x1 convolution (§IV-C).
        flow_rate: of the flow network (§IV-C does not tune it here); 0 freezes it.
        weight_decay: of weights with more than one dimension (not stated; yolo2-pytorch's).
        evaluate_every: steps between two looks at the validation clips of the lists; 0: never.
    """

    preset: str = "flownet2"
    task: Task = "recognition"
    start: Start = "voc"
    steps: int = 10 * KINETICS_400_CLIPS // 32
    optimizer: OptimizerName = "sgd"
    rgb_rate: float = 8e-4
    motion_rate: float = 8e-4
    head_rate: float = 8e-4
    weight_decay: float = 5e-4
    name: str = "kinetics-pretraining"


def _row(flow: str, preset: str, start: Start, flow_rate: float = 0.0) -> PaperRecipe:
    """One row of Table II."""
    return PaperRecipe(preset=preset, start=start, flow_rate=flow_rate, name=f"{flow}+{start}")


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(),
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
