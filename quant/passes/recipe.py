"""A recipe is a tuple of passes; the order is checked before a pass runs."""

from quant.errors import QuantError
from quant.passes.absorb_bias import AbsorbBias
from quant.passes.adaround import AdaRound
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.passes.methods import Method
from quant.passes.reconstruct.reconstruct import Reconstruct
from quant.passes.smooth import Smooth
from quant.passes.use_encodings import UseEncodings
from quant.training.state.use_training import UseTraining

FloatPass = Equalize | AbsorbBias | Smooth
QuantPass = CorrectBias | AdaRound | Reconstruct | UseEncodings | UseTraining
Pass = FloatPass | QuantPass
Recipe = tuple[Pass, ...]


def build_recipe(
    *,
    equalize: bool = False,
    absorb_bias: bool = False,
    adaround: int | None = None,
    correct_bias: Method | None = None,
    smooth: Smooth | None = None,
    reconstruct: Reconstruct | None = None,
) -> Recipe:
    """Return the chosen passes in the best order; `adaround` counts the iterations of AdaRound.

    Reconstruction of blocks comes last, since it starts from the rounding before it.

    Bias correction stands before AdaRound, which moves biases further with the rounding. A
    correction afterwards would use means before the activation function and undo the result learned
    behind it.
    """
    steps: list[Pass] = []
    if equalize:
        steps.append(Equalize())
    if smooth is not None:
        steps.append(smooth)
    if absorb_bias:
        steps.append(AbsorbBias())
    if correct_bias is not None:
        steps.append(CorrectBias(correct_bias))
    if adaround is not None:
        steps.append(AdaRound(iterations=adaround))
    if reconstruct is not None:
        steps.append(reconstruct)
    return tuple(steps)


class RecipeError(QuantError):
    """The passes of a recipe stand in a wrong order."""


def is_float_pass(step: Pass) -> bool:
    """Tell whether the pass works on float weights, before ranges are chosen."""
    return isinstance(step, Equalize | AbsorbBias | Smooth)


def check_recipe_order(recipe: Recipe) -> None:
    """Check that the order is legal (white paper, section 3.5); AdaRound and CorrectBias may swap.

    Raises:
        RecipeError: the sentence says which pass stands wrong and why.
    """
    kinds = [type(step) for step in recipe]
    for kind in kinds:
        if kinds.count(kind) > 1:
            raise RecipeError(
                f"A recipe holds each pass once; got {kind.__name__} {kinds.count(kind)} times. "
                "Remove one."
            )
    if UseEncodings in kinds:
        _check_given_encodings(recipe, kinds)
    if UseTraining in kinds:
        _check_training_steps(recipe, kinds)
    if Reconstruct in kinds and AdaRound in kinds[kinds.index(Reconstruct) :]:
        raise RecipeError(
            "AdaRound must come before the reconstruction of blocks, which starts from its "
            "rounding; got it behind, where it would undo the reconstruction. Move it up."
        )
    refined = False
    for step in recipe:
        if is_float_pass(step) and refined:
            raise RecipeError(
                f"{type(step).__name__} changes float weights, so it must come before passes that "
                "repair quantized ones: their ranges and roundings would be lost. Move it up."
            )
        refined = refined or not is_float_pass(step)
    if Equalize in kinds and AbsorbBias in kinds[: kinds.index(Equalize)]:
        raise RecipeError(
            "AbsorbBias must come after Equalize: equalizing rescales the biases that are to be "
            "absorbed. Move it down."
        )


def _check_training_steps(recipe: Recipe, kinds: list[type]) -> None:
    """Raise where trained weights would be replaced, or would replace a repair."""
    place = kinds.index(UseTraining)
    wrong = [type(one).__name__ for one in recipe[:place] if not is_float_pass(one)]
    wrong += [
        type(one).__name__ for one in recipe[place + 1 :] if isinstance(one, AdaRound | Reconstruct)
    ]
    if wrong:
        raise RecipeError(
            "A training has its own weights and encodings, so equalization alone comes before it "
            f"and bias correction alone after it; got {wrong[0]}. Remove one of both."
        )


def _check_given_encodings(recipe: Recipe, kinds: list[type]) -> None:
    """Raise if given encodings would not fit the weights, or come after a repair of the weights."""
    changing = [type(step).__name__ for step in recipe if is_float_pass(step)]
    if changing:
        raise RecipeError(
            "Given encodings belong to the weights as they came; got them together with "
            f"{changing[0]}, which changes weights. Remove one of both."
        )
    if any(isinstance(step, Reconstruct) and step.output_steps for step in recipe):
        raise RecipeError(
            "Given encodings stay as they are; got a reconstruction that learns scales in the end. "
            "Set its output steps to 0, or leave the encodings out."
        )
    if kinds[0] is not UseEncodings:
        raise RecipeError(
            "Given encodings must come first, since other passes repair what encodings do; got "
            f"{kinds[0].__name__} before them. Move them up."
        )
