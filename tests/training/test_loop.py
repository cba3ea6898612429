import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.full_disk import full_disk
from tests.small_training import (
    OneBatch,
    save,
    small_recipe,
    small_samples,
    small_trainer,
    steps_of,
)
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.errors import DatasetError, OutputError, WeightsError
from tubedet.evaluation.evaluate import ClipEvaluated
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.training.loop import NonFiniteLossError, Trainer
from tubedet.training.objective import StepDone, Validated, Validation

sd_recipe = partial(small_recipe, "flownet2-sd")  # the quickest network


def weights_of(trainer: Trainer[TwoStreamDetector]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def learned_of(trainer: Trainer[TwoStreamDetector]) -> dict[str, Tensor]:
    """What the optimiser moves; batch statistics follow the frames, whatever the loss says."""
    return {name: value.detach().clone() for name, value in trainer.network.named_parameters()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_loss_falls_on_a_batch_seen_again_and_again(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    recipe = sd_recipe(steps=60, flow_rate=0.0, save_every=60)
    samples = small_samples(data, recipe, OneBatch)
    trainer = small_trainer(data, tmp_path, recipe, samples=samples)
    trainer.network.fusion.dropout = nn.Identity()

    # Processors round differently: some halve it in 30 steps, some in 34.
    steps = steps_of(trainer.train(), most=50)

    first, last = steps[0].losses, steps[-1].losses
    assert last["total"] < 0.5 * first["total"]
    for term in ("box", "overlap", "label"):
        assert last[term] < first[term]


def test_a_killed_run_goes_on_to_the_same_losses_bit_for_bit(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    unbroken = small_trainer(data, tmp_path / "unbroken", sd_recipe())
    killed = small_trainer(data, tmp_path / "killed", sd_recipe())

    all_six = [step.losses for step in steps_of(unbroken.train())]
    first_four = [step.losses for step in steps_of(killed.train(), most=4)]  # saved after three
    resumed = small_trainer(data, tmp_path / "killed", sd_recipe())
    resumed.resume()
    last_three = [step.losses for step in steps_of(resumed.train())]

    assert first_four == all_six[:4]
    assert last_three == all_six[3:]
    assert len({losses["total"] for losses in all_six}) == 6
    assert same(weights_of(resumed), weights_of(unbroken))
    assert same(resumed.average.tensors, unbroken.average.tensors)
    logged = [event["step"] for event in resumed.run.events()]
    assert logged == [1, 2, 3, 4, 5, 6]


def test_a_finished_run_can_be_prolonged(data: AnnotatedDataset, tmp_path: Path) -> None:
    steps_of(small_trainer(data, tmp_path, sd_recipe(steps=2)).train())
    longer = small_trainer(data, tmp_path, sd_recipe(steps=3))
    longer.resume()
    assert [step.step for step in steps_of(longer.train())] == [3]


def test_the_state_of_another_network_is_refused(data: AnnotatedDataset, tmp_path: Path) -> None:
    save(small_trainer(data, tmp_path, sd_recipe()))
    with pytest.raises(WeightsError, match="not the state of this network") as failure:
        small_trainer(data, tmp_path, small_recipe("brox")).resume()
    assert "\n" not in str(failure.value)


def test_the_log_has_a_line_a_step_and_the_picture_is_drawn_at_the_end(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    trainer = small_trainer(data, tmp_path, sd_recipe(steps=2))

    steps = steps_of(trainer.train())

    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[1]["total"] == pytest.approx(steps[1].losses["total"], abs=1e-5)
    assert steps[0].losses["total"] == pytest.approx(
        sum(steps[0].losses[term] for term in ("box", "overlap", "label")), rel=1e-5
    )
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_loss_that_is_not_finite_stops_the_run_before_a_weight_takes_it_in(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    trainer = small_trainer(data, tmp_path, sd_recipe())
    events = trainer.train()
    steps_of(events, most=4)
    events.close()
    good = learned_of(trainer)
    trainer.network.fusion.register_forward_hook(lambda module, inputs, raw: raw * math.nan)

    with pytest.raises(NonFiniteLossError) as failure:
        next(trainer.train())

    assert "the loss of step 5 is not finite (total nan, box nan" in str(failure.value)
    assert f"the last good state is {tmp_path / 'last.safetensors'}" in str(failure.value)
    assert failure.value.exit_code == 1
    assert same(learned_of(trainer), good)
    assert trainer.run.load_state()[1]["step"] == 3


def test_a_gradient_that_is_not_finite_stops_the_run_too(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    trainer = small_trainer(data, tmp_path, sd_recipe())
    good = learned_of(trainer)
    weight: Any = trainer.network.fusion.conv.weight
    weight.register_hook(lambda gradient: gradient * math.inf)

    with pytest.raises(NonFiniteLossError, match=r"step 1 .*gradient.*last good state was none"):
        next(trainer.train())

    assert same(learned_of(trainer), good)


def test_a_disk_that_fills_up_stops_the_run_and_leaves_the_saved_state_whole(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    trainer = small_trainer(data, tmp_path, sd_recipe(save_every=2))
    events = trainer.train()
    steps_of(events, most=3)
    events.close()

    with (
        full_disk(),
        pytest.raises(OutputError, match=r"last\.safetensors: could not be written .*--resume"),
    ):
        list(trainer.train())

    resumed = small_trainer(data, tmp_path, sd_recipe(save_every=2))
    resumed.resume()
    assert resumed.step == 2
    assert {path.name for path in tmp_path.iterdir()} == {"last.safetensors", "log.jsonl"}


class Judge:
    """Stands in for the validation: says what it is told, and remembers what it saw."""

    def __init__(self, *f_maps: float) -> None:
        self.f_maps = list(f_maps)
        self.seen: list[Tensor] = []
        self.published: list[tuple[Tensor, dict[str, float]]] = []
        self.validation = Validation("f-mAP", "%", "0.5", self.measure)

    def measure(self, network: TwoStreamDetector) -> Iterator[Any]:
        """One clip, then the next f-mAP."""
        assert not network.training
        self.seen.append(network.fusion.conv.weight.detach().clone())
        yield ClipEvaluated("walk", 1, 1)
        yield {"0.2": 1.0, "0.5": self.f_maps.pop(0), "0.75": 0.0}

    def publish(self, path: Path, network: TwoStreamDetector, f_map: dict[str, float]) -> None:
        """Remember it."""
        assert path.name == "best.safetensors"
        self.published.append((network.fusion.conv.weight.detach().clone(), f_map))


def test_the_average_is_validated_and_published_when_it_is_the_best_so_far(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    judge = Judge(0.25, 0.125, 0.5)
    parts: dict[str, Any] = {"validation": judge.validation, "publish": judge.publish}
    recipe = sd_recipe(steps=5, evaluate_every=2)
    trainer = small_trainer(data, tmp_path, recipe, **parts)

    averages, found = [], []
    for event in trainer.train():
        if isinstance(event, StepDone):
            assert trainer.network.training
            averages.append(trainer.average.tensors["fusion.conv.weight"].clone())
        elif isinstance(event, Validated):
            found.append((event.step, event.measures["0.5"], event.is_best))

    assert found == [(2, 0.25, True), (4, 0.125, False), (5, 0.5, True)]
    assert [f_map["0.5"] for _, f_map in judge.published] == [0.25, 0.5]
    for weight, step in zip(judge.seen, (2, 4, 5), strict=True):
        assert torch.equal(weight, averages[step - 1])
    assert torch.equal(judge.published[0][0], judge.seen[0])
    assert not torch.equal(judge.seen[2], trainer.network.fusion.conv.weight)
    logged = [e["validation"]["0.5"] for e in trainer.run.events() if "validation" in e]
    assert logged == [0.25, 0.125, 0.5]


def test_a_run_without_a_better_look_ends_early_and_stays_ended(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    judge = Judge(0.5, 0.25, 0.25, 0.75)
    recipe = sd_recipe(steps=8, evaluate_every=1, patience=2)
    stopped = small_trainer(data, tmp_path, recipe, validation=judge.validation)

    assert len(steps_of(stopped.train())) == 3

    resumed = small_trainer(data, tmp_path, recipe, validation=judge.validation)
    resumed.resume()
    assert list(resumed.train()) == []
    patient = sd_recipe(steps=4, evaluate_every=1, patience=3)
    longer = small_trainer(data, tmp_path, patient, validation=judge.validation)
    longer.resume()
    assert len(steps_of(longer.train())) == 1


def test_the_newest_checkpoints_are_kept_beside_the_best(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    def publish(path: Path, network: TwoStreamDetector, f_map: dict[str, float]) -> None:
        path.write_text(str(f_map["0.5"]))

    judge = Judge(0.5, 0.25, 0.125)
    recipe = sd_recipe(steps=3, evaluate_every=1, keep=2)
    parts: dict[str, Any] = {"validation": judge.validation, "publish": publish}
    steps_of(small_trainer(data, tmp_path, recipe, **parts).train())

    (tmp_path / "last.safetensors").unlink()
    kept = {path.name: path.read_text() for path in tmp_path.glob("*.safetensors")}
    assert kept == {
        "best.safetensors": "0.5",
        "step-0000002.safetensors": "0.25",
        "step-0000003.safetensors": "0.125",
    }


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_other_optimisers_go_on_to_the_same_losses_too(
    data: AnnotatedDataset, tmp_path: Path, optimizer: str
) -> None:
    recipe = sd_recipe(
        optimizer=optimizer, ema_decay=0.0, accumulation=2, precision="fp32", loss="yolo2-pytorch"
    )
    unbroken = [s.losses for s in steps_of(small_trainer(data, tmp_path / "1", recipe).train())]
    steps_of(small_trainer(data, tmp_path / "2", recipe).train(), most=4)  # saved after three
    resumed = small_trainer(data, tmp_path / "2", recipe)
    resumed.resume()

    assert [step.losses for step in steps_of(resumed.train())] == unbroken[3:]
    assert not any(name.startswith("average.") for name in resumed.run.load_state()[0])


def test_a_step_of_sgd_is_that_of_its_formula(data: AnnotatedDataset, tmp_path: Path) -> None:
    recipe = sd_recipe(
        optimizer="sgd", warmup_steps=0, head_rate=0.5, weight_decay=0.0, max_gradient_norm=None
    )
    trainer = small_trainer(data, tmp_path, recipe)
    bias = trainer.network.fusion.conv.bias
    assert bias is not None
    before = bias.detach().clone()

    steps_of(trainer.train(), most=1)

    assert bias.grad is not None
    torch.testing.assert_close(bias.detach(), before - 0.5 * bias.grad)


def test_two_runs_do_not_train_in_one_folder(data: AnnotatedDataset, tmp_path: Path) -> None:
    first, second = (small_trainer(data, tmp_path, sd_recipe(steps=3)) for _ in range(2))
    steps = first.train()
    next(steps)

    with pytest.raises(OutputError, match="another run is writing it"):
        next(second.train())

    assert len(steps_of(steps)) == 2
    assert not (tmp_path / ".run.lock").exists()


def test_a_measure_that_is_no_number_is_never_the_best(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    judge = Judge(math.nan, 0.25, 0.125)
    recipe = sd_recipe(steps=3, evaluate_every=1)
    trainer = small_trainer(data, tmp_path, recipe, validation=judge.validation)

    found = [event.is_best for event in trainer.train() if isinstance(event, Validated)]

    assert found == [False, True, False]


def test_validation_changes_nothing_about_the_training(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    judge = Judge(0.25, 0.5)
    looked = small_trainer(
        data, tmp_path / "1", sd_recipe(steps=4, evaluate_every=2), validation=judge.validation
    )
    blind = small_trainer(data, tmp_path / "2", sd_recipe(steps=4))

    steps = [[s.losses for s in steps_of(trainer.train())] for trainer in (looked, blind)]

    assert steps[0] == steps[1]
    assert same(weights_of(looked), weights_of(blind))


def test_a_resumed_run_remembers_its_best(data: AnnotatedDataset, tmp_path: Path) -> None:
    first, second = Judge(0.5), Judge(0.25)
    parts: dict[str, Any] = {"validation": first.validation, "publish": first.publish}
    recipe = sd_recipe(steps=3, evaluate_every=3)
    list(small_trainer(data, tmp_path, recipe, **parts).train())
    longer = sd_recipe(steps=6, evaluate_every=3)
    parts = {"validation": second.validation, "publish": second.publish}
    resumed = small_trainer(data, tmp_path, longer, **parts)
    resumed.resume()

    list(resumed.train())

    assert (len(first.published), len(second.published)) == (1, 0)


def test_a_run_stopped_while_it_validates_has_its_state_and_validates_first_when_resumed(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    def fail(network: TwoStreamDetector) -> Iterator[Any]:
        yield ClipEvaluated("walk", 1, 2)
        raise DatasetError("run: a clip of the data set is bad")

    recipe = sd_recipe(steps=4, evaluate_every=2, save_every=50)
    failing = Validation("f-mAP", "%", "0.5", fail)
    stopped = small_trainer(data, tmp_path, recipe, validation=failing)
    with pytest.raises(DatasetError):
        list(stopped.train())
    judge = Judge(0.25, 0.5)
    resumed = small_trainer(data, tmp_path, recipe, validation=judge.validation)
    resumed.resume()

    events = [event for event in resumed.train() if not isinstance(event, ClipEvaluated)]

    assert [(type(event), event.step) for event in events] == [
        (Validated, 2),
        (StepDone, 3),
        (StepDone, 4),
        (Validated, 4),
    ]
    assert torch.equal(judge.seen[0], stopped.average.tensors["fusion.conv.weight"])


def test_without_validation_the_average_is_published_whenever_the_state_is_saved(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    judge = Judge()
    trainer = small_trainer(data, tmp_path, sd_recipe(steps=4), publish=judge.publish)

    list(trainer.train())

    assert [f_map for _, f_map in judge.published] == [{}, {}]  # after steps 3 and 4
    assert torch.equal(judge.published[1][0], trainer.average.tensors["fusion.conv.weight"])
