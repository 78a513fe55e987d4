"""Taking a network home in a browser: encodings are made, downloaded, and opened again."""

import json
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.steps import frame, go, heading, idle

pytestmark = [pytest.mark.browser, pytest.mark.usefixtures("patience")]


def test_encodings_are_downloaded_and_come_in_again(
    page: Page, fresh_server: str, tmp_path: Path
) -> None:
    page.goto(f"{fresh_server}/export")
    heading(page, "Export")
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

    go(page, "Configure")
    idle(page)  # a file given to a page that is still being drawn is lost
    page.get_by_text("As a file").click()
    chooser = page.locator("input[type=file]").first
    use = page.get_by_role("button", name="Use this file")
    for _ in range(5):  # a page that is drawn again loses the file that was given to it
        chooser.set_input_files({"name": "home.encodings", "mimeType": "", "buffer": text})
        page.wait_for_timeout(3_000)
        if use.is_visible():
            break
    use.click()
    expect(page.get_by_text("Ranges come from home.encodings")).to_be_visible()
    expect(frame(page)).to_contain_text("encodings of home.encodings")
