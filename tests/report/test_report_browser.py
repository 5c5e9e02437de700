"""The report page in a browser: sorting, choices, cards behind cells; and without scripts."""

import pytest
import report_cases as cases
from browser import PROGRAM, Browser

from lra_bench.report.build import write

pytestmark = [
    pytest.mark.ci,
    pytest.mark.skipif(PROGRAM is None, reason="needs chromium or google-chrome"),
]
BOARD = "document.querySelector('#board-setting-1 table')"
CELL = "#board-setting-1 tbody button.cell"
CARD = f"document.querySelector('{CELL} + .card')"
OPEN = f"{CARD}.matches(':popover-open')"
# Whether the page is wider than the window, which boxes that scroll should prevent.
TOO_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Write the page of a sweep, and of a record whose names are markup."""
    folder = tmp_path_factory.mktemp("report")
    cases.sweep(folder / "in", seeds=1)
    cases.write(folder / "in/odd", cases.odd())
    write([folder / "in"], folder / "out", with_published=True)
    return folder / "out/index.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def names(browser):
    return browser.run(f"[...{BOARD}.tBodies[0].rows].map(r => r.querySelector('a').innerText)")


def scores(browser):
    return browser.run(f"[...{BOARD}.tBodies[0].rows].map(r => r.cells[1].dataset.value)")


def header(column):
    return f"#board-setting-1 thead th:nth-child({column}) button"


def order(browser, column):
    return browser.run(f"{BOARD}.tHead.rows[0].cells[{column - 1}].getAttribute('aria-sort')")


def silent(browser, page):
    assert browser.errors == []
    assert set(browser.requests) <= {page.resolve().as_uri()}


@pytest.mark.parametrize("width", [1400, 800, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_no_error_and_no_overflow(browser, page, width, dark):
    browser.open(page, width, dark=dark, phone=width < 500)
    silent(browser, page)
    assert not browser.run(TOO_WIDE)
    ground = browser.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(22, 24, 27)" if dark else "rgb(255, 255, 255)")


def test_sorting_by_the_mouse(browser, page):
    browser.open(page)
    before = names(browser)
    browser.click(header(2))
    assert order(browser, 2) == "descending"
    shown = scores(browser)
    numbers = [float(value) for value in shown if value]
    assert numbers == sorted(numbers, reverse=True)
    assert shown[len(numbers) :] == [""] * (len(shown) - len(numbers))  # failures last
    browser.click(header(2))
    assert order(browser, 2) == "ascending"
    assert [float(value) for value in scores(browser) if value] == numbers[::-1]
    assert scores(browser)[len(numbers) :] == [""] * (len(shown) - len(numbers))
    browser.click(header(1))
    assert (order(browser, 1), order(browser, 2)) == ("ascending", "none")
    assert names(browser) == sorted(before)
    foot = browser.run(f"{BOARD}.tFoot.rows[0].cells[0].textContent")
    assert foot == "chance"
    silent(browser, page)


def test_sorting_by_the_keyboard(browser, page):
    browser.open(page)
    browser.run(f"document.querySelector('{header(2)}').focus()")
    browser.press("Enter")
    assert order(browser, 2) == "descending"
    browser.press(" ")
    assert order(browser, 2) == "ascending"
    browser.press("Tab")
    assert browser.run(f"document.activeElement === document.querySelector('{header(3)}')")


def test_choosing_a_preset(browser, page):
    browser.open(page)
    shown = (
        "[...new Set([...document.querySelectorAll('[data-tags]')].filter(e => !e.hidden)"
        ".map(e => e.dataset.tags.split(' ')[0]))]"
    )
    count = browser.run(f"{shown}.length")
    assert count == 3
    browser.run("(s => { s.value = 'preset-1'; s.dispatchEvent(new Event('change')) })"
                "(document.getElementById('preset'))")  # fmt: skip
    assert browser.run(shown) == ["preset-1"]
    browser.run("(s => { s.value = ''; s.dispatchEvent(new Event('change')) })"
                "(document.getElementById('preset'))")  # fmt: skip
    assert browser.run(f"{shown}.length") == count


def test_choosing_colours(browser, page):
    browser.open(page, dark=True)
    for value, ground in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(22, 24, 27)")):
        browser.run(f"(s => {{ s.value = '{value}'; s.dispatchEvent(new Event('change')) }})"
                    "(document.getElementById('ground'))")  # fmt: skip
        assert browser.run("getComputedStyle(document.body).backgroundColor") == ground


def test_a_card_by_hover(browser, page):
    browser.open(page)
    browser.point(CELL)
    browser.wait_for(OPEN)
    assert "lra-bench run --task" in browser.run(f"{CARD}.innerText")
    browser.point(f"{CELL} + .card .command")  # it may be copied
    browser.run("new Promise(done => setTimeout(done, 400))")
    assert browser.run(OPEN)
    browser.point("h1")
    browser.wait_for(f"!{OPEN}")
    silent(browser, page)


def test_a_card_by_click_stays(browser, page):
    browser.open(page)
    browser.point(CELL)
    browser.wait_for(OPEN)
    browser.click(CELL)
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=3, y=3)
    browser.run("new Promise(done => setTimeout(done, 400))")
    assert browser.run(OPEN)
    browser.press("Escape")
    assert not browser.run(OPEN)


def test_a_card_by_the_keyboard(browser, page):
    browser.open(page)
    hide = "#board-setting-1 tbody th .hide"
    browser.run(f"document.querySelector('{hide}').focus()")
    browser.press("Tab")
    assert browser.run(f"document.activeElement === document.querySelector('{CELL}')")
    assert browser.run(OPEN)
    browser.press("Tab")
    assert browser.run(f"{CARD}.contains(document.activeElement)")
    browser.press("Tab")
    assert not browser.run(OPEN)
    silent(browser, page)


@pytest.mark.parametrize("scripts", [True, False])
def test_a_card_by_touch(browser, page, scripts):
    browser.open(page, 380, phone=True, scripts=scripts)
    browser.tap(CELL)
    browser.wait_for(OPEN)
    box = browser.run(f"(b => [b.left, b.right])({CARD}.getBoundingClientRect())")
    assert 0 <= box[0] < box[1] <= 380


def test_without_scripts_everything_is_shown(browser, page):
    browser.open(page, scripts=False)
    assert not browser.run("document.querySelector('thead button')")
    assert browser.run("document.getElementById('choices').hidden")
    assert browser.run("[...document.querySelectorAll('[data-tags]')].every(e => !e.hidden)")


def test_markup_in_a_record_is_never_run(browser, page):
    browser.open(page)
    assert browser.run("document.scripts.length") == 1
    assert "<script>alert(1)</script>" in browser.run("document.body.innerText")


ROWS = f"[...{BOARD}.tBodies[0].rows].filter(r => !r.hidden).map(r => r.cells[0].innerText.trim())"
FILTER = "#board-setting-1 input[type=search]"


def type_into(browser, selector, text):
    browser.run(f"(e => {{ e.value = '{text}'; e.dispatchEvent(new Event('input')) }})"
                f"(document.querySelector('{selector}'))")  # fmt: skip


def test_rows_are_filtered_by_name_and_by_family_and_hidden_one_by_one(browser, page):
    browser.open(page)
    every = browser.run(f"{ROWS}.length")
    type_into(browser, FILTER, "performer low-rank")
    shown = browser.run(ROWS)
    assert 0 < len(shown) < every
    assert all("performer" in name or "linformer" in name for name in shown)
    type_into(browser, FILTER, "")
    browser.run("document.querySelector('#board-setting-1 tbody tr .hide').click()")
    assert browser.run(f"{ROWS}.length") == every - 1
    assert browser.run("document.querySelector('#board-setting-1 output').value").startswith(
        f"{every - 1} of {every}"
    )
    browser.press("Enter")  # on "show all", which has the focus now
    assert browser.run(f"{ROWS}.length") == every
    silent(browser, page)


def test_a_curve_alone_by_pointing_and_by_the_keyboard(browser, page):
    browser.open(page)
    name = "#curves .keys [data-series]"
    alone = "document.documentElement.classList.contains('isolating')"
    browser.point(name)
    browser.wait_for(alone)
    faint = "[...document.querySelectorAll('#curves svg [data-series]:not(.on)')]"
    browser.run("new Promise(done => setTimeout(done, 300))")
    assert browser.run(f"{faint}.every(e => getComputedStyle(e).opacity < 0.2)")
    same = f"document.querySelector('{name}').dataset.series"
    on = "[...document.querySelectorAll('#curves svg .on')]"
    assert browser.run(f"{on}.length > 3 && {on}.every(e => e.dataset.series === {same})")
    browser.point("h1")
    browser.wait_for(f"!{alone}")
    browser.run(f"document.querySelector('{name}').focus()")
    browser.press("Enter")
    browser.run("document.activeElement.blur()")
    assert browser.run(alone)
    silent(browser, page)


def test_two_results_are_compared(browser, page):
    browser.open(page)
    choose = ("(s => {{ s.selectedIndex = {}; s.dispatchEvent(new Event('change')) }})"
              "(document.getElementById('compare-second'))")  # fmt: skip
    browser.run(choose.format(0))
    assert browser.run("document.querySelectorAll('#compare-shown .differs').length") == 0
    browser.run(choose.format(7))
    assert browser.run("document.querySelectorAll('#compare-shown .differs').length") > 0
    assert "lra-bench run" in browser.run("document.getElementById('compare-shown').innerText")
    silent(browser, page)


def test_a_file_is_saved(browser, page, tmp_path):
    browser.open(page)
    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    browser.run("document.querySelector('#downloads button').click()")
    browser.run("new Promise(done => setTimeout(done, 500))")
    (file,) = tmp_path.iterdir()
    assert file.name == "accuracy.csv"
    assert file.read_text().startswith("setting,task,attention,")


@pytest.mark.parametrize("width", [390, 800])
def test_the_name_of_a_row_stays_while_its_columns_scroll(browser, page, width):
    browser.open(page, width, phone=width < 500)
    browser.run(f"{BOARD}.parentElement.scrollTo(400, 0)")
    left, right = browser.run(f"(b => [b.left, b.right])({BOARD}.tBodies[0].rows[0].cells[0]"
                              ".getBoundingClientRect())")  # fmt: skip
    assert 0 <= left < 40
    assert right < 0.6 * width


def test_printed(browser, page):
    browser.open(page, 800)
    browser.call("Emulation.setEmulatedMedia", media="print")
    hidden = ("nav", "#choices", ".hide", "form.choices", "#compare")
    for selector in hidden:
        style = f"getComputedStyle(document.querySelector('{selector}')).display"
        assert browser.run(style) == "none", selector
    browser.call("Emulation.setEmulatedMedia", media="")
