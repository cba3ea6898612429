"""Prior box sizes (width, height) in grid cells; a cell is 32 px of the network input.

Cells, not pixels or fractions: the same numbers hold for every input size.
"""

AnchorsWH = tuple[tuple[float, float], ...]

# Darknet's yolo-voc.cfg of November 2016, which yolo2-pytorch implements and the paper used.
VOC_2016: AnchorsWH = ((1.08, 1.19), (3.42, 4.41), (6.63, 11.38), (9.42, 5.11), (16.62, 10.52))

# Darknet's yolov2-voc.cfg of today: other weights, other anchors.
YOLOV2_VOC: AnchorsWH = (
    (1.3221, 1.73145),
    (3.19275, 4.00944),
    (5.05587, 8.09892),
    (9.47112, 4.84053),
    (11.2364, 10.0071),
)

# k-means over UCF101-24's training boxes, stretched to 320x320: mean best IoU 0.753, where
# VOC_2016 reaches 0.532. The paper doesn't say which it used.
UCF101_24: AnchorsWH = (
    (0.906, 1.458),
    (1.531, 3.042),
    (2.031, 4.833),
    (2.875, 6.667),
    (4.188, 8.333),
)
