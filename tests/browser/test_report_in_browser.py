"""`snakemake --report` in a browser: results by data set and objective, with captions, pictures and tables."""

import shutil

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

import generated_records as generated
from checkouts import copied
from shown_run_for_tests import OBJECTIVES, make_shown_run
from specbeam.page.write import write_page
from specbeam.stages import FIGURES

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ALIGNED = "objectives: {sft: {}, seqkd: {}, wordkd: {}, tvdkd: {}, atspeed_s: {}, atspeed_r: {}}"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of a run that looks finished."""
    place = copied(tmp_path_factory.mktemp("reported"))
    run = place.folder / "results" / "smoke"
    with pytest.MonkeyPatch.context() as patch:
        generated.fix_environment(patch)
        make_shown_run(run)
    figures = run / "synthetic" / "figures"
    for name in FIGURES:
        for form in ("png", "csv"):
            if not (figures / f"{name}.{form}").exists():
                shutil.copy(figures / f"accepted.{form}", figures / f"{name}.{form}")
    write_page(run=run, output=run / "index.html", summary=run / "summary.html", parts=run / "parts")
    config = place.folder / "config" / "smoke.yaml"
    config.write_text(
        config.read_text().replace(ALIGNED, f"objectives: {{{OBJECTIVES[0]}: {{}}, {OBJECTIVES[1]}: {{}}}}")
    )
    made = place.snakemake("--report", "report.html")
    assert made.returncode == 0, made.stdout
    return place.folder / "report.html"


@pytest.fixture
def opened(browser, report):
    browser.open(report)
    return browser


def click(browser, text):
    """Click what bears this text, once it is there."""
    path = f"//*[normalize-space(text())='{text}']"
    seen = WebDriverWait(browser.driver, 20).until(
        lambda driver: [each for each in driver.find_elements(By.XPATH, path) if each.is_displayed()]
    )
    seen[0].click()


def look(browser, number=0):
    """Click the eye of an entry."""
    WebDriverWait(browser.driver, 20).until(lambda driver: driver.find_elements(By.CSS_SELECTOR, "a[iconname=eye]"))
    browser.driver.find_elements(By.CSS_SELECTOR, "a[iconname=eye]")[number].click()


def text_of(browser):
    return browser.ask("return document.body.innerText")


def test_it_opens_without_network_and_says_what_the_run_is(opened):
    WebDriverWait(opened.driver, 20).until(lambda _: "Run smoke of specbeam" in text_of(opened))
    loaded = opened.ask("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [address for address in loaded if address.startswith("http")] == []
    assert opened.messages("SEVERE") == []


def test_results_are_below_their_data_set_by_objective(opened):
    click(opened, "synthetic")
    WebDriverWait(opened.driver, 20).until(lambda _: "figures" in text_of(opened))
    entries = text_of(opened).split("\n")
    assert {"figures", "results", "target", *OBJECTIVES} <= set(entries)


def test_a_figure_is_shown_and_has_a_caption(opened):
    click(opened, "synthetic")
    click(opened, "figures")
    look(opened)
    image = WebDriverWait(opened.driver, 20).until(
        lambda driver: driver.find_elements(By.CSS_SELECTOR, "img[src^=data]")
    )
    widths = [opened.ask("return arguments[0].naturalWidth", each) for each in image]
    assert max(widths) > 500
    opened.driver.find_elements(By.CSS_SELECTOR, "a[iconname=information-circle]")[0].click()
    WebDriverWait(opened.driver, 20).until(
        lambda _: "Levels of the drafted tree that verification accepts" in text_of(opened)
    )


@pytest.mark.parametrize(("category", "entry"), [("Summary", None), ("synthetic", "atspeed_s")])
def test_pages_with_tables_and_provenance_are_shown_in_place(opened, category, entry):
    click(opened, category)
    if entry:
        click(opened, entry)
    look(opened)
    frame = WebDriverWait(opened.driver, 20).until(lambda driver: driver.find_element(By.CSS_SELECTOR, "iframe"))
    opened.driver.switch_to.frame(frame)
    try:
        WebDriverWait(opened.driver, 20).until(lambda _: "Everything measured" in text_of(opened))
        assert opened.ask("return document.querySelectorAll('thead button').length") > 10
    finally:
        opened.driver.switch_to.default_content()
    assert opened.messages("SEVERE") == []
