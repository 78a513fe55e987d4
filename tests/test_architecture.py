"""The directions of imports and the limits of size that the architecture page lays down."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.code_layout import (
    Sources,
    arrows_by_folder,
    class_homes,
    find_circle,
    function_lines,
    modules_by_folder,
    read_sources,
)

ROOT = Path(__file__).parents[1]
OUTER = {"torch", "numpy", "pandas", "streamlit", "plotly", "typer", "PIL", "onnx", "safetensors"}
INNER = {
    "accelerator", "analysis", "benchmarks", "commands", "data_io", "figures", "model_io",
    "plain_files", "quant", "sample_models", "tests", "ui",
}  # fmt: skip
# What each part may import of all that is watched; everything else is a breach.
ALLOWED = {
    "plain_files": {"plain_files", "numpy"},
    "quant": {"plain_files", "quant", "torch", "numpy", "safetensors"},
    "accelerator": {"accelerator"},
    "data_io": {"plain_files", "data_io", "torch", "numpy", "PIL"},
    "sample_models": {"sample_models", "data_io", "torch", "numpy", "safetensors"},
    "model_io": {
        "plain_files",
        "model_io", "quant", "sample_models", "torch", "numpy", "safetensors", "onnx",
    },
    "analysis": {
        "plain_files",
        "analysis", "accelerator", "quant", "data_io", "sample_models", "torch", "numpy",
    },
    # of quant only names of results: parts and cells
    "figures": {"figures", "analysis", "accelerator", "quant", "plotly", "numpy"},
    "ui": {
        "plain_files", "ui", "figures", "analysis", "accelerator", "quant", "data_io", "model_io",
        "sample_models", "streamlit", "numpy", "pandas",
    },
    "pages": {"ui", "figures", "analysis", "accelerator", "quant", "streamlit"},
    "app.py": {"ui", "analysis", "streamlit"},
    # a command joins what analysis measures with files that model_io reads and writes
    "commands": {
        "plain_files",
        "commands", "figures", "analysis", "accelerator", "quant", "data_io", "model_io",
        "sample_models", "typer", "torch",
    },
    "cli.py": {"commands"},
}  # fmt: skip
MODULE_LINES = {"app.py": 40, "pages": 120}
MOST_MODULES, MOST_LINES, MOST_FUNCTION_LINES = 17, 350, 60
VAGUE = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}


def imported(text: str) -> Iterator[str]:
    """Yield the first name of every module that a source imports, wherever it stands in it."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0] if not node.level else "relative"


def breaches(part: str, text: str) -> set[str]:
    """Return what a source of that part imports and must not."""
    watched = OUTER | INNER | {"relative"}
    return (set(imported(text)) & watched) - ALLOWED[part]


def modules(part: str) -> list[Path]:
    """Return the sources of a part."""
    place = ROOT / part
    return [place] if place.suffix == ".py" else sorted(place.rglob("*.py"))


def too_long(part: str, text: str) -> bool:
    """Return whether a source is longer than its part allows."""
    return len(text.splitlines()) > MODULE_LINES[part]


def vague(name: str) -> bool:
    """Return whether a module's name says nothing of what is in it."""
    return bool(set(Path(name).stem.lower().split("_")) & VAGUE)


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_imports_only_what_it_may(part: str) -> None:
    sources = modules(part)
    assert sources, f"{part} has no source"
    found = {str(path): breaches(part, path.read_text(encoding="utf-8")) for path in sources}
    assert not {path: names for path, names in found.items() if names}


@pytest.mark.parametrize("part", MODULE_LINES)
def test_scripts_stay_short(part: str) -> None:
    long = [path.name for path in modules(part) if too_long(part, path.read_text(encoding="utf-8"))]
    assert not long


def test_module_names_say_what_is_in_them() -> None:
    assert not [path.name for part in ALLOWED for path in modules(part) if vague(path.name)]


@pytest.mark.parametrize(
    ("part", "planted"),
    [
        ("quant", "from accelerator.report import CostReport"),
        ("quant", "import streamlit as st"),
        ("quant", "def late():\n    import plotly.graph_objects as go"),
        ("quant", "from analysis import evaluation"),
        ("accelerator", "import torch"),
        ("accelerator", "import numpy as np"),
        ("accelerator", "from quant.spec import QuantSpec"),
        ("data_io", "from quant import graph"),
        ("model_io", "import analysis.network"),
        ("analysis", "import streamlit"),
        ("analysis", "from model_io.load import load_model"),
        ("analysis", "from . import measures"),
        ("figures", "import streamlit"),
        ("figures", "import torch"),
        ("ui", "import plotly.express"),
        ("ui", "import torch"),
        ("pages", "import torch"),
        ("pages", "from model_io.load import load_model"),
        ("cli.py", "import streamlit"),
    ],
)
def test_a_planted_breach_is_found(part: str, planted: str) -> None:
    lawful = modules(part)[-1].read_text(encoding="utf-8")
    assert breaches(part, lawful) == set()
    # after the code and before it: order does not matter, nor does a place inside a function
    assert breaches(part, f"{lawful}\n{planted}\n")
    assert breaches(part, planted)


def test_a_long_script_and_a_vague_name_are_found() -> None:
    assert too_long("app.py", "x = 1\n" * 41)
    assert not too_long("app.py", "x = 1\n" * 40)
    assert too_long("pages", "x = 1\n" * 121)
    assert vague("quant/utils.py")
    assert vague("job_manager.py")
    assert not vague("jobs.py")


def crowded(sources: Sources) -> dict[str, int]:
    """Return the folders that hold too many modules."""
    counts = modules_by_folder(sources)
    return {folder: count for folder, count in counts.items() if count > MOST_MODULES}


def circles(sources: Sources) -> list[list[str]]:
    """Return one import circle of each folder whose modules and subfolders form one."""
    found = (find_circle(arrows) for arrows in arrows_by_folder(sources).values())
    return [circle for circle in found if circle]


def shared_names(sources: Sources) -> dict[str, list[str]]:
    """Return the classes whose name another module uses too."""
    return {name: homes for name, homes in class_homes(sources).items() if len(homes) > 1}


def long_functions(sources: Sources) -> list[str]:
    """Return the functions that are too long to be read at once."""
    return [
        f"{path}: {name}"
        for path, text in sources.items()
        for name, lines in function_lines(text)
        if lines > MOST_FUNCTION_LINES
    ]


def test_folders_are_small_free_of_circles_and_no_class_name_stands_twice() -> None:
    sources = read_sources()
    assert crowded(sources) == {}
    assert circles(sources) == []
    assert shared_names(sources) == {}


def test_files_and_functions_are_short() -> None:
    sources = read_sources()
    assert [path for path, text in sources.items() if len(text.splitlines()) > MOST_LINES] == []
    assert long_functions(sources) == []


def test_a_planted_breach_of_the_layout_is_found() -> None:
    sources = read_sources()
    many = {f"quant/passes/pass_{n}.py": "" for n in range(MOST_MODULES)}
    assert list(crowded({**sources, **many})) == ["quant/passes"]
    upward = {"quant/spec.py": "from quant.passes.equalize import Equalize\n"}
    assert circles({**sources, **upward})
    between = {
        "analysis/cost/one.py": "from analysis.runs import two\n",
        "analysis/runs/two.py": "def late():\n    from analysis.cost.one import three\n",
    }
    assert any("analysis/cost" in circle for circle in circles({**sources, **between}))
    again = {"figures/cost/again.py": "class QuantConfig:\n    pass\n"}
    assert list(shared_names({**sources, **again})) == ["QuantConfig"]
    body = "    x = 1\n" * MOST_FUNCTION_LINES
    assert long_functions({"a.py": f"def endless() -> None:\n{body}"}) == ["a.py: endless"]
    assert long_functions({"a.py": f"def fitting() -> None:\n{body[:-10]}"}) == []


def test_a_sweep_over_a_sample_needs_no_library_that_only_others_use() -> None:
    """Each of these takes tens of megabytes, which count where memory is compared."""
    code = (
        "import sys, analysis.sensitivity.analyze, model_io.load; "
        "print(sorted({'numba', 'onnxruntime', 'distributed', 'streamlit', 'plotly'}"
        " & set(sys.modules)))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]"
