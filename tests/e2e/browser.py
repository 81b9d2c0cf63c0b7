"""A real Chromium, driven as a person would: pages by address or by their links, buttons by what is written on them.

Every page that is looked at is also checked: no error in the browser's console, no request to another host, nothing
that runs out of the screen sideways, and nothing serious that axe finds.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from axe_core_python.selenium import Axe
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from forebay.local.command import LocalServiceError

SHOTS = Path(os.environ.get("FOREBAY_SCREENSHOTS", "var/screenshots"))
WIDTHS_PX = {"wide": 1280, "narrow": 390}
THEMES = ("light", "dark")
WAIT_S = 20.0


class Browser:
    """One session of Chromium. `checked` collects what is wrong with the pages that were seen."""

    def __init__(self, base_url: str, profile_dir: Path) -> None:
        self.base_url = base_url
        self.checked: list[str] = []
        self._driver = Chrome(service=Service(_program("chromedriver")), options=_options(profile_dir))
        self._driver.set_script_timeout(60)
        self._theme = ""
        self._look("wide", "light")

    def close(self) -> None:
        self._driver.quit()

    # --- getting around ---

    def log_in(self, username: str, password: str) -> None:
        self.open("/admin/login/?next=/admin/")
        self.fill("username", username)
        self.fill("password", password)
        self._driver.find_element(By.CSS_SELECTOR, "#login-form button, #login-form [type=submit]").click()
        self.wait_for(lambda: "/login/" not in self.path)

    def open(self, path: str) -> None:
        self._driver.get(self.base_url + path)

    @property
    def path(self) -> str:
        """Where it is now, with the query."""
        parts = urlsplit(self._driver.current_url)
        return parts.path + (f"?{parts.query}" if parts.query else "")

    @property
    def text(self) -> str:
        """What a person can read."""
        return self._driver.find_element(By.TAG_NAME, "body").text

    def reads(self, *texts: str, wait_s: float = WAIT_S, reloading: bool = False) -> None:
        """Wait until all of these can be read. `reloading` is for pages that do not ask again by themselves."""

        def found() -> bool:
            if reloading:
                self._driver.refresh()
            return all(text in self.text for text in texts)

        self.wait_for(found, wait_s, lambda: f"{texts} on {self.path}, which reads:\n{self.text}")

    def press(self, text: str, within: str = "body") -> None:
        """The button or link on which this is written."""
        path = (
            f".//button[normalize-space()={_quoted(text)}] | .//a[normalize-space()={_quoted(text)}]"
            f" | .//input[@type='submit' and @value={_quoted(text)}]"
        )

        def pressed() -> bool:
            scope = self._driver.find_element(By.CSS_SELECTOR, within)
            shown = [one for one in scope.find_elements(By.XPATH, path) if one.is_displayed()]
            if not shown:
                return False
            self._driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", shown[0])
            shown[0].click()
            return True

        self.wait_for(pressed, what=lambda: f"{text!r} to press on {self.path}, which reads:\n{self.text}")

    def fill(self, name: str, value: str) -> None:
        """A field by its name."""
        field = self.find(f"[name='{name}']")
        if field.tag_name == "select":
            field.find_element(By.CSS_SELECTOR, f"option[value='{value}']").click()
            return
        field.clear()
        field.send_keys(value)

    def choose(self, name: str, value: str) -> None:
        """A radio button or a check box by its name and value."""
        self.find(f"input[name='{name}'][value='{value}']").click()

    def find(self, css: str) -> WebElement:
        """Wait for it, and return it."""
        self.wait_for(
            lambda: bool(self._driver.find_elements(By.CSS_SELECTOR, css)), what=lambda: f"{css} on {self.path}"
        )
        return self._driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css: str) -> list[WebElement]:
        """Those that are there now, in sight or not."""
        return self._driver.find_elements(By.CSS_SELECTOR, css)

    def run(self, script: str, *arguments: Any) -> Any:
        return self._driver.execute_script(script, *arguments)

    def wait_for(self, condition: Callable[[], bool], wait_s: float = WAIT_S, what: Callable[[], str] = str) -> None:
        deadline_s = time.monotonic() + wait_s
        while True:
            try:
                if condition():
                    return
            except WebDriverException:
                pass  # the page has just been swapped: look again
            assert time.monotonic() < deadline_s, f"waited {wait_s:g} s for {what()}"
            time.sleep(0.1)

    # --- looking at a page ---

    def picture(self, name: str) -> None:
        """This page at both widths, in light and in dark, into the folder of screenshots; and check it at each."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        for theme in THEMES:
            for width in WIDTHS_PX:
                self._look(width, theme)
                self._check(f"{name} {width} {theme}")
                self._driver.save_screenshot(str(SHOTS / f"{name}-{width}-{theme}.png"))
        self._look("wide", "light")

    def check(self, about: str) -> None:
        """Look for what is wrong with this page as it is now, without a picture of it."""
        self._check(about)

    def listen(self, about: str) -> None:
        """Only what the browser itself complains of: errors in its console, requests to other hosts."""
        self.checked += [f"{about}: {one}" for one in self._complaints()]

    def screen(self, width: str, theme: str = "light") -> None:
        """Look at the page at this width, `wide` or `narrow`, in this theme, until told otherwise."""
        self._look(width, theme)

    def _look(self, width: str, theme: str) -> None:
        """The theme by what the browser prefers, which the console follows; height by the page, for the picture."""
        media = [{"name": "prefers-color-scheme", "value": theme}]
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
        screen = {"width": WIDTHS_PX[width], "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        tall = int(self.run("return Math.min(4000, Math.max(900, document.documentElement.scrollHeight))"))
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**screen, "height": tall})

    def _check(self, about: str) -> None:
        over_px = self.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if over_px > 0:
            self.checked.append(f"{about}: runs {over_px} px out of the screen")
        for violation in Axe().run(self._driver)["violations"]:
            if violation["impact"] in ("serious", "critical"):
                nodes = "; ".join(node["html"][:120] for node in violation["nodes"][:3])
                self.checked.append(f"{about}: {violation['id']} ({violation['impact']}): {nodes}")
        self.listen(about)

    def _complaints(self) -> list[str]:
        """Errors in the browser's console since the last time, and requests to other hosts."""
        said = [entry["message"] for entry in self._log("browser") if entry["level"] == "SEVERE"]
        hosts = set()
        for entry in self._log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = urlsplit(message["params"]["request"]["url"])
                hosts |= {url.netloc} if url.scheme.startswith(("http", "ws")) else set()
        strangers = hosts - {urlsplit(self.base_url).netloc, ""}
        return [*said, *(f"asked {host}" for host in sorted(strangers))]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._driver.get_log(kind)  # type: ignore[no-untyped-call]  # of selenium
        return found


def _options(profile_dir: Path) -> ChromeOptions:
    options = ChromeOptions()
    options.binary_location = _program("chromium", "chromium-browser", "google-chrome")
    for argument in (
        "--headless=new",
        "--no-sandbox",  # root, as in a container, has none
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        f"--user-data-dir={profile_dir}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    return options


def _program(*names: str) -> str:
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    raise LocalServiceError(f"No {names[0]} is here for the browser tests: apt-get install chromium chromium-driver")


def _quoted(text: str) -> str:
    """A string of XPath."""
    return f'"{text}"' if '"' not in text else f"'{text}'"
