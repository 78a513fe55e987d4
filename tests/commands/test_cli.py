"""The command line: its JSON, its files, and one clear sentence for what cannot be done."""

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from accelerator.machine import MACHINES, preset_names
from cli import app
from sample_models.registry import SAMPLES

ROOT = Path(__file__).parents[2]
MODEL = "fashion-resnet"
QUICK = ("--samples", "60", "--calibration", "20")
BUILDER = """
from torch import nn

def small():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5),
    )
"""

Ask = Callable[..., Any]


def small() -> nn.Module:
    """Return the network that BUILDER makes, with random weights."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    ).eval()


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Return a function that runs a command and returns the JSON it wrote."""

    def run(*arguments: str | Path) -> Any:
        out = tmp_path / "answer.json"
        result = CliRunner().invoke(app, [*map(str, arguments), "--json", str(out)])
        assert result.exit_code == 0, result.stderr
        assert result.stdout == ""
        return json.loads(out.read_text(encoding="utf-8"))

    return run


def refused(*arguments: str | Path) -> str:
    """Run a command that must fail; return its one sentence."""
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert lines[-1].startswith("Error: "), lines
    return lines[-1]


@pytest.fixture
def pt2(tmp_path: Path) -> Path:
    """A .pt2 file of a small network for images of 3 x 8 x 8, any batch."""
    path = tmp_path / "small.pt2"
    dims = ({0: torch.export.Dim("batch", min=1, max=64)},)
    torch.export.save(
        torch.export.export(small(), (torch.zeros(2, 3, 8, 8),), dynamic_shapes=dims), path
    )
    return path


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """30 unlabelled float inputs for it."""
    path = tmp_path / "inputs.npz"
    values = np.random.default_rng(0).normal(size=(30, 3, 8, 8)).astype(np.float32)
    np.savez(path, inputs=values)
    return path


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """40 labelled colour images of 8 x 8 for it."""
    path = tmp_path / "labelled.npz"
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    np.savez(path, inputs=images, labels=generator.integers(0, 5, 40))
    return path


def write(path: Path, content: object) -> Path:
    """Write JSON and return its path."""
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_models_and_machines_are_all_listed(ask: Ask) -> None:
    models = ask("models")
    assert [model["name"] for model in models] == list(SAMPLES)
    scores = {model["metric"]: model["float_score"] for model in models}
    assert set(scores) == {"top-1", "mAP", "mIoU"}
    assert scores["mAP"] > 0.3
    assert scores["mIoU"] > 0.5
    assert all(0.85 < one["float_top1"] < 1 for one in models if one["metric"] == "top-1")
    assert all(one["float_top1"] is None for one in models if one["metric"] != "top-1")
    machines = ask("machines")
    assert [machine["name"] for machine in machines] == list(preset_names())
    assert {machine["illustrative"] for machine in machines} == {True, False}


def test_the_list_of_machines_goes_to_standard_output_without_torch() -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['cli.py', 'machines']\n"
        "try:\n    runpy.run_path('cli.py', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "sys.exit('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout)) == len(preset_names())


def test_cost_tells_every_layer(ask: Ask) -> None:
    wide = ask("cost", "--model", MODEL, "--machine", "bitfusion_like")
    cost = wide["cost"]
    assert wide["model"] == MODEL
    assert wide["input_shape"] == [1, 28, 28]
    assert cost["machine"] == "bitfusion_like"
    assert cost["energy_pj"] == pytest.approx(sum(row["energy_pj"] for row in cost["layers"]))
    assert cost["macs"] == sum(row["macs"] for row in cost["layers"])
    assert {"layer", "macs", "energy_pj", "cycles", "latency_s"} <= set(cost["layers"][0])
    narrow = ask("cost", "--model", MODEL, "--machine", "bitfusion_like", "--weight-bits", "4")
    assert narrow["cost"]["energy_pj"] < cost["energy_pj"]
    assert narrow["cost"]["weight_bytes"] < cost["weight_bytes"]


def test_cost_takes_files_for_machine_and_configuration(ask: Ask, tmp_path: Path) -> None:
    rules = [
        {"select": "kind:linear", "weight": {"bits": 4}},
        {"select": "blocks.*", "weight": {"bits": 6}},
    ]
    config = write(tmp_path / "config.json", {"rules": rules})
    machine = MACHINES / "tpu_v1_like.toml"
    found = ask("cost", "--model", MODEL, "--machine", machine, "--config", config)
    assert found["cost"]["machine"] == "tpu_v1_like"
    matched = [rule["matched"] for rule in found["config"]["rules"]]
    assert matched[0] == 1
    assert matched[1] > 10
    bits = {row["layer"]: row["requested_weight_bits"] for row in found["cost"]["layers"]}
    assert bits["classifier"] == 4
    assert bits["stem.0"] == 8
    assert bits["blocks.0.conv1"] == 6


def test_evaluate_tells_accuracy_beside_cost(ask: Ask) -> None:
    found = ask("evaluate", "--model", MODEL, *QUICK, "--seed", "3")
    assert (found["model"], found["samples"], found["seed"]) == (MODEL, 60, 3)
    assert found["calibration_images"] == 20
    assert found["labelled"] is True
    assert found["data"]["name"] == "Fashion-MNIST test set"
    assert len(found["data"]["digest"]) == 64
    before, after = found["float"], found["quantized"]
    assert before["top1"] > 0.8
    assert before["top1_ci95"][0] <= before["top1"] <= before["top1_ci95"][1]
    assert after["top1_ci95"][0] <= after["top1"] <= after["top1_ci95"][1]
    assert after["agreement"] > 0.9
    assert after["sqnr_db"] > 20
    assert found["drop"]["top1"] == pytest.approx(before["top1"] - after["top1"])
    assert found["drop"]["top1_ci95"][0] <= found["drop"]["top1"] <= found["drop"]["top1_ci95"][1]
    # 60 images cannot tell whether a point is lost
    assert found["verdict"]["level"] == "undecided"
    assert found["verdict"]["sentence"].startswith(("Lost ", "Gained "))
    assert {"machine", "energy_pj", "latency_s", "weight_bytes", "peak_activation_bytes"} <= set(
        found["cost"]
    )
    assert found["versions"]["torch"] == str(torch.__version__)
    assert found["notes"] == ["Scored on 60 images drawn at random from 10000."]


def test_evaluate_gives_the_same_figures_again(ask: Ask) -> None:
    asked = ("evaluate", "--model", MODEL, *QUICK, "--weight-bits", "4")
    first, second = ask(*asked), ask(*asked)
    assert first.pop("seconds") > 0
    assert second.pop("seconds") > 0
    assert first == second
    assert ask(*asked, "--seed", "1")["data"]["digest"] != first["data"]["digest"]


def test_the_answer_goes_to_standard_output_and_progress_does_not() -> None:
    result = CliRunner().invoke(app, ["evaluate", "--model", MODEL, *QUICK, "--json", "-"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["samples"] == 60
    assert "Loading" in result.stderr


def test_options_reach_the_configuration(ask: Ask) -> None:
    found = ask(
        "evaluate", "--model", MODEL, *QUICK, "--weight-bits", "3", "--activation-bits", "6",
        "--granularity", "per-tensor", "--estimator", "min-max",
    )  # fmt: skip
    weight, activation = (found["config"]["default"][role] for role in ("weight", "activation"))
    assert (weight["bits"], weight["granularity"], weight["estimator"]) == (
        3, "per-tensor", "min-max",
    )  # fmt: skip
    assert (activation["bits"], activation["estimator"]) == (6, "min-max")
    assert found["quantized"]["sqnr_db"] < 15


def test_float_bits_change_nothing(ask: Ask) -> None:
    found = ask(
        "evaluate", "--model", MODEL, *QUICK, "--weight-bits", "32", "--activation-bits", "32"
    )
    assert found["quantized"]["agreement"] == 1
    assert found["quantized"]["sqnr_db"] is None
    assert found["calibration_images"] == 0
    assert any("identical" in note for note in found["notes"])


def test_data_free_ranges_use_no_image(ask: Ask) -> None:
    found = ask("evaluate", "--model", MODEL, "--samples", "60", "--estimator", "batch-norm")
    assert found["calibration_images"] == 0
    assert found["quantized"]["agreement"] > 0.8
    assert found["config"]["default"]["weight"]["estimator"] == "mse"


def test_a_pt2_file_without_labels_is_compared_with_itself_in_float(
    ask: Ask, pt2: Path, inputs: Path
) -> None:
    found = ask("evaluate", "--model", pt2, "--data", inputs)
    assert found["model"] == "small"
    assert found["labelled"] is False
    assert found["float"] == {"top1": None, "top1_ci95": None}
    assert found["quantized"]["top1"] is None
    assert found["drop"]["top1"] is None
    assert found["quantized"]["agreement"] > 0.5
    assert found["quantized"]["sqnr_db"] > 15
    # half of the images choose the ranges, the others are scored
    assert (found["samples"], found["calibration_images"]) == (15, 15)
    assert any("15 of 30 images" in note for note in found["notes"])
    assert any("no labels" in note for note in found["notes"])


def test_weights_with_a_builder_and_labelled_images(
    ask: Ask, tmp_path: Path, labelled: Path
) -> None:
    save_file(small().state_dict(), tmp_path / "mine.safetensors")
    (tmp_path / "mine.py").write_text(BUILDER, encoding="utf-8")
    steps = write(tmp_path / "steps.json", {"mean": [128, 128, 128], "std": [64, 64, 64]})
    found = ask(
        "evaluate", "--model", tmp_path / "mine.safetensors", "--builder",
        f"{tmp_path / 'mine.py'}:small", "--input-shape", "3,8,8", "--data", labelled,
        "--preprocess", steps, "--calibration", "10", "--samples", "20",
    )  # fmt: skip
    assert found["model"] == "mine"
    assert (found["samples"], found["calibration_images"], found["labelled"]) == (20, 10, True)
    assert 0 <= found["float"]["top1"] <= 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("cost", "--model", "nosuch"), "fashion-resnet"),
        (("cost", "--model", "gone.pt2"), "gone.pt2"),
        (("cost", "--model", "weights.pth"), "pickle"),
        (("cost", "--model", "model.onnx"), "model.onnx"),
        (("cost", "--model", MODEL, "--machine", "nosuch"), "bitfusion_like"),
        (("cost", "--model", MODEL, "--machine", "gone.toml"), "gone.toml"),
        (("cost", "--model", MODEL, "--config", "gone.json"), "gone.json"),
        (("cost", "--model", MODEL, "--config", "."), "directory"),
        (("cost", "--model", MODEL, "--weight-bits", "0"), "between 1 and 16"),
        (("cost", "--model", MODEL, "--weight-bits", "four"), "--weight-bits"),
        (("cost", "--model", MODEL, "--granularity", "per-row"), "per-channel"),
        (("cost", "--model", MODEL, "--input-shape", "3,x"), "3,224,224"),
        (("cost", "--model", MODEL, "--json", "gone/out.json"), "gone/out.json"),
        (("cost", "--model", MODEL, "--json", "."), "--json"),
        (("evaluate", "--model", "efficientnet-lite0"), "without data"),
        (("evaluate", "--model", MODEL, "--samples", "0"), "at least 1"),
        (("evaluate", "--model", MODEL, "--calibration", "-1"), "0 or more"),
        (("evaluate", "--model", MODEL, "--calibration", "0"), "batch-norm"),
        (("evaluate", "--model", MODEL, "--calibration", "12001"), "12000"),
        (("evaluate", "--model", MODEL, "--data", "gone"), "gone"),
        (("evaluate", "--model", MODEL, "--preprocess", "gone.json"), "gone.json"),
        (("evaluate", "--model", "fashion-vit", "--estimator", "batch-norm"), "batch norms"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(*arguments)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "JSON"),
        ("[]", "version"),
        ("[" * 100_000, "nested"),
        ('{"rules": [{"select": "nosuch*", "weight": {"bits": 4}}]}', "nosuch"),
        ('{"default": {"weight": {"bits": "8"}}}', "bits"),
        ('{"default": {"weights": {}}}', "weights"),
    ],
)
def test_a_bad_configuration_is_one_sentence(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(content, encoding="utf-8")
    assert said in refused("cost", "--model", MODEL, "--config", path)


def test_a_configuration_comes_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "config.json", {})
    said = refused("cost", "--model", MODEL, "--config", path, "--weight-bits", "4")
    assert "alone" in said


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b"\xff\xfe\x00\x80")
    assert "text" in refused("cost", "--model", MODEL, "--config", path)


def test_a_machine_without_sources_is_refused(tmp_path: Path) -> None:
    whole = (MACHINES / "tpu_v1_like.toml").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(whole.partition("[sources]")[0], encoding="utf-8")
    assert "source" in refused("cost", "--model", MODEL, "--machine", path)


def test_data_that_do_not_fit_the_network_are_refused(
    tmp_path: Path, pt2: Path, inputs: Path, labelled: Path
) -> None:
    assert "(1, 28, 28)" in refused("evaluate", "--model", MODEL, "--data", inputs)
    assert "preprocessing" in refused("evaluate", "--model", pt2, "--data", labelled)
    assert "without data" in refused("evaluate", "--model", pt2)
    too_high = tmp_path / "high.npz"
    np.savez(too_high, inputs=np.zeros((9, 3, 8, 8), np.float32), labels=np.arange(9))
    assert "between 0 and 4" in refused("evaluate", "--model", pt2, "--data", too_high)
    one = tmp_path / "one.npz"
    np.savez(one, inputs=np.zeros((1, 3, 8, 8), np.float32))
    assert "at least 2" in refused("evaluate", "--model", pt2, "--data", one)


def test_weights_need_their_builder_and_the_shape_of_an_input(tmp_path: Path) -> None:
    weights = tmp_path / "mine.safetensors"
    save_file(small().state_dict(), weights)
    (tmp_path / "mine.py").write_text(BUILDER, encoding="utf-8")
    builder = f"{tmp_path / 'mine.py'}:small"
    assert "builder" in refused("cost", "--model", weights)
    assert "--input-shape" in refused("cost", "--model", weights, "--builder", builder)
    wrong = refused("cost", "--model", weights, "--builder", builder, "--input-shape", "1,8,8")
    assert "traceable" in wrong


def test_a_recipe_repairs_what_collapsed(ask: Ask) -> None:
    model = ("evaluate", "--model", "fashion-mobilenet-imbalanced", "--granularity", "per-tensor")
    plain = ask(*model, *QUICK)
    assert plain["recipe"] == []
    assert plain["quantized"]["top1"] < 0.5
    passes = ("--equalize", "--absorb-bias", "--correct-bias", "empirical")
    repaired = ask(*model, *QUICK, *passes)
    assert repaired["recipe"] == [
        "Equalize", "Absorb biases (data-free)", "Correct biases (empirical)",
    ]  # fmt: skip
    assert repaired["quantized"]["top1"] >= repaired["float"]["top1"] - 0.05
    assert repaired["float"] == plain["float"]


def test_learned_rounding_and_analytic_correction_run_from_the_command_line(
    ask: Ask, tmp_path: Path
) -> None:
    found = ask(
        "evaluate", "--model", MODEL, *QUICK, "--weight-bits", "4", "--adaround",
        "--adaround-iterations", "20", "--correct-bias", "analytic",
        "--reconstruct", "--reconstruct-steps", "1", "--output-steps", "1",
        "--runs", str(tmp_path),
    )  # fmt: skip
    assert found["recipe"] == [
        "Correct biases (analytic)", "AdaRound (20 iterations)",
        "Reconstruct blocks (1 steps, 1 for the outputs)",
    ]  # fmt: skip
    assert len(list((tmp_path / "reconstructions").glob("*.safetensors"))) == 1
    assert found["calibration_images"] == 20


def test_an_unknown_way_of_correcting_biases_is_refused() -> None:
    result = CliRunner().invoke(app, ["evaluate", "--model", MODEL, "--correct-bias", "magic"])
    assert result.exit_code == 2
    assert "magic" in result.stderr


SWEPT = ("sensitivity", "--calibration", "10", "--samples", "16", "--bits", "8,3")


def test_sensitivity_tells_every_layer_role_and_width(
    ask: Ask, pt2: Path, labelled: Path, tmp_path: Path
) -> None:
    scaling = write(tmp_path / "scaling.json", {"mean": [0] * 3, "std": [255] * 3})
    found = ask(*SWEPT, "--model", pt2, "--data", labelled, "--preprocess", scaling)
    assert set(found) >= {"baseline", "layers", "seconds", "forwards", "notes"}
    assert (found["depth"], found["view"], found["samples"]) == ("exact", "only", 16)
    assert 0 <= found["baseline"]["top1"] <= 1
    rows = {(row["layer"], row["role"], row["bits"]): row for row in found["layers"]}
    assert len(rows) == len(found["layers"])
    assert {key[0] for key in rows if key[1] == "weights"} == {"0", "5"}
    assert {key[0] for key in rows if key[1] == "activations"} == {"input", "0", "3", "5"}
    assert {bits for _, _, bits in rows} == {8, 3}
    for row in rows.values():
        assert row["ci95"][0] <= row["accuracy_drop"] <= row["ci95"][1]
        assert 0 <= row["agreement"] <= 1
        assert row["kl"] >= 0
    assert rows["0", "weights", 3]["sqnr_db"] < rows["0", "weights", 8]["sqnr_db"]
    assert 1 < found["forwards"] < 1 + len(rows)


def test_sensitivity_of_both_roles_in_the_whole_network(ask: Ask, pt2: Path, inputs: Path) -> None:
    wanted = ("--role", "both", "--view", "all-but", "--model", pt2, "--data", inputs)
    found = ask(*SWEPT, *wanted)
    assert {row["role"] for row in found["layers"]} == {"both"}
    assert [row["bits"] for row in found["whole"]] == [8, 3]
    assert found["baseline"]["top1"] is None
    assert all(row["accuracy_drop"] is None for row in found["layers"])


def test_the_most_harmful_layers_are_those_of_the_whole_sweep(
    ask: Ask, pt2: Path, inputs: Path
) -> None:
    wanted = (*SWEPT, "--model", pt2, "--data", inputs)
    found = ask(*wanted, "--most-harmful", "1")
    whole = ask(*wanted)["layers"]
    assert [one["role"] for one in found["most_harmful"]] == ["weights", "activations"]
    for one in found["most_harmful"]:
        rows = [row for row in whole if (row["role"], row["bits"]) == (one["role"], 3)]
        assert one["layers"] == [min(rows, key=lambda row: row["sqnr_db"])["layer"]]
        assert one["confidence"] in {0.95, 1.0}
        assert one["images"] <= found["samples"] == 16
    assert all(row["bits"] == 3 for row in found["layers"])


def test_a_sensitivity_sweep_that_was_killed_goes_on_where_it_was(ask: Ask, tmp_path: Path) -> None:
    wanted = (
        *("sensitivity", "--model", MODEL, "--samples", "128", "--bits", "8,3"),
        *("--role", "weights", "--calibration", "0", "--memory", "2"),
    )
    kept = tmp_path / "runs"
    command = [sys.executable, "cli.py", *wanted, "--runs", str(kept)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    while process.poll() is None and cells(kept) == 0:
        time.sleep(0.02)
    process.kill()
    process.wait()
    before = cells(kept)
    resumed = ask(*wanted, "--runs", kept)
    alone = ask(*wanted)
    assert 0 < before < cells(kept)
    assert resumed["layers"] == alone["layers"]
    assert resumed["baseline"] == alone["baseline"]
    assert resumed["forwards"] < alone["forwards"]
    assert ask(*wanted, "--runs", kept)["forwards"] == 0


def cells(folder: Path) -> int:
    """Count the answers in a store that another process writes."""
    path = folder / "runs.sqlite"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path, timeout=30)) as database:
        try:
            return int(database.execute("SELECT count(*) FROM cells").fetchone()[0])
        except sqlite3.OperationalError:  # the table is not there yet
            return 0


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (("--bits", "8;4"), "--bits must be widths such as 8,4"),
        (("--bits", "1"), "must be 2 to 16; got 1"),
        (("--samples", "0"), "Samples must number at least 1"),
        (("--most-harmful", "3", "--view", "all-but"), "where one layer alone is quantized"),
        (("--most-harmful", "3", "--depth", "screening"), "proven by forwards"),
        (("--scheduler", "nowhere"), "A Dask scheduler must answer at nowhere"),
    ],
)
def test_a_sensitivity_that_cannot_be_asked_is_told(wrong: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused(*SWEPT, "--model", MODEL, *wrong)


def test_optimize_chooses_bits_within_a_budget(ask: Ask) -> None:
    answer = ask(
        "optimize", "--model", MODEL, "--machine", "bitfusion_like", "--budget", "energy=0.8",
        "--relative-to", "w8a8", "--bits", "4,8", "--edge-bits", "8", "--pin", "*=8/-",
        "--measure", "--samples", "60", "--calibration", "4",
    )  # fmt: skip
    choice = answer["choice"]
    assert choice["of_reference"]["energy"] <= 0.8
    assert choice["measured"]["samples"] == 60
    assert {row["weight_bits"] for row in choice["layers"]} <= {8, None}
    assert {row["activation_bits"] for row in choice["layers"]} == {4, 8}
    assert choice["layers"][0] == {
        "layer": "input", "weight_bits": None, "activation_bits": 8, "weight_granularity": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--budget", "power=1"), "A budget must be one of energy"),
        (("--budget", "energy=0.5", "--pin", "head"), "A pin must be a layer"),
        (("--budget", "energy=0.5", "--bits", "8,99"), "Bits on offer must be numbers"),
        (("--budget", "energy=0.5", "--relative-to", "none.json"), "none.json cannot be opened"),
        ((), "A choice of bits needs a budget"),
        (("--loss", "0.1"), "A choice of bits needs a budget"),
        (("--least", "energy"), "needs a bound on the loss"),
    ],
)
def test_optimize_says_what_it_cannot_do(arguments: tuple[str, ...], sentence: str) -> None:
    result = CliRunner().invoke(app, ["optimize", "--model", MODEL, *arguments])
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stdout == ""


def test_optimize_says_what_is_within_reach() -> None:
    arguments = ("--budget", "energy=0.6", "--relative-to", "w8a8", "--calibration", "4")
    result = CliRunner().invoke(app, ["optimize", "--model", MODEL, *arguments])
    assert result.exit_code == 2
    assert "(1.000) is the least within reach" in result.stderr
    assert "fewer bits gain only what storage gives" in result.stderr
