"""Two runs beside each other: changes, savings and losses, in words and by layer."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from accelerator.machine import machine_title
from accelerator.report import LayerCost
from accelerator.workload import FLOAT_BITS, WEIGHT_KINDS
from analysis.evaluation.measures import Interval
from analysis.evaluation.score_change import lost_top1_share, score_change_clause
from analysis.evaluation.told_score import unequal_measures_sentence
from analysis.runs.run_store import Run
from plain_files.read_json import JsonObject

MOST_PHRASES = 3
AUDIBLE_DB = 0.5
"""Changes of SQNR below this are not worth a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDifference:
    """One layer in both runs: requested widths in bits, energy in pJ, latency in s, SQNR in dB.

    None means that the run lacks the layer, that the operation has no weights, or that the
    network's input costs nothing.
    """

    layer: str
    weight_bits_before: int | None = None
    weight_bits_after: int | None = None
    activation_bits_before: int | None = None
    activation_bits_after: int | None = None
    energy_before_pj: float | None = None
    energy_after_pj: float | None = None
    latency_before_s: float | None = None
    latency_after_s: float | None = None
    sqnr_before_db: float | None = None
    sqnr_after_db: float | None = None


def differences_by_layer(before: Run, after: Run) -> tuple[LayerDifference, ...]:
    """Return a row for the layers of either run, in order of execution."""
    old, new = _Layers(before), _Layers(after)
    return tuple(
        LayerDifference(
            layer=name,
            weight_bits_before=old.weight_bits(name),
            weight_bits_after=new.weight_bits(name),
            activation_bits_before=old.activation_bits(name),
            activation_bits_after=new.activation_bits(name),
            energy_before_pj=old.energy_pj(name),
            energy_after_pj=new.energy_pj(name),
            latency_before_s=old.latency_s(name),
            latency_after_s=new.latency_s(name),
            sqnr_before_db=before.layer_sqnr_db.get(name),
            sqnr_after_db=after.layer_sqnr_db.get(name),
        )
        for name in merge_layer_order(old.names, new.names)
    )


class _Layers:
    """One run's layers by name."""

    def __init__(self, run: Run) -> None:
        self.costs: dict[str, LayerCost] = {layer.layer: layer for layer in run.cost.layers}
        self.names = merge_layer_order(list(run.layer_sqnr_db), list(self.costs))

    def weight_bits(self, name: str) -> int | None:
        layer = self.costs.get(name)
        return layer.requested_weight_bits if layer and layer.kind in WEIGHT_KINDS else None

    def activation_bits(self, name: str) -> int | None:
        return self.costs[name].requested_activation_bits if name in self.costs else None

    def energy_pj(self, name: str) -> float | None:
        return self.costs[name].energy_pj if name in self.costs else None

    def latency_s(self, name: str) -> float | None:
        return self.costs[name].latency_s if name in self.costs else None


def merge_layer_order(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Return the union of both name lists; a name only in `after` follows its neighbour there.

    Example:
        >>> merge_layer_order(["a", "c"], ["a", "b", "c"])
        ['a', 'b', 'c']
    """
    merged = list(dict.fromkeys(before))
    place = 0
    for name in dict.fromkeys(after):
        if name in merged:
            place = merged.index(name) + 1
        else:
            merged.insert(place, name)
            place += 1
    return merged


def with_distinct_names(before: Run, after: Run) -> tuple[Run, Run]:
    """Return both runs; runs with equal names get the creation times in UTC."""
    if before.name != after.name:
        return before, after
    first, second = (run.created[:19].replace("T", " ") for run in (before, after))
    if first == second:
        second += ", later"
    pairs = (before, first), (after, second)
    old, new = (replace(run, name=f"{run.name} ({time})") for run, time in pairs)
    return old, new


def describe_run_change(before: Run, after: Run) -> tuple[str, ...]:
    """Return sentences on the change from `before` to `after`, the most important first.

    Sentences name incomparable parts (another network, other data, another machine) and leave the
    parts out.
    """
    same_model = before.model_digest == after.model_digest
    same_data = before.data_digest == after.data_digest
    same_machine = before.cost.machine == after.cost.machine
    clauses = []
    if same_machine:
        clauses.append(_lost_share_clause("energy", before.cost.energy_pj, after.cost.energy_pj))
    if same_model and same_data:
        clauses.append(score_change_clause(before.evaluation, after.evaluation))
    sentences = []
    if clauses:
        subject = (
            _changed_widths_subject(before, after)
            if same_model
            else f"{after.name} instead of {before.name}"
        )
        sentences.append(f"{subject} {' and '.join(clauses)}.")
    sentences += _comparison_caveats(before, after)
    if same_model and same_data:
        measures = unequal_measures_sentence((before.evaluation, after.evaluation))
        sentences += [measures] if measures else []
    if same_machine:
        sentences += _cost_sentences(before, after)
    if same_model:
        sentences += _noise_sentences(before, after)
    return tuple(sentences)


def lost_accuracy_share(before: Run, after: Run) -> tuple[float, Interval] | None:
    """Return the share of top-1 that `after` loses against `before`, with the 95 % interval.

    The result is None without labels or with different images.
    """
    images = [(run.model_digest, run.data_digest) for run in (before, after)]
    if images[0] != images[1]:
        return None
    return lost_top1_share(before.evaluation, after.evaluation)


def _changed_widths_subject(before: Run, after: Run) -> str:
    """Return the changed widths in words, such as "W4 in 12 layers"."""
    rows = differences_by_layer(before, after)
    weights = Counter(
        _changed_width_text("W", r.weight_bits_before, r.weight_bits_after) for r in rows
    )
    activations = Counter(
        _changed_width_text("A", row.activation_bits_before, row.activation_bits_after)
        for row in rows
    )
    changes = {**weights, **activations}
    changes.pop("", None)
    others = _changes_besides_widths(before, after)
    if not changes:
        # then only widths without a layer can differ
        same = "The same configuration" if before.config == after.config else "Another setting"
        return " and ".join(others).capitalize() or same
    # weights before activations, then the most frequent
    common = sorted(changes.items(), key=lambda item: (item[0] in activations, -item[1]))
    phrases = [f"{width} in {_layer_count_text(count)}" for width, count in common]
    if len(common) > MOST_PHRASES:
        touched = sum(_changes_width(row) for row in rows)
        phrases = [f"Another mix of widths in {_layer_count_text(touched)}"]
    phrases += others
    if len(phrases) == 1:
        return phrases[0]
    return f"{phrases[0]} with {' and '.join(phrases[1:])}"


def _changes_besides_widths(before: Run, after: Run) -> list[str]:
    """Return the other changes, which contribute to the difference."""
    found = []
    old, new = _config_without_widths(before.config), _config_without_widths(after.config)
    if old != new:
        found.append("another setting")
    if before.recipe != after.recipe:
        found.append("another recipe" if after.recipe else "no recipe")
    return found


def _config_without_widths(
    config: JsonObject,
) -> tuple[JsonObject, list[tuple[object, JsonObject]]]:
    """Return a configuration's default and rules without bits; rules on bits alone fall away."""

    def kept(part: JsonObject) -> JsonObject:
        sides = {
            side: {name: value for name, value in part.get(side, {}).items() if name != "bits"}
            for side in ("weight", "activation")
        }
        return {side: values for side, values in sides.items() if values}

    rules = [(rule["select"], kept(rule)) for rule in config.get("rules", ())]
    return kept(config.get("default", {})), [rule for rule in rules if rule[1]]


def _changes_width(row: LayerDifference) -> bool:
    return bool(
        _changed_width_text("W", row.weight_bits_before, row.weight_bits_after)
        or _changed_width_text("A", row.activation_bits_before, row.activation_bits_after)
    )


def _changed_width_text(letter: str, before: int | None, after: int | None) -> str:
    """Return the new width, such as "W4" or "float weights"; empty without a change."""
    if before is None or after is None or before == after:
        return ""
    if after >= FLOAT_BITS:
        return "Float weights" if letter == "W" else "Float activations"
    return f"{letter}{after}"


def _layer_count_text(count: int) -> str:
    return f"{count} layer" if count == 1 else f"{count} layers"


def _lost_share_clause(what: str, before: float, after: float) -> str:
    if before == after or before <= 0:
        return f"leaves the {what} as it is"
    share = abs(after - before) / before
    if share < 0.0005:
        return f"changes the {what} by less than 0.1 %"
    if after > 2 * before:
        return f"takes {after / before:.1f} times the {what}"
    if after < before:
        return f"saves {_percent_text(share)} of the {what}"
    return f"adds {_percent_text(share)} to the {what}"


def _percent_text(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %"


def _comparison_caveats(before: Run, after: Run) -> Iterator[str]:
    if before.model_digest != after.model_digest:
        yield (
            f"The networks differ ({_values_of_both(before.model, after.model)}): accuracy and "
            "layers "
            "cannot be compared."
        )
    if before.data_digest != after.data_digest:
        data = _values_of_both(before.data, after.data)
        yield f"The data differ ({data}): accuracy cannot be compared."
    if before.cost.machine != after.cost.machine:
        machines = _values_of_both(*(machine_title(run.cost.machine) for run in (before, after)))
        yield f"The machines differ ({machines}): energy and latency cannot be compared."


def _values_of_both(before: str, after: str) -> str:
    return f"both called {before}" if before == after else f"{before} and {after}"


def _cost_sentences(before: Run, after: Run) -> Iterator[str]:
    old, new = before.cost, after.cost
    for what, first, second in (
        ("latency", old.latency_s, new.latency_s),
        ("weight memory", old.weight_bytes, new.weight_bytes),
        ("peak activation memory", old.peak_activation_bytes, new.peak_activation_bytes),
    ):
        if first != second:
            yield f"It {_lost_share_clause(what, first, second)}."


def _noise_sentences(before: Run, after: Run) -> Iterator[str]:
    """Name the layer with the largest change of output SQNR, if a change matters."""
    changes = {
        row.layer: row.sqnr_after_db - row.sqnr_before_db
        for row in differences_by_layer(before, after)
        if row.sqnr_before_db is not None and row.sqnr_after_db is not None
    }
    heard = {
        name: db for name, db in changes.items() if abs(db) >= AUDIBLE_DB and not _is_odd_level(db)
    }
    if heard:
        most = max(heard, key=lambda name: abs(heard[name]))
        verb = "falls" if heard[most] < 0 else "rises"
        old, new = before.layer_sqnr_db[most], after.layer_sqnr_db[most]
        yield f"The SQNR of {most} {verb} most, from {old:.1f} to {new:.1f} dB."


def _is_odd_level(db: float) -> bool:
    return not math.isfinite(db)
