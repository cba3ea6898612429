import math
from dataclasses import fields
from pathlib import Path

import pytest

from tubedet.errors import UsageError
from tubedet.training.flow_pretraining import FlowPretrainingConfig
from tubedet.training.recipes import Recipe, apply_settings, explain_settings, rate_factor

FLOW = FlowPretrainingConfig(frame_pairs=Path("pairs.npy"), run_folder=Path("run"))


def test_settings_replace_numbers_by_their_type() -> None:
    recipe = apply_settings(
        Recipe(), ["steps=5", "rgb_rate=1e-3", "preset=flownet2-sd", "flow_size=none", "steps=7"]
    )

    assert recipe == Recipe(steps=7, rgb_rate=1e-3, preset="flownet2-sd", flow_size=None)
    assert isinstance(recipe.steps, int)
    assert apply_settings(recipe, ["flow_size=128"]).flow_size == 128


def test_settings_of_flow_pretraining_may_be_lists_and_words() -> None:
    config = apply_settings(FLOW, ["sizes=64,128", "precision=fp32", "run_folder=x"])

    assert config.sizes == (64, 128)
    assert config.precision == "fp32"
    assert apply_settings(Recipe(), ["motion_alone=false"]).motion_alone is False
    assert config.run_folder == Path("x")


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("stepps=5", "expected key=value with one of preset, streams, "),
        ("steps", "expected key=value with one of"),
        ("streams=three", "--set streams=three: expected a value such as both"),
        ("steps=many", "--set steps=many: expected a value such as 20000"),
        ("steps=1.5", "expected a value such as 20000"),
        ("steps=none", "expected a value such as 20000"),
        ("steps=0", "steps=0: expected a number above 0"),
        ("batch_size=-2", "batch_size=-2: expected a number above 0"),
        ("head_rate=-1e-3", "head_rate=-0.001: expected a number from 0"),
        ("head_rate=nan", "head_rate=nan: expected a number from 0"),
        ("dropout=1.5", "dropout=1.5: expected a number from 0 to 1"),
        ("evaluate_every=-1", "evaluate_every=-1: expected a number from 0"),
    ],
)
def test_what_cannot_be_set_is_refused(setting: str, complaint: str) -> None:
    with pytest.raises(UsageError) as failure:
        apply_settings(Recipe(), [setting])
    assert complaint in str(failure.value)


@pytest.mark.parametrize("recipe", [Recipe(), FLOW])
def test_every_setting_is_explained_and_its_text_can_be_given_back(
    recipe: Recipe | FlowPretrainingConfig,
) -> None:
    settings = explain_settings(recipe)

    assert [setting.name for setting in settings] == [field.name for field in fields(recipe)]
    assert all(setting.meaning for setting in settings)
    assert apply_settings(recipe, [f"{name}={value}" for name, value, _ in settings]) == recipe


def test_an_explanation_over_several_lines_is_one_line() -> None:
    meanings = {setting.name: setting.meaning for setting in explain_settings(FLOW)}

    assert meanings["run_folder"] == (
        "receives `last.safetensors`, the averaged RefinedFlow's plain state dict, and "
        "`log.jsonl`; its folder `resume` holds what going on needs."
    )


def test_the_rate_rises_stays_and_falls_along_a_cosine() -> None:
    recipe = Recipe(steps=20, warmup_steps=4, cooldown_steps=8)

    factors = {step: rate_factor(step, recipe) for step in (0, 2, 3, 12, 14, 16, 19)}

    assert factors == pytest.approx(
        {
            0: 1 / 4,
            2: 3 / 4,
            3: 1.0,
            12: 1.0,
            14: 0.5 + math.sqrt(0.5) / 2,  # a quarter of the way
            16: 0.5,
            19: 0.5 - 0.5 * math.cos(math.pi / 8),
        }
    )


def test_a_run_without_ramps_has_the_full_rate_throughout() -> None:
    recipe = Recipe(steps=3, warmup_steps=0, cooldown_steps=0)
    assert [rate_factor(step, recipe) for step in range(3)] == [1.0, 1.0, 1.0]


def test_a_run_prolonged_after_its_end_takes_the_rate_of_a_longer_one() -> None:
    assert rate_factor(20, Recipe(steps=40, warmup_steps=4, cooldown_steps=8)) == 1.0
