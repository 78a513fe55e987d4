"""An experiment: one frozen value for undo, runs and files."""

from dataclasses import dataclass, replace

from accelerator.machine import Machine
from quant.config import ACTIVATION_DEFAULT, WEIGHT_DEFAULT, QuantConfig
from quant.file_encodings import Given
from quant.passes.absorb_bias import AbsorbBias
from quant.passes.adaround import AdaRound
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.passes.methods import Method, Reach
from quant.passes.recipe import Pass, Recipe, is_float_pass
from quant.passes.reconstruct.reconstruct import Reconstruct
from quant.passes.smooth import Smooth
from quant.passes.use_encodings import UseEncodings
from quant.spec import FLOAT_BITS, Granularity, QuantSpec
from quant.training.state.use_training import UseTraining

SEPARATOR = " · "


@dataclass(frozen=True, slots=True)
class Experiment:
    """A configuration, repaired by a recipe, on a machine, for one network and data set.

    Attributes:
        config: bits, granularity and ranges of every layer.
        machine: the machine of the cost estimate.
        recipe: the repair passes, in order.
        encodings: encodings of a file instead of calibrated encodings; None calibrates.
        given_name: the user's name of the experiment; empty for the content's name.
        seed: seed of the choice of images.
        model_digest: digest of the intended network; empty for any network.
        data_digest: digest of the measured images; empty for any images.
    """

    config: QuantConfig
    machine: Machine
    recipe: Recipe = ()
    encodings: Given | None = None
    given_name: str = ""
    seed: int = 0
    model_digest: str = ""
    data_digest: str = ""

    @property
    def display_name(self) -> str:
        """The user's name of the experiment, else the content's name."""
        return self.given_name or self.content_name

    @property
    def content_name(self) -> str:
        """The name from the content, such as "W8A8 per-tensor · equalized"."""
        parts = [name_of_config(self.config), name_of_recipe(self.recipe)]
        if self.encodings is not None and self.uses_encodings:
            source = f"encodings of {self.encodings.source}"
            own = self.config == self.encodings.config
            parts[:1] = [source] if own else [name_of_config(self.config), source]
        return SEPARATOR.join(text for text in parts if text)

    @property
    def uses_encodings(self) -> bool:
        """Whether encodings of a file replace calibrated encodings.

        A pass that changes float weights invalidates encodings of a file, so a recipe with such a
        pass calibrates every range.
        """
        return self.encodings is not None and not any(map(is_float_pass, self.recipe))

    @property
    def all_passes(self) -> Recipe:
        """The passes in order: encodings of a file first, then the recipe."""
        if self.encodings is None or not self.uses_encodings:
            return self.recipe
        return (UseEncodings(self.encodings.encodings, self.encodings.source), *self.recipe)

    def with_config(self, config: QuantConfig) -> "Experiment":
        """Return the experiment with another configuration, without the user's name."""
        return self if config == self.config else replace(self, config=config, given_name="")

    def with_recipe(self, recipe: Recipe) -> "Experiment":
        """Return the experiment with another recipe, without the user's name."""
        return self if recipe == self.recipe else replace(self, recipe=recipe, given_name="")

    def with_calibrated_ranges(self) -> "Experiment":
        """Return the experiment with calibrated ranges instead of a file's encodings."""
        return self if self.encodings is None else replace(self, encodings=None, given_name="")

    def on_model_and_data(self, model_digest: str, data_digest: str) -> "Experiment":
        """Return the experiment for a network and images."""
        return replace(self, model_digest=model_digest, data_digest=data_digest)

    def with_name(self, name: str) -> "Experiment":
        """Return the experiment under a name; an empty name or the content's name means none."""
        text = name.strip()
        return replace(self, given_name="" if text == self.content_name else text)


def name_of_config(config: QuantConfig) -> str:
    """Return the name of a configuration, such as "W4A8 per-channel, 2 rules"."""
    weight, activation = config.default.weight, config.default.activation
    if weight.bits == activation.bits == FLOAT_BITS and not config.rules:
        return "Float"
    words = [f"W{weight.bits}A{activation.bits} {weight.granularity}"]
    words += _unusual_spec_parts("weights", weight, WEIGHT_DEFAULT)
    words += _unusual_spec_parts("activations", activation, ACTIVATION_DEFAULT)
    if config.rules:
        words.append("1 rule" if len(config.rules) == 1 else f"{len(config.rules)} rules")
    return ", ".join(words)


def _unusual_spec_parts(who: str, spec: QuantSpec, usual: QuantSpec) -> list[str]:
    """Return the unusual parts of a spec, besides bits and granularity."""
    words = []
    if spec.symmetric != usual.symmetric:
        words.append(f"{who} {'symmetric' if spec.symmetric else 'asymmetric'}")
    if spec.estimator != usual.estimator:
        words.append(f"{who} {spec.estimator}")
    if spec.scale != usual.scale:
        words.append(f"{who} {spec.scale}")
    return words


def name_of_recipe(recipe: Recipe) -> str:
    """Return a recipe in a few words, such as "equalized, bias corrected"; empty without passes."""
    return ", ".join(_words_of_repair(step) for step in recipe)


def _words_of_repair(step: Pass) -> str:
    match step:
        case Equalize(reach=reach, replace_relu6=as_relu):
            by = " by root mean squares" if reach is Reach.RMS else ""
            return f"equalized{by}{' with ReLU6 as ReLU' if as_relu else ''}"
        case Smooth():
            return "smoothed"
        case AbsorbBias(from_data=from_data):
            return "bias absorbed by images" if from_data else "bias absorbed"
        case CorrectBias(method=method):
            return "bias corrected" if method is Method.EMPIRICAL else "bias corrected analytically"
        case AdaRound():
            return "AdaRound"
        case Reconstruct():
            return "blocks reconstructed"
        case UseEncodings(source=source):
            return f"encodings of {source}"
        case UseTraining(source=source):
            return f"trained {source}"


def smooth_for(config: QuantConfig) -> Smooth:
    """Return the smoothing for the default widths of a configuration; float counts as 8 bits."""
    weight, activation = config.default.weight, config.default.activation
    return Smooth(
        8 if weight.is_float else weight.bits,
        8 if activation.is_float else activation.bits,
        per_tensor=weight.granularity is Granularity.PER_TENSOR,
    )
