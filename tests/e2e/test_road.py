"""The whole road in a browser: open, configure, run, run again, compare."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.steps import (
    ROW_PX,
    button,
    choose,
    frame,
    go,
    heading,
    idle,
    main,
    place_in_row,
    settle,
    table_of,
)

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("patience")]
WEIGHT_BITS_PX = 280  # from the left edge of the table of layers


def card(page: Page, label: str) -> Locator:
    return page.get_by_test_id("stMetric").filter(has_text=label)


def value(page: Page, label: str) -> Locator:
    return card(page, label).get_by_test_id("stMetricValue")


def run(page: Page, name: str) -> None:
    field = page.get_by_label("Name of the run")
    field.fill(name)
    page.get_by_test_id("stFormSubmitButton").get_by_role("button", name="Run").click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    idle(page)


def test_a_page_opened_first_on_a_fresh_server_has_the_frame(fresh_server: str, page: Page) -> None:
    """Streamlit runs a file in pages/ without app.py until app.py was visited once."""
    page.goto(f"{fresh_server}/configure")
    heading(page, "Configure")
    expect(frame(page)).to_contain_text("fashion-mobilenet")
    links = page.get_by_test_id("stSidebarNavLink")
    expect(links.first).to_contain_text("Model")
    expect(links.last).to_contain_text("Export")
    assert re.fullmatch(rf"{fresh_server}/configure\?w=[0-9a-f]{{12}}", page.url)


def test_configure_run_and_compare(fresh_server: str, page: Page) -> None:
    page.goto(fresh_server)
    heading(page, "Model")
    expect(value(page, "Float top-1")).to_contain_text("%")

    go(page, "Configure")
    choose(page, "Machine", "BitFusion like (16 x 32 fusion units)")
    expect(frame(page)).to_contain_text("BitFusion like")
    energy = value(page, "Energy per image").inner_text()
    choose(page, "Preset", "W4A8 per-channel")
    button(page, "Apply preset").click()
    expect(frame(page)).to_contain_text("W4A8 per-channel")
    expect(value(page, "Energy per image")).not_to_have_text(energy)
    expect(card(page, "Energy per image")).to_contain_text("%")

    go(page, "Run and compare")
    run(page, "four bits")
    expect(value(page, "Quantized top-1")).to_contain_text("%")

    go(page, "Configure")
    choose(page, "Preset", "W8A8 per-channel")
    button(page, "Apply preset").click()
    go(page, "Run and compare")
    run(page, "eight bits")

    for row in (0, 1):
        page.mouse.click(*place_in_row(table_of(page), row, right=15))
    compared = page.get_by_role("heading", name="eight bits against four bits", exact=True)
    expect(compared).to_be_visible()
    expect(page.get_by_test_id("stPlotlyChart").nth(2)).to_be_visible()
    expect(main(page)).to_contain_text("energy")


def test_work_survives_reload_back_and_a_second_tab(fresh_server: str, page: Page) -> None:
    page.goto(f"{fresh_server}/configure")
    heading(page, "Configure")
    for preset in ("W4A8 per-channel", "W6A8 per-channel"):  # one of them is a change
        choose(page, "Preset", preset)
        button(page, "Apply preset").click()
        expect(frame(page)).to_contain_text(preset)
    page.reload()
    heading(page, "Configure")
    expect(frame(page)).to_contain_text("W6A8 per-channel")
    expect(frame(page).get_by_role("button", name="Undo")).to_be_enabled()
    undo = frame(page).get_by_role("button", name="Undo").inner_text()

    go(page, "Model")
    page.go_back()
    heading(page, "Configure")
    settle(page)
    page.go_forward()
    heading(page, "Model")

    key = re.search(r"w=([0-9a-f]{12})", page.url)
    assert key is not None
    second = page.context.new_page()
    second.goto(f"{fresh_server}/runs?w={key[1]}")
    heading(second, "Run and compare")
    expect(frame(second)).to_contain_text("W6A8 per-channel")
    expect(frame(second).get_by_role("button", name="Undo")).to_contain_text(undo.split("\n")[-1])

    stranger = page.context.new_page()
    stranger.goto(f"{fresh_server}/configure")
    heading(stranger, "Configure")
    choose(stranger, "Preset", "Float")
    button(stranger, "Apply preset").click()
    expect(frame(stranger)).to_contain_text("Float")
    second.reload()
    expect(frame(second)).to_contain_text("W6A8 per-channel")


def test_an_edited_cell_moves_the_numbers_and_stays_in_sight(fresh_server: str, page: Page) -> None:
    page.goto(f"{fresh_server}/configure")
    heading(page, "Configure")
    choose(page, "Preset", "W8A8 per-channel")
    button(page, "Apply preset").click()
    choose(page, "Machine", "BitFusion like (16 x 32 fusion units)")
    expect(frame(page)).to_contain_text("BitFusion like")
    table = table_of(page)
    size = value(page, "Weight size").inner_text()
    # the grid is a canvas; it repeats the rows in sight as a table for screen readers
    rows = table.locator("canvas table tbody tr")
    page.mouse.move(*place_in_row(table, row=6, right=WEIGHT_BITS_PX))
    page.mouse.wheel(0, 10 * ROW_PX)
    expect(rows.first).not_to_contain_text("input")
    top = rows.first.locator("td").first
    seen = top.inner_text()
    cell = page.locator("#portal input")
    for _ in range(20):  # a cell closes, and forgets its edit, where the table is drawn again
        settle(page)
        page.mouse.click(*place_in_row(table, row=6, right=WEIGHT_BITS_PX))
        page.keyboard.press("Enter")
        page.wait_for_timeout(500)
        if not cell.is_visible():
            continue
        page.keyboard.type("4")
        page.keyboard.press("Enter")
        settle(page)
        if value(page, "Weight size").inner_text() != size:
            break
    expect(value(page, "Weight size")).not_to_have_text(size)
    expect(frame(page)).to_contain_text("W8A8 per-channel, 1 rule")
    expect(rows.filter(has_text="blocks.4.expand.0")).to_contain_text("W4 A8")
    assert top.inner_text() == seen
