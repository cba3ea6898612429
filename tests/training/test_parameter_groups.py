from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.small_detector import small_config, small_network
from tests.small_training import small_recipe, small_trainer, steps_of
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.training.parameter_groups import detector_optimizer, freeze, tune
from tubedet.training.recipes import LightRecipe


def changed_parts(data: AnnotatedDataset, folder: Path, **settings: Any) -> dict[str, bool]:
    """Name of every entry of a `light` network → whether two steps changed one of its bits."""
    trainer = small_trainer(data, folder, small_recipe("light", **settings))
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    steps_of(trainer.train(), most=2)
    after: dict[str, Tensor] = trainer.network.state_dict()
    return {name: not torch.equal(value, after[name]) for name, value in before.items()}


def any_in(changed: dict[str, bool], part: str) -> bool:
    """Whether anything whose name begins so changed; such a name exists."""
    found = [value for name, value in changed.items() if name.startswith(part)]
    assert found
    return any(found)


@pytest.mark.parametrize(
    ("settings", "tuned"),
    [
        ({"tune_steps": 2}, ()),
        ({"tune_steps": 6}, ("rgb_stream.backbone.", "flow.")),
        ({"tune_steps": 6, "flow_rate": 0.0}, ("rgb_stream.backbone.",)),
        ({"tune_steps": 6, "rgb_rate": 0.0}, ("flow.",)),
    ],
    ids=str,
)
def test_what_is_not_tuned_yet_keeps_every_bit_and_the_rest_learns(
    data: AnnotatedDataset, tmp_path: Path, settings: dict[str, Any], tuned: tuple[str, ...]
) -> None:
    changed = changed_parts(data, tmp_path, **settings)

    for part in ("rgb_stream.backbone.", "flow."):
        assert any_in(changed, part) == (part in tuned)
    assert not any_in(changed, "context_window.motion.")
    for part in ("motion_stream.join.0.", "rgb_stream.join.", "fusion.", "context_window.app"):
        assert any_in(changed, part)
    assert all(change for name, change in changed.items() if "running" in name)


def test_tuning_says_when_it_begins_and_ends() -> None:
    network, recipe = small_network(small_config("light")), small_recipe()  # steps 4 and 5
    assert isinstance(recipe, LightRecipe)
    freeze(network, recipe)
    assert [tune(network, recipe, step) for step in (0, 3, 4, 5, 0)] == [
        *(True, False, True, False, True)
    ]


def test_every_trained_parameter_is_in_one_group_with_the_rate_of_its_part() -> None:
    network = small_network(small_config("light"))
    recipe = small_recipe(flow_rate=1e-6, rgb_rate=1e-4, head_rate=1e-2, weight_decay=0.5)
    freeze(network, recipe)

    groups = detector_optimizer(network, recipe).param_groups

    rows = {
        parameter: (group["lr"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }
    trained = {p for p in network.parameters() if p.requires_grad}
    assert set(rows) == trained
    assert sum(len(group["params"]) for group in groups) == len(trained)
    named = dict(network.named_parameters())
    for name, expected in {
        "flow.network.conv0.0.weight": (1e-6, 0.5),
        "flow.network.conv0.0.bias": (1e-6, 0.0),
        "rgb_stream.backbone.blocks.5.project.weight": (1e-4, 0.0),
        "rgb_stream.join.1.0.0.weight": (1e-2, 0.5),
        "motion_stream.join.0.1.weight": (1e-2, 0.0),
        "context_window.appearance.weight": (1e-2, 0.5),
        "fusion.conv.bias": (1e-2, 0.0),
    }.items():
        assert rows[named[name]] == expected


def test_the_first_step_moves_every_tensor_of_the_backbone_by_the_same_share(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    recipe = small_recipe(tune_steps=6, rgb_rate=1e-2, warmup_steps=1, cooldown_steps=1)
    trainer = small_trainer(data, tmp_path, recipe)
    backbone = trainer.network.get_submodule("rgb_stream.backbone")
    kernels = {n: each for n, each in backbone.named_parameters() if each.ndim > 1}
    with torch.no_grad():
        kernels["blocks.3.project.weight"].mul_(50)
        kernels["blocks.4.expand.weight"].div_(50)
    before = {name: each.detach().clone() for name, each in kernels.items()}
    steps_of(trainer.train(), most=1)

    # Adam's first step changes every number by the rate, here a hundredth of their typical size.
    for name, each in kernels.items():
        moved = (each.detach() - before[name])[each.grad != 0] if each.grad is not None else each
        size = before[name].square().mean().sqrt()
        torch.testing.assert_close(
            moved.abs().median() / size, torch.tensor(1e-2), rtol=0.05, atol=0
        )


@pytest.mark.parametrize("preset", ["brox", "flownet2-sd"])
def test_presets_of_the_paper_have_groups_too(preset: str) -> None:
    network = small_network(small_config(preset))
    recipe = small_recipe(preset)
    freeze(network, recipe)

    groups = {
        group["name"]: group["params"] for group in detector_optimizer(network, recipe).param_groups
    }

    assert ("flow" in groups) == (preset != "brox")
    # All of both streams may have been imported: the fused convolution alone is new.
    assert [len(groups[name]) for name in ("head", "head.vectors")] == [1, 1]
    kernels = [p for p in network.rgb_stream.parameters() if p.ndim > 1]
    assert len(groups["rgb"]) == len(groups["motion"]) == len(kernels)
