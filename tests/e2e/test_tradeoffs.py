"""The page Trade-offs in a browser: propose under a budget, measure, click a point, load it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import serve
from tests.e2e.steps import button, click_in_chart, frame, heading, idle, main, settle
from tests.pages.visit import data_choice, leave_choices, model_choice

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("patience")]


@pytest.fixture
def letter_server(tmp_path: Path) -> Iterator[str]:
    """A server on the smallest sample, for this test alone."""
    runs = tmp_path / "runs"
    leave_choices(runs, model=model_choice("letter-mlp"), data=data_choice("letter"))
    with serve(runs) as address:
        yield address


def test_a_proposal_is_measured_and_a_point_goes_to_configure(
    letter_server: str, page: Page
) -> None:
    page.goto(f"{letter_server}/tradeoffs")
    heading(page, "Trade-offs")
    main(page).get_by_role("combobox", name=re.compile("Machine")).first.click()
    page.get_by_role("option", name=re.compile("BitFusion")).click()
    expect(frame(page)).to_contain_text("BitFusion")
    main(page).get_by_role("button", name="Rules").click()
    repairs = page.get_by_role("combobox", name=re.compile("Repairs that take part"))
    chosen = page.get_by_test_id("stMultiSelect").locator("[data-baseweb=tag]")
    for _ in range(chosen.count()):  # the tests without a browser take repairs along
        repairs.press("Backspace")
        settle(page)
    expect(chosen).to_have_count(0)
    measured = page.get_by_role("spinbutton", name="Points to measure with the front")
    measured.fill("1")
    measured.press("Enter")
    settle(page)
    page.keyboard.press("Escape")
    button(page, "Find the best trade-offs").click()
    expect(main(page)).to_contain_text("Least energy within 1 point of float on BitFusion like")
    idle(page)

    main(page).get_by_role("combobox", name=re.compile("Bound in")).first.click()
    page.get_by_role("option", name="% of W8A8").click()
    settle(page)
    most = main(page).get_by_role("spinbutton", name="At most")
    most.fill("50")
    most.press("Enter")
    expect(main(page)).to_contain_text("Best energy at 50 % of W8A8 on BitFusion like")
    expect(main(page)).to_contain_text(re.compile(r"Energy per row .* \((49|50)[.\d]* %\)"))
    button(page, "Measure").click()
    # other tests may have left runs on this server, and then quality is told as accuracy
    expect(main(page)).to_contain_text(re.compile(r"predicted .+, measured [-\d]"))
    expect(main(page)).to_contain_text(re.compile(r"\d measured: predictions were"))
    expect(button(page, "Measure")).to_be_disabled()
    idle(page)

    chart = main(page).get_by_test_id("stPlotlyChart").first
    # the cheapest points of the front lie below the part that is drawn
    click_in_chart(page, chart.locator(".scatterlayer .trace .points path").nth(7))
    picked = main(page).get_by_text(re.compile(r"^Mixed, [\d.]+ % energy on BitFusion like"))
    expect(picked).to_be_visible()
    name = picked.inner_text().partition(" on BitFusion like")[0]
    button(page, "Use this configuration").click()
    expect(frame(page)).to_contain_text(name)

    frame(page).page.get_by_role("link", name="Configure").click()
    heading(page, "Configure")
    expect(main(page)).to_contain_text(re.compile("Predicted (SQNR|top-1)"))
    expect(frame(page)).to_contain_text(name)

    page.reload()
    heading(page, "Configure")
    expect(frame(page)).to_contain_text(name)
