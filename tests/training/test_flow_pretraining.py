import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tubedet.errors import WeightsError
from tubedet.models.flownet2.stacks import FlowNet2SD
from tubedet.training.detection_training import NonFiniteLossError
from tubedet.training.flow_pretraining import (
    FlowPretrainingConfig,
    learning_rate_at,
    pretrain_flow,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Layers this small lose more by waiting for a second thread than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def config(tmp_path: Path) -> FlowPretrainingConfig:
    """Four steps of a narrow network on 64 x 64 px."""
    pairs = np.random.default_rng(0).integers(0, 256, (2, 2, 48, 64, 3), dtype=np.uint8)
    np.save(tmp_path / "pairs.npy", pairs)
    return FlowPretrainingConfig(
        frame_pairs=tmp_path / "pairs.npy",
        run_folder=tmp_path / "run",
        width=1 / 16,
        sizes=(64,),
        steps=4,
        batch_size=2,
        warmup_steps=1,
        cooldown_steps=2,
        workers=0,
        log_every=1,
        save_every=2,
        evaluation_samples=1,
    )


def test_the_learning_rate_rises_stays_and_falls(config: FlowPretrainingConfig) -> None:
    config = replace(config, learning_rate=1.0, steps=100, warmup_steps=10, cooldown_steps=20)
    rates = [learning_rate_at(step, config) for step in (0, 9, 50, 80, 90, 99)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 1.0, 0.505, 0.016], abs=1e-3)


def test_a_run_leaves_weights_for_use_and_a_log(config: FlowPretrainingConfig) -> None:
    events = list(pretrain_flow(config))
    assert [event.step for event in events] == [1, 2, 3, 4]
    assert [event.procedural_error_px is None for event in events] == [True, False, True, False]
    network = FlowNet2SD(width=config.width)
    network.load_state_dict(load_file(config.run_folder / "last.safetensors"))
    log = (config.run_folder / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in log] == [event.loss for event in events]


def test_a_killed_run_goes_on_to_the_same_weights(
    config: FlowPretrainingConfig, tmp_path: Path
) -> None:
    unbroken = list(pretrain_flow(config))
    killed = replace(config, run_folder=tmp_path / "killed")
    for event in pretrain_flow(killed):
        if event.step == 3:  # one step past the last checkpoint
            break
    resumed = list(pretrain_flow(killed))
    assert [event.step for event in resumed] == [3, 4]
    assert resumed[-1].loss == pytest.approx(unbroken[-1].loss, rel=1e-5)
    one, two = (load_file(c.run_folder / "last.safetensors") for c in (config, killed))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_a_folder_of_another_width_is_not_gone_on_with(config: FlowPretrainingConfig) -> None:
    list(pretrain_flow(replace(config, steps=1)))
    with pytest.raises(WeightsError, match=r"expected a network of width 0\.125, found 0\.0625"):
        list(pretrain_flow(replace(config, width=0.125)))


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_last_good_state(
    config: FlowPretrainingConfig,
) -> None:
    list(pretrain_flow(replace(config, steps=2)))
    diverging = replace(config, steps=8, learning_rate=1e30, save_every=100)
    with pytest.raises(NonFiniteLossError, match=r"resume/last\.safetensors"):
        list(pretrain_flow(diverging))
    assert torch.isfinite(load_file(config.run_folder / "last.safetensors")["conv0.0.weight"]).all()
