"""Drawing detections and flow onto frames."""
