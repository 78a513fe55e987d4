"""The frame is drawn before torch is imported."""

import ast
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ui.frame import first_paint
from ui.frame.first_paint import STEPS, HeavyImports

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "onnx", "onnxruntime", "numba", "scipy")


def lines_before_waiting() -> list[str]:
    """Return the statements of app.py up to the wait for the imports."""
    statements = ast.parse((ROOT / "app.py").read_text(encoding="utf-8")).body
    place = [ast.unparse(one) for one in statements].index("wait_for_imports()")
    return [ast.unparse(one) for one in statements[:place]]


def test_nothing_heavy_is_imported_before_the_frame() -> None:
    imports = [line for line in lines_before_waiting() if line.startswith(("import", "from"))]
    assert any("navigation(" in line for line in lines_before_waiting())
    asks = f"print([name for name in {HEAVY} if name in sys.modules])"
    script = "\n".join(("import sys", *imports, asks))
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "[]"


def test_the_thread_imports_all_and_tells_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    reached, go = threading.Event(), threading.Event()
    seen: list[str] = []

    def import_module(name: str) -> types.ModuleType:
        seen.append(name)
        if name == "second":
            reached.set()
            go.wait(10)
        return types.ModuleType(name)

    monkeypatch.setattr("ui.frame.first_paint.importlib.import_module", import_module)
    imports = HeavyImports((("first", "One"), ("second", "Two"), ("third", "Three")))
    assert reached.wait(10)
    assert (imports.text, imports.share) == ("Two", 1 / 3)
    assert not imports.are_done()
    go.set()
    assert imports.are_done(10)
    assert seen == ["first", "second", "third"]


def test_a_module_that_fails_ends_the_wait_and_fails_in_the_page_run() -> None:
    imports = HeavyImports((("no_module_of_this_name", "One"), ("torch", "Two")))
    assert imports.are_done(10)
    assert imports.text == "One"


def waiting_page() -> None:
    import streamlit as st

    from ui.frame.first_paint import wait_for_imports

    wait_for_imports()
    st.write("drawn")


def test_the_line_goes_away_when_all_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    class Twice:
        text, share, asked = "Loading torch", 0.5, 0

        def are_done(self, wait_s: float = 0.0) -> bool:  # noqa: ARG002
            self.asked += 1
            return self.asked > 3

    imports = Twice()
    monkeypatch.setattr(first_paint, "heavy_imports", lambda: imports)
    page = AppTest.from_function(waiting_page).run()
    assert not page.exception
    assert imports.asked == 4
    assert [one.value for one in page.markdown] == ["drawn"]
    assert not page.get("progress")


def test_every_step_is_a_module_with_a_sentence() -> None:
    assert all(text.startswith("Loading ") for _, text in STEPS)
    assert STEPS[0][0] == "torch"
