"""What earlier runs left: tubedet's own may be replaced by something better, nothing else ever."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.output_targets import RUN_META, plain_frame, result, target_for
from tubedet.detections import Detection
from tubedet.errors import OutputError
from tubedet.notes import Note
from tubedet.writers import partial_results as module
from tubedet.writers.formats import Kind
from tubedet.writers.partial_results import Results, partial_results
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.transaction import OutputTransaction

WALK = Detection("walk", 0, 0.5, (1.0, 2.0, 3.0, 4.0))
OTHER_SOURCE = {"bytes": 1, "modified_ns": 2}
OTHER_SETTINGS = {"min_score": 0.5, "classes": None}
Run = Callable[..., OutputTransaction]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of so many frames, ended as partial, or whole."""

    def leave(
        frames: int,
        *formats: str,
        overwrite: bool = False,
        whole: bool = False,
        kind: Kind = "boxes",
        **told: Any,
    ) -> OutputTransaction:
        meta = replace(RUN_META, stride=1, processed_frames=frames, **told)
        target = target_for(tmp_path, Path("clip.mp4"), run_meta=lambda: meta)
        outputs = OutputTransaction(kind, formats or ("csv",), target, overwrite=overwrite)
        for number in range(frames):
            flow_uv = np.ones((2, 48, 64), np.float32)
            outputs.write(replace(result(plain_frame(number), WALK), flow_uv=flow_uv))
        outputs.commit() if whole else outputs.keep_partial()
        return outputs

    return leave


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rows(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines()) - 1


def test_a_longer_run_with_the_same_settings_replaces_a_shorter_one(
    run: Run, tmp_path: Path
) -> None:
    for frames in (3, 3, 7):
        run(frames)
        assert names(tmp_path) == ["clip.partial.csv", "clip.partial.meta.json"]
        assert rows(tmp_path / "clip.partial.csv") == frames


def test_a_shorter_run_stands_beside_a_longer_one(run: Run, tmp_path: Path) -> None:
    run(7)
    outputs = run(3)

    assert rows(tmp_path / "clip.partial.csv") == 7
    assert rows(tmp_path / "clip.partial-2.csv") == 3
    assert outputs.outputs == (
        tmp_path / "clip.partial-2.csv",
        tmp_path / "clip.partial-2.meta.json",
    )
    run(5)  # replaces the one of 3
    assert (rows(tmp_path / "clip.partial.csv"), rows(tmp_path / "clip.partial-2.csv")) == (7, 5)
    assert len(names(tmp_path)) == 4


@pytest.mark.parametrize(
    "other",
    [
        {"source": OTHER_SOURCE},
        {"settings": OTHER_SETTINGS},
        {"weights_sha256": "ab" * 32},
        {"start": "1"},
        {"end": None},
    ],
    ids=str,
)
def test_runs_of_another_source_or_with_other_settings_do_not_replace_each_other(
    run: Run, tmp_path: Path, other: dict[str, Any]
) -> None:
    run(3)
    run(7, **other)

    assert rows(tmp_path / "clip.partial.csv") == 3
    assert rows(tmp_path / "clip.partial-2.csv") == 7


def test_other_settings_and_shorter_runs_do_replace_it_with_overwrite(
    run: Run, tmp_path: Path
) -> None:
    run(7, "csv", "jsonl")
    run(3, overwrite=True, settings=OTHER_SETTINGS)

    assert names(tmp_path) == ["clip.partial.csv", "clip.partial.meta.json"]
    assert rows(tmp_path / "clip.partial.csv") == 3


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "taken",
    [
        "clip.partial.csv",
        "clip.partial.meta.json",
        "clip.partial.csv/folder",
    ],
)
def test_files_that_tubedet_did_not_write_are_never_touched(
    run: Run, tmp_path: Path, taken: str, overwrite: bool
) -> None:
    path = tmp_path / taken
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"my": "own"}')

    outputs = run(3, overwrite=overwrite)

    assert path.read_text() == '{"my": "own"}'
    assert outputs.outputs == (
        tmp_path / "clip.partial-2.csv",
        tmp_path / "clip.partial-2.meta.json",
    )


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_result_that_was_edited_since_is_somebody_elses(
    run: Run, tmp_path: Path, overwrite: bool
) -> None:
    run(3)
    edited = tmp_path / "clip.partial.csv"
    edited.write_text(edited.read_text() + "one line more\n")

    run(7, overwrite=overwrite)

    assert edited.read_text().endswith("one line more\n")
    assert rows(tmp_path / "clip.partial-2.csv") == 7


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_beside_a_partial_result_is_not_replaced_by_a_run_with_more_formats(
    run: Run, tmp_path: Path, overwrite: bool
) -> None:
    run(3, "csv")
    mine = tmp_path / "clip.partial.jsonl"
    mine.write_text("mine")

    run(7, "csv", "jsonl", overwrite=overwrite)

    assert mine.read_text() == "mine"
    assert rows(tmp_path / "clip.partial-2.csv") == 7


def test_of_a_replaced_result_every_file_goes(run: Run, tmp_path: Path) -> None:
    run(3, "csv", "jsonl", "json")
    run(7, "csv")

    assert names(tmp_path) == ["clip.partial.csv", "clip.partial.meta.json"]


def test_a_whole_run_called_as_a_partial_one_is_not_taken_for_it(run: Run, tmp_path: Path) -> None:
    """The results of a.partial.mp4 beside those of a.mp4."""
    target = target_for(
        tmp_path, Path("clip.partial.mp4"), run_meta=lambda: replace(RUN_META, processed_frames=2)
    )
    whole = OutputTransaction("boxes", ["csv"], target)
    for number in range(2):
        whole.write(result(plain_frame(number), WALK))
    whole.commit()

    run(7)
    run(8, overwrite=True)
    run(9, whole=True)

    assert rows(tmp_path / "clip.partial.csv") == 2
    assert names(tmp_path) == ["clip.csv", "clip.meta.json", "clip.partial.csv",
                               "clip.partial.meta.json"]  # fmt: skip


def test_a_whole_run_takes_partial_ones_with_the_same_settings_away(
    run: Run, tmp_path: Path
) -> None:
    run(3)
    run(2)
    run(4, settings=OTHER_SETTINGS)
    run(5, source=OTHER_SOURCE)
    (tmp_path / "clip.partial.mp4").write_text("mine")
    assert len(names(tmp_path)) == 9

    run(9, whole=True)

    assert names(tmp_path) == [
        "clip.csv",
        "clip.meta.json",
        "clip.partial-3.csv",
        "clip.partial-3.meta.json",
        "clip.partial-4.csv",
        "clip.partial-4.meta.json",
        "clip.partial.mp4",
    ]


def test_boxes_and_flow_leave_each_others_partial_results_alone(run: Run, tmp_path: Path) -> None:
    run(3)
    run(4, "flo", kind="flow")
    run(5, "flo", kind="flow")
    run(2, "flo", kind="flow")

    assert names(tmp_path) == [
        "clip.partial",
        "clip.partial-2",
        "clip.partial-2.flow.meta.json",
        "clip.partial.csv",
        "clip.partial.flow.meta.json",
        "clip.partial.meta.json",
    ]
    assert names(tmp_path / "clip.partial") == [f"{number:06d}.flo" for number in range(5)]


def test_files_of_the_user_in_a_folder_of_flow_stay(run: Run, tmp_path: Path) -> None:
    run(2, "flo", kind="flow")
    mine = tmp_path / "clip.partial" / "notes.txt"
    mine.write_text("mine")

    run(5, "flo", kind="flow")
    assert mine.read_text() == "mine"

    run(9, "flo", kind="flow", whole=True)
    assert mine.read_text() == "mine"
    assert names(tmp_path / "clip") == [f"{number:06d}.flo" for number in range(9)]


def test_only_untouched_partial_results_are_found(run: Run, tmp_path: Path) -> None:
    run(7, "csv", "jsonl")
    run(3)
    run(2)
    (tmp_path / "clip.partial-2.csv").unlink()
    (tmp_path / "clip.partial-4.meta.json").write_text("[]")

    found = list(partial_results("boxes", tmp_path, "clip"))

    assert [each.meta.processed_frames for each in found] == [7, 2]
    assert found[0].path("csv") == tmp_path / "clip.partial.csv"
    assert found[0].path("mp4") is None


def test_a_meta_that_points_elsewhere_makes_nothing_deletable(run: Run, tmp_path: Path) -> None:
    """A meta is a file like any other: it may have been edited, or made by somebody."""
    mine = tmp_path / "mine.csv"
    mine.write_text("0123456789")
    for told in ({"name": "../mine.csv", "bytes": 10}, {"name": "/etc/hosts", "bytes": 10},
                 {"bytes": 10}, {"name": 3, "bytes": 10}, {}):  # fmt: skip
        meta = tmp_path / "clip.partial.meta.json"
        meta.write_text(replace(RUN_META, complete=False, outputs={"csv": told}).to_json())
        results = Results.read("boxes", meta)
        assert results is not None
        assert results.path("csv") is None
        assert not results.untouched()
    run(300)
    assert mine.read_text() == "0123456789"
    assert rows(tmp_path / "clip.partial-2.csv") == 300


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", "null", '{"video": "a"}', b"\xff\xfe", "{" * 9]
)
def test_a_file_that_is_no_meta_of_tubedets_is_none(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "a.meta.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)

    assert RunMeta.read(path) is None
    assert RunMeta.read(tmp_path) is None
    assert RunMeta.read(tmp_path / "absent") is None


def test_a_meta_is_read_back_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.meta.json"
    path.write_text(RUN_META.to_json())

    read = RunMeta.read(path)

    assert read is not None
    assert read.to_json() == RUN_META.to_json()
    assert (read.processed_frames, read.source) == (150, dict(RUN_META.source))


def test_more_results_than_there_are_numbers_are_said_and_nothing_is_lost_of_them(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_PARTIAL_RESULTS", 2)
    run(9)
    run(8)

    outputs = run(7)

    assert (rows(tmp_path / "clip.partial.csv"), rows(tmp_path / "clip.partial-2.csv")) == (9, 8)
    (note,) = outputs.notes
    assert note.loss
    assert "too many partial results; move some away" in note.text
    assert isinstance(note, Note)
    assert len(names(tmp_path)) == 4


@pytest.mark.parametrize(
    ("first", "stride", "processed", "end"), [(0, 1, 5, 5), (10, 3, 4, 20), (None, 1, 0, 0)]
)
def test_the_end_is_behind_the_last_processed_frame(
    first: int | None, stride: int, processed: int, end: int
) -> None:
    meta = replace(RUN_META, first_frame=first, stride=stride, processed_frames=processed)

    assert meta.end_frame == end


def test_differences_name_what_was_and_what_is() -> None:
    asked = RUN_META.asked | {"min_score": 0.5, "stride": 1, "new": True}

    assert RUN_META.differences(RUN_META.asked) == []
    assert RUN_META.differences(asked) == [
        "stride was 2, is 1 now",
        "min_score was 0.25, is 0.5 now",
        "new was None, is True now",
    ]


def test_too_many_results_in_the_way_of_a_whole_run_change_nothing_for_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_PARTIAL_RESULTS", 1)
    (tmp_path / "clip.partial.csv").write_text("mine")
    outputs = run(3, whole=True)

    assert rows(tmp_path / "clip.csv") == 3
    assert outputs.notes == []
    with pytest.raises(OutputError, match="appeared while"):
        run(3, whole=True)
