"""A session's file: what is written is read, and what cannot be is refused in a sentence."""

import json
import math
import pickle
from dataclasses import replace
from typing import Any

import pytest

from accelerator.machine import load_preset, preset_names
from analysis.cost.quantity import Quantity
from analysis.evaluation.measures import Interval
from analysis.mixed_precision.pareto_record import FoundRecord, FrontPoint, FrontRecord
from analysis.prediction.noise_table import NoiseSum
from analysis.prediction.predictor import Prediction
from analysis.runs.experiment import Experiment
from analysis.runs.experiment_file import EncodingsReference, ExperimentRecord
from analysis.runs.json_values import plain_from_result
from analysis.sensitivity.sweep import CellScore, Depth, Question, Sensitivity, Sweep
from analysis.session_file import (
    MAX_BYTES,
    MOST_RUNS,
    DataReference,
    ModelReference,
    Session,
    SessionError,
    read_session_file,
    write_session_json,
)
from quant.config import QuantConfig, uniform_config
from quant.passes.adaround import AdaRound
from quant.passes.equalize import Equalize
from quant.simulation.plan import Side
from quant.spec import SpecChange
from tests.analysis.results import evaluation, layer_cost, report, run, unlabelled

CONFIG = uniform_config(4, 8).with_layer_change("first", weight=SpecChange(bits=8))


EXPERIMENT = Experiment(
    CONFIG, load_preset("bitfusion_like"), (Equalize(), AdaRound(iterations=7)), given_name="mine"
)
RECORD = ExperimentRecord(EXPERIMENT, EncodingsReference("mine.encodings", "{}"))


def swept() -> Sensitivity:
    question = Question("first", 4, Side.WEIGHTS)
    score = CellScore(question, Depth.EXACT, 9, math.inf, sqnr_ci95=Interval(1.0, math.inf))
    return Sensitivity(Sweep(CONFIG), Depth.EXACT, 9, None, (score,))


def session(**changes: Any) -> Session:
    ran = run("one", report(layer_cost("a")), evaluation(3, 1), config=CONFIG.to_dict())
    other = run("two", report(layer_cost("a")), unlabelled(90, 100), config=CONFIG.to_dict())
    made = Session(
        model=ModelReference("net", "m" * 64, "/home/one/net.pt2", input_shape=(3, 8, 8)),
        data=DataReference("images", "d" * 64, "/home/one/images", '{"resize": 8}', 16, 100, 3),
        record=RECORD,
        runs=(ran, other),
        sensitivity=swept(),
    )
    return replace(made, **changes)


def with_front() -> Session:
    prediction = Prediction(20.0, Interval(15.0, 25.0), 0.1, Interval(0.05, 0.2))
    costs = {str(quantity): 2.0 for quantity in Quantity}
    summed = NoiseSum(0.01, 0.02, (0.25, 0.75))
    point = FrontPoint("Mixed", CONFIG.to_dict(), costs, summed, prediction, proven=True)
    front = FrontRecord("m", "d", "bitfusion_like", Quantity.ENERGY, (point,), (point,), costs)
    return session(found=(FoundRecord({"bits": [8, 4]}, (front,), swept(), (swept(),)),))


def test_fronts_and_the_sensitivities_behind_them_come_back() -> None:
    made = with_front()
    assert read_session_file(write_session_json(made).encode()) == made
    plain = json.loads(write_session_json(made))
    del plain["found"]  # as sessions were written before
    assert read(plain).found == ()


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("found", None, "must be a list"),
        ("found.0.question", 3, "question 0 cannot be read"),
        ("found.0.fronts.0.quantity", "beauty", "question 0 cannot be read"),
        ("found.0.fronts.0.proposals", [], "1 to 200 points"),
        ("found.0.fronts.0.proposals.0.costs.energy", -1.0, "must have costs"),
        ("found.0.fronts.0.eight", {}, "must have costs"),
        ("found.0.fronts.0.references.0.config", {"rules": 3}, "rules must be a list"),
        ("found.0.sensitivity.sweep.config.default.weight.bits", 99, "bits must lie"),
        (
            "found.0.fronts.0.proposals.0.seconds",
            "nan",
            r"seconds must be a finite number; got nan",
        ),
        ("found.0.fronts.0.proposals.0.summed.energy", "inf", r"summed\.energy must be a finite"),
        ("found.0.fronts.0.references.0.prediction.sqnr_db", "nan", r"sqnr_db must be a finite"),
        ("found.0.fronts.0.proposals.0.prediction.loss", "-inf", r"loss must be a finite"),
        ("found.0.sensitivity.scores.0.sqnr_db", "nan", r"sqnr_db must be a finite"),
        ("found.0.sensitivity.scores.0.sqnr_db", "-inf", r"sqnr_db must be a finite"),
        ("found.0.sensitivity.scores.0.sqnr_db", -1e300, r"between -10000 and 10000 dB"),
        ("found.0.others.0.scores.0.kl", "inf", r"others\[0\]\.scores\[0\]\.kl must be a finite"),
        ("sensitivity.scores.0.sqnr_db", "nan", r"sqnr_db must be a finite"),
        ("sensitivity.scores.0.kl", "inf", r"kl must be a finite"),
    ],
)
def test_a_front_that_cannot_be_is_named(path: str, value: object, said: str) -> None:
    plain = json.loads(write_session_json(with_front()))
    _set(plain, path, value)
    with pytest.raises(SessionError, match=said):
        read(plain)


def raw(**changes: Any) -> dict[str, Any]:
    return {**json.loads(write_session_json(session())), **changes}


def read(plain: object) -> Session:
    return read_session_file(json.dumps(plain).encode())


def test_what_is_written_is_read_again_with_every_number() -> None:
    made = session()
    assert read_session_file(write_session_json(made).encode()) == made


def test_without_data_runs_and_sweep_it_is_a_session_too() -> None:
    bare = session(data=None, record=ExperimentRecord(EXPERIMENT), runs=(), sensitivity=None)
    assert read_session_file(write_session_json(bare).encode()) == bare


@pytest.mark.parametrize("name", preset_names())
def test_a_machine_of_ones_own_goes_with_it(name: str) -> None:
    own = replace(load_preset(name), name="my own")
    made = session(record=ExperimentRecord(replace(EXPERIMENT, machine=own)))
    assert read_session_file(write_session_json(made).encode()).record.experiment.machine == own


def test_a_preset_is_taken_from_here_whatever_the_file_says() -> None:
    table = {**plain_from_result(load_preset("bitfusion_like")), "clock_hz": 1.0}
    read_back = read(raw(experiment={**raw()["experiment"], "machine": table}))
    assert read_back.record.experiment.machine == load_preset("bitfusion_like")


def old(**changes: Any) -> dict[str, Any]:
    """A session as version 1 wrote it."""
    plain = raw(version=1)
    del plain["experiment"]
    machine = plain_from_result(load_preset("bitfusion_like"))
    encodings = {"source": "mine.encodings", "text": "{}"}
    before = {"machine": machine, "config": CONFIG.to_dict(), "config_name": "mine"}
    return {**plain, **before, "grids": encodings, **changes}


def test_a_session_of_version_1_is_read_as_an_experiment_without_repairs() -> None:
    found = read(old())
    assert found.record == replace(RECORD, experiment=replace(EXPERIMENT, recipe=()))
    assert [run.name for run in found.runs] == ["one", "two"]
    assert found.sensitivity == swept()


def test_the_file_is_plain_json_without_absolute_paths_but_as_references() -> None:
    plain = json.loads(write_session_json(session()))
    paths = [key for key in ("model", "data") if "/home/one" in json.dumps(plain.pop(key))]
    assert paths == ["model", "data"]
    assert "/home" not in json.dumps(plain)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "must be JSON"),
        (b"\xff\xfe", "must be JSON"),
        (pickle.dumps({"format": "quantscope-session"}), "must be JSON"),
        (b"[]", "something else"),
        (b"{}", "something else"),
        (b'{"format": "quantscope-session"}', "version 1 or 2; got None"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"format": "quantscope-session", "version": 1, "version": 2}', "'version' stands twice"),
        (b'{"format": "quantscope-session", "version": 1' + b" " * MAX_BYTES, "at most"),
    ],
)
def test_what_is_no_session_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(SessionError, match=said):
        read_session_file(content)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 3}, "version 1 or 2; got 3"),
        ({"model": None}, "model cannot be read"),
        ({"model": {"name": "net"}}, r"ModelReference\.digest must be there"),
        ({"model": {"name": 1, "digest": "", "source": ""}}, "must be of type str"),
        ({"data": {"name": "a"}}, "data cannot be read"),
        ({"created": 3}, "created must be text"),
        ({"versions": {"torch": 2}}, "versions must be texts"),
        ({"runs": None}, "must be a list"),
        ({"runs": [{}]}, "run 0 cannot be read"),
        ({"runs": [None] * (MOST_RUNS + 1)}, "at most"),
        ({"sensitivity": []}, "must be an object with a sweep"),
        ({"sensitivity": {"sweep": {"config": {"a": 1}}}}, "config cannot be read"),
    ],
)
def test_a_part_that_cannot_be_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SessionError, match=said):
        read(raw(**changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"machine": None}, "machine must be one of"),
        ({"machine": {"name": "own"}}, "machine cannot be read"),
        ({"machine": {"name": ["list"]}}, "machine"),
        ({"config": None}, "config"),
        ({"config": {"default": {"weight": {"bits": 99}}}}, "bits must lie"),
    ],
)
def test_an_experiment_that_cannot_be_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SessionError, match=said):
        read(old(**changes))
    with pytest.raises(SessionError, match=said):
        read(raw(experiment={**raw()["experiment"], **changes}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"config_name": None}, "config_name must be text"),
        ({"grids": {"source": 1}}, "grids cannot be read"),
    ],
)
def test_a_part_of_version_1_that_cannot_be_is_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SessionError, match=said):
        read(old(**changes))


def _set(item: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    *parents, last = path.split(".")
    place: Any = item
    for key in parents:
        place = place[int(key) if key.isdecimal() else key]
    place[last] = value
    return item


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("evaluation.samples", 0, "images and shares"),
        ("evaluation.agreement", 1.5, "images and shares"),
        ("evaluation.quantized_top1", "nan", "images and shares"),
        ("evaluation.top1_drop", "nan", "images and shares"),
        ("evaluation.top1_drop", -3, "images and shares"),
        ("evaluation.agreement", "much", "cannot be read"),
        ("seconds", "inf", "costs from 0 on"),
        ("cost.energy.dram_pj", "inf", "costs from 0 on"),
        ("cost.layers.0.latency_s", -1.0, "costs from 0 on"),
        ("cost.latency_s", "nan", "costs from 0 on"),
        ("cost.layers.0.kind", "magic", "cannot be read"),
        ("config", {"rules": 3}, "has no configuration"),
        ("layer_sqnr_db", [], "cannot be read"),
    ],
)
def test_a_run_that_cannot_be_is_named(path: str, value: object, said: str) -> None:
    plain = raw()
    _set(plain["runs"][1], path, value)
    with pytest.raises(SessionError, match=rf"run 1.*{said}"):
        read(plain)


def test_two_runs_cannot_be_one() -> None:
    plain = raw()
    plain["runs"][1]["id"] = plain["runs"][0]["id"]
    with pytest.raises(SessionError, match="id of its own"):
        read(plain)


def test_a_builder_is_a_word_and_nothing_runs() -> None:
    made = session(model=ModelReference("n", "d", "w.safetensors", builder="evil.py:build"))
    assert read_session_file(write_session_json(made).encode()).model.builder == "evil.py:build"


def test_a_default_configuration_survives() -> None:
    record = ExperimentRecord(replace(EXPERIMENT, config=QuantConfig()))
    made = session(record=record, runs=())
    assert read_session_file(write_session_json(made).encode()).record == record
