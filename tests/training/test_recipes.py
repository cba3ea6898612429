import json
import math
from dataclasses import fields

import pytest

from tubedet.errors import UsageError
from tubedet.training.paper_recipes import RECIPES
from tubedet.training.recipes import DetectionRecipe, FlowRecipe, LightRecipe, LoopRecipe
from tubedet.training.settings import apply_settings, explain_settings, stored_recipe

FLOW = FlowRecipe()


def test_settings_replace_numbers_by_their_type() -> None:
    recipe = apply_settings(
        LightRecipe(), ["steps=5", "rgb_rate=1e-3", "max_scale=1.5", "loss=giou", "steps=7"]
    )

    assert recipe == LightRecipe(steps=7, rgb_rate=1e-3, max_scale=1.5)
    assert isinstance(recipe.steps, int)
    assert apply_settings(recipe, ["max_scale=none"]).max_scale is None


def test_settings_of_flow_pretraining_may_be_lists_and_words() -> None:
    config = apply_settings(FLOW, ["sizes=64,128", "precision=fp32"])

    assert config.sizes == (64, 128)
    assert config.precision == "fp32"
    assert apply_settings(LightRecipe(), ["frozen_batch_norm=true"]).frozen_batch_norm is True


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("stepps=5", "expected key=value with one of steps, batch_size, "),
        ("task=flow", "expected key=value with one of steps, "),
        ("steps", "expected key=value with one of"),
        ("sampling=all", "--set sampling=all: expected a value such as class"),
        ("steps=many", "--set steps=many: expected a value such as 2250"),
        ("steps=1.5", "expected a value such as 2250"),
        ("steps=none", "expected a value such as 2250"),
        ("steps=0", "steps=0: expected a number above 0"),
        ("batch_size=-2", "batch_size=-2: expected a number above 0"),
        ("head_rate=-1e-3", "head_rate=-0.001: expected a number from 0"),
        ("head_rate=nan", "head_rate=nan: expected a number from 0"),
        ("dropout=1.5", "dropout=1.5: expected a number from 0 to 1"),
        ("evaluate_every=-1", "evaluate_every=-1: expected a number from 0"),
        ("max_scale=0.9", "max_scale=0.9: expected a number from 1"),
        ("max_aspect=0.5", "max_aspect=0.5: expected a number from 1"),
        ("blank_chance=2", "blank_chance=2.0: expected a number from 0 to 1"),
        ("max_gradient_norm=0", "max_gradient_norm=0.0: expected a number above 0"),
        ("preset=brox", "preset=brox: expected one of light"),
        ("loss=yolo2-pytorch", "loss=yolo2-pytorch: expected giou"),
        ("judged=0", "judged=0: expected a number above 0"),
    ],
)
def test_what_cannot_be_set_is_refused(setting: str, complaint: str) -> None:
    with pytest.raises(UsageError) as failure:
        apply_settings(LightRecipe(), [setting])
    assert complaint in str(failure.value)


@pytest.mark.parametrize("recipe", [*RECIPES.values(), FLOW], ids=lambda recipe: recipe.name)
def test_every_setting_is_explained_and_its_text_can_be_given_back(recipe: LoopRecipe) -> None:
    settings = explain_settings(recipe)

    assert [setting.name for setting in settings] == [field.name for field in fields(recipe)]
    assert all(setting.meaning for setting in settings)
    assert apply_settings(recipe, [f"{name}={value}" for name, value, _ in settings]) == recipe


def test_an_explanation_over_several_lines_is_one_line() -> None:
    meanings = {setting.name: setting.meaning for setting in explain_settings(FLOW)}

    assert meanings["precision"] == (
        "of convolutions: `bf16` where that is safe (autocast), `fp32`, or `auto`: bf16 on a "
        "device that multiplies it itself. Weights and loss are float32."
    )


def test_no_recipe_has_a_setting_of_another_kind_of_network() -> None:
    of_light = {"flow_size", "tune_steps", "judged", "grad_steps", "hold_weight", "drift"}
    for recipe in [*RECIPES.values(), FLOW]:
        names = {field.name for field in fields(recipe)}
        assert of_light <= names if recipe.name == "light" else not of_light & names
        assert ("anchors" in names) == (recipe.task == "detection")
        assert ("rgb_rate" in names) == (recipe.task != "flow")


@pytest.mark.parametrize("recipe", [*RECIPES.values(), FLOW], ids=lambda recipe: recipe.name)
def test_a_stored_recipe_comes_back(recipe: LoopRecipe) -> None:
    changed = apply_settings(recipe, ["steps=7", "max_gradient_norm=none", "keep=2"])
    assert stored_recipe(recipe, json.loads(json.dumps(changed.to_dict()))) == changed


@pytest.mark.parametrize("change", [{"augmentation": "paper"}, {"steps": None}])
def test_the_recipe_of_another_version_is_refused_in_one_line(change: dict[str, str]) -> None:
    stored = {**DetectionRecipe().to_dict(), **change}
    if change == {"steps": None}:
        del stored["steps"]
    with pytest.raises(UsageError) as failure:
        stored_recipe(DetectionRecipe(), stored)
    assert f"found others ({next(iter(change))}); begin a new run" in str(failure.value)
    assert "\n" not in str(failure.value)


def test_the_rate_rises_stays_and_falls_along_a_cosine() -> None:
    recipe = DetectionRecipe(steps=20, warmup_steps=4, cooldown_steps=8)

    factors = {step: recipe.rate_factor(step) for step in (0, 2, 3, 12, 14, 16, 19)}

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
    recipe = DetectionRecipe(steps=3, warmup_steps=0, cooldown_steps=0)
    assert [recipe.rate_factor(step) for step in range(3)] == [1.0, 1.0, 1.0]


def test_a_run_prolonged_after_its_end_takes_the_rate_of_a_longer_one() -> None:
    assert DetectionRecipe(steps=40, warmup_steps=4, cooldown_steps=8).rate_factor(20) == 1.0


@pytest.mark.parametrize(
    ("steps", "tuned", "phases"),
    [
        (9, 4, [range(5), range(5, 9)]),
        (9, 0, [range(9), range(9, 9)]),
        (3, 4, [range(0), range(3)]),
    ],
)
def test_light_is_tuned_in_its_last_steps(steps: int, tuned: int, phases: list[range]) -> None:
    assert list(LightRecipe(steps=steps, tune_steps=tuned).phases()) == phases
    assert list(DetectionRecipe(steps=steps).phases()) == [range(steps)]
