"""The page in a real browser: Chromium without a window, driven by playwright. Skips where one of them is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deeplab_caffe.page import app
from deeplab_caffe.zoo import DEFAULT_MODEL, DEMO_PHOTOS

pytest.importorskip("gradio")
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no Chromium", allow_module_level=True)

# Of a machine that does other things too.
PATIENCE = 120_000


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    page = app.build()
    _, local, _ = app.launch(page, host="127.0.0.1", port=None, share=False, browser=False, block=False)
    yield local
    page.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        # As root, in a container, Chromium's own sandbox does not start.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(PATIENCE)
    outside: list[str] = []
    page.on("request", lambda one: outside.append(one.url) if one.url.startswith("http") else None)
    page.goto(address)
    yield page
    assert all(url.startswith(address.rstrip("/")) for url in outside), outside
    page.close()


def upload(page: Any, where: str, path: Path) -> None:
    page.locator(f"#{where} input[type=file]").set_input_files(str(path))


def after(page: Any) -> bytes:
    """The picture behind the wipe, as the browser has it."""
    page.wait_for_selector("#wipe img >> nth=1")
    return page.request.get(page.locator("#wipe img").nth(1).get_attribute("src")).body()


def wait_for_text(page: Any, where: str, text: str) -> None:
    playwright.expect(page.locator(f"#{where}")).to_contain_text(text, timeout=PATIENCE)


def shown_params(page: Any) -> dict[str, float]:
    return json.loads("".join(page.locator("#json .cm-line").all_text_contents()))


def small(folder: Path) -> Path:
    with Image.open(DEMO_PHOTOS[0]) as photo:
        photo.resize((180, 120)).save(folder / "cat.png")
    return folder / "cat.png"


def test_a_slider_changes_the_picture_and_the_parameters(page: Any) -> None:
    upload(page, "photo", DEMO_PHOTOS[0])
    wait_for_text(page, "status", "451 x 300 pixels")
    page.get_by_role("tab", name="JSON").click()
    assert shown_params(page)["bi_w"] == DEFAULT_MODEL.crf.bi_w == 5
    first = after(page)
    slider = page.locator("#bi_w input[type=range]")
    slider.focus()
    for _ in range(12):
        slider.press("ArrowRight")
    wait_for_text(page, "json", '"bi_w": 11')
    assert shown_params(page)["bi_w"] == 11
    assert after(page) != first
    assert "lattice kept" in page.inner_text("#status")


def test_a_mask_of_another_tool(page: Any, tmp_path: Path) -> None:
    mask = np.zeros((120, 180), np.uint8)
    mask[20:110, 30:150] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    upload(page, "photo", small(tmp_path))
    upload(page, "mask", tmp_path / "mask.png")
    page.locator("#source input").click()
    page.get_by_role("option", name=app.MASK).click()
    wait_for_text(page, "status", "2 classes")
    page.get_by_role("tab", name="Python").click()
    wait_for_text(page, "python", "read_mask")


def test_bad_uploads_get_a_message(page: Any, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    upload(page, "photo", tmp_path / "text.jpg")
    wait_for_text(page, "status", "text.jpg: is not an image")
    assert "Traceback" not in page.content()
    assert "/" not in page.inner_text("#status .error").split(": ")[0]
