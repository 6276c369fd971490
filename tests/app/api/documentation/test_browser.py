"""The page in a real browser that has no internet: Debian's Chromium, where it is installed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from tests.support.fixtures.servers import Valkey
from tests.support.fixtures.service import Service, service

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: chromium)"),
]


class OfflinePage:
    """A page that gets answers from one service only, and what went wrong in it."""

    def __init__(self, page: Page, base: str) -> None:
        self.page, self.foreign, self.errors = page, list[str](), list[str]()
        page.set_default_timeout(60_000)
        page.on("console", lambda message: self.errors.extend([message.text] * (message.type == "error")))
        page.on("pageerror", lambda error: self.errors.append(str(error)))

        def answer(route: Route) -> None:
            if route.request.url.startswith((base, "data:")):
                route.continue_()
            else:
                self.foreign.append(route.request.url)
                route.abort()

        page.route("**/*", answer)


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def test_the_page_is_rendered_without_any_request_to_elsewhere(
    browser: Browser, untouched: Service, tmp_path: Path
) -> None:
    base = str(untouched.http.base_url).rstrip("/")
    offline = OfflinePage(browser.new_page(viewport={"width": 1200, "height": 900}), base)
    offline.page.goto(f"{base}/docs")
    offline.page.wait_for_selector("#operations-predictions-predict")
    groups = offline.page.locator("h3.opblock-tag").evaluate_all("all => all.map(one => one.dataset.tag)")
    assert groups[:5] == ["tasks", "datasets", "jobs", "sweeps", "models"]
    operation = offline.page.locator("#operations-predictions-predict")
    operation.locator(".opblock-summary-control").click()
    examples = operation.locator(".opblock-section-request-body select.examples-select-element")
    assert "forecasting" in examples.inner_text()
    offline.page.screenshot(path=tmp_path / "docs.png")
    assert (offline.foreign, offline.errors) == ([], [])


def test_a_call_is_tried_with_the_key_that_the_page_was_given(
    browser: Browser, sqlite_template: Path, redis_server: Valkey, tmp_path: Path
) -> None:
    (tmp_path / "test.db").write_bytes(sqlite_template.read_bytes())
    with service(tmp_path, f"sqlite:///{tmp_path / 'test.db'}", redis_server.url, auth="keys") as guarded:
        base = str(guarded.http.base_url).rstrip("/")
        offline = OfflinePage(browser.new_page(), base)
        offline.page.goto(f"{base}/docs")
        offline.page.fill("#key", "rk_wrong")
        offline.page.click("#key-form button")
        offline.page.wait_for_selector("#problem:not([hidden])")
        offline.page.fill("#key", guarded.keyed("default").key)
        offline.page.click("#key-form button")
        operation = offline.page.locator("#operations-keys-get_caller")
        operation.locator(".opblock-summary-control").click()
        operation.locator("button.try-out__btn").click()
        operation.locator("button.execute").click()
        answer = operation.locator(".live-responses-table tr.response .response-col_status").first
        answer.wait_for()
        assert answer.inner_text().split()[0] == "200"
        assert offline.foreign == []
