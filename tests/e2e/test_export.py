"""Taking a network home in a browser: encodings are made, downloaded, and opened again."""

import json
import re
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("patience")]


def test_encodings_are_downloaded_and_come_in_again(
    page: Page, fresh_server: str, tmp_path: Path
) -> None:
    page.goto(f"{fresh_server}/export")
    expect(page.get_by_role("heading", name="Export")).to_be_visible()
    page.locator(".st-key-export-make-aimet-2-0-0 button").click()
    download = page.locator(".st-key-export-get-aimet-2-0-0 button")
    expect(download).to_be_visible()
    expect(page.get_by_text("the same to the bit")).to_be_visible()
    expect(page.get_by_text("--quantization_overrides").first).to_be_visible()
    with page.expect_download() as waiting:
        download.click()
    waiting.value.save_as(tmp_path / "home.zip")
    with zipfile.ZipFile(tmp_path / "home.zip") as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".encodings"))
        text = archive.read(name)
    count = len(json.loads(text)["encodings"])
    assert count > 40

    page.get_by_role("link", name="Configure").click()
    expect(page.get_by_role("heading", name="Configure", level=1)).to_be_visible()
    # a file given to a page that is still being drawn is lost
    expect(page.get_by_test_id("stSidebar").get_by_test_id("stProgress")).to_have_count(0)
    expect(page.locator("[data-test-script-state=notRunning]")).to_be_visible()
    page.get_by_text("As a file").click()
    chooser = page.locator("input[type=file]").first
    chooser.set_input_files({"name": "home.encodings", "mimeType": "", "buffer": text})
    page.get_by_role("button", name="Use this file").click()
    expect(page.get_by_text("Ranges come from home.encodings")).to_be_visible()
    sidebar = page.get_by_test_id("stSidebar")
    expect(sidebar.get_by_text(re.compile("home.encodings, its own grids"))).to_be_visible()
