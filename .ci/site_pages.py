"""What the site has beside docs/: pages of the repository's root, and links that lead to where a page is."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE_DOCS = {
    "README.md": "index.md",
    "examples/README.md": "examples.md",
    "SECURITY.md": "reporting.md",
    "benchmarks/RESULTS.md": "results.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
SOURCES = {page: path for path, page in OUTSIDE_DOCS.items()}
LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]*)(#[^)\s]+)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside docs/."""
    for path, page in OUTSIDE_DOCS.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Let links that are right in the repository be right on the site."""
    here = page.file.src_uri
    source = SOURCES.get(here, f"docs/{here}")
    return LINK.sub(lambda link: _rewritten(link, here, source), markdown)


def _rewritten(link: re.Match[str], here: str, source: str) -> str:
    text, path, anchor = link[1], link[2], link[3] or ""
    if not path or path.startswith(("http:", "https:")):
        return link[0]
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if target in OUTSIDE_DOCS:
        page = OUTSIDE_DOCS[target]
    elif target.startswith("docs/"):
        page = target.removeprefix("docs/")
    elif (ROOT / target).exists():  # no page of the site: its path says where it is in the repository
        return text if target in text else f"{text} (`{target}`)"
    else:
        return link[0]  # a broken link, which the strict build refuses
    return f"[{text}]({posixpath.relpath(page, posixpath.dirname(here) or '.')}{anchor})"
