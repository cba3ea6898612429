from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.small_training import steps_of
from tubedet.checkpoints.run_state import load_flow_network
from tubedet.datasets.flow_batches import FlowBatch
from tubedet.errors import UsageError, WeightsError
from tubedet.models.flownet2.stacks import FlowNet2SD
from tubedet.models.light.coarse_to_fine_flow import CoarseToFineFlow
from tubedet.training.distributed import Processes
from tubedet.training.flow_pretraining import FlowObjective, prepare_flow_training
from tubedet.training.loop import NonFiniteLossError, Trainer
from tubedet.training.objective import Validated
from tubedet.training.recipes import FlowRecipe
from tubedet.training.run_folder import RunFolder


@pytest.fixture(scope="session")
def frame_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs of noise."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.npy"
    pairs = np.random.default_rng(0).integers(0, 256, (2, 2, 48, 64, 3), dtype=np.uint8)
    np.save(path, pairs)
    return path


def recipe_of(**changes: Any) -> FlowRecipe:
    """Four steps of a narrow network on 64 x 64 px."""
    settings: dict[str, Any] = {
        "width": 1 / 16,
        "sizes": (64,),
        "steps": 4,
        "batch_size": 2,
        "warmup_steps": 1,
        "cooldown_steps": 2,
        "save_every": 2,
        "evaluate_every": 2,
        "evaluation_samples": 1,
        **changes,
    }
    return FlowRecipe(**settings)


def prepared(
    frame_pairs: Path, folder: Path, recipe: FlowRecipe, **options: Any
) -> Trainer[CoarseToFineFlow]:
    return prepare_flow_training(
        recipe,
        frame_pairs,
        RunFolder(folder),
        data="noise",
        device="cpu",
        loader_workers=0,
        **options,
    )


def test_a_run_leaves_weights_for_use_a_log_and_curves(frame_pairs: Path, tmp_path: Path) -> None:
    events = list(prepared(frame_pairs, tmp_path, recipe_of()).train())

    measured = [event for event in events if isinstance(event, Validated)]
    assert [event.step for event in measured] == [2, 4]
    assert all(event.measures["mean"] > 0 for event in measured)
    network = FlowNet2SD(width=1 / 16)
    load_flow_network(tmp_path / "best.safetensors", network)
    log = list(RunFolder(tmp_path).events())
    assert [event["step"] for event in log if "total" in event] == [1, 2, 3, 4]
    assert all(event["error_px"] > 0 for event in log if "total" in event)
    assert (tmp_path / "loss.png").is_file()


def test_what_is_left_for_use_is_the_average(frame_pairs: Path, tmp_path: Path) -> None:
    trainer = prepared(frame_pairs, tmp_path, recipe_of(steps=2))
    list(trainer.train())
    stored = load_file(tmp_path / "best.safetensors")
    own = trainer.network.state_dict()
    assert all(torch.equal(stored[name], value) for name, value in trainer.average.tensors.items())
    assert not torch.equal(stored["conv0.0.weight"], own["conv0.0.weight"])


def test_the_error_falls_on_a_batch_seen_again_and_again(
    frame_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(steps=30, teacher_share=0.0, learning_rate=2e-3, evaluate_every=0)
    trainer = prepared(frame_pairs, tmp_path, recipe)
    batch = trainer.samples.batch(0)
    monkeypatch.setattr(trainer.samples, "batch", lambda step: batch)

    steps = steps_of(trainer.train())

    assert steps[-1].losses["total"] < 0.7 * steps[0].losses["total"]
    assert steps[-1].losses["error_px"] < steps[0].losses["error_px"]


def test_a_killed_run_goes_on_to_the_same_weights(frame_pairs: Path, tmp_path: Path) -> None:
    unbroken = steps_of(prepared(frame_pairs, tmp_path / "1", recipe_of()).train())
    killed = prepared(frame_pairs, tmp_path / "2", recipe_of())
    steps_of(killed.train(), most=3)  # one step past the last save

    resumed = steps_of(prepared(frame_pairs, tmp_path / "2", recipe_of(), resume=True).train())

    assert [step.step for step in resumed] == [3, 4]
    assert [step.losses for step in resumed] == [step.losses for step in unbroken[2:]]
    one, two = (load_file(tmp_path / run / "last.safetensors") for run in ("1", "2"))
    torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_parts_of_a_batch_give_the_loss_of_the_whole(frame_pairs: Path, tmp_path: Path) -> None:
    whole, parts = (
        steps_of(
            prepared(
                frame_pairs, tmp_path / str(n), recipe_of(accumulation=n, precision="fp32")
            ).train()
        )
        for n in (1, 2)
    )
    for one, other in zip(whole, parts, strict=True):
        assert other.losses == pytest.approx(one.losses, rel=1e-4)
        assert other.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-3)


def test_flow_that_is_right_has_no_loss() -> None:
    batch = FlowBatch(
        torch.zeros(2, 3, 2, 64, 64, dtype=torch.uint8),
        torch.full((2, 2, 64, 64), 3.0),
        torch.ones(2, 64, 64, dtype=torch.bool),
    )
    network = CoarseToFineFlow(width=1 / 16)
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    objective = FlowObjective()

    losses = objective.losses(objective.predict(network, batch), batch, objective.count(batch))

    # A network that finds nothing misses (3, 3) px everywhere.
    assert losses["error_px"].item() == pytest.approx(3 * 2**0.5, rel=1e-4)
    moved = batch._replace(flow_uv=torch.zeros(2, 2, 64, 64))
    assert objective.losses(objective.predict(network, moved), moved, 2)["total"].item() == 0


def test_residual_flow_is_in_pixels_of_its_own_level() -> None:
    batch = FlowBatch(
        torch.zeros(1, 3, 2, 128, 128, dtype=torch.uint8),
        torch.tensor([4.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 128, 128),
        torch.ones(1, 128, 128, dtype=torch.bool),
    )
    network = CoarseToFineFlow(width=1 / 16)
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    objective = FlowObjective()

    losses = objective.losses(objective.predict(network, batch), batch, 1)

    # It misses 2 px at 64 px, and 4 px at 128 px. FlowNet's weights of the five scales, each over
    # a quarter of the pixels of the one before, add up to 1 + 2/4 + 4/16 + 16/64 + 64/256 = 2.25.
    assert losses["total"].item() == pytest.approx(2.25 * (2 + 4) / 20, rel=1e-4)
    assert losses["error_px"].item() == pytest.approx(4, rel=1e-4)


def test_the_network_of_the_smallest_error_is_the_best(frame_pairs: Path, tmp_path: Path) -> None:
    validation = prepared(frame_pairs, tmp_path, recipe_of()).validation
    assert validation is not None
    assert validation.smaller_is_better


def test_a_folder_of_another_width_is_not_gone_on_with(frame_pairs: Path, tmp_path: Path) -> None:
    list(prepared(frame_pairs, tmp_path, recipe_of(steps=1)).train())
    with pytest.raises(WeightsError, match=r"last\.safetensors: not the state of this network"):
        prepared(frame_pairs, tmp_path, recipe_of(width=0.125), resume=True)


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_last_good_state(
    frame_pairs: Path, tmp_path: Path
) -> None:
    list(prepared(frame_pairs, tmp_path, recipe_of(steps=2)).train())
    diverging = recipe_of(steps=8, learning_rate=1e30, save_every=100, evaluate_every=0)
    with pytest.raises(NonFiniteLossError, match=r"last good state is .*last\.safetensors"):
        list(prepared(frame_pairs, tmp_path, diverging, resume=True).train())
    assert torch.isfinite(load_file(tmp_path / "best.safetensors")["conv0.0.weight"]).all()


def test_a_batch_that_processes_cannot_share_is_refused(frame_pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"batch_size=2: expected a multiple of 3"):
        prepared(frame_pairs, tmp_path, recipe_of(), processes=Processes(0, 3))
