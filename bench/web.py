"""How fast the page is in a real Chromium, beside The Lounge on ngIRCd if that is here: `make bench-web`.

Prints a table, and writes it into docs/performance.md and all samples to bench/results/web.json.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench import machine
from bench.sites import BUSY, DEEP, MESSAGES, ROOMS, SITES, SPEAKERS, Site
from bench.tables import table
from tests.web.chromium import Chromium, Person
from tests.web.devtools import DevTools

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "bench" / "results" / "web.json"
DOCS: Final = ROOT / "docs" / "performance.md"
BEGIN: Final = "<!-- page: written by make bench-web -->\n"
END: Final = "<!-- end -->\n"
SLOW: Final = 4
RATE: Final = 190
"""Number of messages a second in the room in which somebody types."""
KEYS: Final = 200
KEY_SECONDS: Final = 0.05
WARM_SECONDS: Final = 3.0
LEAST: Final = 30
"""Number of messages that a room has to show before it counts as shown."""

SCRIPT: Final = """
window.bench = {
    frame: () => new Promise(done => requestAnimationFrame(() => {
        const {port1, port2} = new MessageChannel();
        port1.onmessage = done;
        port2.postMessage(0);
    })),
    shows: (rows, text) => {
        const all = [...document.querySelectorAll(rows)].filter(one => one.checkVisibility());
        return all.length >= LEAST && all.slice(-3).some(one => one.innerText.includes(text));
    },
    async until(isTrue) {
        const end = performance.now() + 60_000;
        while (!isTrue()) {
            if (performance.now() > end) throw new Error(`not within a minute: ${isTrue}`);
            await bench.frame();
        }
        await bench.frame();
        return performance.now();
    },
};
window.WebSocket = class extends WebSocket {
    constructor(...all) {
        super(...all);
        const note = ({data}) => { if (String(data).includes('"cmd":"login"')) window.isAnswered = true; };
        this.addEventListener("message", note);
    }
};
addEventListener("submit", event => { window.submitted = event.timeStamp; }, true);
window.keys = [];
addEventListener("keydown", async ({timeStamp}) => {
    await bench.frame();
    keys.push(performance.now() - timeStamp);
}, true);
""".replace("LEAST", str(LEAST))

"""What is added to every page. A frame is over once it is painted; a key's time begins when the browser has it."""


class Question(NamedTuple):
    """A row of the table: what is measured, and how many milliseconds it may take."""

    key: str
    text: str
    budget: float | None = None
    share: float = 0.5
    """The part of the samples that must not take longer: the median, or the 99th percentile."""


QUESTIONS: Final = (
    Question("paint", "First paint, nothing cached", 150),
    Question("paint_slow", f"First paint, nothing cached, CPU {SLOW} times slower", 300),
    Question("login", f"From the form to the list of {len(ROOMS)} rooms (a password is hashed)"),
    Question("reload", "Reload: logged in, all rooms there, the last messages shown", 300),
    Question("fetched", f"To a room that is not in memory, {MESSAGES} messages", 80),
    Question("memory", "To a room that is in memory", 50),
    Question("key", f"A key until the next frame, {RATE} messages/s in view, median", 16),
    Question("key", "the same, 99th percentile", 50, 0.99),
    Question("home", "To the first of 100,000 messages by Home", 300),
    Question("link", "To a message in their middle by a link", 300),
)


class Visit:
    """Somebody at a page, with Chromium's own protocol to it."""

    def __init__(self, chromium: Chromium, site: Site) -> None:
        self.site = site
        self.person: Person = chromium.person(site.url, path="")
        self.tools = DevTools(self.person)
        self.tools.call("Page.enable")
        self.tools.call("Network.enable")
        self.tools.call("Page.addScriptToEvaluateOnNewDocument", source=SCRIPT)

    def close(self) -> None:
        self.tools.close()
        self.person.close()

    def until(self, condition: str, before: str = "") -> float:
        """Milliseconds from `before`, or from the navigation, until the page has painted what makes this true."""
        script = (
            f"(async () => {{ const began = performance.now(); {before}; return await bench.until(() => {condition}) - "
        )
        return float(self.tools.evaluate(script + ("began; })()" if before else "0; })()")))

    def shows(self, room: str, text: str = f"length, number {MESSAGES - 1}") -> str:
        """A condition: this room is in view, with this text near its end."""
        rows, here = json.dumps(self.site.rows), json.dumps(self.site.here(room))
        return f"document.querySelector({here}) && bench.shows({rows}, {json.dumps(text)})"

    def go(self, room: str) -> float:
        """Click on a room in the list, until it is shown."""
        return self.until(self.shows(room), f"document.querySelector({json.dumps(self.site.link(room))}).click()")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key and release it, wherever the focus is."""
        fields = {"key": key, "code": f"Key{key.upper()}" if text else key, "windowsVirtualKeyCode": code}
        self.tools.call("Input.dispatchKeyEvent", type="keyDown", **fields, **({"text": text} if text else {}))
        self.tools.call("Input.dispatchKeyEvent", type="keyUp", **fields)


Samples = dict[str, list[float]]


def paint(chromium: Chromium, site: Site, times: int, slower: int) -> tuple[list[float], list[float], list[float]]:
    """First paints of people who were never here: milliseconds, bytes on the wire, and requests."""
    milliseconds: list[float] = []
    sizes: list[float] = []
    requests: list[float] = []
    painted = "performance.getEntriesByName('first-contentful-paint')[0]"
    for _ in range(times):
        visit = Visit(chromium, site)
        visit.tools.call("Emulation.setCPUThrottlingRate", rate=slower)
        visit.tools.call("Page.navigate", url=site.url)
        visit.tools.wait(lambda visit=visit: visit.tools.evaluate(f"Boolean({painted})"), "the first paint")  # type: ignore[misc]
        milliseconds.append(float(visit.tools.evaluate(f"{painted}.startTime")))
        time.sleep(1.0)  # for files that are not needed for it
        loaded = visit.tools.of("Network.loadingFinished")
        sizes.append(sum(event["encodedDataLength"] for event in loaded))
        requests.append(len(loaded))
        visit.close()
    return milliseconds, sizes, requests


def rooms(visit: Visit, times: int) -> Samples:
    """A login, every room for the first time and again, and reloads."""
    site, tools = visit.site, visit.tools
    visit.person.open("/")
    site.log_in(visit.person)
    there = f"document.querySelectorAll({json.dumps(site.links)}).length >= {len(ROOMS)}"
    found: Samples = {"login": [visit.until(there) - float(tools.evaluate("window.submitted"))]}
    found["fetched"] = [visit.go(room) for room in ROOMS]
    found["memory"] = [visit.go(room) for _ in range(times) for room in ROOMS[:4]]
    found["reload"] = []
    for _ in range(times):
        time.sleep(1.0)  # for what a page keeps a moment later
        tools.call("Page.reload")
        tools.wait(lambda: tools.evaluate("Boolean(window.bench && document.body)"), "the page")
        found["reload"].append(visit.until(f"{site.joined} && {visit.shows(ROOMS[3])}"))
    return found


def typing(visit: Visit, count: int) -> list[float]:
    """Milliseconds from keys to frames while others talk in the room in view."""
    site, tools = visit.site, visit.tools
    visit.go(BUSY)
    visit.person.find(site.box).click()
    with talk(site) as said:
        time.sleep(WARM_SECONDS)
        tools.evaluate("keys.length = 0")
        began, before = time.monotonic(), len(said)
        for _ in range(count):
            visit.press("a", 65, "a")
            time.sleep(KEY_SECONDS)
        rate = (len(said) - before) / (time.monotonic() - began)
    tools.wait(lambda: tools.evaluate(f"keys.length >= {count}"), "a frame for each key")
    if rate < 0.9 * RATE:
        raise RuntimeError(f"only {rate:.0f} messages/s were sent")
    return [float(sample) for sample in tools.evaluate("keys")]


@contextmanager
def talk(site: Site) -> Iterator[list[int]]:
    """Several people talk in the busy room, together at RATE; the list has a number for each message that was said."""
    said: list[int] = []
    over = threading.Event()

    def speak(say: Callable[[str], None]) -> None:
        began, count = time.monotonic(), 0
        while not over.wait(max(0.0, began + count * SPEAKERS / RATE - time.monotonic())):
            say(f"A message of ordinary length, as people write them, spoken {count}")
            said.append(count)
            count += 1

    threads = [threading.Thread(target=speak, args=[site.speaker(one)], daemon=True) for one in range(SPEAKERS)]
    for thread in threads:
        thread.start()
    try:
        yield said
    finally:
        over.set()
        for thread in threads:
            thread.join()


def deep(visit: Visit, times: int) -> Samples:
    """To the first and to a middle one of a hundred thousand messages, each time after a reload."""
    found: Samples = {"home": [], "link": [], "heap": []}
    tools = visit.tools
    for _ in range(times):
        for key in ("home", "link"):
            visit.person.here().get("about:blank")
            visit.person.open(f"/#/{DEEP}")
            visit.until(f"window.isAnswered && {visit.shows(DEEP, 'number 99999')}")
            if key == "home":
                tools.evaluate("document.querySelector('.rows > article:last-of-type').focus()")
                tools.evaluate("addEventListener('keydown', one => { window.pressed = one.timeStamp; }, true)")
                visit.press("Home", 36)
                painted = visit.until("document.querySelector('#m-1')?.checkVisibility()")
                found[key].append(painted - float(tools.evaluate("window.pressed")))
            else:
                shown = "document.querySelector('#m-50000.is-target')"
                found[key].append(visit.until(shown, f"location.hash = '#/{DEEP}/50000'"))
    found["heap"].append(tools.heap() / 1e6)
    return found


def measure(chromium: Chromium, site: Site, times: int, keys: int) -> dict[str, Any]:
    """All samples of one page, and what was counted on the way."""
    samples: Samples = {}
    samples["paint"], sizes, requests = paint(chromium, site, times, 1)
    samples["paint_slow"], *_ = paint(chromium, site, times, SLOW)
    visit = Visit(chromium, site)
    samples |= rooms(visit, times)
    samples["key"] = typing(visit, keys)
    heap = 0.0
    if site.has_deep:
        samples |= (found := deep(visit, times))
        heap = found["heap"][0]
    visit.close()
    return {"version": site.version(), "samples": samples, "kB": statistics.median(sizes) / 1000,
            "requests": statistics.median(requests), "heap_MB": heap}  # fmt: skip


def share(samples: Sequence[float], part: float) -> float:
    """The median, or another quantile, which is one of the samples."""
    if part == 0.5:
        return statistics.median(samples)
    return sorted(samples)[min(len(samples) - 1, int(part * len(samples)))]


def shown(pages: dict[str, dict[str, Any]]) -> str:
    """The table, as Markdown."""
    ours, *others = pages
    rows = []
    for question in QUESTIONS:
        cells = []
        for page in pages.values():
            samples = page["samples"].get(question.key)
            cells.append(
                f"{share(samples, question.share):.0f} ({min(samples):.0f}–{max(samples):.0f})" if samples else "–"
            )
        budget = f"≤ {question.budget:.0f}" if question.budget else ""
        met = share(pages[ours]["samples"][question.key], question.share) <= (question.budget or float("inf"))
        rows.append([question.text, budget, cells[0], ("yes" if met else "no") if budget else "", *cells[1:]])
    for text, key, form in (
        ("Bytes of a first view on the wire, kB", "kB", ".0f"),
        ("Requests of a first view", "requests", ".0f"),
    ):
        cells = [format(page[key], form) for page in pages.values()]
        rows.append([text, "", cells[0], "", *cells[1:]])
    heap = pages[ours]["heap_MB"]
    rows.append(
        [
            "JavaScript's heap after that, MB",
            "≤ 10",
            f"{heap:.1f}",
            "yes" if heap <= 10 else "no",
            *("–" for _ in others),
        ]
    )
    return table(["milliseconds", "budget", ours, "met", *others], rows)


def about(folder: Path, chromium: Chromium, load: list[float]) -> dict[str, str]:
    """What a reader needs to know of the run."""
    facts = machine.facts(folder)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{facts['CPU']}, {facts['Memory']}, {facts['System']}",
        "Chromium": str(chromium.driver.capabilities["browserVersion"]),
        "Python": platform.python_version(),
        "load": ", ".join(f"{value:.1f}" for value in load),
    }


def section(facts: dict[str, str], pages: dict[str, dict[str, Any]], missing: dict[str, str]) -> str:
    """What the documentation says of this run."""
    versions = "; ".join(str(page["version"]) for page in pages.values())
    lines = [
        f"Measured on {facts['date']}: {facts['machine']}; Chromium {facts['Chromium']}, Python {facts['Python']};",
        f"{versions}. Load of the machine before and after: {facts['load']}. Medians, in brackets the lowest and the",
        "highest.",
        *(f"{name} was not measured: {why}." for name, why in missing.items()),
    ]
    return "\n".join([*lines, "", shown(pages)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=9, help="repetitions of each (9)")
    parser.add_argument("--keys", type=int, default=KEYS, help=f"keys that are pressed ({KEYS})")
    parser.add_argument("--quiet", type=float, default=60.0, help="seconds to wait until the machine is quiet (60)")
    parser.add_argument("--only", choices=[site.name for site in SITES], help="measure one page, and write nothing")
    options = parser.parse_args()
    chosen = [site for site in SITES if options.only in (None, site.name)]
    missing = {site.name: why for site in chosen if (why := site.missing())}
    pages: dict[str, dict[str, Any]] = {}
    with machine.exclusive(), tempfile.TemporaryDirectory(prefix="chatserver-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        chromium = Chromium()
        try:
            if not machine.wait_quiet(options.quiet):
                print("The machine does other work: the figures will be too high.", file=sys.stderr)
            load = [os.getloadavg()[0]]
            for kind in chosen:
                if kind.name in missing:
                    continue
                print(f"{kind.name} …", file=sys.stderr)
                site = kind(folder)
                try:
                    pages[kind.name] = measure(chromium, site, options.times, options.keys)
                finally:
                    site.close()
            load.append(os.getloadavg()[0])
            facts = about(folder, chromium, load)
        finally:
            chromium.close()
    text = section(facts, pages, missing)
    print(text)
    if options.only is None:
        RESULTS.write_text(json.dumps({"about": facts, "pages": pages}, indent=1) + "\n", encoding="utf-8")
        before, _, rest = DOCS.read_text(encoding="utf-8").partition(BEGIN)
        DOCS.write_text(before + BEGIN + text + END + rest.partition(END)[2], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
