"""What a user's file imports: neighbours and installed packages, never a folder of QuantScope."""

import sys
from pathlib import Path

import pytest

from model_io.builder.builder import build_network, load_builder_function
from model_io.builder.user_modules import OWN_NAMES, load_file
from model_io.errors import ModelError

NET = "from torch import nn\ndef net():\n    return nn.Linear({}, 2)\n"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, last on Python's path."""
    place = tmp_path / "installed"
    place.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(place)])
    return place


def user_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine" / "model.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", sorted(OWN_NAMES | {"datasets"}))
def test_a_name_that_quantscope_has_is_never_quantscopes(tmp_path: Path, name: str) -> None:
    assert name != "__pycache__"  # Python makes the folder where a module is imported
    path = user_file(tmp_path, f"import {name}\n{NET.format(3)}")
    with pytest.raises(
        ModelError, match=rf"model\.py must run .* ModuleNotFoundError: No module named '{name}'"
    ):
        build_network(f"{path}:net")


def test_the_installed_package_of_that_name_is_found(tmp_path: Path, installed: Path) -> None:
    for name in ("datasets", "analysis"):
        (installed / name).mkdir()
        (installed / name / "__init__.py").write_text(f"from {name}.sizes import WIDE\n")
        (installed / name / "sizes.py").write_text("WIDE = 7\n")
    text = "import datasets\nfrom analysis import WIDE\nassert datasets.WIDE == WIDE\n"
    path = user_file(tmp_path, text + NET.format("WIDE"))
    assert build_network(f"{path}:net").in_features == 7
    sys.modules.pop("datasets", None)
    sys.modules.pop("datasets.sizes", None)


def test_a_neighbour_comes_first(tmp_path: Path, installed: Path) -> None:
    (installed / "quant.py").write_text("WIDE = 7\n")
    path = user_file(tmp_path, "import quant, parts.deep\n" + NET.format("quant.WIDE"))
    (path.parent / "quant.py").write_text("from parts import WIDE\n")
    (path.parent / "parts").mkdir()
    (path.parent / "parts" / "__init__.py").write_text("from .deep import WIDE\n")
    (path.parent / "parts" / "deep.py").write_text("import quant\nWIDE = 9\n")
    assert build_network(f"{path}:net").in_features == 9


def test_an_import_inside_the_function_finds_the_neighbour_too(tmp_path: Path) -> None:
    text = "def net():\n    from ui import make\n    return make()\n"
    path = user_file(tmp_path, text)
    (path.parent / "ui.py").write_text(NET.format(4).replace("net", "make"))
    assert build_network(f"{path}:net").in_features == 4


def test_neighbours_of_one_name_in_two_folders_stay_apart(tmp_path: Path) -> None:
    makers = []
    for wide in (3, 5):
        folder = tmp_path / str(wide)
        folder.mkdir()
        (folder / "net.py").write_text(f"WIDE = {wide}\n")
        (folder / "model.py").write_text(f"import net as own\n{NET.format('own.WIDE')}")
        makers.append(load_builder_function(f"{folder}/model.py:net", "A builder"))
    assert [getattr(make(), "in_features", None) for make in makers] == [3, 5]
    assert "net" not in sys.modules


def test_an_edited_neighbour_is_read_again(tmp_path: Path) -> None:
    path = user_file(tmp_path, f"from sizes import WIDE\n{NET.format('WIDE')}")
    for wide in (3, 4):
        (path.parent / "sizes.py").write_text(f"WIDE = {wide}\n")
        assert build_network(f"{path}:net").in_features == wide


def test_a_folder_of_data_hides_no_package(tmp_path: Path) -> None:
    path = user_file(tmp_path, "import torch, numpy\nfrom numpy import linalg\n" + NET.format(2))
    (path.parent / "numpy").mkdir()
    (path.parent / "numpy" / "images.bin").write_bytes(b"")
    assert build_network(f"{path}:net").in_features == 2


def test_quantscope_itself_is_as_it_was(tmp_path: Path) -> None:
    before = {name for name in sys.modules if name.partition(".")[0] in OWN_NAMES}
    load_file(
        user_file(tmp_path, "import dataclasses\n@dataclasses.dataclass\nclass A:\n    x: int\n")
    )
    after = {name for name in sys.modules if name.partition(".")[0] in OWN_NAMES}
    assert after == before
