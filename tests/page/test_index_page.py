"""The index of a folder as people use it, in a real browser, from the disk and offline."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import chromium, opened
from tubedet.page.index_page import IndexedVideo, index_html

VIDEOS = [
    IndexedVideo(name="b.mp4", page="b.html", labels={"walk": 2.0, '"run" <b>': 1.0}, frames=75),
    IndexedVideo(name="c رقص.mp4", page="c.html", labels={"walk": 0.5}, frames=50, partial=True),
    IndexedVideo(name="a.mp4", page="a.html", frames=20),
    IndexedVideo(name="z.mp4", error="z.mp4: expected a video file, found an empty file"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def index(tmp_path: Path) -> Path:
    path = tmp_path / "index.html"
    path.write_text(index_html(VIDEOS, "holiday"), "utf-8")
    (tmp_path / "b.html").write_text("<title>page of b</title>", "utf-8")
    return path


def names(page: Any) -> list[str]:
    return [text.strip() for text in page.locator("#videos > li:visible h2").all_text_contents()]


def test_failures_stand_first_then_what_is_partial(browser: Any, index: Path) -> None:
    with opened(browser, index) as page:
        assert names(page) == ["z.mp4", "c رقص.mp4", "a.mp4", "b.mp4"]
        assert page.locator("header p").text_content() == "4 videos, 1 failed, 1 partial"
        assert "found an empty file" in page.locator("li.failed").text_content()


def test_videos_are_filtered_by_labels_and_by_name(browser: Any, index: Path) -> None:
    with opened(browser, index) as page:
        page.get_by_role("button", name="walk").click()
        assert names(page) == ["c رقص.mp4", "b.mp4"]
        assert page.locator("#count").text_content() == "2 of 4 shown"
        page.get_by_role("button", name='"run" <b>').click()
        assert names(page) == ["b.mp4"]
        page.get_by_role("button", name='"run" <b>').click()
        page.get_by_label("Name").fill("رقص")
        assert names(page) == ["c رقص.mp4"]


def test_a_video_leads_to_its_page_by_keyboard(browser: Any, index: Path) -> None:
    with opened(browser, index) as page:
        page.get_by_role("link", name="b.mp4").focus()
        page.keyboard.press("Enter")
        page.wait_for_url("**/b.html")
        assert page.title() == "page of b"
