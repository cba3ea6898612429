"""The figures of an evaluation as files: JSON with everything, CSV with one class a row."""

import json
from pathlib import Path

import pandas as pd

from tubedet.evaluation.scoring import EvaluationResult
from tubedet.whole_file import written_whole


def per_class_table(result: EvaluationResult) -> pd.DataFrame:
    """Columns class, ground_truths, and ap@<threshold> on annotated frames, in [0, 1]."""
    names = result.data.class_names
    curves = result.trimmed[0].curves
    columns: dict[str, list[object]] = {
        "class": [names[index] for index in curves],
        "ground_truths": [curve.ground_truths for curve in curves.values()],
    }
    for at in result.trimmed:
        columns[f"ap@{at.iou_threshold}"] = [at.curves[i].average_precision for i in curves]
    return pd.DataFrame(columns)


def write_result_json(result: EvaluationResult, path: Path) -> None:
    """Write all figures; OutputError if the file can't be written."""
    write_text(path, json.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n")


def write_per_class_csv(result: EvaluationResult, path: Path) -> None:
    """Write the table of classes; OutputError if the file can't be written."""
    write_text(path, per_class_table(result).to_csv(index=False, float_format="%.6f"))


def write_text(path: Path, text: str) -> None:
    """Write beside the final name and rename; OutputError if that fails."""
    with written_whole(path) as pending:
        pending.write_text(text, encoding="utf-8")
