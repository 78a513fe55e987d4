import io
import json
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from PIL import Image

from tests.model_io.pt2_files import Payload, members_of
from tests.pages.visit import MODEL, RUNS, Visit
from ui.model.bring_data import write_uploaded_images
from ui.navigation import RANGES
from ui.settings import Settings
from ui.state.model_and_data import ModelChoice
from ui.state.workspace import Workspace


def npz(shape: tuple[int, ...], labels: list[int] | None = None) -> bytes:
    buffer = io.BytesIO()
    inputs = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    if labels is None:
        np.savez(buffer, inputs=inputs)
    else:
        np.savez(buffer, inputs=inputs, labels=np.array(labels))
    return buffer.getvalue()


def png(size: int = 6, shade: int = 100) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (size, size), shade).save(buffer, "PNG")
    return buffer.getvalue()


def field(visit: Visit, name: str) -> str:
    """Return the key of a field of the data form, which is a new one for every choice of data."""
    return f"data.{visit.work.data_choices}.{name}"


class Sent:
    """A file as st.file_uploader hands it over."""

    def __init__(self, name: str, content: bytes = b"image", size: int | None = None) -> None:
        self.name, self._content = name, content
        self.size = len(content) if size is None else size

    def getbuffer(self) -> bytes:
        return self._content


@pytest.fixture
def tiny(visit: Visit, tiny_pt2: bytes) -> Visit:
    """A user's own network of three classes over (1, 6, 6)."""
    visit.upload("model.upload", "tiny.pt2", tiny_pt2).press("model.load").wait()
    assert visit.work.network is not None
    assert visit.work.network.name == "tiny"
    return visit


def test_an_uploaded_network_needs_data_and_can_then_be_run(tiny: Visit) -> None:
    assert tiny.metric("Float top-1").delta == "needs images"
    content = npz((40, 1, 6, 6), [0, 1, 2, 1] * 10)
    tiny.upload(field(tiny, "npz"), "my images.npz", content).press("data.use").wait()
    assert tiny.work.data_problem == ""
    assert "**my images" in tiny.words
    assert tiny.metric("Float top-1").value.endswith(" %")
    tiny.open(RUNS).press("Run").wait()
    assert tiny.metric("Quantized top-1").value.endswith(" %")
    assert tiny.work.store.all_runs()[0].model == "tiny"


def test_without_labels_agreement_takes_the_place_of_accuracy(tiny: Visit) -> None:
    tiny.upload(field(tiny, "npz"), "plain.npz", npz((30, 1, 6, 6))).press("data.use").wait()
    assert "Agreement with the float network and SQNR take accuracy's place" in tiny.words
    assert tiny.metric("Float top-1").delta == "needs labels"
    tiny.open(RUNS).press("Run").wait()
    assert "Agreement with the float network and SQNR take accuracy's place" in tiny.words
    assert tiny.metric("Quantized top-1").delta == "needs labels"
    assert tiny.metric("Agreement with float").value.endswith(" %")


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("wide.npz", npz((20, 1, 7, 7)), r"(1, 6, 6)"),
        ("colour.npz", npz((20, 3, 6, 6)), r"(3, 6, 6)"),
        ("labels.npz", npz((20, 1, 6, 6), [9] * 20), "9"),
        ("short.npz", npz((20, 1, 6, 6), [1, 2]), "label"),
        ("broken.npz", b"no archive", "npz"),
    ],
)
def test_data_that_do_not_fit_say_why(
    tiny: Visit, name: str, content: bytes, sentence: str
) -> None:
    tiny.upload(field(tiny, "npz"), name, content).press("data.use")
    (error,) = tiny.errors
    assert sentence in error
    assert tiny.work.parts is None
    tiny.open(RUNS)
    assert sentence in tiny.at.info[0].value
    assert tiny.links()[0] == "Choose them"


def test_a_path_that_is_not_there_stays_in_its_field(visit: Visit) -> None:
    visit.at.text_input(key=field(visit, "path")).set_value("/nowhere/images")
    visit.press("data.use")
    (error,) = visit.errors
    assert "/nowhere/images" in error or "images" in error
    assert "The data were not taken." in visit.at.toast[0].value, "in sight beside the button"
    assert visit.at.text_input(key=field(visit, "path")).value == "/nowhere/images"
    visit.press("data.bundled")
    assert visit.errors == []
    assert visit.work.parts is not None
    assert visit.at.text_input(key=field(visit, "path")).value == ""


def test_a_folder_of_images_on_this_machine(tiny: Visit, tmp_path: Path) -> None:
    for label in ("ant", "bee", "cat"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(8):
            (tmp_path / "photos" / label / f"{number}.png").write_bytes(png(8, 30 * number))
    tiny.at.text_input(key=field(tiny, "path")).set_value(str(tmp_path / "photos"))
    tiny.press("data.use").wait()
    assert tiny.errors == []
    assert "**photos**" in tiny.words
    assert "labelled" in tiny.words
    assert tiny.work.parts is not None
    assert tiny.work.parts.score.class_names == ("ant", "bee", "cat")


def test_the_data_form_starts_from_the_model_s_own_preprocessing(visit: Visit) -> None:
    assert visit.at.number_input(key=field(visit, "calibration")).value == 32
    visit.press("model.use.efficientnet-lite0").wait()
    assert visit.at.number_input(key=field(visit, "calibration")).value == 64
    assert visit.at.selectbox(key=field(visit, "channels")).value == 3
    assert visit.at.text_input(key=field(visit, "mean")).value == "127, 127, 127"


@pytest.mark.parametrize("text", ["one", "1, 2", "0, 0, 0"])
def test_preprocessing_that_cannot_be_is_refused(visit: Visit, text: str) -> None:
    visit.press("model.use.efficientnet-lite0").wait()
    visit.at.text_input(key=field(visit, "std")).set_value(text)
    visit.run()
    assert len(visit.errors) == 1


def test_a_model_that_runs_code_is_refused_with_its_sentence(
    visit: Visit, tiny_pt2: bytes, tmp_path: Path
) -> None:
    import pickle
    import zipfile

    marker = tmp_path / "ran"
    members = members_of(tiny_pt2)
    inputs = next(name for name in members if "sample_inputs" in name)
    members[inputs] = pickle.dumps(Payload(marker))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"net/{name}", content)
    before = visit.work.network
    visit.upload("model.upload", "nice.pt2", buffer.getvalue()).press("model.load").wait()
    assert not marker.exists()
    (error,) = visit.errors
    assert error.startswith("**Loading nice.pt2** stopped: ")
    assert visit.work.network is before


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("net.pt2", b"\x80\x04c", "net.pt2"),
        ("net.pth", b"\x80\x04c", "must not be a pickle"),
        ("net.txt", b"text", "An upload must be one of .pt2"),
        ("net.onnx", b"text", "ONNX"),
    ],
)
def test_a_file_that_is_no_model_is_refused(
    visit: Visit, name: str, content: bytes, sentence: str
) -> None:
    before = visit.work.network
    told = visit.upload("model.upload", name, content).press("model.load").words
    told += visit.wait().words
    assert f"Loading {name} failed; Model says why." in told  # the toast
    (error,) = visit.errors
    assert sentence in error
    assert f"**Loading {name}** stopped" in error
    assert visit.work.network is before
    (again,) = visit.run().errors  # until another model is asked for
    assert again == error


def test_a_path_to_no_model_says_so(visit: Visit) -> None:
    visit.at.text_input(key="model.path.text").set_value("/nowhere/net.pt2")
    visit.press("Load from path").wait()
    (error,) = visit.errors
    assert "net.pt2" in error
    assert visit.work.network is not None


@pytest.mark.parametrize(
    ("text", "shape"),
    [("3, 224, 224", (3, 224, 224)), ("1x28x28", (1, 28, 28)), (" ", ()), ("7", (7,))],
)
def test_shapes_are_read_as_people_write_them(text: str, shape: tuple[int, ...]) -> None:
    assert ModelChoice().with_shapes(text).wish == shape


def test_a_shared_server_opens_no_paths_and_keeps_no_choices(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTSCOPE_LOCAL_PATHS", "0")
    visit = Visit()
    labels = [text.label for text in visit.at.text_input]
    assert not any("path" in label.lower() for label in labels)
    assert all(button.label != "Load from path" for button in visit.at.button)
    assert "Paths on the server are closed" in visit.words
    assert not (runs / "workspace.json").exists()
    visit.open(MODEL)


def test_an_upload_is_bounded(visit: Visit) -> None:
    limit = int(st.get_option("server.maxUploadSize"))
    assert visit.work.settings.upload_mib == limit
    assert f"at most {limit} MiB" in visit.at.file_uploader(key="model.upload").label


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    return Workspace(Settings(tmp_path / "runs", local_paths=False, upload_mib=1))


@pytest.mark.parametrize(
    "name",
    [
        "../../outside.png",
        "/outside.png",
        "..\\..\\outside.png",
        "a/../../../outside.png",
        "photos/./../outside.png",
    ],
)
def test_names_of_uploaded_images_lead_nowhere_else(work: Workspace, name: str) -> None:
    root = Path(write_uploaded_images(work, [Sent("photos/cat/1.png"), Sent(name)]))
    written = [path for path in work.folder.rglob("*") if path.is_file()]
    assert len(written) == 2
    assert root.is_relative_to(work.folder)
    assert not list(work.folder.parent.glob("outside.png"))
    assert all(path.resolve().is_relative_to(work.folder.resolve()) for path in written)
    work.close()


def test_a_name_of_dots_alone_is_left_out(work: Workspace) -> None:
    root = Path(write_uploaded_images(work, [Sent("photos/cat/1.png"), Sent("../..")]))
    assert [path.name for path in root.rglob("*.png")] == ["1.png"]
    work.close()


def test_a_folder_larger_than_an_upload_may_be_is_refused(work: Workspace) -> None:
    with pytest.raises(ValueError, match="at most 1 MiB; this folder has 3 MiB"):
        write_uploaded_images(work, [Sent("a/1.png", size=2**21), Sent("a/2.png", size=2**20)])
    assert list(work.folder.iterdir()) == []
    work.close()


def test_the_folder_of_uploads_goes_with_the_workspace(work: Workspace) -> None:
    write_uploaded_images(work, [Sent("photos/cat/1.png")])
    folder = work.folder
    assert folder.is_dir()
    work.close()
    assert not folder.exists()
    work.close()


def graph_title(visit: Visit) -> str:
    (chart,) = visit.at.get("plotly_chart")
    return str(chart.proto.alt)


@pytest.mark.parametrize(
    ("color", "words"),
    [
        ("MACs", "do half of the MACs"),
        ("Parameters", "half of the parameters"),
        ("Energy", "half of the energy"),
        ("Weight bits", "All 26 layers with weights have them in 8 bit"),
        ("Activation bits", "All 33 layers with activations have them in 8 bit"),
    ],
)
def test_the_network_is_drawn_in_the_colour_of_a_value(
    visit: Visit, color: str, words: str
) -> None:
    visit.at.segmented_control(key="model.color").set_value(color)
    assert words in graph_title(visit.run())


def test_without_a_run_the_graph_has_no_sqnr_and_with_one_it_names_the_noisiest(
    visit: Visit,
) -> None:
    visit.at.segmented_control(key="model.color").set_value("SQNR")
    assert "measured by a run; this model has none yet" in visit.run().words
    visit.open(RUNS).press("Run").wait()
    assert "is the noisiest layer of run “W8A8 per-channel”" in graph_title(visit.open(MODEL))


def test_a_layer_picked_on_one_page_is_picked_on_the_others(visit: Visit) -> None:
    assert "No layer is picked" in visit.words
    visit.work.picked.pick_layer("blocks.3.expand.0")  # as a click in the graph does
    visit.run()
    assert "**blocks.3.expand.0** · conv · output 128 x 14 x 14" in visit.words
    visit.open(RANGES)
    (box,) = (b for b in visit.at.selectbox if b.label == "Layer")
    assert box.value == "blocks.3.expand.0"
    box.set_value("stem.0")
    assert visit.run().work.picked.layer == "stem.0"
    assert "**stem.0**" in visit.open(MODEL).words
    visit.press("model.use.fashion-resnet").wait()
    assert "No layer is picked" in visit.words


def test_a_builder_is_asked_about_once_by_name_before_it_runs(visit: Visit, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    code = f"with open({str(ran)!r}, 'a') as f: f.write('x')\ndef build(): return 1\n"
    (tmp_path / "net.py").write_text(code)
    (tmp_path / "w.safetensors").write_bytes(b"")

    def load() -> None:
        visit.at.text_input(key="model.path.text").set_value(f"{tmp_path}/w.safetensors")
        visit.at.text_input(key="model.path.builder").set_value(f"{tmp_path}/net.py:build")
        visit.press("Load from path")

    visit.open(MODEL)
    load()
    (warning,) = (w.value for w in visit.at.warning)
    assert f"{tmp_path}/net.py".replace("_", "\\_") in warning
    visit.press("model.code.refuse").wait()
    assert not visit.at.warning
    load()
    assert not ran.exists()
    visit.press("model.code.run").wait()
    assert ran.read_text() == "x"
    assert "net.py:build must return a torch.nn.Module" in visit.errors[0].replace("\\", "")
    load()
    visit.wait()
    assert ran.read_text() == "xx"


def drawn_nodes(visit: Visit) -> set[str]:
    """Return the names of the blocks and layers in the graph."""
    spec = json.loads(visit.at.get("plotly_chart")[0].proto.spec)
    return {item[0] for trace in spec["data"] for item in trace.get("customdata") or ()}


def test_the_graph_folds_into_blocks_and_a_block_unfolds(visit: Visit) -> None:
    network = visit.work.network
    assert network is not None
    every = {layer.name for layer in network.graph.layers}
    assert drawn_nodes(visit) == every, "few layers begin unfolded"
    key = network.digest[:8]
    visit.at.segmented_control(key=f"model.detail.{key}").set_value("Blocks")
    folded = drawn_nodes(visit.run())
    assert "blocks.1" in folded
    assert len(folded) < len(every) / 2
    visit.at.multiselect(key=f"model.unfolded.{key}").set_value(["blocks.1"])
    opened = drawn_nodes(visit.run())
    assert opened - folded == {name for name in every if name.startswith("blocks.1.")}
    visit.at.segmented_control(key="model.color").set_value("Bytes moved")
    assert "half of the bytes" in graph_title(visit.run())
    visit.at.segmented_control(key="model.color").set_value("Sensitivity")
    assert "Sensitivity screens it" in visit.run().words
