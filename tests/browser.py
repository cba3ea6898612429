"""A real browser for tests of pages: Debian's headless Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--mute-audio", "--disable-quic"]


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser; tests are skipped where it or Playwright is absent."""
    if CHROMIUM is None:
        pytest.skip("no chromium in the PATH")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, path: Path, **options: Any) -> Iterator[Any]:
    """A page from the disk, offline; whatever it complains of fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True, **options)
    page = context.new_page()
    page.set_default_timeout(120_000)  # ms; the machine may be busy
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.goto(path.absolute().as_uri())
    try:
        yield page
        assert not complaints
    except AssertionError as error:
        error.add_note(f"the page complained: {complaints}")
        raise
    finally:
        context.close()


def picture_of(locator: Any) -> NDArray[np.uint8]:
    """What is on the screen there: (H, W, 3) RGB."""
    png = np.frombuffer(BytesIO(locator.screenshot()).getvalue(), np.uint8)
    bgr = cv2.imdecode(png, cv2.IMREAD_COLOR)
    assert bgr is not None
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.uint8)
