"""The page that takes a network home: artefacts, tables, the report; and grids that come in."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from model_io.artefacts.artefact import Artefact, ArtefactSource
from model_io.artefacts.formats import FORMATS
from quant.config import config_from_file, uniform_config
from quant.passes.correct_bias import CorrectBias
from tests.pages.visit import CONFIGURE, RUNS, Visit, wait_idle
from ui.export.jobs import (
    MOST_KEPT,
    ExportRequest,
    finished_artefacts,
    present_export_request,
    start_export,
)
from ui.export.tables import table_makers, zip_tables
from ui.frame.frame import undo_change
from ui.repair.view import start_repair
from ui.runs.forms import start_run
from ui.state.results import Made

EXPORT = "pages/export.py"


@pytest.fixture
def export(visit: Visit) -> Visit:
    return visit.open(EXPORT)


def made(visit: Visit) -> dict[str, Made]:
    return finished_artefacts(visit.work, request(visit))


def request(visit: Visit) -> ExportRequest:
    assert visit.work.study is not None
    return present_export_request(visit.work, visit.work.study)


def labels(visit: Visit) -> list[str]:
    return [button.proto.label for button in visit.at.get("download_button")]


def test_one_artefact_is_made_checked_and_downloaded(export: Visit) -> None:
    for form in FORMATS.values():
        assert form.title in export.words
    assert "W8A8 per-channel" in export.words
    export.press("export.make.config").wait()
    assert "Read again: the same default and 0 rules." in export.words
    (code,) = (block.value for block in export.at.code)
    assert code.startswith("python cli.py evaluate --model fashion-mobilenet --config ")
    found = made(export)["config"]
    assert found.path is not None
    assert found.path.is_relative_to(export.work.folder)
    assert export.work.network is not None
    text = found.path.read_text(encoding="utf-8")
    assert config_from_file(text, export.work.network.graph.layers) == (uniform_config(8, 8), ())


def test_a_file_that_is_not_the_run_of_its_name_is_red(export: Visit) -> None:
    """A run of this name answered well; what is exported under the name answers one in ten."""
    export.open(RUNS).press("Run").wait()
    run = export.work.store.all_runs()[0]
    export.work.change(export.work.experiment.with_config(uniform_config(2, 2)).with_name(run.name))
    assert export.work.experiment.display_name == run.name
    export.open(EXPORT).press("export.make.onnx-qdq").wait()
    (alarm,) = export.errors
    assert f"must be the network of the run '{run.name}' that it is named after" in alarm
    assert ":green[:material/check:]" not in export.markdown
    export.work.change(export.work.experiment.with_config(uniform_config(8, 8)))
    export.run().press("export.make.onnx-qdq").wait()
    assert not export.errors
    assert "Run in ONNX Runtime on 128 images" in export.words


def test_all_of_them_at_once(export: Visit) -> None:
    export.press("export.all").wait()
    found = made(export)
    assert set(found) == set(FORMATS)
    assert not [one.problem for one in found.values() if one.problem]
    assert labels(export).count("Download") == len(FORMATS)
    assert not export.errors
    path = found["aimet-2.0.0"].path
    assert path is not None
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        records = json.loads(archive.read(names[0]))["encodings"]
    assert names == [
        "fashion-mobilenet-W8A8-per-channel.encodings", "fashion-mobilenet-W8A8-per-channel.onnx",
    ]  # fmt: skip
    assert len(records) > 40
    viewer = found["model-explorer"].files
    assert [name.rsplit(".", 2)[1] for name in viewer[:2]] == ["sqnr", "energy"]


def test_another_configuration_has_none_yet(export: Visit) -> None:
    export.press("export.make.config").wait()
    assert made(export)
    export.work.set_config(uniform_config(4, 8))
    export.run()
    assert made(export) == {}
    assert "Download" not in labels(export)
    undo_change(export.work)
    export.run()
    assert "Download" in labels(export)


def test_viewers_follow_the_machine_and_the_others_stay(export: Visit) -> None:
    export.press("export.make.config").wait().press("export.make.netron").wait()
    assert set(made(export)) == {"config", "netron"}
    from accelerator.machine import load_preset

    export.work.set_machine(load_preset("bitfusion_like"))
    export.run()
    assert set(made(export)) == {"config"}


def test_the_oldest_go_from_the_disk_too(export: Visit) -> None:
    for bits in range(2, 2 + MOST_KEPT + 2):
        export.work.set_config(uniform_config(bits, 8))
        start_export(export.work, request(export), ["config"])
        wait_idle(export.work)
    assert len(export.work.exports.artefacts) == MOST_KEPT
    assert len(list((export.work.folder / "exports").iterdir())) == MOST_KEPT
    assert made(export)


def test_the_recipe_of_the_experiment_is_part_of_it(export: Visit) -> None:
    start_repair(export.work, (CorrectBias(),))
    wait_idle(export.work)
    plain = request(export)
    assert plain.experiment.all_passes == ()
    export.open("pages/repair.py").press("repair.use")
    export.open(EXPORT)
    assert "W8A8 per-channel · bias corrected" in export.words
    wish = request(export)
    assert wish.experiment.all_passes == (CorrectBias(),)
    assert wish.key != plain.key
    start_export(export.work, wish, ["pt2"])
    wait_idle(export.work)
    repaired = finished_artefacts(export.work, wish)["pt2"]
    assert repaired.path is not None
    assert not repaired.problem


def test_one_format_that_fails_leaves_the_others(
    export: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model_io.errors import ModelError

    def broken(_: ArtefactSource) -> Artefact:
        raise ModelError("Every operation must have words in ONNX, got one without.")

    from dataclasses import replace

    monkeypatch.setitem(FORMATS, "pt2", replace(FORMATS["pt2"], make=broken))
    network = export.work.network
    assert network is not None
    start_export(export.work, request(export), ["pt2", "config"])
    wait_idle(export.work)
    export.run()
    assert "Every operation must have words" in export.errors[0]
    assert made(export)["config"].path is not None


def test_without_images_it_says_what_can_be_done(export: Visit) -> None:
    export.work.take_split(None)
    export.run()
    assert "need images" in export.words
    export.press("export.make.aimet-2.0.0").wait()
    assert "Choose data to calibrate on" in export.errors[0]


def test_without_a_model(export: Visit) -> None:
    export.work.forget_model()
    export.run()
    assert "No model is loaded." in export.words
    assert export.links() == ["Choose one"]


def test_every_table_is_there_as_csv(export: Visit) -> None:
    start_run(export.work, "first")
    wait_idle(export.work)
    export.run()
    assert {"Layers", "Configuration by layer", "Cost by layer", "Runs"} <= set(labels(export))
    network = export.work.network
    assert network is not None
    found = table_makers(export.work, request(export))
    whole = zip_tables({name: make() for name, make in found.items()})
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        read = {name: pd.read_csv(archive.open(name)) for name in archive.namelist()}
    assert set(read) == {"layers.csv", "configuration.csv", "cost.csv", "runs.csv"}
    assert list(read["configuration.csv"]["layer"]) == [x.name for x in network.graph.layers]
    assert read["runs.csv"]["name"].tolist() == ["first"]


def test_the_report_of_a_run_is_here_too(export: Visit) -> None:
    assert "none of this model was kept yet" in export.words
    start_run(export.work, "first")
    wait_idle(export.work)
    export.run().press("report.make").wait()
    assert any(label.startswith("Download (") for label in labels(export))


def test_encodings_go_out_and_come_in_again(export: Visit) -> None:
    export.work.set_config(uniform_config(4, 8))
    export.run().press("export.make.aimet-1.0.0").wait()
    path = made(export)["aimet-1.0.0"].path
    assert path is not None
    with zipfile.ZipFile(path) as archive:
        text = archive.read(archive.namelist()[0])
    export.work.set_config(uniform_config(8, 8))
    visit = export.open(CONFIGURE)
    visit.upload("configure.open", "mine.encodings", text).press("configure.use")
    work = visit.work
    assert not visit.errors
    assert work.config.default.weight.bits == 4
    given = work.experiment.encodings
    assert given is not None
    assert not given.uncovered
    assert "encodings of mine.encodings are used as they are" in visit.words
    visit.open(RUNS).press("Run").wait()
    run = work.store.all_runs()[0]
    assert run.recipe == (f"Encodings of mine.encodings ({len(given.encodings)} tensors)",)
    # a preset does without them, Undo brings them back
    visit.open(CONFIGURE).press("configure.apply")
    held = [work.experiment.encodings]
    visit.press("frame.undo")
    held.append(work.experiment.encodings)
    visit.press("configure.calibrate")
    held.append(work.experiment.encodings)
    assert held == [None, given, None]


def test_a_configuration_made_for_another_model_is_told(visit: Visit) -> None:
    visit.open(CONFIGURE)
    plain = {"rules": [{"select": "kind:conv", "weight": {"bits": 4}, "matched": 99}]}
    visit.upload("configure.open", "x.json", json.dumps(plain).encode()).press("configure.use")
    assert "and matched 99 where it was written" in visit.words
    broken = json.dumps({"version": "2.0.0", "encodings": [{"name": "nobody"}]}).encode()
    visit.upload("configure.open", "y.json", broken).press("configure.use")
    assert "nobody" in visit.errors[0]


@pytest.mark.filterwarnings("ignore")
def test_a_quantized_file_offers_its_grids(visit: Visit, tmp_path: Path) -> None:
    from tests.model_io.onnx_import.test_quantized import quantized
    from ui.model.load_network import start_loading
    from ui.state.model_and_data import ModelChoice

    _, path = quantized(tmp_path)
    start_loading(visit.work, ModelChoice(str(path), shown="net.onnx"))
    visit.wait().open("pages/model.py")
    assert "The file was quantized already." in visit.words
    visit.press("model.given")
    work = visit.work
    assert work.network is not None
    assert work.experiment.encodings is work.network.given
    assert work.experiment.display_name == "encodings of net"
    start_loading(visit.work, ModelChoice("fashion-resnet"))
    visit.wait()
    assert visit.work.experiment.display_name == "W8A8 per-channel"
    assert visit.work.experiment.encodings is None
    start_loading(visit.work, ModelChoice(str(path), shown="net.onnx"))
    visit.wait().open("pages/model.py").press("model.given")
    # every grid is known: no image is needed to take it home
    visit.open(EXPORT).press("export.make.aimet-2.0.0").wait()
    assert not visit.errors
    assert made(visit)["aimet-2.0.0"].path is not None


def test_simulation_and_execution_side_by_side(export: Visit) -> None:
    export.at.number_input(key="export.check.images").set_value(64)
    export.press("export.check").wait()
    (found,) = export.work.exports.checks.values()
    assert found.check.samples == 64
    assert found.check.executed.top1 is not None
    assert found.check.executed.top1 > 0.9
    executed = export.metric("Executed in integers, top-1")
    assert executed.value == f"{100 * found.check.scores['executed'].top1:.2f} %"
    assert "than float, " in export.metric("Latency, quantized").delta
    assert "layers with weights are multiplied in whole numbers" in export.words
    assert not export.errors


def test_a_dump_of_a_device_is_compared(export: Visit) -> None:
    assert export.work.network is not None
    layer = export.work.network.graph.layers[1]
    buffer = io.BytesIO()
    np.savez(buffer, mine=np.zeros((4, *layer.shape), np.float32))
    export.upload("export.dump.file", "dump.npz", buffer.getvalue())
    names = json.dumps({"mine": layer.name}).encode()
    export.upload("export.dump.names", "names.json", names)
    export.at.number_input(key="export.dump.images").set_value(4)
    export.press("export.dump").wait()
    assert f"The first layer that differs is {layer.name}" in export.words
    assert "4 images; 0 layers agree" in export.words
