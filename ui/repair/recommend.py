"""The recipe for the present model and configuration, and a click to take the recipe."""

import streamlit as st

from analysis.runs.recommend_recipe import Recommendation, recommend_recipe
from quant.errors import QuantError
from quant.passes.recipe import Recipe
from quant.simulation.plan import Side
from ui.answers.range_book import present_range_book
from ui.repair.form import names_of_recipe
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain


def show_recommendation(workspace: Workspace) -> None:
    """Name the repairs for the model's suspects, and offer to put the repairs into the form."""
    found = _recommended_repairs(workspace)
    if found is None:
        return
    if not found.recipe:
        st.info(
            "No weight of this model is suspect at these bits: repairs are unlikely to help. "
            "Sensitivity tells which layers need more bits.",
            icon=":material/lightbulb:",
        )
        return
    names = names_of_recipe(found.recipe)
    st.session_state.setdefault("repair.recipe", names)  # the form begins with it
    with st.container(border=True):
        st.markdown(f"**Recommended for this model:** {plain(', '.join(names))}")
        st.caption("  \n".join(plain(reason) for reason in found.reasons))
        st.button(
            "Take it",
            key="repair.recommended",
            icon=":material/check:",
            on_click=_put_into_form,
            args=(names,),
            disabled=st.session_state.get("repair.recipe") == names,
            help="Puts these repairs into the recipe below",
        )


def take_recommended_recipe(workspace: Workspace) -> Recipe:
    """Put the recommended repairs into the form of the page; return the recipe, empty without."""
    found = _recommended_repairs(workspace)
    if found is None or not found.recipe:
        return ()
    _put_into_form(names_of_recipe(found.recipe))
    return found.recipe


def _recommended_repairs(workspace: Workspace) -> Recommendation | None:
    network, study = workspace.network, workspace.study
    if network is None or study is None:
        return None
    try:
        weights = present_range_book(workspace, network).examine_all_tensors(
            workspace.config, Side.WEIGHTS
        )
    except QuantError:
        return None  # the configuration does not fit the model, which the page has said already
    images = bool(study.calibration)
    return recommend_recipe(
        network, workspace.config, weights, study.equalizable_pairs(), images=images
    )


def _put_into_form(names: list[str]) -> None:
    st.session_state["repair.recipe"] = names
