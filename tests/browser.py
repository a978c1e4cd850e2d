"""The page of `mm-fairseq serve` in a headless Chromium, with an eye on all that must not happen there."""

import shutil
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = [
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
]
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}

CHECKS = Path(__file__).with_name("page_checks.js").read_text("utf-8")


def check(page, name):
    """What a function of page_checks.js finds."""
    return page.evaluate(f"{CHECKS.strip()}.{name}()")


@contextmanager
def opened(browser, address, viewport=DESKTOP, scheme="light", expected=(), **more):
    """The page, ready; afterwards nothing was complained of, and nothing asked of anybody but its server.

    Args:
        browser: of playwright.
        address: of the server.
        viewport: width and height in pixels.
        scheme: "light" or "dark".
        expected: what lines on the console may say, those of refused requests.
        more: of the context.
    """
    context = browser.new_context(viewport=viewport, color_scheme=scheme, **more)
    page = context.new_page()
    page.set_default_timeout(200_000)
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.get_by_text("Nothing asked yet.").wait_for()
    try:
        yield page
        assert [line for line in said if not any(word in line for word in expected)] == []
        own = urlsplit(address).netloc
        foreign = [url for url in asked if urlsplit(url).scheme not in ("blob", "data") and urlsplit(url).netloc != own]
        assert foreign == []
    finally:
        context.close()


def headline(page, text):
    """Wait until the status says so."""
    found = "(text) => document.getElementById('headline').textContent.includes(text) || null"
    try:
        page.wait_for_function(found, arg=text)
    except Exception as error:
        raise AssertionError(f"{text!r} is not said: {page.locator('#status').inner_text()!r}") from error


ODD = {
    "emotion": ["happy", "a label of a very long name in which nothing can be broken " + "x" * 60, "سعيد جدا", "슬픔"],
    "topics": [f"topic {number}" for number in range(15)] + ["<b>bold</b>"],
    "sentiment": [],
}
KINDS = {"emotion": "single", "topics": "multilabel", "sentiment": "regression"}


def odd_answer():
    """Of a model with the targets `ODD`: long labels, other scripts, what looks like markup."""
    scores = {name: [{"label": each, "score": 0.9 / (n + 1)} for n, each in enumerate(c)] for name, c in ODD.items()}
    scores["sentiment"] = [{"label": "sentiment", "score": -1.25}]
    predictions = {"emotion": "happy", "topics": ["topic 0"], "sentiment": -1.25}
    note = {"modality": "video", "code": "no_face", "message": "ملف.mp4: no face was found " + "y" * 60}
    return {
        "id": "ملف.mp4",
        "modalities": ["audio"],
        "seconds": 12.5,
        "notes": [note],
        "predictions": predictions,
        "targets": scores,
    }
