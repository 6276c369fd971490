"""The site is built strictly, complete and without anything that a browser would load from elsewhere."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = (
    "mkdocs.yml",
    ".ci/site_pages.py",
    "docs",
    "README.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
)
ASSET = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//[^\s>]+|<link\b[^>]*\bhref=[\"']?(?:https?:)?//[^\s>]+"
)


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        capture_output=True, text=True, cwd=root, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_is_there(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        built = page.relative_to(ROOT / "docs").with_suffix(".html")
        path = site / (built.with_name("index.html") if built.name == "README.html" else built)
        assert path.is_file(), path
    for name in ("index", "examples", "changelog", "contributing", "reporting", "results"):
        assert (site / f"{name}.html").is_file()
    assert 'href="examples.html"' in (site / "index.html").read_text()


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    assert ASSET.search('<script src="https://cdn.example/a.js">')
    assert ASSET.search("<link rel=stylesheet href=//fonts.example/a.css>")
    outside = {page.name: ASSET.findall(page.read_text()) for page in site.rglob("*.html")}
    assert {name: urls for name, urls in outside.items() if urls} == {}
    # The theme's script would fetch Mermaid for such a block.
    assert [page for page in site.rglob("*.html") if 'class="mermaid"' in page.read_text()] == []
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", style.read_text())


def test_broken_links_and_pages_without_navigation_fail(tmp_path: Path) -> None:
    for name in (*CONFIG, "examples/README.md", "benchmarks/RESULTS.md"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, target)
    for name in ("app", "client", "tests", "workers", "benchmarks"):
        (tmp_path / name).mkdir(exist_ok=True)
    links = "[gone](no-such-page.md) and [gone](jobs.md#no-such-heading)"
    (tmp_path / "docs" / "orphan.md").write_text(f"# Orphan\n\n{links}\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    for complaint in ("no-such-page.md", "no-such-heading", "orphan.md", 'not included in the "nav"'):
        assert complaint in done.stderr
