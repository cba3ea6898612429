"""From raw boxes to the detections that are kept."""
