"""What differs between runs: a row for each fact that is not the same in all of them."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from accelerator.workload import FLOAT_BITS, WEIGHT_KINDS
from analysis.runs.run_store import Run
from quant.graph.layers import layer_count
from ui.widgets.tables import run_table

DIGITS = {"top-1 %": 2, "drop": 2, "agreement %": 2, "SQNR dB": 1, "cosine": 4}
LEFT_OUT = ("name", "seconds", "when", "tags")
FACT = "what"


def differing_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Return a row for each fact that differs, and a column for each run.

    Settings come before results; equal facts are left out.
    """
    table = run_table(runs)
    names = list(table["name"])
    facts: dict[str, list[str]] = {}
    for row in ("model", "data", "images", "rows", "machine", "recipe"):
        if row not in table:
            continue
        facts[row] = [str(value) for value in table[row]]
    settings = [_settings_of(run) for run in runs]
    for row in dict.fromkeys(name for one in settings for name in one):
        facts[row] = [one.get(row, "") for one in settings]
    for row in table.columns:
        if row not in facts and row not in LEFT_OUT:
            facts[row] = [_cell_text(value, DIGITS.get(row)) for value in table[row]]
    rows = [
        {FACT: name, **dict(zip(names, values, strict=True))}
        for name, values in facts.items()
        if len(set(values)) > 1
    ]
    return pd.DataFrame(rows, columns=[FACT, *names])


def _cell_text(value: object, digits: int | None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.{digits}f}" if isinstance(value, float) and digits is not None else str(value)


def _settings_of(run: Run) -> dict[str, str]:
    """Return bits and default settings of a run in words, by name."""
    layers = run.cost.layers
    weights = [one.requested_weight_bits for one in layers if one.kind in WEIGHT_KINDS]
    found = {
        "weight bits": _bits_text(weights),
        "activation bits": _bits_text([one.requested_activation_bits for one in layers]),
    }
    default = run.config.get("default", {})
    for side in ("weight", "activation"):
        spec = default.get(side, {})
        if isinstance(spec, Mapping):
            told = {name: value for name, value in spec.items() if name != "bits"}
            found |= {
                f"{side} {name.replace('_', ' ')}": str(value) for name, value in told.items()
            }
    found[f"calibration {run.cost.noun}s"] = str(run.calibration_images)
    found["seed"] = str(run.seed)
    return found


def _bits_text(widths: Sequence[int]) -> str:
    """Return widths in words, the most frequent first, such as "8 (20 layers), 4 (7 layers)"."""
    counts = Counter("float" if bits >= FLOAT_BITS else str(bits) for bits in widths)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{bits} ({layer_count(count)})" for bits, count in counts.most_common())
