"""The app as a visitor sees it, in headless Chromium."""

import contextlib
import io
import re
import shutil
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import served
import soundfile


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with served.browser() as found:
        yield found


@pytest.fixture(scope="module")
def desktop(chromium: Any) -> Any:
    """Pages of one context share what is fetched and compiled."""
    return chromium.new_context(viewport={"width": 1280, "height": 900})


@pytest.fixture
def page(desktop: Any, app: served.App) -> Iterator[Any]:
    """The app, just opened; nothing is fetched from elsewhere, and nothing breaks in the console."""
    wrong: list[str] = []
    opened = desktop.new_page()
    opened.set_default_timeout(60_000)
    opened.on("request", lambda request: _note(wrong, request.url, (app.url, "data:", "blob:")))
    opened.on("console", lambda message: wrong.append(message.text) if _matters(message) else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.goto(app.url)
    opened.get_by_role("button", name="Write").wait_for()
    yield opened
    opened.close()
    assert wrong == []
    assert "Traceback" not in app.printed()


def _note(wrong: list[str], url: str, known: tuple[str, ...]) -> None:
    if not url.startswith(known):
        wrong.append(url)


def _matters(message: Any) -> bool:
    # A player asks again while the encoder of a busy machine has nothing for it yet.
    return message.type == "error" and "levelEmptyError" not in message.text


def choose(page: Any, label: str, value: str) -> None:
    """Choose from the dropdown of that label that is seen."""
    page.get_by_label(label, exact=True).locator("visible=true").first.click()
    page.get_by_role("option", name=value, exact=True).locator("visible=true").first.click()


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).first.click()


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).locator("visible=true").first.click()


def test_names_come_as_a_table_that_tells_which_are_new(page: Any) -> None:
    choose(page, "Sex", "F")
    press(page, "Write")
    page.locator("#names .badge").first.wait_for()
    rows = page.locator("#names .names > div").all_inner_texts()
    assert len(rows) == 12
    assert all(re.fullmatch(r"[A-Z][A-Za-z]*\n+(new|in the training data)", row) for row in rows), rows
    seed = page.locator(".seed-used textarea, .seed-used input").locator("visible=true").input_value()
    press(page, "Use it again")
    page.get_by_text("More settings").click()
    box = page.get_by_placeholder("a new one each time").locator("visible=true")
    assert box.input_value() == seed
    press(page, "Write")
    page.wait_for_timeout(1500)
    assert page.locator("#names .names > div").all_inner_texts() == rows


def test_shakespeare_streams_and_stops(page: Any) -> None:
    choose(page, "Model", "shakespeare")
    written = page.locator("#written textarea")
    written.wait_for()
    page.get_by_label("Prompt").locator("visible=true").fill("ROMEO:")
    page.get_by_label("number input for Length").fill("2000")

    press(page, "Write")
    page.evaluate(STOP, "document.querySelector('#written textarea').value.length > 6")
    page.get_by_text("Stopped.").locator("visible=true").wait_for()
    stopped = written.input_value()
    assert stopped.startswith("ROMEO:")
    assert 6 < len(stopped) < 2006
    page.wait_for_timeout(1000)
    assert written.input_value() == stopped


def clip(page: Any, app: served.App) -> np.ndarray:
    """The samples of the clip in the page."""
    place = page.locator("#clip a[download]").first
    place.wait_for()
    samples, rate = soundfile.read(io.BytesIO(httpx.get(place.get_attribute("href")).content))
    assert rate == 8000
    return samples


def test_a_digit_is_spoken_and_drawn(page: Any, app: served.App) -> None:
    tab(page, "Audio")
    choose(page, "Model", "digits-speech")
    page.get_by_role("combobox", name="Digit").wait_for()
    choose(page, "Digit", "3")
    page.get_by_label("number input for Seconds").fill("0.6")
    page.get_by_text("Seed", exact=True).locator("visible=true").first.click()
    page.get_by_placeholder("a new one each time").locator("visible=true").fill("2")
    streamed = shutil.which("ffmpeg") is not None
    with page.expect_response(lambda answer: answer.url.endswith(".aac")) if streamed else contextlib.nullcontext():
        press(page, "Speak")
    page.get_by_text("× real time").wait_for()
    page.wait_for_function("!document.querySelector('#sound-status').innerText.includes('…')")
    samples = clip(page, app)
    assert np.abs(samples).max() > 0.01
    page.locator("#picture img").wait_for()
    assert streamed or page.get_by_text("is not installed where this app runs").is_visible()


def test_a_vocoder_wants_a_clip(page: Any) -> None:
    tab(page, "Audio")
    choose(page, "Model", "vocoder")
    page.get_by_text("This model is a vocoder").locator("visible=true").wait_for()
    press(page, "Speak")
    page.locator(".toast-body").get_by_text("This model is a vocoder: upload or record a clip").wait_for()


def test_a_vocoder_says_an_example_again(page: Any, app: served.App) -> None:
    tab(page, "Audio")
    choose(page, "Model", "digits-speech")
    page.get_by_role("button", name="Example 1").wait_for(state="hidden")
    choose(page, "Model", "vocoder")
    page.get_by_role("button", name="Example 1").click()
    page.locator("#given-clip audio").first.wait_for(state="attached")
    press(page, "Speak")
    page.get_by_text("0.20 s of sound").wait_for()
    page.locator("#picture img").wait_for()
    assert len(clip(page, app)) == 1600


def test_two_texts_are_scored_and_coloured(page: Any) -> None:
    tab(page, "Score")
    page.get_by_label("Another text, to compare").fill("Xqzt")
    press(page, "Score")
    page.locator("#second-colours .symbol").first.wait_for()
    assert page.locator("#first-colours .symbol").all_inner_texts() == [*"Maria", "end"]
    heats = [
        [float(one.evaluate("one => one.style.getPropertyValue('--surprise')")) for one in page.locator(place).all()]
        for place in ("#first-colours .symbol", "#second-colours .symbol")
    ]
    assert sum(heats[0]) / len(heats[0]) < sum(heats[1]) / len(heats[1])
    colours = {one.evaluate("one => getComputedStyle(one).backgroundColor") for one in page.locator(".symbol").all()}
    assert len(colours) > 4
    letter = page.locator("#first-colours .symbol").first
    letter.hover()
    assert "bits, p = " in letter.evaluate("one => getComputedStyle(one, '::after').content")
    assert "first text is" in page.locator("#verdict").inner_text()


def test_a_clip_is_scored_and_drawn(page: Any, tmp_path: Any) -> None:
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(np.arange(4000) / 9), 8000)
    tab(page, "Score")
    tab(page, "Sound")
    choose(page, "Model", "digits-speech")
    page.locator("#scored-clip input[type=file]").set_input_files(tmp_path / "tone.wav")
    page.locator("#scored-clip [data-testid=waveform-Clip], #scored-clip audio").first.wait_for(state="attached")
    page.wait_for_timeout(500)
    page.locator("#score-clip").click()
    page.locator("#clip-numbers .numbers").wait_for()
    assert "bits per second" in page.locator("#clip-numbers").inner_text()
    page.locator(".drawn img").locator("visible=true").wait_for()


def test_pictures_are_drawn_and_completed(page: Any) -> None:
    tab(page, "Images")
    page.evaluate(COUNT)
    press(page, "Draw")
    page.get_by_text("9 sampled.").wait_for()
    assert page.evaluate("window.grids") > 1, "no grid was seen before the last"
    assert page.locator("#canvas img").get_attribute("alt") == "9 images, 28 of 28 rows sampled"
    whole = page.locator("#canvas img").get_attribute("src")
    page.get_by_text("Picture to complete").click()
    page.locator("#given-examples .gallery-item").first.click()
    page.locator("#given-picture img").wait_for()
    press(page, "Draw")
    page.get_by_text("Given rows are blue.").wait_for()
    assert page.locator("#canvas img").get_attribute("src") != whole


COUNT = """() => {
    window.grids = 0;
    new MutationObserver(() => window.grids++).observe(document.querySelector('#canvas'),
        {subtree: true, childList: true, attributes: true});
}"""
"""Counts how often the grid changes."""


def test_drawing_can_be_stopped(page: Any) -> None:
    tab(page, "Images")
    page.get_by_label("number input for How many").locator("visible=true").fill("25")
    press(page, "Draw")
    page.evaluate(STOP, "document.querySelector('#canvas img')")
    page.get_by_text("Stopped.").locator("visible=true").wait_for()
    rows = page.locator("#canvas img").get_attribute("alt")
    assert rows != "25 images, 28 of 28 rows sampled"
    page.wait_for_timeout(700)
    assert page.locator("#canvas img").get_attribute("alt") == rows


STOP = """begun => new Promise(stopped => {
    const seen = [...document.querySelectorAll('button')].filter(one => one.offsetParent);
    const stop = seen.find(one => one.textContent.trim() === 'Stop');
    const look = () => eval(begun) ? stopped(stop.click()) : setTimeout(look, 5);
    look();
})"""
"""Press Stop as soon as something is there: long before a press by Playwright on a busy machine."""


def test_a_picture_is_scored_and_mapped(page: Any) -> None:
    tab(page, "Score")
    tab(page, "Image")
    page.locator("#scored-examples .gallery-item").first.click()
    page.locator("#scored-picture img").wait_for()
    page.locator("#score-picture").click()
    page.locator("#surprise-map img.map").wait_for()
    numbers = page.locator("#picture-numbers").inner_text()
    assert "bits per pixel" in numbers
    assert "that the model was not trained on" in numbers


def test_no_picture_is_told(page: Any) -> None:
    tab(page, "Score")
    tab(page, "Image")
    page.locator("#score-picture").click()
    page.get_by_text("There is nothing to score: upload a picture.").last.wait_for()


def test_temperatures_side_by_side(page: Any) -> None:
    tab(page, "Compare")
    press(page, "Compare")
    page.get_by_text("Done.").locator("visible=true").wait_for()
    texts = [one.input_value() for one in page.locator("#columns textarea").all()]
    assert [len(text.split("\n")) for text in texts] == [8] * 4
    assert len(set(texts)) == 4


def test_wrong_input_is_told_in_plain_words(page: Any) -> None:
    page.get_by_label("Prompt").locator("visible=true").fill("Zoë")
    press(page, "Write")
    toast = page.locator(".toast-body").first
    toast.wait_for()
    told = toast.inner_text()
    assert "character 'ë'" in told
    assert "not in the alphabet" in told
    assert "/" not in told


def test_every_card_is_there(page: Any) -> None:
    tab(page, "About")
    for name in ("shakespeare", "digits-speech", "names"):
        page.get_by_role("button", name=re.compile(f"^{name}")).click()
    assert page.get_by_text("licence of the data").first.is_visible()


def test_text_without_a_prompt_is_remarked_upon(page: Any) -> None:
    choose(page, "Model", "shakespeare")
    page.locator("#written textarea").wait_for()
    page.get_by_label("number input for Length").fill("20")
    press(page, "Write")
    page.locator("#text-status").get_by_text("begins in the middle of one").wait_for()


def test_rows_of_a_table_are_sampled_and_scored(page: Any) -> None:
    tab(page, "Table")
    page.get_by_label("Prompt").locator("visible=true").fill("7.5,,")
    page.get_by_label("number input for How many").locator("visible=true").fill("3")
    press(page, "Sample")
    page.get_by_text("3 rows.").wait_for()
    header, *rows = page.locator("#table-items pre").inner_text().split("\n")
    assert header == "height,width,depth"
    assert [row.split(",")[0] for row in rows] == ["7.5"] * 3
    place = page.locator("#table-files a[download]").first
    assert httpx.get(place.get_attribute("href")).text == "\n".join([header, *rows, ""])
    page.get_by_text("As JSON").click()
    page.locator("#table-json").get_by_text('"height"').first.wait_for()
    tab(page, "Score")
    page.get_by_role("tab", name="Table", exact=True).last.click()
    page.locator("#table-scored textarea").fill("9,1.5,0.25")
    page.locator("#score-table").click()
    page.locator("#table-symbols td").first.wait_for()
    assert page.locator("#table-symbols td:first-child").all_inner_texts() == ["height=9", "width=1.5", "depth=0.25"]
    numbers = page.locator("#table-numbers").inner_text()
    assert "nats/row" in numbers
    assert "that the model was not trained on" in numbers


@pytest.fixture(scope="module")
def pocket(chromium: Any) -> Any:
    return chromium.new_context(viewport={"width": 390, "height": 844}, has_touch=True)


@pytest.fixture
def phone(pocket: Any, app: served.App) -> Iterator[Any]:
    opened = pocket.new_page()
    opened.set_default_timeout(60_000)
    opened.goto(app.url)
    opened.get_by_role("button", name="Write").wait_for()
    yield opened
    opened.close()


TITLES = ["Text", "Audio", "Images", "Table", "Score", "Compare", "About"]


def test_all_tabs_are_in_view_on_a_phone(phone: Any) -> None:
    for title in TITLES:
        button = phone.get_by_role("tab", name=title, exact=True).first
        box = button.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["y"] + box["height"] <= 844
        button.click()
        assert button.get_attribute("aria-selected") == "true"
        assert phone.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("titles", "word", "result", "done"),
    [
        (["Text"], "Write", "#names", "#names .badge"),
        (["Audio"], "Speak", "#clip", "#clip a[download]"),
        (["Images"], "Draw", "#canvas", "#canvas img"),
        (["Table"], "Sample", "#table-items", "#table-items pre:not(.empty)"),
        (["Score"], "Score", "#first-colours", "#first-colours .symbol"),
        (["Score", "Image"], "Score", "#surprise-map", "#surprise-map img"),
        (["Score", "Table"], "Score", "#table-numbers", "#table-numbers pre"),
        (["Compare"], "Compare", "#columns", "#compare-status:has-text('Done.')"),
    ],
    ids=["text", "audio", "images", "table", "score-text", "score-image", "score-table", "compare"],
)
def test_a_result_is_in_view_on_a_phone(phone: Any, titles: list[str], word: str, result: str, done: str) -> None:
    tab(phone, titles[0])
    if titles[0] == "Audio":
        choose(phone, "Model", "digits-speech")
    if len(titles) > 1:
        phone.get_by_role("tab", name=titles[1], exact=True).last.click()
    if titles[1:] == ["Image"]:
        phone.locator("#scored-examples .gallery-item").first.click()
        phone.locator("#scored-picture img").wait_for()
    if titles[1:] == ["Table"]:
        phone.locator("#table-scored textarea").fill("9,1.5,0.25")
    press(phone, word)
    phone.locator(done).first.wait_for(state="attached")
    phone.wait_for_function(IN_VIEW, arg=result, timeout=10_000)


IN_VIEW = """name => {
    const box = document.querySelector(name).getBoundingClientRect();
    const seen = Math.min(box.bottom, innerHeight) - Math.max(box.top, 0);
    return box.height > 0 && box.top >= 0 && seen >= Math.min(box.height, innerHeight / 3);
}"""
"""Whether the top of an element is on the screen, and all of it or as much as a third of the screen."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_needs_no_scrolling_sideways(pocket: Any, app: served.App, theme: str) -> None:
    page = pocket.new_page()
    page.goto(f"{app.url}?__theme={theme}")
    page.get_by_role("button", name="Write").click()
    page.locator("#names .badge").first.wait_for(timeout=20_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    ink = page.locator("#names b").first.evaluate("one => getComputedStyle(one).color")
    assert (sum(map(int, re.findall(r"\d+", ink)[:3])) < 384) == (theme == "light")
    page.close()
