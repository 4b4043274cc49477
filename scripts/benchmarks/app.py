"""Response times of the app: from the command to the first page, and from a click to the first output.

Measured in headless Chromium on the same machine. Ratios are to the target times.
"""

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent.parent / "tests"))
import served

TARGETS = {"first page": 8000, "first characters": 500, "first sound": 2000}
"""Target times on two cores, in milliseconds."""
FIRST = """() => new Promise((resolve, reject) => {
    setTimeout(() => reject(Error('nothing was written within 30 s')), 30000);
    const area = document.querySelector('#written textarea');
    const button = [...document.querySelectorAll('button')].find(one => one.textContent.trim() === 'Write');
    const before = area.value;
    const began = performance.now();
    button.click();
    const look = () => area.value !== before && area.value.length > 6 && area.value.length < 1900
        ? resolve(performance.now() - began) : setTimeout(look, 5);
    look();
})"""
"""JavaScript: milliseconds from a click until new text appears."""


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Milliseconds, with a new server and one browser page for each round; `seconds` is not used."""
    waited: dict[str, list[float]] = {name: [] for name in TARGETS}
    with served.browser() as chromium, tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds):
            with served.app(Path(folder) / "log.txt") as app:
                waited["first page"].append(1000 * app.seconds)
                page = chromium.new_page()
                page.goto(app.url)
                page.get_by_role("button", name="Write").wait_for()
                waited["first characters"].append(_characters(page))
                if sound := _sound(page):
                    waited["first sound"].append(sound)
                page.close()
    rows = {
        name: {
            "median": statistics.median(times),
            "least": min(times),
            "most": max(times),
            "ratio": statistics.median(times) / TARGETS[name],
        }
        for name, times in waited.items()
        if times
    }
    return {"unit": "ms", "results": {"Response time, second request of a page": rows}}


def _characters(page: Any) -> float:
    """Milliseconds from a click to the first sampled characters, the second time on a page."""
    _choose(page, "Model", "shakespeare")
    page.locator("#written textarea").wait_for()
    page.get_by_label("number input for Length").fill("2000")
    page.evaluate(FIRST)
    _press(page, "Stop")
    page.get_by_text("Stopped.").locator("visible=true").wait_for()
    page.wait_for_timeout(1000)
    found: float = page.evaluate(FIRST)
    _press(page, "Stop")
    return found


def _sound(page: Any) -> float:
    """Milliseconds from a click to the first piece of an audio stream; 0 without ffmpeg, which streaming needs."""
    page.get_by_role("tab", name="Audio", exact=True).first.click()
    _choose(page, "Model", "digits-speech")
    found = 0.0
    for _ in range(2 if shutil.which("ffmpeg") else 0):
        page.wait_for_timeout(1000)
        began = time.monotonic()
        with page.expect_response(lambda answer: answer.url.endswith(".aac")):
            _press(page, "Speak")
        found = 1000 * (time.monotonic() - began)
        page.wait_for_function("!document.querySelector('#sound-status').innerText.includes('…')")
    return found


def _choose(page: Any, label: str, value: str) -> None:
    page.get_by_label(label, exact=True).locator("visible=true").first.click()
    page.get_by_role("option", name=value, exact=True).locator("visible=true").first.click()


def _press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).locator("visible=true").first.click()
