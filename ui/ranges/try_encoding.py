"""Trying a different encoding for a tensor, and taking the encoding into the configuration."""

from dataclasses import fields, replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from analysis.ranges.tensors import RangeBook
from quant.config import QuantConfig
from quant.errors import QuantError
from quant.simulation.plan import Side, Site, plan_sites
from quant.spec import FLOAT_BITS, Estimator, Granularity, QuantSpec, ScaleKind, SpecChange
from ui.ranges.view import encoding_fit_cards, tensor_figures
from ui.state.edit_config import SYMMETRIES, set_config
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain
from ui.widgets.tables import BIT_CHOICES

BITS = tuple(bits for bits in BIT_CHOICES if bits != FLOAT_BITS)
START_BITS = 8  # where the configuration leaves the tensor in float


def site_of_tensor(book: RangeBook, config: QuantConfig, layer: str, side: Side) -> Site:
    """Return the site of a layer's weight or activation."""
    return next(s for s in plan_sites(book.graph, config) if s.layer == layer and s.side is side)


def encoding_controls(workspace: Workspace, book: RangeBook, site: Site) -> QuantSpec:
    """Show the controls of an encoding, starting from the configuration; return the tried spec."""
    spec = site.spec
    # a new key for each choice the configuration makes, so that controls start from it
    place = f"ranges.{workspace.id}.{site.name}.{abs(hash(spec))}"
    weight = site.side is Side.WEIGHTS
    row = st.container(horizontal=True)  # wraps in a narrow window
    start_bits = START_BITS if spec.is_float else spec.bits
    bits = row.selectbox(
        "Bits",
        BITS,
        BITS.index(start_bits) if start_bits in BITS else 0,
        key=f"{place}.bits",
        help="Width of the encoding's integers",
    )
    symmetry = row.selectbox(
        "Symmetry",
        SYMMETRIES,
        0 if spec.symmetric else 1,
        key=f"{place}.symmetry",
        help="Symmetric: zero point 0",
    )
    granularities = list(Granularity) if weight else [Granularity.PER_TENSOR]
    granularity = row.selectbox(
        "Granularity",
        granularities,
        granularities.index(spec.granularity),
        key=f"{place}.granularity",
        disabled=not weight,
        help="How many values share a scale"
        if weight
        else "Always per tensor: a scale per channel cannot leave the sum",
    )
    estimators = book.range_estimators(site)
    now = spec.estimator if spec.estimator in estimators else Estimator.MSE
    estimator = row.selectbox(
        "Range",
        estimators,
        estimators.index(now),
        key=f"{place}.estimator",
        help="How the range is chosen",
    )
    kinds = list(ScaleKind)
    scale = row.selectbox(
        "Scale",
        kinds,
        kinds.index(spec.scale),
        key=f"{place}.scale",
        help="Power of two: requantize by a shift",
    )
    tried = replace(
        spec.with_bits(bits),
        symmetric=symmetry == SYMMETRIES[0],
        granularity=granularity,
        estimator=estimator,
        scale=scale,
    )
    return _detail_fields(row, tried, place)


def _detail_fields(row: DeltaGenerator, spec: QuantSpec, place: str) -> QuantSpec:
    """Show the fields that only the spec's estimator or granularity has; return the spec."""
    tried = spec
    if spec.estimator is Estimator.PERCENTILE:
        percentile = row.number_input(
            "Percentile",
            90.0,
            100.0,
            spec.percentile,
            0.01,
            format="%.3f",
            key=f"{place}.percentile",
        )
        tried = replace(tried, percentile=percentile)
    if spec.granularity is Granularity.PER_GROUP:
        size = row.number_input("Group size", 1, 4096, spec.group_size, key=f"{place}.group")
        tried = replace(tried, group_size=int(size))
    return tried


def use_tried_spec(workspace: Workspace, site: Site, spec: QuantSpec) -> None:
    """Write a spec into the configuration, as a rule for the layer that owns the encoding."""
    change = spec_difference(site.spec, spec)
    layer = site.shared_with or site.layer
    weight, activation = (change, None) if site.side is Side.WEIGHTS else (None, change)
    set_config(workspace, workspace.config.with_layer_change(layer, weight, activation))


def spec_difference(old: QuantSpec, new: QuantSpec) -> SpecChange:
    """Return the fields with different values in two specs."""
    return SpecChange(
        **{
            f.name: getattr(new, f.name)
            for f in fields(QuantSpec)
            if getattr(new, f.name) != getattr(old, f.name)
        }
    )


@st.fragment
def tensor_panel(workspace: Workspace, book: RangeBook, layer: str, side: Side) -> None:
    """Show a tensor: controls, the effect of the tried encoding, and the figures.

    The function is a fragment: a change of the controls redraws the panel alone.
    """
    site = site_of_tensor(book, workspace.config, layer, side)
    tried = encoding_controls(workspace, book, site)
    try:
        fit = book.fit_at_site(site, tried)
        before = None if site.spec.is_float else book.fit_at_site(site, site.spec)
    except QuantError as error:
        st.error(plain(str(error)))
        return
    encoding_fit_cards(fit, before)
    row = st.container(
        horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"
    )
    owner = (
        ""
        if site.shared_with is None
        else (f" Its encoding is that of `{site.shared_with}`, for which a change counts.")
    )
    row.caption(
        (
            "The configuration leaves this tensor in float."
            if site.spec.is_float
            else "This is what the configuration says."
            if tried == site.spec
            else "Tried here only, until it is used."
        )
        + owner
    )
    if row.button(
        "Use for this layer",
        key="ranges.use",
        icon=":material/check:",
        disabled=tried == site.spec,
        help="Writes it into the configuration; Undo takes it back",
    ):
        use_tried_spec(workspace, site, tried)
        st.rerun()
    tensor_figures(book.distributions_by_layer(side)[layer], fit)
