from collections.abc import Iterator

import pytest
import torch

from tests.small_training import two_clips
from tubedet.datasets.annotated_clips import AnnotatedDataset


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Layers this small lose more by waiting for a second thread than they gain."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> AnnotatedDataset:
    """Two clips of six frames."""
    return two_clips(tmp_path_factory.mktemp("clips"))
