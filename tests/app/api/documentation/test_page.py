"""The page of the interface needs nothing from elsewhere, and a browser allows it no more than it needs."""

import re
from html.parser import HTMLParser

import pytest

from app.api.access.declared import DOCS_FILES
from app.api.openapi.tags import TAGS
from tests.support.fixtures.service import Service, problem

TYPES = {"css": "text/css", "js": "text/javascript"}


class Links(HTMLParser):
    """The URLs that a page names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.inline = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.urls += [value for name in ("src", "href", "action") if (value := named.get(name))]
        self.inline += tag == "style" or (tag == "script" and "src" not in named) or "style" in named
        self.inline += any(name.startswith("on") for name in named)


def test_the_page_names_only_files_that_are_here(untouched: Service) -> None:
    answer = untouched.http.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    links = Links(answer.text)
    assert set(links.urls) == {"data:,", "openapi.json", *(f"docs/{name}" for name in DOCS_FILES)}
    assert links.inline == 0
    for name in DOCS_FILES:
        file = untouched.http.get(f"/docs/{name}")
        assert file.status_code == 200, name
        assert file.headers["content-type"].startswith(TYPES[name.rpartition(".")[2]]), name
        assert file.headers["x-content-type-options"] == "nosniff"
        assert len(file.content) > 100


def test_no_style_and_no_script_of_ours_has_a_url_of_elsewhere(untouched: Service) -> None:
    for path in ("/docs", "/docs/page.js", "/docs/page.css"):
        assert "//" not in re.sub(r"(?m)^\s*//.*$", "", untouched.http.get(path).text), path
    style = untouched.http.get("/docs/swagger-ui.css").text
    assert {url.strip("\"'")[:5] for url in re.findall(r"url\(([^)]{1,20})", style)} <= {"data:"}
    assert "@import" not in style


def test_a_browser_lets_the_page_load_nothing_from_elsewhere(untouched: Service) -> None:
    for path in ("/docs", "/docs/page.js"):
        policy = untouched.http.get(path).headers["content-security-policy"]
        rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
        assert rules["default-src"] == ["'none'"]
        assert rules["script-src"] == rules["connect-src"] == ["'self'"]
        assert rules["frame-ancestors"] == ["'none'"]
        assert not re.search(r"https?:|\*", policy)


def test_files_are_asked_for_again_and_found_unchanged(untouched: Service) -> None:
    first = untouched.http.get("/docs/swagger-ui.css")
    assert first.headers["cache-control"] == "no-cache"
    again = untouched.http.get("/docs/swagger-ui.css", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "name", ["none.js", "routes.py", "page.html", "..%2froutes.py", "redoc.standalone.js"]
)
def test_nothing_else_is_served(untouched: Service, name: str) -> None:
    problem(untouched.http.get(f"/docs/{name}"), 404)


def test_operations_are_grouped_in_the_order_of_use(untouched: Service) -> None:
    document = untouched.http.get("/openapi.json").json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    used = [tag for operation in operations for tag in operation["tags"]]
    assert list(dict.fromkeys(used)) == [tag["name"] for tag in document["tags"]] == list(TAGS)
    assert all(tag["description"].endswith(".") for tag in document["tags"])
