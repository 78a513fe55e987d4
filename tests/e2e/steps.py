"""What a person does in a page, and how one knows that it has been done."""

from playwright.sync_api import Locator, Page, expect

HEADER_PX, ROW_PX = 36, 35  # of a table


def main(page: Page) -> Locator:
    return page.get_by_test_id("stMain")


def frame(page: Page) -> Locator:
    return page.get_by_test_id("stSidebarUserContent")


def heading(page: Page, name: str) -> None:
    expect(page.get_by_role("heading", name=name, exact=True, level=1)).to_be_visible()


def go(page: Page, name: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
    heading(page, name)
    settle(page)


def button(page: Page, name: str) -> Locator:
    return main(page).get_by_role("button", name=name, exact=True)


def radio(page: Page, name: str) -> None:
    main(page).get_by_role("radio", name=name, exact=True).click()
    expect(main(page).get_by_role("radio", name=name, exact=True)).to_be_checked()


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option, exact=True).click()
    settle(page)


def idle(page: Page) -> None:
    """Wait until no job is under way and the page is drawn: until then, what is in it may go."""
    expect(frame(page).get_by_test_id("stProgress")).to_have_count(0)
    expect(page.locator("[data-test-script-state=notRunning]")).to_be_visible()


def settle(page: Page) -> None:
    """Give the server time to begin with what was done, and wait until the page is drawn.

    What a person does before that is lost where the page is drawn anew under the hand.
    """
    page.wait_for_timeout(500)
    expect(page.locator("[data-test-script-state=notRunning]")).to_be_visible()


def table_of(page: Page) -> Locator:
    """Return the first table, in sight."""
    idle(page)
    table = page.get_by_test_id("stDataFrame").first
    table.scroll_into_view_if_needed()
    return table


def place_in_row(table: Locator, row: int, right: float) -> tuple[float, float]:
    """Return where in the window a row in sight lies, `right` pixels from the edge of its table."""
    box = table.bounding_box()
    assert box is not None
    return box["x"] + right, box["y"] + HEADER_PX + ROW_PX * row + ROW_PX / 2


def click_in_chart(page: Page, mark: Locator) -> None:
    """Click where a mark is drawn; a layer for dragging lies above all of them."""
    hover = page.locator(".hoverlayer .hovertext").first
    x = y = 0.0
    for _ in range(20):  # a chart may be drawn again under the mouse
        idle(page)
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
