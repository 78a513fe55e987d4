"""The form of a recipe: the passes, their order, and their settings."""

from collections.abc import Sequence

import streamlit as st

from quant.passes.absorb_bias import AbsorbBias
from quant.passes.adaround import AdaRound
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.passes.methods import Method, Reach
from quant.passes.recipe import Pass, Recipe, RecipeError, check_recipe_order
from quant.passes.reconstruct.reconstruct import Reconstruct
from quant.passes.smooth import Smooth
from ui.widgets.markdown import plain

EQUALIZE, ABSORB = "Equalize across layers", "Absorb high biases"
ROUND, CORRECT = "AdaRound", "Correct biases"
SMOOTH = "Smooth activations of transformers"
BLOCKS = "Reconstruct blocks"
PASSES = (EQUALIZE, SMOOTH, ABSORB, CORRECT, ROUND, BLOCKS)
REACHES = {Reach.LARGEST: "Largest weights", Reach.RMS: "Root mean squares"}


def names_of_recipe(recipe: Recipe) -> list[str]:
    """Return the names by which the form lists the repairs of a recipe."""
    kinds = {
        Equalize: EQUALIZE,
        Smooth: SMOOTH,
        AbsorbBias: ABSORB,
        AdaRound: ROUND,
        CorrectBias: CORRECT,
        Reconstruct: BLOCKS,
    }
    return [name for step in recipe for kind, name in kinds.items() if isinstance(step, kind)]


def recipe_form(smooth: Smooth) -> Recipe | None:
    """Show the passes and their settings; return the recipe, or None after an error message.

    `smooth` is the smoothing for the bits of the experiment. The settings of a pass are disabled
    without the pass.
    """
    st.session_state.setdefault("repair.recipe", [EQUALIZE, CORRECT])
    chosen = st.multiselect(
        "Recipe, in the order in which repairs run",
        PASSES,
        key="repair.recipe",
        persist_state="session",
        help="Remove a repair to switch it off; repairs run in the order in which you pick them",
    )
    made = _pass_fields(chosen, smooth)
    recipe = tuple(made[name] for name in chosen)
    try:
        check_recipe_order(recipe)
    except RecipeError as error:
        st.error(plain(str(error)), icon=":material/swap_vert:")
        return None
    return recipe


def _pass_fields(chosen: Sequence[str], smooth: Smooth) -> dict[str, Pass]:
    """Show the settings of the passes; return the passes by title."""
    row = st.container(horizontal=True, vertical_alignment="bottom")  # wraps in a narrow window
    reach = row.selectbox(
        "Equalize by",
        list(Reach),
        key="repair.reach",
        persist_state="session",
        format_func=REACHES.__getitem__,
        disabled=EQUALIZE not in chosen,
        help="The paper equalizes the largest weights. Root mean squares suit ranges that clip, "
        "such as those of the MSE estimator at 6 bits and fewer.",
    )
    replace_relu6 = row.checkbox(
        "ReLU6 as ReLU",
        key="repair.relu6",
        persist_state="session",
        disabled=EQUALIZE not in chosen,
        help="Equalization instead of an exact cap for each channel; changes the float network, "
        "and the cost is measured",
    )
    from_data = row.checkbox(
        "Absorb by data",
        key="repair.absorb",
        persist_state="session",
        disabled=ABSORB not in chosen,
        help="The least value seen in calibration instead of beta - 3 gamma",
    )
    iterations = row.number_input(
        "AdaRound iterations",
        50,
        20_000,
        300,
        50,
        key="repair.iterations",
        persist_state="session",
        disabled=ROUND not in chosen,
        help="For each layer. The paper uses 10 000; gains flatten out much earlier.",
    )
    method = row.selectbox(
        "Bias correction",
        list(Method),
        key="repair.method",
        persist_state="session",
        disabled=CORRECT not in chosen,
        help="Empirical: from data, layer by layer. Analytic: from batch norms, no data.",
    )
    return {
        BLOCKS: _block_fields(chosen),
        EQUALIZE: Equalize(replace_relu6, reach or Reach.LARGEST),
        SMOOTH: smooth,
        ABSORB: AbsorbBias(from_data),
        ROUND: AdaRound(int(iterations)),
        CORRECT: CorrectBias(method or Method.EMPIRICAL),
    }


def _block_fields(chosen: Sequence[str]) -> Reconstruct:
    """Show the settings of block reconstruction; return the pass."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    steps = row.number_input(
        "Steps of a block",
        20,
        20_000,
        300,
        20,
        key="repair.block_steps",
        persist_state="session",
        disabled=BLOCKS not in chosen,
        help="The weights of a block learn together how to round, for the output of the block. "
        "Takes longer than AdaRound and serves 4 bits and fewer. Cancelled, it goes on where it "
        "was.",
    )
    behind = row.number_input(
        "Steps for the outputs",
        0,
        20_000,
        60,
        20,
        key="repair.output_steps",
        persist_state="session",
        disabled=BLOCKS not in chosen,
        help="Behind the blocks, scales and biases of the whole network learn the float "
        "network's outputs. 0 leaves the scales alone.",
    )
    return Reconstruct(int(steps), int(behind))
