"""Chromium for the tests of the page: one process for all tests of a worker, and a context for each person."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final, TypeVar, cast
from urllib.request import urlopen

import pytest

BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
DRIVERS: Final = ("chromedriver", "chromium.chromedriver")
REQUIRED: Final = "CHATSERVER_REQUIRE_BROWSER"
FLAGS: Final = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding",
    "--disable-background-timer-throttling",
    "--force-color-profile=srgb", "--lang=en-GB", "--no-proxy-server", "--disable-features=Translate",
)  # fmt: skip
SECONDS: Final = 30.0
"""How long a test waits for something on a page; a machine that is busy with other tests is slow."""
ENTER, ESCAPE, TAB, UP, DOWN = "\ue007", "\ue00c", "\ue004", "\ue013", "\ue015"

Result = TypeVar("Result")


def executables() -> tuple[str, str]:
    """The browser and its driver; without them the test is skipped, or fails where they are required."""
    found = [next(filter(None, map(shutil.which, names)), None) for names in (BROWSERS, DRIVERS)]
    browser, driver = found
    if browser is None or driver is None:
        what = "chromium" if browser is None else "chromedriver (Debian: chromium-driver)"
        if os.environ.get(REQUIRED):
            pytest.fail(f"{what} is not installed, and {REQUIRED} is set.")
        pytest.skip(f"{what} is not installed")
    return browser, driver


class Chromium:
    """The browser. `person(url)` opens a page in a context of its own: no cookie, cache or storage is shared."""

    def __init__(self) -> None:
        import websocket
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        browser, driver = executables()
        os.environ["SE_OFFLINE"] = "true"
        self.folder = Path(mkdtemp(prefix="chromium-test-"))
        options = webdriver.ChromeOptions()
        options.binary_location = browser
        for flag in (*FLAGS, f"--user-data-dir={self.folder}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(driver))
        self.driver.set_script_timeout(SECONDS)
        self.driver.set_page_load_timeout(SECONDS)
        self.home = self.driver.current_window_handle
        address = self.driver.capabilities["goog:chromeOptions"]["debuggerAddress"]
        with urlopen(f"http://{address}/json/version", timeout=SECONDS) as answer:
            url = json.load(answer)["webSocketDebuggerUrl"]
        self._browser = websocket.create_connection(url, timeout=SECONDS, suppress_origin=True)
        self._calls = 0

    def call(self, method: str, **fields: Any) -> Any:
        """A command of Chromium's own protocol to the browser as a whole, which no page may send."""
        self._calls += 1
        self._browser.send(json.dumps({"id": self._calls, "method": method, "params": fields}))
        while (answer := json.loads(self._browser.recv())).get("id") != self._calls:
            pass
        return answer["result"]

    def cdp(self, method: str, **fields: Any) -> Any:
        """A command of Chromium's own protocol, to the page that is in view."""
        return self.driver.execute_cdp_cmd(method, fields)

    def person(self, url: str, *, width: int = 1280, height: int = 800, path: str = "/") -> "Person":
        """A page for somebody who was never here before; with an empty path, one that has opened nothing yet."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        return Person(self, context, url, (width, height), path)

    def close(self) -> None:
        """End the browser."""
        process = self.driver.service.process
        try:
            self._browser.close()
            self.driver.quit()
        finally:
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGKILL)
            shutil.rmtree(self.folder, ignore_errors=True)


class Person:
    """One page (a tab) in a context. Every method works on this tab, whichever was in view before."""

    def __init__(self, chromium: Chromium, context: str, url: str, size: tuple[int, int], path: str = "/") -> None:
        self.chromium, self.context, self.url = chromium, context, url
        self.driver = chromium.driver
        self.handle = chromium.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self.size = size
        self.resize(*size)
        if path:
            self.open(path)

    def tab(self, path: str = "/") -> "Person":
        """Another tab of the same person."""
        other = Person(self.chromium, self.context, self.url, self.size)
        other.open(path)
        return other

    def here(self) -> Any:
        """The driver, with this tab in view."""
        if self.driver.current_window_handle != self.handle:
            self.driver.switch_to.window(self.handle)
        return self.driver

    def open(self, path: str) -> None:
        """Load a path of the server."""
        self.here().get(self.url + path)

    def reload(self) -> None:
        """Load the page again, as the key F5 does."""
        self.here().refresh()

    def resize(self, width: int, height: int, *, dark: bool = False, touch: bool = False) -> None:
        """Give the page another size and another colour scheme."""
        self.here()
        self.chromium.cdp(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=touch
        )
        self.chromium.cdp("Emulation.setFocusEmulationEnabled", enabled=True)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.chromium.cdp("Emulation.setEmulatedMedia", features=features)

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script, and wait for its promise; the result comes back."""
        return self.here().execute_script(script, *arguments)

    def wait(self, true: Callable[[], Result], what: str = "") -> Result:
        """Wait until this is true, and return it."""
        from selenium.common.exceptions import JavascriptException, StaleElementReferenceException, TimeoutException
        from selenium.webdriver.support.ui import WebDriverWait

        self.here()
        ignored = (StaleElementReferenceException, JavascriptException)
        try:
            return WebDriverWait(self.driver, SECONDS, 0.05, ignored).until(lambda _driver: true())
        except TimeoutException:
            shown = self.run("return document.body.innerText")
            raise AssertionError(
                f"Not within {SECONDS:g} s: {what}\nConsole: {self.console()}\nPage:\n{shown}"
            ) from None

    def find(self, selector: str, text: str = "") -> Any:
        """The first element that can be seen, with this text in it, or in its label; waits for it."""
        script = """
            const [selector, text] = arguments;
            return [...document.querySelectorAll(selector)].find(one => one.checkVisibility()
                && ((one.innerText ?? "").includes(text) || (one.ariaLabel ?? "").includes(text)));"""
        return self.wait(lambda: self.run(script, selector, text), f"{selector} with {text!r}")

    def gone(self, selector: str, text: str = "") -> None:
        """Wait until there is no such element any more."""
        script = (
            "return ![...document.querySelectorAll(arguments[0])].some(one => one.innerText.includes(arguments[1]))"
        )
        self.wait(lambda: self.run(script, selector, text), f"no {selector} with {text!r}")

    def click(self, selector: str, text: str = "") -> None:
        """Click the first such element."""
        from selenium.common.exceptions import WebDriverException

        def clicked() -> bool:
            try:
                self.find(selector, text).click()
            except WebDriverException:  # it was drawn anew, or something lay above it
                return False
            return True

        self.wait(clicked, f"click on {selector} with {text!r}")

    def fill(self, label: str, text: str) -> None:
        """Type into the field with this label, in place of what is there."""
        script = """
            const label = [...document.querySelectorAll("label")].find(one => one.innerText.trim() === arguments[0]);
            return label ? label.control : document.querySelector(`[aria-label="${arguments[0]}"]`);"""
        field = self.wait(lambda: self.run(script, label), f"field {label!r}")
        field.clear()
        field.send_keys(text)

    def keys(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is; "Control+k" holds one down."""
        from selenium.webdriver import ActionChains, Keys

        self.here()
        for key in keys:
            *held, last = key.split("+") if len(key) > 1 else [key]
            chain = ActionChains(self.driver, duration=0)
            for one in held:
                chain.key_down(getattr(Keys, one.upper()))
            chain.send_keys(getattr(Keys, last.upper(), last) if len(last) > 1 else last)
            for one in reversed(held):
                chain.key_up(getattr(Keys, one.upper()))
            chain.perform()

    def register(self, name: str, password: str = "s3cret-words") -> None:
        """Create an account with the form, and wait until one is in."""
        self.click("button", "Create an account")
        self.fill("Name", name)
        self.fill("Password", password)
        self.fill("Password again", password)
        self.click("button", "Create account")
        self.find(".shell")

    def login(self, name: str, password: str = "s3cret-words") -> None:
        """Log in with the form."""
        self.fill("Name", name)
        self.fill("Password", password)
        self.click("form button", "Log in")

    def goto(self, label: str) -> None:
        """Go to a room by its address."""
        self.run("location.hash = arguments[0]", f"#/{label}")
        self.find("#box")

    def say(self, text: str) -> None:
        """Type a message, and send it with Enter."""
        from selenium.webdriver import Keys

        box = self.find("#box")
        lines = text.split("\n")
        for number, line in enumerate(lines):
            if number:
                box.send_keys(Keys.SHIFT, Keys.ENTER)
            box.send_keys(line)
        box.send_keys(Keys.ENTER)

    def hears(self, text: str) -> Any:
        """Wait until the log shows a stored message with this text."""
        return self.find("article.message:not(.pending)", text)

    def act(self, seq: int, label: str) -> None:
        """Choose an item of the menu of a message, by keys."""
        row = f"#m-{seq}"
        self.find(row)
        self.run("document.querySelector(arguments[0]).focus()", row)
        self.keys(ENTER)
        self.click(".item", label)

    def choose(self, label: str, value: str) -> None:
        """Choose an option of the list with this label."""
        script = """
            const [label, value] = arguments;
            const list = [...document.querySelectorAll("label")].find(one => one.innerText.trim() === label)?.control;
            if (!list) return false;
            list.value = value;
            list.dispatchEvent(new Event("change", {bubbles: true}));
            return list.value === value;"""
        self.wait(lambda: self.run(script, label, value), f"{value!r} of {label!r}")

    def texts(self) -> list[str]:
        """The texts of the messages that the log shows and that are stored."""
        script = (
            'return [...document.querySelectorAll("article.message:not(.pending) .text")].map(one => one.innerText)'
        )
        return list(self.run(script))

    def console(self) -> list[str]:
        """What the console has said since the last call, but for what the test caused itself: lost connections."""
        self.here()
        return [
            json.dumps(line["message"])
            for line in cast(Any, self.driver).get_log("browser")
            if "ERR_CONNECTION" not in line["message"] and "WebSocket connection to" not in line["message"]
        ]

    def picture(self, path: Path) -> None:
        """Save what the page looks like."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.here().save_screenshot(str(path))

    def close(self) -> None:
        """Close the tab, and forget everything of this person."""
        self.here()
        self.driver.close()
        self.driver.switch_to.window(self.chromium.home)
