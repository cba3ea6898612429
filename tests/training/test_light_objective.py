"""What `light` learns of windows, and what it leaves as it is, in both phases."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.small_detector import small_config, small_network
from tests.small_training import (
    OneBatchOfWindows,
    save,
    small_objective,
    small_recipe,
    small_samples,
    small_trainer,
    steps_of,
)
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.step_windows import StepWindows, WindowBatch
from tubedet.models.light.detector import LightDetector, joined_predictions
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.training.light_objective import LightObjective
from tubedet.training.loop import Trainer
from tubedet.training.parameter_groups import freeze, tune
from tubedet.training.recipes import LightRecipe

BACKBONE = "rgb_stream.backbone."
LENGTH = 6


class LongWindows(StepWindows):
    """Six steps each."""

    def length(self, index: int) -> int:
        """Always the same."""
        return LENGTH + 0 * index


@pytest.fixture
def recipe() -> LightRecipe:
    recipe = small_recipe(dropout=0.0, precision="fp32")
    assert isinstance(recipe, LightRecipe)
    return recipe


@pytest.fixture
def network() -> LightDetector:
    network = small_network(small_config("light"))
    torch.nn.init.normal_(network.context_window.appearance.weight)
    return network


@pytest.fixture
def batch(data: AnnotatedDataset, recipe: LightRecipe) -> WindowBatch:
    found: WindowBatch = small_samples(data, recipe, LongWindows).batch(0)
    return found


@pytest.fixture
def objective(
    data: AnnotatedDataset, recipe: LightRecipe, network: LightDetector
) -> LightObjective:
    samples = small_samples(data, recipe, LongWindows)
    return small_objective(network, small_config("light"), recipe, samples)


def gradients(
    network: LightDetector, objective: LightObjective, batch: WindowBatch, step: int
) -> set[str]:
    """Names of the parameters that a step's loss reaches."""
    freeze(network, objective.recipe)
    tune(network, objective.recipe, step)
    count = objective.count(batch)
    losses = objective.losses(objective.predict(network, batch), batch, count)
    losses["total"].backward()  # type: ignore[no-untyped-call]
    return {name for name, value in network.named_parameters() if value.grad is not None}


def test_boxes_are_read_at_the_step_of_the_judged_frame_and_actions_of_all_steps(
    network: LightDetector, objective: LightObjective, batch: WindowBatch
) -> None:
    """Against a twin that computes window by window, and all steps at once."""
    with torch.no_grad():
        found = objective.predict(network, batch)
        expected = []
        for row, steps in enumerate(batch.steps):
            features, _ = network.rgb_stream(steps[None] / 255.0)
            mean = features.context[0].mean(dim=0, keepdim=True)
            actions = network.context_window.appearance(mean)
            for place, number in enumerate(batch.step_of_judged[row].tolist()):
                pair = batch.clip[row, place][None].float()
                motion = network.motion(pair, batch.seconds[row, place][None])
                boxes = network.fusion(features.last[:, number], motion.last)
                expected.append(joined_predictions(boxes, actions))
    torch.testing.assert_close(found.raw, torch.cat(expected), atol=1e-4, rtol=1e-4)
    assert found.strayed == 0


def test_before_it_is_tuned_nothing_of_the_backbone_or_the_flow_network_has_a_gradient(
    network: LightDetector, objective: LightObjective, batch: WindowBatch
) -> None:
    reached = gradients(network, objective, batch, step=0)

    everything = {name for name, _ in network.named_parameters()}
    kept = (BACKBONE, "flow.", "context_window.motion.")
    assert reached == {name for name in everything if not name.startswith(kept)}


def test_when_it_is_tuned_all_but_the_motion_histograms_has_a_gradient(
    network: LightDetector, objective: LightObjective, batch: WindowBatch
) -> None:
    reached = gradients(network, objective, batch, step=5)

    everything = {name for name, _ in network.named_parameters()}
    motion = {name for name in everything if name.startswith("context_window.motion.")}
    assert everything - reached == motion
    stem: Tensor = network.rgb_stream.backbone.stem.weight
    assert stem.grad is not None
    assert stem.grad.any()


def test_steps_before_the_last_ones_have_no_gradient(
    network: LightDetector, objective: LightObjective, batch: WindowBatch
) -> None:
    freeze(network, objective.recipe)
    tune(network, objective.recipe, step=5)
    moving = batch._replace(steps=batch.steps.float().requires_grad_())

    objective.predict(network, moving).raw.square().sum().backward()  # type: ignore[no-untyped-call]

    grad = moving.steps.grad
    assert grad is not None
    by_step = grad.abs().amax(dim=(0, 2, 3, 4))
    assert not by_step[: LENGTH - objective.recipe.grad_steps].any()
    assert by_step[LENGTH - objective.recipe.grad_steps :].all()


def test_a_backbone_that_has_not_moved_strays_by_nothing_and_later_by_its_mean_square(
    network: LightDetector, objective: LightObjective, batch: WindowBatch
) -> None:
    freeze(network, objective.recipe)
    tune(network, objective.recipe, step=5)
    count = objective.count(batch)
    losses = objective.losses(objective.predict(network, batch), batch, count)
    assert losses["hold"].item() == 0.0

    spread = objective.spread(batch.steps.device)
    with torch.no_grad():
        bias = network.rgb_stream.backbone.project.bias
        assert bias is not None
        bias.add_(0.1)
        moved = objective.predict(network, batch)
        of_both = [
            network_part(batch.steps / 255.0)[0].wide
            for network_part in (network.rgb_stream.backbone, objective.start)
        ]
    near, start = (twin_context(each[:, -4:]) for each in of_both)
    expected = ((near - start) / spread[:, 0, 0]).square().mean()
    torch.testing.assert_close(moved.strayed, expected, rtol=1e-3, atol=1e-6)
    losses = objective.losses(moved, batch, count)
    assert losses["hold"].item() == pytest.approx(3.0 * expected.item(), rel=1e-3)


def twin_context(wide: Tensor) -> Tensor:
    """(B, T, C, h, w), of at most 5x5 cells, → (B, T, h, w, 2C): by cell near, and everywhere."""
    assert max(wide.shape[-2:]) <= 3
    mean = wide.mean(dim=(3, 4))[:, :, None, None].expand(-1, -1, *wide.shape[-2:], -1)
    return torch.cat([mean, mean], dim=-1)


def test_actions_weigh_what_the_recipe_says(
    network: LightDetector, objective: LightObjective, batch: WindowBatch
) -> None:
    with torch.no_grad():
        predicted = objective.predict(network, batch)
        halved = objective.losses(predicted, batch, 3)
        objective.recipe = replace(objective.recipe, label_weight=1.0)
        whole = objective.losses(predicted, batch, 3)
    assert halved["label"].item() == pytest.approx(whole["label"].item() / 2)
    terms = [halved[term].item() for term in ("box", "overlap", "label", "hold")]
    assert halved["total"].item() == pytest.approx(sum(terms), rel=1e-5)


def test_the_loss_falls_on_windows_seen_again_and_again(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    recipe = small_recipe("light", steps=40, tune_steps=10, save_every=40)
    samples = small_samples(data, recipe, OneBatchOfWindows)
    trainer = small_trainer(data, tmp_path, recipe, samples=samples)
    assert isinstance(trainer.network, LightDetector)
    trainer.network.fusion.dropout.p = 0.0

    steps = steps_of(trainer.train())

    first, last = steps[0].losses, steps[-1].losses
    assert last["total"] < 0.5 * first["total"]
    for term in ("box", "overlap", "label"):
        assert last[term] < first[term]
    assert first["hold"] == 0
    assert last["hold"] > 0


@pytest.fixture(scope="module")
def unbroken(
    data: AnnotatedDataset, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Trainer[TwoStreamDetector], list[dict[str, float]]]:
    """A trainer at its end, and the losses of its six steps."""
    trainer = small_trainer(data, tmp_path_factory.mktemp("unbroken"), small_recipe("light"))
    return trainer, [step.losses for step in steps_of(trainer.train())]


@pytest.mark.parametrize("killed_after", [2, 4, 5])
def test_a_killed_run_goes_on_bit_for_bit_in_both_phases_and_from_one_to_the_other(
    data: AnnotatedDataset,
    unbroken: tuple[Trainer[TwoStreamDetector], list[dict[str, float]]],
    tmp_path: Path,
    killed_after: int,
) -> None:
    recipe = small_recipe("light")  # tuned from the fifth step on
    whole, all_six = unbroken
    killed = small_trainer(data, tmp_path / "killed", recipe)
    steps_of(killed.train(), most=killed_after)
    save(killed)

    resumed = small_trainer(data, tmp_path / "killed", recipe)
    with torch.no_grad():
        for value in resumed.kept.values():
            value.zero_()  # whatever it is built with, it goes on with what was kept
    resumed.resume()

    assert [step.losses for step in steps_of(resumed.train())] == all_six[killed_after:]
    final = whole.network.state_dict()
    for name, value in resumed.network.state_dict().items():
        assert torch.equal(value, final[name]), name
    for name, value in resumed.average.tensors.items():
        assert torch.equal(value, whole.average.tensors[name]), name
