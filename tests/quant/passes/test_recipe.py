import pytest

from quant.passes.absorb_bias import AbsorbBias
from quant.passes.adaround import AdaRound
from quant.passes.correct_bias import CorrectBias
from quant.passes.equalize import Equalize
from quant.passes.methods import Method
from quant.passes.recipe import Recipe, RecipeError, build_recipe, check_recipe_order, is_float_pass
from quant.passes.reconstruct.reconstruct import Reconstruct
from quant.passes.use_encodings import UseEncodings


@pytest.mark.parametrize(
    "recipe",
    [
        (),
        (Equalize(), AbsorbBias(), AdaRound(), CorrectBias()),
        (Equalize(), CorrectBias(), AdaRound()),
        (AbsorbBias(), CorrectBias()),
        (AdaRound(),),
        (UseEncodings(), CorrectBias(), AdaRound()),
        (Equalize(), AdaRound(), Reconstruct(), CorrectBias()),
        (UseEncodings(), Reconstruct(output_steps=0)),
    ],
)
def test_legal_orders_pass(recipe: Recipe) -> None:
    check_recipe_order(recipe)
    assert all(is_float_pass(step) == isinstance(step, Equalize | AbsorbBias) for step in recipe)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ((AbsorbBias(), Equalize()), "AbsorbBias must come after Equalize"),
        ((CorrectBias(), Equalize()), "Equalize changes float weights"),
        ((AdaRound(), AbsorbBias()), "AbsorbBias changes float weights"),
        ((AdaRound(100), AdaRound(200)), "AdaRound 2 times"),
        ((Equalize(), UseEncodings()), "together with Equalize"),
        ((UseEncodings(), AbsorbBias()), "together with AbsorbBias"),
        ((CorrectBias(), UseEncodings()), "Given encodings must come first"),
        ((Reconstruct(), AdaRound()), "AdaRound must come before the reconstruction"),
        ((Reconstruct(), Equalize()), "Equalize changes float weights"),
        ((UseEncodings(), Reconstruct()), "Given encodings stay as they are"),
    ],
)
def test_illegal_orders_say_what_stands_wrong_and_what_to_do(recipe: Recipe, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        check_recipe_order(recipe)
    assert any(word in str(caught.value) for word in ("Move", "Remove one", "Set its output steps"))


def test_a_recipe_is_built_in_the_best_order() -> None:
    built = build_recipe(equalize=True, absorb_bias=True, adaround=50, correct_bias=Method.ANALYTIC)
    assert built == (Equalize(), AbsorbBias(), CorrectBias(Method.ANALYTIC), AdaRound(50))
    check_recipe_order(built)
    blocks = Reconstruct(20, 5)
    assert build_recipe(adaround=50, reconstruct=blocks) == (AdaRound(50), blocks)
    assert build_recipe() == ()
