"""Waiting for the app: from the command to its first page, and in Chromium from a click to the first sign of an answer.

A visitor sees the app in headless Chromium on the same machine. The ratio is to the time that the app promises.
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

PROMISED = {"first page": 8000, "first characters": 500, "first sound": 2000}
"""Milliseconds, on two cores."""
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
"""Milliseconds from a click until a text that was not there before."""


def measure(rounds: int, seconds: float) -> dict[str, Any]:
    """Milliseconds: a server of its own for each round, and in it one visitor."""
    waited: dict[str, list[float]] = {name: [] for name in PROMISED}
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
            "ratio": statistics.median(times) / PROMISED[name],
        }
        for name, times in waited.items()
        if times
    }
    return {"unit": "ms", "results": {"Waiting, the second time in a visit": rows}}


def _characters(page: Any) -> float:
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
    """Until the browser has the first piece of a stream; 0 where the server has no ffmpeg to stream with."""
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
