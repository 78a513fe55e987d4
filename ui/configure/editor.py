"""The configuration's editor: presets, the layer table, bulk edits, rules."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import streamlit as st
from streamlit.elements.lib.column_config_utils import ColumnConfigMappingInput

from accelerator.report import CostReport
from quant.config import QuantConfig, Resolved, Rule
from quant.errors import ConfigError, QuantError
from quant.graph.layers import Layer, layer_count
from quant.simulation.plan import Side, plan_sites
from quant.spec import Estimator, Granularity, QuantSpec, ScaleKind, SpecChange
from ui.state.edit_config import SYMMETRIES, set_config
from ui.state.workspace import Workspace
from ui.widgets.markdown import plain
from ui.widgets.tables import BIT_CHOICES, config_table

Option = TypeVar("Option")
WEIGHT_ESTIMATORS = tuple(str(e) for e in (Estimator.MIN_MAX, Estimator.PERCENTILE, Estimator.MSE))
ESTIMATORS = tuple(str(e) for e in Estimator)
GRANULARITIES = tuple(str(g) for g in Granularity)
ORDER = (
    "select",
    "layer",
    "weight_bits",
    "activation_bits",
    "effective",
    "energy",
    "kind",
    "granularity",
    "weight_symmetric",
    "weight_estimator",
    "activation_symmetric",
    "activation_estimator",
    "note",
)
_WEIGHT_COLUMNS = {
    "weight_bits": "bits",
    "granularity": "granularity",
    "weight_symmetric": "symmetric",
    "weight_estimator": "estimator",
}
_ACTIVATION_COLUMNS = {
    "activation_bits": "bits",
    "activation_symmetric": "symmetric",
    "activation_estimator": "estimator",
}
_READERS: dict[str, Callable[[Any], object]] = {
    "bits": int,
    "granularity": Granularity,
    "symmetric": bool,
    "estimator": Estimator,
}


def apply_row_edits(
    config: QuantConfig, layers: Sequence[Layer], edits: Mapping[int, Mapping[str, object]]
) -> QuantConfig:
    """Return the configuration after the edits of the table, with a rule for each changed layer.

    `edits` maps the number of a row to the columns that st.data_editor reports as changed. A value
    equal to the value of the configuration adds no rule.

    Raises:
        ConfigError: a value lies outside its bounds, or the layer of an edited weight has no
            weight.
    """
    chosen = config.resolve_layers(layers)
    for row, columns in edits.items():
        layer = layers[int(row)]
        wish = chosen[layer.name]
        weight = _edited_fields(wish.weight, _WEIGHT_COLUMNS, columns)
        activation = _edited_fields(wish.activation, _ACTIVATION_COLUMNS, columns)
        if layer.weight is not None and None in columns.values():
            raise ConfigError(f"A cell of {layer.name} must hold a value; 32 bits are float.")
        if weight.to_dict() and layer.weight is None:
            raise ConfigError(
                f"A weight can be quantized where there is one; {layer.name} has none. "
                "Set the bits of its activation."
            )
        if weight.to_dict() or activation.to_dict():
            config = config.with_layer_change(layer.name, weight, activation)
    config.resolve_layers(layers)
    return config


def _edited_fields(
    spec: QuantSpec, fields: Mapping[str, str], columns: Mapping[str, object]
) -> SpecChange:
    """Return the fields of the row's spec that the edited columns change."""
    wanted: dict[str, Any] = {
        fields[column]: _READERS[fields[column]](value)
        for column, value in columns.items()
        if column in fields and value is not None
    }
    return SpecChange(**{n: value for n, value in wanted.items() if getattr(spec, n) != value})


def layer_editor(workspace: Workspace, chosen: Resolved, report: CostReport) -> list[str]:
    """Show the table of layers; return the names of the layers with a ticked box."""
    if workspace.network is None:
        return []
    graph = workspace.network.graph
    shared = {
        site.layer: site.shared_with
        for site in plan_sites(graph, workspace.config)
        if site.side is Side.ACTIVATIONS and site.shared_with
    }
    names = [layer.name for layer in graph.layers]
    # a key that outlives the table's own edits keeps the row in sight and the ticks ticked
    series = workspace.experiments.version - workspace.table_edits
    key = f"configure.table.{workspace.id}.{workspace.network.digest[:8]}.{series}"

    def apply_edits() -> None:
        edits, version = st.session_state[key]["edited_rows"], workspace.experiments.version
        try:
            changed = apply_row_edits(workspace.config, graph.layers, edits)
        except QuantError as error:
            workspace.notes.append(str(error))
            workspace.table_edits -= 1  # a new table, without what was refused
            return
        set_config(workspace, changed)
        workspace.table_edits += workspace.experiments.version - version

    edited = st.data_editor(
        config_table(graph.layers, chosen, report, shared),
        key=key,
        on_change=apply_edits,
        hide_index=True,
        height=520,
        width="stretch",
        placeholder="",
        column_config=_editor_columns(report),
        alt="The choice for every layer and what it costs",
        column_order=ORDER,
        disabled=["layer", "kind", "effective", "energy", "note"],
    )
    return [name for name, ticked in zip(names, edited["select"], strict=True) if ticked]


def _editor_columns(report: CostReport) -> ColumnConfigMappingInput:
    column = st.column_config
    most = max((layer.energy_pj for layer in report.layers), default=0.0)
    return {
        "select": column.CheckboxColumn("", help="Tick layers to change them together", width=40),
        "layer": column.TextColumn("Layer", pinned=True, width=195),
        "kind": column.TextColumn("Kind", width=90),
        "weight_bits": column.SelectboxColumn(
            "W bits",
            options=list(BIT_CHOICES),
            width=85,
            help="Bits of the weight; 32 is float. Empty: the layer has no weight.",
        ),
        "granularity": column.SelectboxColumn(
            "Granularity",
            options=list(GRANULARITIES),
            width=120,
            help="How many weights share a scale",
        ),
        "weight_symmetric": column.CheckboxColumn("W sym.", width=90, help="Zero point 0"),
        "weight_estimator": column.SelectboxColumn(
            "W range",
            options=list(WEIGHT_ESTIMATORS),
            width=105,
            help="How the range is chosen",
        ),
        "activation_bits": column.SelectboxColumn(
            "A bits",
            options=list(BIT_CHOICES),
            width=85,
            required=True,
            help="Bits of the layer's output as it is stored; 32 is float",
        ),
        "activation_symmetric": column.CheckboxColumn("A sym.", width=90, help="Zero point 0"),
        "activation_estimator": column.SelectboxColumn(
            "A range",
            options=list(ESTIMATORS),
            width=110,
            required=True,
            help="batch-norm needs no data; cross-entropy is for the logits, MSE elsewhere",
        ),
        "effective": column.TextColumn(
            "Computed as",
            width=130,
            help="The widths that the machine really multiplies: weight and input. Wider operands "
            "take several passes; on host: the machine cannot, and the cost is a rough stand-in.",
        ),
        "energy": column.ProgressColumn(
            "Energy",
            format="%.1f %%",
            min_value=0,
            width=130,
            max_value=max(100 * most / max(report.energy_pj, 1e-30), 1.0),
            help="Share of the network's energy on the chosen machine; the longest bar is the most",
        ),
        "note": column.TextColumn("Remark", width=200),
    }


def bulk_edit_form(workspace: Workspace, ticked: list[str]) -> None:
    """Show the form that changes several layers: the ticked layers, or those of a selector."""
    with st.form("configure.bulk", border=True):
        st.markdown("**Change several layers at once**")
        select = st.text_input(
            "Which layers",
            value="",
            key="configure.bulk.select",
            placeholder=f"{len(ticked)} ticked layers" if ticked else "blocks.*.expand.0",
            help="A name with * and ?, kind:depthwise, first, last, input; empty: the ticked ones",
        )
        st.caption("Weights")
        weight = _bulk_change_fields("w", GRANULARITIES, WEIGHT_ESTIMATORS)
        st.caption("Activations")
        activation = _bulk_change_fields("a", (), ESTIMATORS)
        pressed = st.form_submit_button("Apply", icon=":material/done_all:")
    if not pressed:
        return
    problem = _apply_bulk_edit(workspace, select.strip(), ticked, weight, activation)
    if problem:
        st.error(plain(problem))
    else:
        st.rerun()


def _bulk_change_fields(
    place: str, granularities: tuple[str, ...], estimators: tuple[str, ...]
) -> SpecChange:
    """Show a field for each property of a spec; a field left at "keep" changes nothing."""
    row = st.container(horizontal=True)

    def pick_value(label: str, options: Sequence[Option], explanation: str) -> Option | None:
        return row.selectbox(
            label,
            [None, *options],
            key=f"configure.bulk.{place}.{label}",
            help=explanation,
            format_func=lambda value: "keep" if value is None else str(value),
        )

    bits = pick_value("Bits", BIT_CHOICES, "32 is float")
    symmetry = pick_value("Symmetry", SYMMETRIES, "Symmetric: zero point 0")
    estimator = pick_value("Range", estimators, "How the range is chosen")
    percentile = row.number_input(
        "Percentile",
        51.0,
        100.0,
        None,
        0.01,
        key=f"configure.bulk.{place}.Percentile",
        format="%.3f",
        placeholder="keep",
        help="For the range percentile alone; 99.99 to begin",
    )
    scale = pick_value("Scale", tuple(ScaleKind), "Power of two: requantize by a shift")
    granularity = group = None
    if granularities:
        granularity = pick_value("Granularity", granularities, "How many weights share a scale")
        group = row.number_input(
            "Group size",
            1,
            4096,
            None,
            key="configure.bulk.group",
            placeholder="keep",
            help="Input channels that share a scale; for per-group alone",
            width=160,
        )
    return SpecChange(
        bits=bits,
        symmetric=None if symmetry is None else symmetry == SYMMETRIES[0],
        granularity=Granularity(granularity) if granularity else None,
        estimator=Estimator(estimator) if estimator else None,
        scale=scale,
        group_size=group,
        percentile=percentile,
    )


def _apply_bulk_edit(
    workspace: Workspace,
    select: str,
    ticked: list[str],
    weight: SpecChange,
    activation: SpecChange,
) -> str:
    """Apply a bulk edit; return the problem in a sentence, or an empty text after success."""
    if not weight.to_dict() and not activation.to_dict():
        return "A change must set something; all fields say keep."
    if not select and not ticked:
        return "Layers must be chosen: tick some in the table or name them."
    present = workspace.config
    rules = (
        (Rule(select, weight, activation),)
        if select
        else tuple(Rule(name, weight, activation) for name in ticked)
    )
    config = QuantConfig(present.default, (*present.rules, *rules))
    try:
        if workspace.network is not None:
            config.resolve_layers(workspace.network.graph.layers)
    except QuantError as error:
        return str(error)
    set_config(workspace, config)
    return ""


def rule_list(workspace: Workspace, chosen: Resolved) -> None:
    """Show the rules in order, with the number of matched layers and a button to delete."""
    rules = workspace.config.rules
    if not rules:
        st.caption("No rules: every layer follows the default. Edits of the table become rules.")
        return
    for number, (rule, matched) in enumerate(zip(rules, chosen.matched, strict=True)):
        text, button = st.columns([8, 1], vertical_alignment="center")
        text.markdown(
            f"{number + 1}. **{plain(rule.select)}** · {layer_count(matched)} · "
            f"{describe_rule(rule)}"
        )
        button.button(
            "Delete",
            key=f"configure.rule.{number}",
            icon=":material/delete:",
            type="tertiary",
            on_click=_delete_rule,
            args=(workspace, number),
        )


def _delete_rule(workspace: Workspace, number: int) -> None:
    present = workspace.config
    rules = present.rules[:number] + present.rules[number + 1 :]
    set_config(workspace, QuantConfig(present.default, rules))


def describe_rule(rule: Rule) -> str:
    """Return the fields that a rule sets, in words."""
    parts = []
    for role, change in (("weights", rule.weight), ("activations", rule.activation)):
        fields = change.to_dict()
        if fields:
            words = ", ".join(f"{name} {value}" for name, value in fields.items())
            parts.append(f"{role}: {words}")
    return "; ".join(parts) or "nothing"
