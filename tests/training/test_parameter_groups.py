from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.small_detector import small_config, small_network
from tests.small_training import small_recipe, small_trainer, steps_of
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.training.parameter_groups import detector_optimizer, freeze


def changed_entries(data: AnnotatedDataset, folder: Path, **settings: Any) -> dict[str, bool]:
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


def test_frozen_parts_keep_every_bit_and_the_rest_learns(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    changed = changed_entries(data, tmp_path, flow_rate=0.0, frozen_rgb_blocks=5)
    rgb, motion = "rgb_stream.backbone.", "motion_stream."

    for part in ("flow.", f"{rgb}stem", *(f"{rgb}blocks.{n}." for n in range(5))):
        assert not any_in(changed, part)
    for part in (f"{rgb}blocks.5.", f"{motion}join.0.", "rgb_stream.lateral", "fusion."):
        assert any_in(changed, part)
    statistics = {name: change for name, change in changed.items() if "running" in name}
    assert not any_in(statistics, rgb)
    assert all(change for name, change in statistics.items() if name.startswith(motion))


def test_a_rate_above_zero_tunes_the_flow_network(data: AnnotatedDataset, tmp_path: Path) -> None:
    assert any_in(changed_entries(data, tmp_path, flow_rate=1e-4), "flow.")


def test_every_trained_parameter_is_in_one_group_with_the_rate_of_its_part() -> None:
    network = small_network(small_config("light"))
    recipe = small_recipe(
        flow_rate=1e-6,
        rgb_rate=1e-4,
        motion_rate=1e-3,
        head_rate=1e-2,
        weight_decay=0.5,
        frozen_rgb_blocks=2,
    )
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
        "rgb_stream.backbone.blocks.5.project.0.weight": (1e-4, 0.5),
        "rgb_stream.join.1.0.weight": (1e-2, 0.5),
        "motion_stream.standardise.weight": (1e-2, 0.0),
        "fusion.action.weight": (1e-2, 0.5),
        "fusion.conv.bias": (1e-2, 0.0),
    }.items():
        assert rows[named[name]] == expected


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
