"""Targets of a folder of images, by what lies at a path."""

from pathlib import Path

from data_io.dataset import Dataset
from data_io.errors import DatasetError
from data_io.targets.coco_boxes import with_boxes
from data_io.targets.coco_masks import with_coco_masks
from data_io.targets.mask_folder import with_masks
from data_io.targets.yolo_folder import with_yolo_labels


def with_targets(images: Dataset, path: Path, mask_classes: int | None = None) -> Dataset:
    """Return the images with the targets at `path`.

    A .json file is COCO: boxes, or masks where the network has `mask_classes`. A folder with .txt
    files holds YOLO labels; another folder holds masks.

    Raises:
        DatasetError: nothing lies at the path, or the targets do not fit the images.
    """
    if not path.exists():
        raise DatasetError(
            f"Targets must be a COCO file, a folder of masks or a folder of YOLO labels; got "
            f"nothing of the name {path.name}. Correct the path."
        )
    if path.suffix.lower() == ".json":
        if mask_classes is not None:
            return with_coco_masks(images, path, mask_classes)
        return with_boxes(images, path)
    if not path.is_dir():
        raise DatasetError(
            "Targets must be a COCO file (.json), a folder of masks or a folder of YOLO labels; "
            f"got the file {path.name}. Name the folder that holds them."
        )
    is_yolo = next(path.rglob("*.txt"), None) is not None
    return with_yolo_labels(images, path) if is_yolo else with_masks(images, path)
