"""What `tubedet evaluate` shows: tables of figures, the rules they are by, what was left out."""

from typing import TYPE_CHECKING

from tubedet.cli.console import NAMES_SHOWN, complain, say, show_table

if TYPE_CHECKING:
    from tubedet.evaluation.frame_figures import FrameFigures
    from tubedet.evaluation.frame_map import MeanPrecision
    from tubedet.evaluation.scoring import EvaluationResult
    from tubedet.evaluation.source_intervals import Interval


def show_result(result: "EvaluationResult") -> None:
    """All figures on stdout, each with its rule; complaints of clips on stderr."""
    data, figures = result.data, result.to_dict()
    say(
        f"{data.name}, split {data.split}, part {data.part}: "
        f"{len(data.clips)} of {len(data.clips) + len(data.missing_videos)} videos, "
        f"{data.frames} frames; {result.source.description}"
        + (f" ({result.source.device})" if result.source.device else "")
    )
    show_table(*_class_table(result))
    show_table(*_mean_table(result))
    say(f"right boxes, of whatever class (IoU 0.5): {_percent(result.box_right)} % of the frames")
    counts, shares = figures["errors"]["counts"], figures["errors"]["shares"]
    kinds = ", ".join(f"{kind} {counts[kind]} ({_percent(shares[kind])} %)" for kind in counts)
    say(f"boxes on annotated frames (IoU 0.5, best remaining; missed: of the true boxes): {kinds}")
    for choice in _choices(result):
        say(f"f-mAP, {choice.protocol}")
    say(f"behind each f-mAP: {figures['intervals'] or 'no interval, all is of one source'}")
    if result.video_map:
        tubes = ", ".join(f"@{at} {_percent(mean)} %" for at, mean in result.video_map.items())
        say(f"video-mAP: {tubes}; rule {figures['rule']}: {figures['video_map_protocol']}")
    _report_clips(result)
    if result.source.unnameable:
        names = ", ".join(result.source.unnameable)
        complain(f"the weights do not know {names}: their AP is 0")


def _report_clips(result: "EvaluationResult") -> None:
    """Say which clips were not, or not wholly, measured; the JSON has all of them."""
    from tubedet.datasets.annotated_clips import length_note

    failed, decoded = result.source.failed_clips, result.source.decoded_frames
    if not decoded:
        return
    lines = [f"clip {video} was not run: {failure}" for video, failure in failed.items()]
    for clip in result.data.clips:
        note = length_note(clip, decoded.get(clip.video, clip.frames))
        if note and clip.video not in failed:
            lines.append(note.text)
    for line in lines[:NAMES_SHOWN]:
        complain(line)
    complain(
        f"clips that could not be run: {len(failed)}, of another length than annotated: "
        f"{len(lines) - len(failed)}; true boxes of frames that were not seen, which count as "
        f"missed: {result.boxes_not_decoded}"
    )


def _choices(result: "EvaluationResult") -> "list[FrameFigures]":
    return [result.best] + ([result.all_classes] if result.all_classes else [])


def _class_table(result: "EvaluationResult") -> tuple[list[str], list[list[str]]]:
    """Average precisions on annotated frames in percent, so narrow that 80 columns hold both."""
    columns = [at for choice in _choices(result) for at in choice.trimmed]
    headings = [f"@{at.iou_threshold}" for at in columns]
    headings[0] = f"AP{headings[0]}"
    if result.all_classes:
        headings[len(result.trimmed)] = f"all{headings[0].removeprefix('AP')}"
    rows = [
        [
            result.data.class_names[index],
            str(curve.ground_truths),
            *(_percent(at.curves[index].average_precision) for at in columns),
        ]
        for index, curve in result.trimmed[0].curves.items()
    ]
    return ["class", "boxes", *headings], rows


def _mean_table(result: "EvaluationResult") -> tuple[list[str], list[list[str]]]:
    """f-mAP of either choice of boxes and of frames, in percent with its interval."""
    headings = ["f-mAP, %", *(f"IoU {at.iou_threshold}" for at in result.trimmed)]
    rows = []
    for choice, name in zip(_choices(result), ("best box", "all classes"), strict=False):
        for frames, means, intervals in (
            ("annotated", choice.trimmed, choice.intervals),
            ("all frames", choice.all_frames, choice.all_frames_intervals),
        ):
            cells = (_with_interval(at, intervals) for at in means)
            rows.append([f"{name}, {frames}", *cells])
    return headings, rows


def _with_interval(at: "MeanPrecision", intervals: "dict[float, Interval] | None") -> str:
    if intervals is None:
        return f"{_percent(at.mean)} -"
    low, high = intervals[at.iou_threshold]
    return f"{_percent(at.mean)} {_percent(low)}–{_percent(high)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
