"""Faults planted in sample networks: known cause, known place; most keep the float function."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from analysis.diagnosis.causes.root_cause import RootCause
from quant.config import ACTIVATION_DEFAULT, LayerConfig, QuantConfig, uniform_config
from quant.spec import Estimator, Granularity, SpecChange
from sample_models.imbalanced import ClippedReLU
from sample_models.registry import sample_named

MOBILE, RESNET, VIT, LETTER = "fashion-mobilenet", "fashion-resnet", "fashion-vit", "letter-mlp"
PER_TENSOR = Granularity.PER_TENSOR
Spoil = Callable[[nn.Module], None]


@dataclass(frozen=True)
class Fault:
    """A fault: what is done to the network, the configuration, and where the cause must be named.

    `causes` holds more than one where a fault has two true names. `config` is the configuration
    with the fault, `sound` that without. `calibration` counts images.
    """

    name: str
    model: str
    causes: tuple[RootCause, ...]
    layers: tuple[str, ...]
    config: QuantConfig
    sound: QuantConfig
    spoil: Spoil | None = None
    calibration: int = 64

    def build(self) -> nn.Module:
        """Return the sample network with the fault in its weights, if the fault is there."""
        model = sample_named(self.model).build_network().eval()
        if self.spoil is not None:
            with torch.no_grad():
                self.spoil(model)
        return model


def draw_factors(count: int, octaves: float, seed: int) -> Tensor:
    """Return log-uniform_config factors (C,) of up to 2 to the power of `octaves`."""
    generator = torch.Generator().manual_seed(seed)
    return torch.exp2((2 * torch.rand(count, generator=generator) - 1) * octaves)


def outlier_factors(count: int, size: float, seed: int) -> Tensor:
    """Return ones (C,) but for one channel that has `size`."""
    generator = torch.Generator().manual_seed(seed)
    factors = torch.ones(count)
    factors[int(torch.randint(count, (1,), generator=generator))] = size
    return factors


def rescale_mobile(model: nn.Module, block: int, factors: Callable[[int], Tensor]) -> None:
    """Multiply the expanded channels of a block and divide them again in the depthwise layer."""
    place = model.get_submodule(f"blocks.{block}")
    norm, depthwise = place.get_submodule("expand.1"), place.get_submodule("depthwise.0")
    scales = factors(int(norm.get_parameter("weight").numel()))
    norm.get_parameter("weight").mul_(scales)
    norm.get_parameter("bias").mul_(scales)
    expand = place.get_submodule("expand")
    expand.register_module("2", ClippedReLU(6 * scales))
    depthwise.get_parameter("weight").div_(scales.reshape(-1, 1, 1, 1))


def rescale_resnet(model: nn.Module, block: int, factors: Callable[[int], Tensor]) -> None:
    """Multiply the channels between the two convolutions of a block, and divide them again."""
    place = model.get_submodule(f"blocks.{block}")
    norm = place.get_submodule("bn1")
    scales = factors(int(norm.get_parameter("weight").numel()))
    norm.get_parameter("weight").mul_(scales)
    norm.get_parameter("bias").mul_(scales)
    place.get_submodule("conv2").get_parameter("weight").div_(scales.reshape(1, -1, 1, 1))


def rescale_letter(model: nn.Module, place: int, factors: Callable[[int], Tensor]) -> None:
    """Multiply the neurons of a linear layer and divide them in the next one."""
    first, second = (model.get_submodule(f"layers.{place + step}") for step in (0, 2))
    scales = factors(int(first.get_parameter("bias").numel()))
    first.get_parameter("weight").mul_(scales.reshape(-1, 1))
    first.get_parameter("bias").mul_(scales)
    second.get_parameter("weight").div_(scales)


def rescale_norm(model: nn.Module, block: int, factors: Callable[[int], Tensor]) -> None:
    """Multiply channels of the norm before attention, and divide them in query, key and value."""
    place = model.get_submodule(f"blocks.{block}")
    norm = place.get_submodule("norm1")
    scales = factors(int(norm.get_parameter("weight").numel()))
    norm.get_parameter("weight").mul_(scales)
    norm.get_parameter("bias").mul_(scales)
    for name in ("query", "key", "value"):
        place.get_submodule(f"attention.{name}").get_parameter("weight").div_(scales)


def kill_channel(model: nn.Module, first: str, norm: str, size: float) -> None:
    """Make one channel's folded weight huge while a ReLU keeps the channel at zero."""
    weight = model.get_submodule(first).get_parameter("weight")
    scale = model.get_submodule(norm).get_parameter("weight")
    quietest = int(scale.abs().argmin())
    weight[quietest] *= 0.1
    model.get_submodule(norm).get_buffer("running_mean")[quietest] *= 0.1
    scale[quietest] *= 10 * size
    model.get_submodule(norm).get_parameter("bias")[quietest] = -1e4


def shift_stream(model: nn.Module, block: int, size: float) -> None:
    """Add one number to all channels of a perceptron's output: layer norms take the number away."""
    model.get_submodule(f"blocks.{block}.fc2").get_parameter("bias").add_(size)


def _mobile(weights: int = 8, activations: int = 8) -> QuantConfig:
    return uniform_config(weights, activations, PER_TENSOR)


def channel_faults() -> Iterator[Fault]:
    """Yield unequal channels and outlier channels in weights and activations."""
    unequal, outlier = (RootCause.UNEQUAL_CHANNELS,), (RootCause.OUTLIER_CHANNEL,)
    eight = uniform_config(8, 8, PER_TENSOR)
    for block in (1, 2, 3, 4, 5):
        names = (f"blocks.{block}.expand.0", f"blocks.{block}.depthwise.0")

        def spoil(model: nn.Module, block: int = block) -> None:
            rescale_mobile(model, block, lambda count: draw_factors(count, 7, block))

        yield Fault(f"unequal {MOBILE} {block}", MOBILE, unequal, names, eight, eight, spoil)
    for block in (1, 2, 4, 6, 7):
        names = (f"blocks.{block}.expand.0", f"blocks.{block}.depthwise.0")

        def stretch(model: nn.Module, block: int = block) -> None:
            rescale_mobile(model, block, lambda count: outlier_factors(count, 4000, block))

        yield Fault(f"outlier {MOBILE} {block}", MOBILE, outlier, names, eight, eight, stretch)
    for block in (0, 2, 3, 4):
        names = (f"blocks.{block}.conv1", f"blocks.{block}.conv2")

        def widen(model: nn.Module, block: int = block) -> None:
            rescale_resnet(model, block, lambda count: outlier_factors(count, 400, block))

        yield Fault(f"outlier {RESNET} {block}", RESNET, outlier, names, eight, eight, widen)


def neuron_faults() -> Iterator[Fault]:
    """Yield outlier channels behind layer norms, and unequal neurons of a perceptron."""
    unequal, outlier = (RootCause.UNEQUAL_CHANNELS,), (RootCause.OUTLIER_CHANNEL,)
    eight = uniform_config(8, 8, PER_TENSOR)
    for block in (0, 1, 2, 3):
        names = tuple(
            f"blocks.{block}.{part}"
            for part in ("norm1", "attention.query", "attention.key", "attention.value")
        )

        def raise_norm(model: nn.Module, block: int = block) -> None:
            rescale_norm(model, block, lambda count: outlier_factors(count, 400, block))

        per_channel = uniform_config(8, 8)
        title = f"outlier {VIT} {block}"
        yield Fault(title, VIT, outlier, names, per_channel, per_channel, raise_norm)
    for place in (0, 2):
        names = (f"layers.{place}", f"layers.{place + 2}")

        def spread(model: nn.Module, place: int = place) -> None:
            rescale_letter(model, place, lambda count: draw_factors(count, 6, place))

        yield Fault(f"unequal {LETTER} {place}", LETTER, unequal, names, eight, eight, spread)


def weight_faults() -> Iterator[Fault]:
    """Yield dead channels, depthwise layers with few bits, clipped weights."""
    eight = uniform_config(8, 8, PER_TENSOR)
    for block in (1, 2, 3, 5):
        first = f"blocks.{block}.expand.0"

        def kill(model: nn.Module, block: int = block) -> None:
            kill_channel(model, f"blocks.{block}.expand.0", f"blocks.{block}.expand.1", 4000)

        causes = (RootCause.DEAD_CHANNEL,)
        yield Fault(f"dead {MOBILE} {block}", MOBILE, causes, (first,), eight, eight, kill)
    sound = uniform_config(8, 8)
    for title, blocks in (("all", range(8)), ("early", range(4)), ("late", range(4, 8))):
        names = tuple(f"blocks.{block}.depthwise.0" for block in blocks)
        config = sound
        for name in names:
            config = config.with_layer_change(name, SpecChange(bits=2))
        causes = (RootCause.FEW_WEIGHTS,)
        yield Fault(f"few weights in {title} blocks", MOBILE, causes, names, config, sound)
    for model, layer in (
        (MOBILE, "blocks.2.project.0"),
        (RESNET, "blocks.2.conv2"),
        (VIT, "blocks.1.fc2"),
        (LETTER, "layers.2"),
    ):
        change = SpecChange(estimator=Estimator.PERCENTILE, percentile=70.0)
        config = sound.with_layer_change(layer, change)
        causes = (RootCause.CLIPPED_TAIL,)
        yield Fault(f"clipped weight {model}", model, causes, (layer,), config, sound)


def activation_faults() -> Iterator[Fault]:
    """Yield clipped activations, tails, softmax, narrow widths, large biases, few images."""
    sound = uniform_config(8, 8)
    clip = SpecChange(estimator=Estimator.PERCENTILE, percentile=85.0)
    for model, layer in (
        (MOBILE, "blocks.1.project.0"),
        (MOBILE, "blocks.3.project.0"),
        (VIT, "blocks.0.add"),
        (VIT, "blocks.2.norm1"),
        (LETTER, "layers.6"),
        (RESNET, "blocks.2.add"),
    ):
        config = sound.with_layer_change(layer, activation=clip)
        causes = (RootCause.CLIPPED_TAIL,)
        yield Fault(f"clipped output {model} {layer}", model, causes, (layer,), config, sound)
    for block in range(5):
        layer = f"blocks.{block}.gelu"
        tail = sound.with_layer_change(layer, activation=SpecChange(bits=3))
        causes = (RootCause.NEGATIVE_TAIL,)
        yield Fault(f"tail of GELU {block}", VIT, causes, (layer,), tail, sound)
        layer = f"blocks.{block}.attention.softmax"
        coarse = sound.with_layer_change(layer, activation=SpecChange(bits=2))
        causes = (RootCause.SOFTMAX_ENCODING,)
        yield Fault(f"softmax {block}", VIT, causes, (layer,), coarse, sound)
    wide = uniform_config(8, 16)
    for model, layer in (
        (MOBILE, "blocks.2.expand.0"),
        (MOBILE, "blocks.5.project.0"),
        (RESNET, "blocks.1.conv1"),
        (RESNET, "blocks.3.conv1"),
        (VIT, "blocks.1.norm2"),
        (LETTER, "layers.2"),
    ):
        narrow = wide.with_layer_change(layer, activation=SpecChange(bits=3))
        causes = (RootCause.NARROW_BESIDE_WIDE,)
        yield Fault(f"narrow {model} {layer}", model, causes, (layer,), narrow, wide)
    for block in range(4):
        both = (RootCause.LARGE_BIAS, RootCause.UNBALANCED_INPUTS)
        names = tuple(
            [f"blocks.{block}.fc2", f"blocks.{block}.add_2", f"blocks.{block}.add"]
            + [
                f"blocks.{later}.{part}"
                for later in range(block + 1, 5)
                for part in ("add", "add_2")
            ]
        )

        def shift(model: nn.Module, block: int = block) -> None:
            shift_stream(model, block, 400.0)

        yield Fault(f"shifted stream {block}", VIT, both, names, sound, sound, shift)
    least = replace(ACTIVATION_DEFAULT, estimator=Estimator.MIN_MAX)
    few = QuantConfig(LayerConfig(sound.default.weight, least))
    for model in (MOBILE, RESNET, VIT):
        causes = (RootCause.FEW_IMAGES,)
        yield Fault(f"one image {model}", model, causes, (), few, few, calibration=1)


def all_faults() -> tuple[Fault, ...]:
    """Return all faults."""
    return (*channel_faults(), *neuron_faults(), *weight_faults(), *activation_faults())
