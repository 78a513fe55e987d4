"""Names of tasks and of detector heads; imports no torch, so the command line starts fast."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


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
    (N, M, 6) of x1, y1, x2, y2, score, class. ssd: (offsets (N, M, 4) from priors, scores
    (N, M, 1 + C) with the background first). yolo-v8: (N, 4 + C, M) of centre x, y, width, height
    and a score a class. yolo-v5: (N, M, 5 + C) of these with one score for any object.
    """

    AUTO = "auto"
    DECODED = "decoded"
    YOLO_V5 = "yolo-v5"
    YOLO_V8 = "yolo-v8"
    SSD = "ssd"


@dataclass(frozen=True, slots=True)
class TaskChoice:
    """The user's choice of the task, of a detector's head, and of the targets of images.

    `targets` is a folder of masks or of YOLO labels, or a COCO file; None for data that hold the
    targets themselves. `priors` is the .npy file with the prior boxes of an SSD head.
    """

    kind: TaskKind = TaskKind.AUTO
    head: Head = Head.AUTO
    targets: Path | None = None
    priors: Path | None = None


AUTO_TASK = TaskChoice()
