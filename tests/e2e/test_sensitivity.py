"""The page Sensitivity in a browser: screen, sweep, pause, reload, resume, pick, give bits."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("patience")]
HEADER_PX, ROW_PX = 36, 35


def main(page: Page) -> Locator:
    return page.get_by_test_id("stMain")


def frame(page: Page) -> Locator:
    return page.get_by_test_id("stSidebarUserContent")


def heading(page: Page, name: str) -> None:
    expect(page.get_by_role("heading", name=name, exact=True, level=1)).to_be_visible()


def radio(page: Page, name: str) -> None:
    main(page).get_by_role("radio", name=name, exact=True).click()
    expect(main(page).get_by_role("radio", name=name, exact=True)).to_be_checked()


def idle(page: Page) -> None:
    expect(frame(page).get_by_test_id("stProgress")).to_have_count(0)


def button(page: Page, name: str) -> Locator:
    return main(page).get_by_role("button", name=name, exact=True)


def picked(page: Page) -> Locator:
    return main(page).get_by_role("combobox", name=re.compile("Layer"))


def click_in_chart(page: Page, mark: Locator) -> None:
    """Click where a mark is drawn; a layer for dragging lies above all of them."""
    hover = page.locator(".hoverlayer .hovertext").first
    x = y = 0.0
    for _ in range(20):  # a chart may be drawn again under the mouse
        mark.scroll_into_view_if_needed()
        box = mark.bounding_box()
        if box is not None:
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            page.mouse.move(x - 2, y - 2)
            page.mouse.move(x, y)
        page.wait_for_timeout(500)
        if hover.is_visible():
            break
    expect(hover).to_be_visible(timeout=1_000)
    page.mouse.click(x, y)


def test_a_sweep_is_paused_survives_a_reload_and_ends(fresh_server: str, page: Page) -> None:
    page.goto(f"{fresh_server}/sensitivity")
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
    images.fill("32")
    images.press("Enter")
    button(page, "Resume").click()
    expect(main(page)).to_contain_text("cells are known on 32 images")
    expect(main(page)).to_contain_text("sees harm in")


def test_a_click_brings_a_layer_into_sight_here_and_on_the_page_ranges(
    fresh_server: str, page: Page
) -> None:
    page.goto(f"{fresh_server}/sensitivity")
    heading(page, "Sensitivity")
    radio(page, "Instant")
    expect(main(page)).to_contain_text("26 layers with 4-bit weights")
    idle(page)
    table = page.get_by_test_id("stDataFrame").first
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    assert box is not None
    first = picked(page).input_value()
    page.mouse.click(box["x"] + 15, box["y"] + HEADER_PX + 2 * ROW_PX + ROW_PX / 2)
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
    expect(frame(page)).to_contain_text("W8A8 per-channel, edited")
    button(page, "Its ranges").click()
    heading(page, "Ranges")
    expect(picked(page)).to_have_value(chosen)
