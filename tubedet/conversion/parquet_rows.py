"""Rows from Parquet: what tubedet wrote, or pandas and others with the same columns."""

from collections.abc import Iterator
from pathlib import Path

from tubedet.extras import needed_for
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.track_rows import Row


def parquet_rows(path: Path, _meta: RunMeta) -> Iterator[Row]:
    """All rows, group by group.

    Raises:
        UsageError: if pyarrow is not installed.
        OSError, ValueError, TypeError: if it is something else.
    """
    with needed_for("Parquet files", "pyarrow"):
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415
    with ParquetFile(path) as file:
        for group in file.iter_batches(columns=list(Row._fields)):
            yield from (Row(**record) for record in group.to_pylist())
