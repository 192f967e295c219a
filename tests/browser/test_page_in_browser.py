"""The summary page in a browser: it shows everything, at a desk and on a phone, and its tables can be sorted."""

import pytest

import generated_records as generated
from shown_run_for_tests import make_shown_run
from specbeam.page.write import write_page

pytestmark = pytest.mark.browser

PAGES = ("index.html", "parts/synthetic/atspeed_s.html")
WIDTHS = (1280, 390)  # of a desk and of a phone

COLUMN = """
const [title, column] = arguments;
const { id } = [...document.querySelectorAll("h3")].find((each) => each.textContent === title);
const table = document.querySelector(`table[aria-labelledby="${id}"]`);
const index = [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === column);
return [table.tHead.rows[0].cells[index].querySelector("button"),
        [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[index].textContent.trim())];
"""
CONTRASTS = """
const channels = (color) => color.match(/[\\d.]+/g).map(Number);
const light = (color) => {
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = channels(color).map((c) => linear(c / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (; element; element = element.parentElement) {
    const color = getComputedStyle(element).backgroundColor;
    if (channels(color)[3] !== 0) return color;
  }
  return "rgb(255, 255, 255)";
};
const found = {};
for (const element of document.querySelectorAll("body *:not(script)")) {
  const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
  if (!own || !element.checkVisibility()) continue;
  const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x);
  const name = element.tagName + "." + element.className;
  found[name] = Math.min(found[name] ?? 99, (a + 0.05) / (b + 0.05));
}
return found;
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        generated.fix_environment(patch)
        folder = make_shown_run(tmp_path_factory.mktemp("results") / "shown")
    write_page(run=folder, output=folder / "index.html", summary=folder / "summary.html", parts=folder / "parts")
    return folder


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_opens_without_a_word_in_the_console_and_loads_nothing(browser, run, page, width):
    browser.open(run / page, width=width)
    assert browser.messages() == []
    loaded = browser.ask("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [address for address in loaded if not address.startswith("data:")] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_every_image_is_shown_at_a_size_at_which_its_text_can_be_read(browser, run, width):
    browser.open(run / "index.html", width=width)
    images = browser.ask("return [...document.images].map((each) => [each.naturalWidth, each.width, each.alt])")
    assert len(images) == 2
    for natural, shown, alt in images:
        assert natural > 0
        assert shown >= 600  # the figures of this run are as wide as a page of a paper
        assert alt


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_is_no_wider_than_its_window_and_has_no_tiny_text(browser, run, page, width):
    browser.open(run / page, width=width)
    browser.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert browser.ask("return document.documentElement.scrollWidth") <= width
    sizes = browser.ask(
        "return [...document.querySelectorAll('body *')].map((each) => parseFloat(getComputedStyle(each).fontSize))"
    )
    assert min(sizes) >= 12


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(browser, run, scheme):
    browser.open(run / "index.html", scheme=scheme)
    browser.ask("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    contrasts = browser.ask(CONTRASTS)
    assert len(contrasts) > 15
    assert {name: contrast for name, contrast in contrasts.items() if contrast < 4.5} == {}  # WCAG 2, level AA


def test_those_who_prefer_it_get_a_dark_page(browser, run):
    grounds = []
    for scheme in ("light", "dark"):
        browser.open(run / "index.html", scheme=scheme)
        grounds.append(browser.ask("return getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] != grounds[1]


def test_a_click_on_a_title_sorts_numbers_from_the_largest_and_another_turns_them(browser, run):
    browser.open(run / "index.html")
    button, before = browser.ask(COLUMN, "Everything measured", "target calls")
    button.click()
    _, falling = browser.ask(COLUMN, "Everything measured", "target calls")
    numbers = [float(text) for text in falling if text != "-"]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) > 2
    assert falling != before
    assert falling[len(numbers) :] == ["-"] * (len(falling) - len(numbers))  # what was not measured comes last
    button.click()
    _, rising = browser.ask(COLUMN, "Everything measured", "target calls")
    assert [float(text) for text in rising if text != "-"] == sorted(numbers)
    assert rising[-1] == "-"
    assert browser.ask("return arguments[0].closest('th').ariaSort", button) == "ascending"


def test_a_click_sorts_names_by_the_alphabet(browser, run):
    browser.open(run / "index.html")
    button, before = browser.ask(COLUMN, "Accepted levels by K", "draft")
    button.click()
    _, after = browser.ask(COLUMN, "Accepted levels by K", "draft")
    assert before == ["sft", "atspeed_s"]
    assert after == ["atspeed_s", "sft"]


def test_the_rows_of_one_value_are_shown_on_demand_at_first_those_of_the_largest_k(browser, run):
    browser.open(run / "index.html")
    choice = "const box = [...document.querySelectorAll('.choices')].at(arguments[0]);"
    choice += "return [...box.querySelectorAll('label')].filter((each) => !each.hidden).map((each) => each.textContent)"
    assert [name.split()[0] for name in browser.ask(choice, 1)] == ["verification", "plan", "K", "N"]
    _, at_first = browser.ask(COLUMN, "Everything measured", "method")
    browser.ask(
        "const select = [...document.querySelectorAll('.choices')][1].querySelectorAll('select')[2];"
        "select.value = arguments[0]; select.dispatchEvent(new Event('change'));",
        "",
    )
    _, all_of_them = browser.ask(COLUMN, "Everything measured", "method")
    assert len(all_of_them) == 2 * len(at_first)  # this run has two K


def test_tables_can_be_used_without_a_mouse(browser, run):
    browser.open(run / "index.html")
    assert browser.ask("return [...document.querySelectorAll('thead th')].every((each) => each.scope === 'col')")
    assert browser.ask("return [...document.querySelectorAll('.scroll')].every((each) => each.tabIndex === 0)")
    assert browser.ask(
        "return [...document.querySelectorAll('thead th')].every((each) => each.querySelector('button'))"
    )
