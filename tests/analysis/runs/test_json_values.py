import json
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pytest

from accelerator.report import Energy
from accelerator.workload import OpKind
from analysis.runs.json_values import plain_from_result, result_from_plain
from analysis.runs.run_store import Run
from tests.analysis.results import layer_cost, report, run, unlabelled


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    share: float
    count: int = 1


@dataclass(frozen=True)
class Outer:
    name: str
    colour: Colour
    inner: Inner
    many: tuple[Inner, ...]
    pair: tuple[int, float]
    table: dict[str, float]
    flag: bool
    maybe: Inner | None = None
    anything: dict[str, Any] = field(default_factory=dict)


OUTER = Outer(
    "a", Colour.RED, Inner(math.inf), (Inner(0.5, 2), Inner(-math.inf)), (3, 0.25),
    {"x": math.inf, "y": 1.0}, flag=True, maybe=Inner(1.0), anything={"deep": [1, {"k": None}]},
)  # fmt: skip


def through_json(value: object) -> Any:
    return json.loads(json.dumps(plain_from_result(value), allow_nan=False))


def test_round_trip_of_every_kind_of_field() -> None:
    assert result_from_plain(Outer, through_json(OUTER)) == OUTER


def test_a_whole_run_survives() -> None:
    odd = layer_cost("pool", Energy(1, 2, 3, 4, 5, 6, 7), kind=OpKind.POOL, warnings=("w",))
    made = run("n", report(layer_cost("a"), odd), layer_sqnr_db={"a": math.inf, "pool": 3.0})
    assert result_from_plain(Run, through_json(made)) == made
    bare = run("n", report(odd), unlabelled(900))
    assert result_from_plain(Run, through_json(bare)) == bare


def test_nan_survives() -> None:
    assert math.isnan(result_from_plain(Inner, through_json(Inner(math.nan))).share)


def test_unknown_keys_are_ignored_and_defaults_filled() -> None:
    assert result_from_plain(Inner, {"share": 1, "new": "x"}) == Inner(1.0, 1)


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("name", 3, "Outer.name"),
        ("colour", "blue", "blue"),
        ("inner", 3, "Outer.inner"),
        ("inner", {"share": 1.0, "count": "2"}, "Outer.inner.count"),
        ("inner", {"share": 1.0, "count": True}, "Outer.inner.count"),
        ("inner", {"count": 2}, "Outer.inner.share"),
        ("many", {"a": 1}, "Outer.many"),
        ("many", [{"share": "much"}], "much"),
        ("pair", [1, 2.0, 3.0], "argument"),
        ("table", [1.0], "Outer.table"),
        ("table", {"x": None}, "Outer.table.x"),
        ("flag", 1, "Outer.flag"),
        ("maybe", [], "Outer.maybe"),
    ],
)
def test_wrong_types_are_refused_with_their_place(key: str, value: object, where: str) -> None:
    with pytest.raises(ValueError, match=where):
        result_from_plain(Outer, {**through_json(OUTER), key: value})


def test_a_missing_field_is_refused() -> None:
    plain = through_json(OUTER)
    del plain["colour"]
    with pytest.raises(ValueError, match=r"Outer\.colour must be there"):
        result_from_plain(Outer, plain)
