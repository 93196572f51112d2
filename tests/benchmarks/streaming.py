"""The cost of training scikit-learn on rows that do not fit in memory: time and peak memory.

``python -m tests.benchmarks.streaming`` trains one epoch on 1, 3 and 10 million generated rows, each in a new
process, with callbacks and without; with --parquet it writes them to a file first and streams that (needs pyarrow).
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .measuring import fresh, table, versions

FEATURES, CHUNK = 20, 10_000


def generated(rows: int) -> Iterator[tuple[Any, Any]]:
    """Yield rows of float32 and labels of a noisy plane, in chunks."""
    random = np.random.default_rng(0)
    for _ in range(rows // CHUNK):
        X = random.standard_normal((CHUNK, FEATURES), dtype=np.float32)
        yield X, (X.sum(1) + random.standard_normal(CHUNK) > 0).astype(np.int8)


def write_parquet(path: Path, rows: int) -> None:
    """Write the same rows to a file."""
    import pyarrow as arrow
    from pyarrow import parquet

    names = [f"x{number}" for number in range(FEATURES)]
    schema = arrow.schema([*((name, arrow.float32()) for name in names), ("y", arrow.int8())])
    with parquet.ParquetWriter(path, schema) as writer:
        for X, y in generated(rows):
            writer.write_table(arrow.table([*X.T, y], schema=schema))


def from_parquet(path: Path) -> Iterator[tuple[Any, Any]]:
    """Yield its rows in chunks."""
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    for group in range(file.num_row_groups):  # iter_batches() keeps what it has read
        columns = [column.to_numpy() for column in file.read_row_group(group).columns]
        yield np.stack(columns[:-1], axis=1), columns[-1]


def measure(rows: int, how: str, path: str) -> dict[str, Any]:
    """Return the seconds and the peak memory of one epoch over this number of rows."""
    from sklearn.linear_model import SGDClassifier

    stream: Callable[[], Any] = (lambda: from_parquet(Path(path))) if path else (lambda: generated(rows))
    clf = SGDClassifier(learning_rate="constant", eta0=0.001)
    held_out = next(generated(CHUNK))
    start = time.perf_counter()
    if how == "bare loop":
        for X, y in stream():
            clf.partial_fit(X, y, classes=[0, 1])
    else:
        from trainbus.adapters.sklearn.stream import partial_fit_stream
        from trainbus.plugins import EarlyStopping, ModelCheckpoint

        with tempfile.TemporaryDirectory() as folder:
            callbacks = [ModelCheckpoint(f"{folder}/best", save_best_only=True), EarlyStopping(patience=3)]
            options = {"classes": [0, 1], "validation_data": held_out, "callbacks": callbacks}
            partial_fit_stream(clf, stream, train_metrics=how == "judged", **options)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak": peak, "accuracy": float(clf.score(*held_out))}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parquet", action="store_true")
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000, 3_000_000, 10_000_000])
    options = parser.parse_args()
    lines: list[tuple[str, ...]] = []
    for rows in options.rows:
        for how in ("bare loop", "callbacks", "judged"):
            with tempfile.TemporaryDirectory() as folder:
                path = ""
                if options.parquet:
                    path = f"{folder}/rows.parquet"
                    fresh(f"from tests.benchmarks import streaming as s; s.write_parquet(s.Path({path!r}), {rows})")
                call = f"s.measure({rows}, {how!r}, {path!r})"
                found = json.loads(fresh(f"from tests.benchmarks import streaming as s; print(s.json.dumps({call}))"))
            data = f"{rows * FEATURES * 4 / 1e6:,.0f}"
            seconds, peak = f"{found['seconds']:.1f}", f"{found['peak']:,.0f}"
            lines.append((f"{rows:,}", data, how, seconds, peak, f"{found['accuracy']:.3f}"))
    print(table(("rows", "MB of data", "loop", "seconds", "peak MB", "accuracy"), lines))
    print(versions("scikit-learn", "numpy", *(["pyarrow"] if options.parquet else [])))


if __name__ == "__main__":
    main()
