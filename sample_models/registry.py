"""The networks of the project, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from data_io.bundled import CLASS_NAMES, FASHION, MASK_NAMES, letter_preprocess
from data_io.image_geometry import Interpolation
from data_io.letter_files import LETTERS
from data_io.preprocessing import Preprocess
from data_io.scenes.draw_scenes import SIDE
from data_io.scenes.scene_data import SCENE_COUNTS, SCENES
from sample_models import efficientnet_lite
from sample_models.imbalanced import unbalance_channels
from sample_models.letter_mlp import untrained_letter_mlp
from sample_models.mobilenet import FashionMobileNet, untrained_fashion_mobilenet
from sample_models.resnet import untrained_fashion_resnet
from sample_models.scenes.detector import untrained_fashion_detector
from sample_models.scenes.segmenter import untrained_fashion_segmenter
from sample_models.vit import untrained_fashion_vit

WEIGHTS = Path(__file__).parent / "weights"
# The evaluation of the EfficientNet papers: a square of 224/256 of the short side, made 224 wide.
IMAGENET = Preprocess(
    channels=3,
    crop_fraction=224 / 256,
    resize=224,
    interpolation=Interpolation.BICUBIC,
    mean=(127.0, 127.0, 127.0),
    std=(128.0, 128.0, 128.0),
)
LETTER_LICENCE = "trained by this project; the table is CC BY 4.0, David J. Slate 1991 (UCI)"
TOP1 = "top-1"
METADATA_KEYS = {TOP1: "top1", "mAP": "map", "mIoU": "miou"}
"""Where the weights' file keeps the float score, by the name of the metric."""
OWN_LICENCE = "trained by this project; the images are MIT, Copyright (c) 2017 Zalando SE"


@dataclass(frozen=True)
class Sample:
    """A network with weights, with the needs to feed and to judge the network.

    Attributes:
        name: name in commands.
        title: name on a page.
        teaches: the lesson of the network, in a sentence or two.
        load: builds the network with weights; use `build_network`.
        preprocess: from an image to the network's input.
        dataset: the data for the score: a name in `BUNDLED_DATA`, or "imagenet" (the user's
            folder).
        classes: number of logits.
        class_names: names of the logits in order, or empty if the data hold the names.
        input_shape: of one input, (C, H, W), or (columns,) of a table.
        licence: of the weights.
        weights: the file with the measured float top-1 as metadata; None for a cited top-1.
        cited_top1: float top-1 in [0, 1] from elsewhere.
        cited_from: the data of the cited top-1.
        metric_name: the metric of the float network's score, top-1 for a classifier.
    """

    name: str
    title: str
    teaches: str
    load: Callable[[], nn.Module]
    preprocess: Preprocess
    dataset: str
    classes: int
    class_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    licence: str
    weights: Path | None = None
    cited_top1: float = float("nan")
    cited_from: str = "the Fashion-MNIST test set, 10 000 images"
    metric_name: str = TOP1

    @property
    def float_top1(self) -> float:
        """Top-1 accuracy of the float network in [0, 1]; NaN if unknown or no classifier."""
        return self.float_score if self.metric_name == TOP1 else float("nan")

    @property
    def float_score(self) -> float:
        """The metric `metric_name` of the float network in [0, 1]; NaN if unknown."""
        if self.weights is None:
            return self.cited_top1
        return measured_float_score(self.weights, self.metric_name)

    def build_network(self) -> nn.Module:
        """Return a fresh network with weights, in eval mode.

        Raises:
            FileNotFoundError: the weights are missing; the sentence says how to get the weights.
        """
        return self.load().eval()


def measured_float_score(weights: Path, metric_name: str = TOP1) -> float:
    """Return the float score in [0, 1] written beside the weights; NaN if missing."""
    if not weights.is_file():
        return float("nan")
    with safe_open(weights, "pt") as file:
        return float((file.metadata() or {}).get(METADATA_KEYS[metric_name], "nan"))


def sample_names() -> tuple[str, ...]:
    """Return the names of the samples, in the order for pages."""
    return tuple(SAMPLES)


def sample_named(name: str) -> Sample:
    """Return the sample with a name.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in SAMPLES:
        raise ValueError(f"A sample must be one of {', '.join(SAMPLES)}, got {name!r}.")
    return SAMPLES[name]


def _network_with_weights(name: str, model: nn.Module) -> nn.Module:
    """Return `model` with the weights made by train.py."""
    path = WEIGHTS / f"{name}.safetensors"
    if not path.is_file():
        raise FileNotFoundError(
            f"The sample {name} needs its weights in sample_models/weights, got none; check the "
            f"files out again, or train it: python -m {_training_module(name)} {name}"
        )
    model.load_state_dict(load_file(path))
    return model


def _training_module(name: str) -> str:
    """Return the module that trains a sample."""
    scenes = name in {"fashion-detector", "fashion-segmenter"}
    return "sample_models.scenes.train_scenes" if scenes else "sample_models.train"


def _trained_fashion_mobilenet() -> nn.Module:
    return _network_with_weights("fashion-mobilenet", untrained_fashion_mobilenet())


def _trained_fashion_resnet() -> nn.Module:
    return _network_with_weights("fashion-resnet", untrained_fashion_resnet())


def _trained_fashion_vit() -> nn.Module:
    return _network_with_weights("fashion-vit", untrained_fashion_vit())


def _trained_letter_mlp() -> nn.Module:
    return _network_with_weights("letter-mlp", untrained_letter_mlp())


def _trained_fashion_detector() -> nn.Module:
    return _network_with_weights("fashion-detector", untrained_fashion_detector())


def _trained_fashion_segmenter() -> nn.Module:
    return _network_with_weights("fashion-segmenter", untrained_fashion_segmenter())


def _imbalanced_fashion_mobilenet() -> nn.Module:
    model = FashionMobileNet()
    _network_with_weights("fashion-mobilenet", model)
    return unbalance_channels(model)


def _sample_of_fashion(
    name: str, title: str, teaches: str, load: Callable[[], nn.Module], weights: str = ""
) -> Sample:
    """Return a sample of Fashion-MNIST."""
    return Sample(
        name=name,
        title=title,
        teaches=teaches,
        load=load,
        preprocess=FASHION,
        dataset="fashion",
        classes=10,
        class_names=CLASS_NAMES,
        input_shape=(1, 28, 28),
        licence=OWN_LICENCE,
        weights=WEIGHTS / f"{weights or name}.safetensors",
    )


def _sample_of_scenes(
    name: str,
    title: str,
    teaches: str,
    load: Callable[[], nn.Module],
    task: tuple[str, tuple[str, ...], str],
) -> Sample:
    """Return a sample of garments on a canvas; `task` is (data set, class names, metric)."""
    dataset, class_names, metric_name = task
    return Sample(
        name=name,
        title=title,
        teaches=teaches,
        load=load,
        preprocess=SCENES,
        dataset=dataset,
        classes=len(class_names),
        class_names=class_names,
        input_shape=(1, SIDE, SIDE),
        licence=OWN_LICENCE,
        weights=WEIGHTS / f"{name}.safetensors",
        cited_from=f"{SCENE_COUNTS['test']} scenes with garments of the Fashion-MNIST test set",
        metric_name=metric_name,
    )


_ALL = (
    _sample_of_fashion(
        "fashion-mobilenet",
        "MobileNet (Fashion-MNIST)",
        "Depthwise and pointwise convolutions, and a first layer that needs its bits: 4-bit "
        "weights cost 17 points there alone, and half a point in all other layers together.",
        _trained_fashion_mobilenet,
    ),
    _sample_of_fashion(
        "fashion-mobilenet-imbalanced",
        "MobileNet with unequal channels (Fashion-MNIST)",
        "The same function as fashion-mobilenet, spoilt on purpose: every channel that enters a "
        "depthwise layer was multiplied by a random factor of 1/16 to 16 and divided again in "
        "that layer. One 8-bit scale a tensor ruins it, one a channel mends the weights but not "
        "the activations; equalization repairs both.",
        _imbalanced_fashion_mobilenet,
        "fashion-mobilenet",
    ),
    _sample_of_fashion(
        "fashion-resnet",
        "ResNet (Fashion-MNIST)",
        "Plain convolutions with skip connections: robust at 8 bits, and a good start.",
        _trained_fashion_resnet,
    ),
    _sample_of_fashion(
        "fashion-vit",
        "Vision transformer (Fashion-MNIST)",
        "Attention, softmax, GELU and layer norm: where activations, not weights, are the hard "
        "part.",
        _trained_fashion_vit,
    ),
    _sample_of_scenes(
        "fashion-detector",
        "Detector (garments on a canvas)",
        "A YOLO-like head whose one output holds boxes of 0 to 96 pixels and scores of 0 "
        "to 1: one 8-bit scale for both leaves a score three codes.",
        _trained_fashion_detector,
        ("fashion-boxes", CLASS_NAMES, "mAP"),
    ),
    _sample_of_scenes(
        "fashion-segmenter",
        "U-Net (garments on a canvas)",
        "A class for each pixel, with skip connections whose ranges meet in a concat: the "
        "mean IoU speaks where top-1 cannot.",
        _trained_fashion_segmenter,
        ("fashion-masks", MASK_NAMES, "mIoU"),
    ),
    Sample(
        name="letter-mlp",
        title="MLP on a table (Letter Recognition)",
        teaches="Four linear layers on 16 columns of numbers: seconds to train, and the ground "
        "on which a width for each neuron can be judged.",
        load=_trained_letter_mlp,
        preprocess=letter_preprocess(),
        dataset="letter",
        classes=26,
        class_names=LETTERS,
        input_shape=(16,),
        licence=LETTER_LICENCE,
        weights=WEIGHTS / "letter-mlp.safetensors",
        cited_from="the last 4 000 rows of the Letter Recognition table, which did not train",
    ),
    Sample(
        name="efficientnet-lite0",
        title="EfficientNet-Lite0 (ImageNet)",
        teaches="A real network of 4.7 million weights, cut at 6 (ReLU6) everywhere: treat ReLU6 "
        "as ReLU and 29 points of top-1 go.",
        load=efficientnet_lite.pretrained_network,
        preprocess=IMAGENET,
        dataset="imagenet",
        classes=1000,
        class_names=(),
        input_shape=(3, 224, 224),
        licence="Apache 2.0, Copyright (c) 2020 ML Illustrated; converted from Google's release",
        cited_top1=0.88,
        cited_from="500 ImageNet-like images, one of each of 500 classes, measured by this project",
    ),
)
SAMPLES: dict[str, Sample] = {entry.name: entry for entry in _ALL}
"""All samples by name."""
