"""The report in Chromium: nothing is fetched, every plot is drawn, and it fits A4."""

import shutil
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Page

from figures.document import render_report
from tests.figures.document.test_document import (
    HOSTILE,
    contents,
    cost,
    front,
    measured,
    sensitivity,
)

pytestmark = pytest.mark.browser
WAITS = 600  # of a tenth of a second: the page forbids eval, so Playwright's own waiting fails
READY = "document.documentElement.dataset.ready === 'yes'"
A4_WIDTH_PX = 180 / 25.4 * 96  # between margins of 15 mm


def until(page: Page, truth: str) -> None:
    for _ in range(WAITS):
        if page.evaluate(truth):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"never true: {truth}")


@pytest.fixture(scope="module")
def report() -> str:
    """A report of 60 layers with every section, whose run has a hostile name."""
    found = measured(name=HOSTILE, cost=cost(60))
    names = {layer.layer: 20.0 for layer in found.cost.layers}
    found = measured(name=HOSTILE, cost=cost(60), layer_sqnr_db=names)
    return render_report(
        contents(
            found, front=front(HOSTILE), sensitivity=sensitivity(), noise=names, others=(found,)
        )
    )


@pytest.fixture
def opened(page: Page, report: str, tmp_path: Path) -> Page:
    """The report in the browser."""
    (tmp_path / "report.html").write_text(report, encoding="utf-8")
    page.goto((tmp_path / "report.html").as_uri())
    until(page, READY)
    return page


def test_it_loads_nothing_and_reports_no_error(page: Page, tmp_path: Path) -> None:
    asked: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    (tmp_path / "report.html").write_text(
        render_report(contents(measured(name=HOSTILE), front=front(HOSTILE))), encoding="utf-8"
    )
    page.goto((tmp_path / "report.html").as_uri())
    until(page, READY)
    assert asked == [(tmp_path / "report.html").as_uri()]
    assert faults == []


def test_every_figure_is_drawn_as_wide_as_the_page(opened: Page) -> None:
    count = opened.locator("figure").count()
    assert count >= 10
    assert opened.locator("figure .main-svg").count() >= count
    sizes = opened.evaluate(
        "[...document.querySelectorAll('.plot')].map("
        "p => [p.clientWidth, p.querySelector('.main-svg').getBoundingClientRect().width])"
    )
    assert all(abs(place - drawn) <= 1 for place, drawn in sizes)
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_plots_are_interactive(opened: Page) -> None:
    opened.locator("figure").first.scroll_into_view_if_needed()
    opened.locator("figure .scatterlayer .point").first.hover(force=True)
    opened.wait_for_selector(".hoverlayer .hovertext")


def test_a_narrow_window_is_no_wider_than_itself(opened: Page) -> None:
    opened.set_viewport_size({"width": 480, "height": 900})
    until(
        opened,
        "[...document.querySelectorAll('.js-plotly-plot')].every("
        "p => Math.abs(p.layout.width - p.clientWidth) <= 1)",
    )
    plots = opened.evaluate(
        "[...document.querySelectorAll('.main-svg')].map(s => s.getBoundingClientRect().right)"
    )
    assert max(plots) <= 480


def test_files_can_be_taken_out_of_it(opened: Page, tmp_path: Path) -> None:
    with opened.expect_download() as waiting:
        opened.get_by_role("link", name="configuration.json").click()
    waiting.value.save_as(tmp_path / "config.json")
    from quant.config import config_from_json, uniform_config

    assert config_from_json((tmp_path / "config.json").read_text()) == uniform_config(4, 8)


def test_in_print_plots_have_the_width_of_the_page_and_come_back(opened: Page) -> None:
    before = opened.evaluate("document.querySelector('.plot .main-svg').clientWidth")
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    widths = opened.evaluate(
        "[...document.querySelectorAll('.js-plotly-plot')].map(p => p.layout.width)"
    )
    assert set(widths) == {int(A4_WIDTH_PX)}
    opened.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.evaluate("document.querySelector('.plot .main-svg').clientWidth") == before


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext")
def test_the_pdf_has_every_section_and_no_heading_at_a_foot(opened: Page, tmp_path: Path) -> None:
    headings = opened.locator("h2, h3").all_inner_texts()
    opened.pdf(path=tmp_path / "report.pdf", prefer_css_page_size=True, print_background=True)
    text = subprocess.run(
        ["pdftotext", "-layout", tmp_path / "report.pdf", "-"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    pages = [[line.strip() for line in page.splitlines() if line.strip()]
             for page in text.split("\f")]  # fmt: skip
    for heading in headings:
        assert heading in text
    for page in pages:
        assert not page or page[-1] not in headings
    size = subprocess.run(
        ["pdfinfo", tmp_path / "report.pdf"], capture_output=True, text=True, check=True
    ).stdout
    assert "A4" in size
