"""Rows as Apache Parquet: typed columns, and the run's meta in the file's own metadata."""

from collections.abc import Iterator
from itertools import islice

from tubedet.extras import needed_for
from tubedet.writers.from_rows import FileFromRows
from tubedet.writers.row_store import RowStore
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.target import OutputTarget
from tubedet.writers.track_rows import Row

ROWS_AT_ONCE = 10_000
META_KEY = b"tubedet"
NULLABLE = ("pts", "tube")


class ParquetWriter(FileFromRows):
    """STEM.parquet, as pandas, Polars, DuckDB and Spark read it."""

    suffix = ".parquet"

    def __init__(self, target: OutputTarget) -> None:
        """Make the hidden file; UsageError if pyarrow is not installed."""
        with needed_for("Parquet files", "pyarrow"):
            import pyarrow.parquet  # noqa: F401, PLC0415
        super().__init__(target)

    def save(self, rows: RowStore, meta: RunMeta) -> None:
        """Write group by group."""
        import pyarrow as pa  # noqa: PLC0415
        from pyarrow.parquet import ParquetWriter as File  # noqa: PLC0415

        kinds = {"video": pa.string(), "label": pa.string(), "frame": pa.int64()}
        kinds |= dict.fromkeys(NULLABLE, pa.int64())
        columns = [
            pa.field(name, kinds.get(name, pa.float64()), nullable=name in NULLABLE)
            for name in Row._fields
        ]
        schema = pa.schema(columns, metadata={META_KEY: meta.to_json(indent=None)})
        with File(self.path, schema) as file:
            for group in _groups(rows.rows()):
                records = [row._asdict() for row in group]
                file.write_table(pa.Table.from_pylist(records, schema=schema))


def _groups(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while group := list(islice(rows, ROWS_AT_ONCE)):
        yield group
