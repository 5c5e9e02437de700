"""The site of the documents: every page has its place, and it works without a network."""

import importlib.util
import re

import pytest
from browser import PROGRAM, Browser
from common import ROOT

pytestmark = pytest.mark.ci

pytest.importorskip("zensical")
# What readers want, in the order in which they want it.
ORDER = [
    "Home",
    "Quick start",
    "Recipes",
    "Your own attention",
    "Run a sweep",
    "Read a table",
    "Speed and memory",
    "Reproduce the papers",
    "The mechanisms",
    "The tasks",
    "The settings",
    "The Python interface",
    "Questions",
    "How it works",
]


@pytest.fixture(scope="module")
def maker():
    """The module docs/site.py; its name is that of a module of Python too."""
    spec = importlib.util.spec_from_file_location("lra_bench_site", ROOT / "docs/site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(maker, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    assert maker.build(folder) == 0
    return folder / "site"


def test_the_parts_are_in_the_order_of_what_readers_want(maker):
    parts = re.findall(r'^  \{ "(.*?)" = ', maker.CONFIG.read_text(), re.MULTILINE)
    assert parts == ORDER


def test_every_page_has_one_place(maker):
    places = maker.listed()
    assert len(set(places)) == len(places)
    assert set(maker.pages()) <= set(places)


def test_every_page_is_built(maker, site):
    for page in maker.pages():
        name = re.sub(r"README\.md$", "index.md", page)
        text = (site / name).with_suffix(".html").read_text()
        assert "](" not in re.sub(r"<(pre|code|script).*?</\1>", "", text, flags=re.DOTALL), page


def test_a_link_to_nothing_is_found(maker, tmp_path, monkeypatch):
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    for name in ("zensical.toml", "site.css", "iframe-worker.js"):
        (root / "docs" / name).write_bytes((ROOT / "docs" / name).read_bytes())
    (root / "README.md").write_text("# Home\n\n[there](docs/a.md#title)\n")
    (root / "docs/a.md").write_text("# Title\n")
    monkeypatch.setattr(maker, "ROOT", root)
    monkeypatch.setattr(maker, "CONFIG", root / "docs/zensical.toml")
    assert maker.build(tmp_path / "good") == 0
    (root / "docs/a.md").write_text("# Other\n")
    assert maker.build(tmp_path / "bad") != 0


@pytest.mark.skipif(PROGRAM is None, reason="needs chromium or google-chrome")
def test_it_is_read_and_searched_without_a_network(site, tmp_path):
    browser = Browser(tmp_path / "profile")
    try:
        for page in ("index.html", "docs/attentions.html", "results/mini-cpu.html"):
            browser.open(site / page, 380, phone=True)
            browser.run("new Promise(requestAnimationFrame)")
            assert browser.run("document.documentElement.scrollWidth") <= 380, page
            silent(browser)
        browser.open(site / "docs/index.html", 1200)
        browser.click(".md-search__button")
        browser.wait_for(f"{SEARCH}?.querySelector('input')")
        browser.call("Input.insertText", text="preemption")
        browser.wait_for(f"[...{SEARCH}.querySelectorAll('a')].some(a => {HIT})", seconds=30)
        silent(browser)
    finally:
        browser.close()


# The search is the shadow of the last box of the page.
SEARCH = "[...document.querySelectorAll('body > div')].find(box => box.shadowRoot)?.shadowRoot"
HIT = "a.href.includes('docs/sweep.html')"


def silent(browser):
    assert browser.errors == []
    assert all(url.startswith(("file:", "data:")) for url in browser.requests)
