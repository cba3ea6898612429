"""YOLOv2 (Redmon and Farhadi, 2017): backbones, head, anchors, box decoding."""
