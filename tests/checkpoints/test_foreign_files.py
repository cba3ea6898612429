from pathlib import Path

import pytest
import torch

from tubedet.checkpoints.foreign_files import require_finite, require_fit
from tubedet.errors import WeightsError

EXPECTED = {"a.weight": (2, 3), "a.bias": (2,), "a.num_batches_tracked": ()}
FILE = Path("weights")


def test_what_fits_is_accepted_with_or_without_batch_counters() -> None:
    require_fit(EXPECTED, EXPECTED, FILE, "a network")
    without = {name: shape for name, shape in EXPECTED.items() if "tracked" not in name}
    require_fit(without, EXPECTED, FILE, "a network")


def test_all_that_does_not_fit_is_told_at_once() -> None:
    found = {"a.weight": (3, 2), "b.weight": (1,), "c": ()}
    with pytest.raises(WeightsError) as failure:
        require_fit(found, EXPECTED, FILE, "a network")
    assert str(failure.value) == (
        "weights: expected the 3 tensors of a network, found 1 missing (a.bias); "
        "2 unexpected (b.weight, c); 1 of wrong shape (a.weight is (3, 2), not (2, 3))"
    )


def test_a_strangers_name_cannot_reach_the_terminal_as_it_is() -> None:
    found = {**EXPECTED, "\x1b[31m\nred": (1,), "x" * 10_000: (1,), "": (1,)}
    with pytest.raises(WeightsError) as failure:
        require_fit(found, EXPECTED, FILE, "a network")
    message = str(failure.value)
    assert r"(\x1b[31m\nred, …, '')" in message


def test_every_tensor_that_is_not_finite_is_named() -> None:
    tensors = {
        "a": torch.tensor([1.0, float("nan")]),
        "b": torch.ones(2),
        "c": torch.tensor([float("-inf")]),
        "d": torch.tensor(3),
    }
    with pytest.raises(WeightsError, match="infinite values in a, c; the file is damaged"):
        require_finite(tensors, FILE)
    require_finite({"b": tensors["b"], "d": tensors["d"]}, FILE)
