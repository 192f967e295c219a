"""A headless Chromium, and how tests open pages in it."""

import os
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver

FLAGS = (
    "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync",
)  # fmt: skip


@dataclass(frozen=True)
class Browser:
    """One Chromium for all tests."""

    driver: webdriver.Chrome

    def open(self, path: Path, *, width: int = 1280, scheme: str = "light") -> None:
        """Show a file in a window of this many CSS pixels, to a reader who prefers light or dark."""
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        preferred = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}  # clicks hit what stands still
        features = [{"name": name, "value": value} for name, value in preferred.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get(path.as_uri())

    def ask(self, script: str, *arguments: Any) -> Any:
        """What a script in the page returns."""
        return self.driver.execute_script(script, *arguments)

    def messages(self, *levels: str) -> list[str]:
        """What the console has said since the last question, on some levels or all."""
        return [line["message"] for line in self.driver.get_log("browser") if not levels or line["level"] in levels]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Where the machine has no Chromium, tests are skipped with a warning, or fail if it is required."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        message = "no Chromium here: apt-get install chromium chromium-driver"
        if os.environ.get("SPECBEAM_REQUIRE_BROWSER") == "1":
            pytest.fail(message)
        warnings.warn(f"tests in a browser are SKIPPED: {message}", stacklevel=1)
        pytest.skip(message)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as running:
        yield Browser(running)
