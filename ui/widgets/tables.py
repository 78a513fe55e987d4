"""Rows for the tables of the pages."""

from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

from accelerator.machine import machine_title
from accelerator.report import CostReport, LayerCost
from accelerator.workload import FLOAT_BITS
from analysis.evaluation.lost_score import lost_metric, metric_value_text
from analysis.network import Network
from analysis.runs.run_store import Run
from figures.cost.energy import common_noun
from figures.style.units import format_bytes, format_energy, format_share, format_time
from quant.config import LayerConfig, Resolved
from quant.graph.layers import Layer
from quant.graph.operators import Kind

BIT_CHOICES = (2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 32)
MOST_NAMED = 4

OF_CLASSES = ["top-1 %", "drop", "agreement %"]
"""Columns of runs that need a row of classes."""


def layer_table(network: Network) -> pd.DataFrame:
    """Return a row for each layer: kind, shapes, parameters, MACs."""
    layers = [layer for layer in network.graph.layers if layer.kind is not Kind.INPUT]
    total = max(1, sum(layer.macs for layer in layers))
    return pd.DataFrame(
        {
            "layer": [layer.name for layer in layers],
            "kind": [str(layer.kind) for layer in layers],
            "MACs %": [100 * layer.macs / total for layer in layers],
            "parameters": [layer.parameters for layer in layers],
            "MACs": [layer.macs for layer in layers],
            "output": [shape_text(layer.shape[1:]) for layer in layers],
            "weight": [shape_text(layer.weight_shape) for layer in layers],
        }
    )


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape in words: `shape_text((32, 14, 14))` is `"32 x 14 x 14"`."""
    return " x ".join(map(str, shape))


def config_table(
    layers: Iterable[Layer], chosen: Resolved, report: CostReport, shared: dict[str, str]
) -> pd.DataFrame:
    """Return the editor's rows: the choice for a layer beside the computed widths and the cost.

    `shared` maps a layer with a shared encoding to the owner of the encoding.
    """
    costs = {layer.layer: layer for layer in report.layers}
    total = max(report.energy_pj, 1e-30)
    rows = []
    for layer in layers:
        wish, found = chosen[layer.name], costs.get(layer.name)
        rows.append(
            {
                "select": False,
                "layer": layer.name,
                "kind": str(layer.kind),
                **_weight_cells(layer, wish),
                "activation_bits": wish.activation.bits,
                "activation_symmetric": wish.activation.symmetric,
                "activation_estimator": str(wish.activation.estimator),
                "effective": _computed_widths(layer, found),
                "energy": 100 * found.energy_pj / total if found else None,
                "note": _layer_note(layer, wish, shared),
            }
        )
    return pd.DataFrame(rows).astype({"weight_bits": "Int64"})


def _layer_note(layer: Layer, wish: LayerConfig, shared: dict[str, str]) -> str:
    """Return the owner of a layer's encoding, or the widths of the layer's channels, in words."""
    if layer.name in shared:
        return f"encoding of {shared[layer.name]}"
    own = wish.weight.channel_bits
    if not own or layer.weight is None:
        return ""
    return f"channels of {min(own)} to {max(own)} bits, {wish.weight.mean_bits:.2f} on average"


def _weight_cells(layer: Layer, wish: LayerConfig) -> dict[str, object]:
    if layer.weight is None:
        empty = ("weight_bits", "granularity", "weight_symmetric", "weight_estimator")
        return dict.fromkeys(empty)
    return {
        "weight_bits": wish.weight.bits,
        "granularity": str(wish.weight.granularity),
        "weight_symmetric": wish.weight.symmetric,
        "weight_estimator": str(wish.weight.estimator),
    }


def _computed_widths(layer: Layer, found: LayerCost | None) -> str:
    """Return the widths that the machine multiplies, with the number of passes above 1.

    An operation that the machine cannot compute is "on host".
    """
    if found is None or not layer.macs or not found.compute_weight_bits:
        return ""
    if found.on_host:
        return "on host"
    if found.compute_weight_bits >= FLOAT_BITS:
        return "float"
    passes = f", {found.passes} passes" if found.passes > 1 else ""
    return f"W{found.compute_weight_bits} A{found.compute_activation_bits}{passes}"


def layers_without_choice(layers: Iterable[Layer], report: CostReport) -> str:
    """Return a sentence on costly operations without a row in the table, or "".

    A max-pool keeps the encoding before the pool; the parts of an attention have its layer's bits.
    """
    rows = {layer.name for layer in layers}
    rest = [cost for cost in report.layers if cost.layer not in rows]
    if not rest:
        return ""
    share = format_share(sum(cost.energy_pj for cost in rest) / max(report.energy_pj, 1e-30))
    rest.sort(key=lambda cost: -cost.energy_pj)
    names = ", ".join(cost.layer for cost in rest[:MOST_NAMED])
    more = "" if len(rest) <= MOST_NAMED else f" and {len(rest) - MOST_NAMED} more"
    return (
        f"Without a row, since other layers' bits decide theirs: {names}{more}; "
        f"{share} of the energy."
    )


def effective_width_table(report: CostReport) -> pd.DataFrame:
    """Return a row for each layer: requested, computed and stored widths, and the cost."""
    return pd.DataFrame(
        [
            {
                "layer": layer.layer,
                "kind": str(layer.kind),
                "requested W/A": _bits_pair(
                    layer.requested_weight_bits, layer.requested_activation_bits
                ),
                "computed W/A": _bits_pair(
                    layer.compute_weight_bits, layer.compute_activation_bits
                ),
                "passes": layer.passes,
                "stored W/A": _bits_pair(layer.stored_weight_bits, layer.stored_activation_bits),
                "MACs": layer.macs,
                "cycles": layer.cycles,
                "energy nJ": layer.energy_pj / 1e3,
                "latency µs": layer.latency_s * 1e6,
                "bound": layer.bound,
                "utilization %": 100 * layer.utilization,
                "remarks": "; ".join(layer.warnings),
            }
            for layer in report.layers
        ]
    )


def _bits_pair(weights: float, activations: float) -> str:
    """Return the bits of weights and activations; a dash for a layer without weights."""
    return f"{f'{weights:.3g}' if weights else '-'}/{activations:.3g}"


def _task_cells(run: Run) -> dict[str, object]:
    """Return the substitutes for accuracy: the cosine of outputs, and the user's metric."""
    metric = run.evaluation.metric
    text = lost = ""
    if metric is not None:
        text = f"{metric_value_text(metric, metric.quantized_value)} {metric.name}"
        loss = lost_metric(metric)
        lost = "" if loss is None else loss.lost_text
    return {"metric": text, "lost": lost, "cosine": run.evaluation.cosine}


def run_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Return a row for each run; with cosine and metric if a run has no classes, or a metric.

    Score and cost follow the name, because these columns decide and must be in sight. Where the
    first run has no classes, what stands for accuracy comes before top-1; where none has classes,
    the columns of answers are left out.
    """
    names = distinct_names(runs)
    tagged = any(run.tags for run in runs)
    noun = common_noun(run.cost for run in runs)
    classes = bool(runs and runs[0].evaluation.classes)
    told = any(not run.evaluation.classes or run.evaluation.metric for run in runs)
    empty = [] if any(run.evaluation.classes for run in runs) else OF_CLASSES
    table = pd.DataFrame(
        [
            {
                "name": name,
                **({} if classes else _task_cells(run)),
                "top-1 %": to_percent(run.evaluation.quantized_top1),
                "drop": to_percent(run.evaluation.top1_drop),
                **(_task_cells(run) if told and classes else {}),
                "energy": format_energy(run.cost.energy_pj),
                "latency": format_time(run.cost.latency_s),
                "recipe": ", ".join(run.recipe) or "none",
                "machine": machine_title(run.cost.machine),
                "agreement %": to_percent(run.evaluation.agreement)
                if run.evaluation.classes
                else None,
                "SQNR dB": run.evaluation.sqnr_db,
                **({"tags": ", ".join(run.tags)} if tagged else {}),
                "weights": format_bytes(run.cost.weight_bytes),
                "peak memory": format_bytes(run.cost.peak_activation_bytes),
                "model": run.model,
                f"{noun}s": run.evaluation.samples,
                "data": run.data,
                "seconds": run.seconds,
                "when": run.created,
            }
            for run, name in zip(runs, names, strict=True)
        ]
    )
    return table.drop(columns=empty, errors="ignore")


def distinct_names(runs: Sequence[Run]) -> list[str]:
    """Return the names of runs; equal names get the time in UTC, and a number at an equal time."""
    counts = Counter(run.name for run in runs)
    found = [
        run.name if counts[run.name] == 1 else f"{run.name} ({run.created[5:16].replace('T', ' ')})"
        for run in runs
    ]
    again = Counter(found)
    seen: Counter[str] = Counter()
    for place in reversed(range(len(runs))):  # the oldest is number one
        name = found[place]
        if again[name] > 1:
            seen[name] += 1
            found[place] = f"{name[:-1]}, {seen[name]})"
    return found


def to_percent(share: float | None) -> float | None:
    """Return a share of 1 in percent; None stays None."""
    return None if share is None else 100 * share
