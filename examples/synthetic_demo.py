"""The whole way from a video to an annotated MP4 and rows, on a video drawn for it.

    python -m examples.synthetic_demo [FOLDER]

No model takes part: in the place of the network stands the tests' scripted detector, which boxes
the brightest thing it sees.
"""

import sys
from pathlib import Path

from tests.scripted_detector import ScriptedDetector
from tests.synthetic_video import write_video
from tubedet.pipeline import process_video
from tubedet.video_run import RunPlan, VideoDone, VideoJob

FORMATS = ("mp4", "csv", "json")


def main(folder: Path) -> None:
    """Draw a video into `folder`, run on it and say where the results lie."""
    print("No model detected anything here: a script boxes the white square of a drawn video.")
    folder.mkdir(parents=True, exist_ok=True)
    video = write_video(folder / "squares.mp4", frames=96, audio=["aac"])
    job = VideoJob(source=video, video=video.name, folder=folder, stem=video.stem)
    detector = ScriptedDetector(class_names=("white square",), input_size=320)
    for event in process_video(job, detector, RunPlan(), FORMATS):
        if isinstance(event, VideoDone):
            print(f"{event.frames} frames, a box in {event.found} of them:")
            print("\n".join(f"  {path}" for path in event.outputs))


if __name__ == "__main__":
    main(Path(*sys.argv[1:] or ["demo-output"]))
