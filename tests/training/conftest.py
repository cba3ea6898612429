from collections.abc import Iterator

import pytest

from tests.small_training import one_thread_of_torch, two_clips
from tubedet.datasets.annotated_clips import AnnotatedDataset


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """See `one_thread_of_torch`."""
    with one_thread_of_torch():
        yield


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> AnnotatedDataset:
    """Two clips of six frames."""
    return two_clips(tmp_path_factory.mktemp("clips"))
