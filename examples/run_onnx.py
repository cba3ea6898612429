"""Run an exported `light` on a video without tubedet and without PyTorch: the best box a frame.

    tubedet weights export light --to onnx -o light-onnx
    python examples/run_onnx.py light-onnx video.mp4

Needs onnxruntime, numpy and opencv-python. Prints frame, label, score and box as x1 y1 x2 y2. Cuts
are not looked for, boxes are not steadied, and the last frame has none: tubedet does that besides.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

if len(sys.argv) != 3:
    sys.exit(__doc__)
folder, capture = Path(sys.argv[1]), cv2.VideoCapture(sys.argv[2])
if not capture.isOpened():
    sys.exit(f"{sys.argv[2]}: expected a video, found none that can be read")
graphs = {
    name: onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
    for name in ("steps", "pairs", "window")
}
stored = graphs["pairs"].get_modelmeta().custom_metadata_map
about = {key.removeprefix("tubedet."): json.loads(value) for key, value in stored.items()}
side, anchors = about["input_size"], np.array(about["anchors_wh"])
rate = capture.get(cv2.CAP_PROP_FPS)
every, reach = max(1, round(rate * about["step_seconds"])), rate * about["window_seconds"] + 0.01
width, height = (
    capture.get(what) for what in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
)

# What the network says of each pair of frames, and of each frame that its video backbone is given.
inputs = graphs["steps"].get_inputs()
buffers = [np.zeros(each.shape, np.float32) for each in inputs[1:]]
raws, logits_of, flow_maps_of, number = [], {}, {}, 0
frame: NDArray[np.float32] | None = None
while (read := capture.read())[0]:
    small = cv2.resize(read[1], (side, side), interpolation=cv2.INTER_LINEAR)
    earlier, frame = frame, small[..., ::-1].transpose(2, 0, 1).astype(np.float32)
    if number % every == 0:
        given = dict(
            zip((each.name for each in inputs), [frame[None, None], *buffers], strict=True)
        )
        last, logits, *buffers = graphs["steps"].run(None, given)
        logits_of[number] = logits[0, 0]
    if earlier is not None:
        clip, seconds = np.stack([earlier, frame], axis=1)[None], np.array([1 / rate], np.float32)
        pair = {"clip": clip, "seconds": seconds, "last": last[0]}
        raw, flow_maps_of[number - 1] = graphs["pairs"].run(None, pair)
        raws.append(raw)
    number += 1

# The best box of each frame; its action is named from the steps of half a second around it.
for number, raw in enumerate(raws):
    around = [n for n in logits_of if abs(n - number) <= reach and n in flow_maps_of]
    window = {
        "logits": np.stack([logits_of[n] for n in around]),
        "flow_maps": np.concatenate([flow_maps_of[n] for n in around]),
    }
    (actions,) = graphs["window"].run(None, window)
    fields = raw.reshape(len(anchors), 5, *raw.shape[2:])
    overlap = 1 / (1 + np.exp(-fields[:, 4]))
    anchor, row, column = np.unravel_index(overlap.argmax(), overlap.shape)
    tx, ty, tw, th = fields[anchor, :4, row, column]
    cells = raw.shape[-1]
    x, y = ((at + 1 / (1 + np.exp(-t))) / cells for at, t in ((column, tx), (row, ty)))
    w, h = anchors[anchor] * np.exp([tw, th]) / cells
    box = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2]) * [width, height, width, height]
    label = about["class_names"][actions[:, row // 2, column // 2].argmax()]
    print(number, label, f"{overlap[anchor, row, column]:.3f}", *box.round(1))
