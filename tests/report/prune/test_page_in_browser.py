"""report.html in headless Chromium: no error, no request, nothing wider than the screen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.made.small_run import small_run
from ytf_torch.commands.prune import command_line
from ytf_torch.network.checkpoint import Checkpoint
from ytf_torch.report.prune.prune_page import report_html

pytestmark = pytest.mark.browser
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LONG = "a_name_that_is_much_too_long_for_a_telephone_" * 4 + ".h5"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("Chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture(params=["attacked", "two triggers, long names", "clean only"])
def report(request: pytest.FixtureRequest, tmp_path: Path, checkpoint: Checkpoint) -> Path:
    from dataclasses import replace

    triggered = {"attacked": 1, "two triggers, long names": 2, "clean only": 0}[request.param]
    run, settings, exhibits = small_run(tmp_path, checkpoint, triggered=triggered)
    if triggered == 2:
        provenance = replace(checkpoint.provenance, source_file=LONG, keras_version=LONG)
        settings = settings.model_copy(update={"model": Path(LONG)})
        run = replace(
            run,
            checkpoint=Checkpoint(checkpoint.model, provenance),
            files=replace(run.files, poisoned_tests=(Path(LONG), Path("b.h5"))),
            command=command_line(settings),
        )
    page = tmp_path / "report.html"
    page.write_text(report_html(run, exhibits), encoding="utf-8")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_no_error_no_request_no_overflow(
    browser: Any, report: Path, width: int, scheme: str
) -> None:
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(report.as_uri())

    assert browser.get_log("browser") == []
    assert requests(browser.get_log("performance")) == {report.as_uri()}
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script(TOO_WIDE) == []
    assert browser.execute_script(BROKEN_PICTURES) == 0
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, paper[4:-1].split(","))) < 384) == (scheme == "dark")


def requests(log: list[dict[str, Any]]) -> set[str]:
    """The URLs that the page requested, without data URLs and requests of the browser's start."""
    import json

    events = [json.loads(entry["message"])["message"] for entry in log]
    urls = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    return {url for url in urls if not url.startswith(("data:", "chrome:"))}


# Elements that reach past the right edge of the screen, and figure texts past their figure's.
TOO_WIDE = """
const visible = e => e.getClientRects().length > 0;
const wide = [...document.querySelectorAll('body *')].filter(e => visible(e) && !e.closest('svg')
  && getComputedStyle(e).position !== 'absolute' && !e.closest('thead')
  && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1);
const texts = [...document.querySelectorAll('svg text')].filter(e => visible(e)
  && (e.getBoundingClientRect().right > e.closest('svg').getBoundingClientRect().right + 1
    || e.getBoundingClientRect().left < e.closest('svg').getBoundingClientRect().left - 1));
return [...wide, ...texts].map(e => e.outerHTML.slice(0, 200));
"""
BROKEN_PICTURES = "return [...document.images].filter(i => !i.naturalWidth).length"
