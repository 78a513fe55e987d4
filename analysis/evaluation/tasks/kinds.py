"""Names of tasks and of detector heads; imports no torch, so the command line starts fast."""

from enum import StrEnum


class TaskKind(StrEnum):
    """What a network is for; auto decides from the targets and outputs."""

    AUTO = "auto"
    CLASSIFICATION = "classification"
    SEGMENTATION = "segmentation"
    DETECTION = "detection"
    REGRESSION = "regression"
    EMBEDDING = "embedding"
    ANOMALY = "anomaly"


class Head(StrEnum):
    """How a detector's outputs hold boxes, scores and classes.

    decoded: (boxes (N, M, 4), scores (N, M) or (N, M, C)[, classes (N, M)]), or one output
    (N, M, 6) of x1, y1, x2, y2, score, class. yolo-v8: (N, 4 + C, M) of centre x, y, width, height
    and a score a class. yolo-v5: (N, M, 5 + C) of these with one score for any object.
    """

    AUTO = "auto"
    DECODED = "decoded"
    YOLO_V5 = "yolo-v5"
    YOLO_V8 = "yolo-v8"
