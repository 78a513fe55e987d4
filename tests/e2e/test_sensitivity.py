"""The page Sensitivity in a browser: screen, sweep, pause, reload, resume, pick, give bits."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.steps import (
    button,
    click_in_chart,
    frame,
    heading,
    idle,
    main,
    place_in_row,
    radio,
    settle,
    table_of,
)

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("patience")]


def picked(page: Page) -> Locator:
    return main(page).get_by_role("combobox", name=re.compile("Layer"))


def test_a_sweep_is_paused_survives_a_reload_and_ends(own_server: str, page: Page) -> None:
    page.goto(f"{own_server}/sensitivity")
    heading(page, "Sensitivity")
    expect(main(page)).to_contain_text("Instant: the noise of each weight")
    idle(page)
    button(page, "Screen").click()
    expect(main(page)).to_contain_text("Screened on 64 images")

    radio(page, "Exact")
    button(page, "Start").click()
    expect(main(page)).to_contain_text("Screening ranked as the exact SQNR does")
    button(page, "Pause").click()
    expect(main(page)).to_contain_text("Paused: ")
    page.reload()
    heading(page, "Sensitivity")
    expect(main(page)).to_contain_text("cells known. They are kept.")
    expect(main(page).get_by_role("radio", name="Exact", exact=True)).to_be_checked()

    images = main(page).get_by_role("spinbutton", name="Images")
    images.fill("16")
    images.press("Enter")
    settle(page)  # until then the buttons are those of the images before
    known = main(page).get_by_text("cells are known on 16 images")
    # how far the sweep was when it was paused decides: on 16 images it is done, begun, or new
    go_on = button(page, "Resume").or_(button(page, "Start"))
    expect(go_on.or_(known).first).to_be_visible()
    if go_on.is_visible():
        go_on.click()
    expect(known).to_be_visible()
    expect(main(page)).to_contain_text("sees harm in")


def test_a_click_brings_a_layer_into_sight_here_and_on_the_page_ranges(
    fresh_server: str, page: Page
) -> None:
    page.goto(f"{fresh_server}/sensitivity")
    heading(page, "Sensitivity")
    radio(page, "Instant")
    expect(main(page)).to_contain_text("26 layers with 8-bit weights")  # the experiment's bits
    idle(page)
    radio(page, "4 bit")
    expect(main(page)).to_contain_text("26 layers with 4-bit weights")
    idle(page)  # rows move as long as layers come in
    table = table_of(page)
    first = picked(page).input_value()
    page.mouse.click(*place_in_row(table, row=2, right=15))
    expect(picked(page)).not_to_have_value(first)
    # the grid is a canvas; once touched, it repeats the rows in sight as a table
    third = table.locator("canvas table tbody tr").nth(2).locator("td").first
    expect(picked(page)).to_have_value(third.inner_text())

    before = picked(page).input_value()
    cells = main(page).get_by_test_id("stPlotlyChart").nth(1).locator(".barlayer .point path")
    click_in_chart(page, cells.first)
    expect(picked(page)).not_to_have_value(before)
    chosen = picked(page).input_value()
    expect(main(page).get_by_role("radio", name="8 bit", exact=True)).to_be_checked()

    option = page.get_by_role("option", name="6", exact=True)
    for _ in range(20):  # a list closes where the page is drawn again
        main(page).get_by_role("combobox", name="Bits").last.click()
        page.wait_for_timeout(1_000)
        if option.is_visible():
            break
    option.click()
    button(page, "Give this layer 6 bits").click()
    expect(frame(page)).to_contain_text("W8A8 per-channel, 1 rule")
    button(page, "Its ranges").click()
    heading(page, "Ranges")
    expect(picked(page)).to_have_value(chosen)
