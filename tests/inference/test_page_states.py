"""The page where things do not go straight on: prompts left open, requests that are left, answers it cannot show."""

import asyncio
import threading
import wave

import pytest
from browser import CHROMIUM, headline, opened

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
pytest.importorskip("playwright")

import httpx
from servers import in_thread

from mm_fairseq.inference.server.app import create_app
from mm_fairseq.inference.server.limits import Limits
from mm_fairseq.inference.server.work import SharedModel

PROMPT = """() => {
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  window.allow = [];
  window.streams = [];
  navigator.mediaDevices.getUserMedia = async (wanted) => {
    await new Promise((go) => window.allow.push(go));
    window.streams.push(await real(wanted));
    return window.streams.at(-1);
  };
}"""
ENDED = "() => window.streams[0]?.getTracks().every((track) => track.readyState === 'ended')"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

LET = threading.Event()  # answers about recordings go out


def held(app):
    """The application, whose answers about recordings wait until they are let."""

    async def served(scope, receive, send):
        async def later(message):
            if scope.get("path") == "/api/segments" and message["type"] == "http.response.start":
                await asyncio.to_thread(LET.wait, 300)
            await send(message)

        await app(scope, receive, later)

    return served


@pytest.fixture(scope="module")
def address(small_models, tmp_path_factory):
    """Of a server."""
    limits = Limits(jobs=1, seconds=30.0)
    model = SharedModel.from_pretrained(small_models.checkpoint("ssl_fusion"), max_seconds=limits.seconds)
    with in_thread(held(create_app(model, limits, tmp_path_factory.mktemp("served")))) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def sound(tmp_path):
    """A file of two seconds."""
    with wave.open(str(tmp_path / "sound.wav"), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes(bytes(2 * 2 * 16000))
    return tmp_path / "sound.wav"


def test_one_recording_at_a_time(browser, address):
    with opened(browser, address) as page:
        page.evaluate(PROMPT)
        page.click("#record-audio")
        page.click("#record-video")
        assert page.evaluate("window.allow.length") == 1
        page.evaluate("window.allow[0]()")
        page.wait_for_function("() => document.getElementById('clock').textContent >= '0:01'")
        assert page.locator("#preview").is_hidden()
        page.click("#discard")
        page.wait_for_function(ENDED)


@pytest.mark.parametrize("instead", ["a file", "nothing"])
def test_a_recording_that_is_allowed_too_late_is_none(browser, address, sound, instead):
    with opened(browser, address) as page:
        page.evaluate(PROMPT)
        page.click("#record-audio")
        if instead == "a file":
            page.set_input_files("#file", sound)
        else:
            page.click("#start-over")
        page.evaluate("window.allow[0]()")
        page.wait_for_function(ENDED)
        assert page.locator("#recording").is_hidden()
        assert page.locator("#chosen").is_visible() == (instead == "a file")


def test_what_is_left_does_not_come_back(browser, address):
    with opened(browser, address) as page:
        page.route("**/api/predict", lambda route: None)
        page.fill("#text", "so glad")
        page.click("#go")
        page.locator("#working").wait_for()
        page.click("#start-over")
        page.wait_for_timeout(300)
        assert page.locator("#headline").inner_text() == "Nothing asked yet."
        assert page.locator("#retry").is_hidden()
        assert page.evaluate("document.activeElement.id") == "file"
        page.unroute("**/api/predict")
        page.fill("#text", "so glad")
        page.click("#go")
        headline(page, "Done.")


def test_an_answer_that_cannot_be_shown_is_told(browser, address):
    with opened(browser, address, expected=["Cannot read"]) as page:
        page.route("**/api/predict", lambda route: route.fulfill(json={"id": "x"}))
        page.fill("#text", "so glad")
        page.click("#go")
        headline(page, "could not show")
        assert page.locator("#result a").get_attribute("href") == "/api"
        assert page.locator("#working").is_hidden()
        page.unroute("**/api/predict")
        page.click("#again")
        headline(page, "Done.")
        assert page.locator("#result .verdict").count() > 0


def test_a_job_that_begins_after_all_is_forgotten(browser, address, sound):
    LET.clear()
    with opened(browser, address) as page:
        page.set_input_files("#file", sound)
        page.locator("label:has([value=windows])").click()
        page.click("#go")
        headline(page, "Computing…")
        with page.expect_response(lambda response: response.request.method == "DELETE") as forgotten:
            page.get_by_role("button", name="Cancel").click()
            headline(page, "Cancelled.")
            LET.set()
        assert forgotten.value.status == 204
        assert httpx.get(forgotten.value.url, timeout=600).status_code == 404
        assert page.locator("#headline").inner_text() == "Cancelled."


def test_windows_are_within_the_limits(browser, address, sound):
    LET.set()
    with opened(browser, address) as page:
        page.set_input_files("#file", sound)
        page.locator("label:has([value=windows])").click()
        for window, hop, told in (
            ("", "1", "from 0.25 to 30"),
            ("0.2", "0.2", "from 0.25 to 30"),
            ("31", "1", "from 0.25 to 30"),
            ("5", "0.2", "0.25 seconds or more"),
            ("1", "2", "within the one before"),
        ):
            page.fill("#window", window)
            page.fill("#hop", hop)
            page.click("#go")
            assert told in page.locator("#complaint").inner_text()
        page.fill("#hop", "0.25")
        page.click("#go")
        headline(page, "Done.")


def test_switches_differ_where_colours_are_forced(browser, address):
    with opened(browser, address, forced_colors="active") as page:
        switch = page.locator("#use-audio")
        on = switch.screenshot()
        switch.evaluate("(node) => (node.checked = false)")
        assert switch.screenshot() != on
