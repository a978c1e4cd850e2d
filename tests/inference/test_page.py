"""The page in a real browser: what a person gives and sees, by mouse, by keyboard, on a telephone, light and dark."""

import json
import wave
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, DESKTOP, KINDS, ODD, PHONE, check, headline, odd_answer, opened

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
pytest.importorskip("playwright")

import httpx
from servers import in_thread

from mm_fairseq.inference.server.app import create_app
from mm_fairseq.inference.server.limits import Limits
from mm_fairseq.inference.server.work import SharedModel

LIMITS = Limits(upload_bytes=20 << 20, recording_seconds=600.0, jobs=1, kept_seconds=60.0)
REFUSED = "Failed to load resource"  # what the console says of a status of 4xx

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def model(small_models):
    """Reads everything; who holds its `turn` keeps it from answering."""
    return SharedModel.from_pretrained(small_models.checkpoint("ssl_fusion"), max_seconds=LIMITS.seconds)


@pytest.fixture(scope="module")
def address(model, tmp_path_factory):
    """Of a server of that model."""
    with in_thread(create_app(model, LIMITS, tmp_path_factory.mktemp("served"))) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def clip(small_models):
    """A video of a person who speaks, and the words."""
    found = small_models.clips()[0]
    return found.video, found.text


@pytest.fixture
def recording(tmp_path):
    """A sound that is longer than one answer is for."""

    def make(seconds):
        x = 3000 * np.sin(np.arange(int(seconds * 16000)) * 0.05)
        with wave.open(str(tmp_path / "long.wav"), "wb") as out:
            out.setparams((1, 2, 16000, 0, "NONE", ""))
            out.writeframes(x.astype("<i2").tobytes())
        return tmp_path / "long.wav"

    return make


def give(page, clip):
    page.set_input_files("#file", clip[0])
    page.fill("#text", clip[1])


@pytest.mark.parametrize("withheld", [[], ["video"], ["audio", "text"]])
def test_scores_are_those_of_the_api(browser, address, clip, withheld):
    fields = {"text": clip[1], "without": ",".join(withheld)}
    told = httpx.post(f"{address}/api/predict", data=fields, files={"clip": clip[0].open("rb")}, timeout=600).json()
    with opened(browser, address) as page:
        give(page, clip)
        for name in withheld:
            page.locator(f"label:has(#use-{name})").click()
        page.click("#go")
        headline(page, "Done.")
        assert check(page, "scores") == list(told["targets"].values())
        assert page.locator("#result h3").all_text_contents()[: len(told["targets"])] == list(told["targets"])
        assert page.locator(".verdict").all_text_contents() == list(told["predictions"].values())
        facts = page.locator(".facts").inner_text()
        names = {"audio": "sound", "text": "words", "video": "pictures"}
        assert all(names[name] in facts.splitlines()[0] for name in told["modalities"])
        assert ("Withheld" in facts) == bool(withheld)
        for note in told["notes"]:
            assert note["message"] in facts


@pytest.mark.parametrize(("button", "pictures"), [("#record-audio", False), ("#record-video", True)])
def test_what_is_recorded_is_answered(browser, address, button, pictures):
    with opened(browser, address) as page:
        page.click(button)
        page.wait_for_function("() => document.getElementById('clock').textContent >= '0:02'")
        assert page.locator("#preview").is_visible() == pictures
        assert page.evaluate("document.activeElement.id") == "stop"
        page.click("#stop")
        page.locator("#file-name", has_text="camera.webm" if pictures else "sound.webm").wait_for()
        assert page.locator("#video-player" if pictures else "#audio-player").is_visible()
        page.click("#go")
        headline(page, "Done.")
        facts = page.locator(".facts").inner_text()
        assert "sound" in facts.splitlines()[0]
        assert ("pictures" in facts.splitlines()[0]) == pictures
        page.click("#start-over")
        page.click(button)
        page.click("#discard")
        assert page.locator("#drop").is_visible()
        assert page.locator("#chosen").is_hidden()


def test_what_is_refused_is_told_and_another_try_is_near(browser, address, clip, tmp_path):
    bad, large, empty = tmp_path / "notes.mp4", tmp_path / "large.wav", tmp_path / "empty.wav"
    bad.write_bytes(b"no video at all" * 99)
    large.write_bytes(bytes(LIMITS.upload_bytes + 1))
    empty.write_bytes(b"")
    with opened(browser, address, expected=[REFUSED]) as page:
        page.click("#go")
        assert "Choose or record a clip" in page.locator("#complaint").inner_text()
        for file, told in ((large, "at most 20 MB"), (empty, "is empty")):
            page.set_input_files("#file", file)
            assert told in page.locator("#complaint").inner_text()
        page.set_input_files("#file", bad)
        page.locator("#unplayable").wait_for()
        page.click("#go")
        headline(page, "The server refuses it.")
        detail = page.locator("#detail").inner_text()
        assert "notes.mp4" in detail
        assert "/tmp" not in detail
        page.fill("#text", clip[1])
        page.click("#again")
        page.locator("#detail", has_text="out to be answered from text").wait_for()
        assert "notes.mp4" in page.locator("#detail").inner_text()
        page.click("#remove")
        give(page, clip)
        page.click("#again")
        headline(page, "Done.")
        for name in ("audio", "text", "video"):
            page.locator(f"label:has(#use-{name})").click()
        page.click("#go")
        assert "at least one" in page.locator("#complaint").inner_text()
        assert page.evaluate("document.activeElement.id") == "use-audio"
        page.click("#start-over")
        headline(page, "Nothing asked yet.")
        assert page.locator("#result").is_hidden()
        assert page.locator("#use-audio").is_checked()


def test_a_long_recording_gets_a_timeline_to_seek_in(browser, address, recording):
    with opened(browser, address) as page:
        page.set_input_files("#file", recording(70))
        page.locator("#too-long").wait_for()
        assert page.locator("input[value=windows]").is_checked()
        page.fill("#hop", "2.5")
        page.click("#go")
        headline(page, "Done.")
        seek = page.get_by_role("slider").first
        assert float(seek.get_attribute("aria-valuemax")) == pytest.approx(70, abs=0.5)
        seek.focus()
        for key in ("Home", "ArrowRight", "ArrowRight"):
            page.keyboard.press(key)
        player = "document.getElementById('audio-player')"
        assert page.evaluate(f"{player}.currentTime") == pytest.approx(5.0)
        assert seek.get_attribute("aria-valuetext").startswith("0:05, ")
        page.keyboard.press("End")
        assert page.evaluate(f"{player}.currentTime") == pytest.approx(70, abs=0.5)
        box = seek.bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 5)
        assert page.evaluate(f"{player}.currentTime") == pytest.approx(35, abs=0.5)
        pixels = page.evaluate(
            "[...document.querySelector('.seek canvas').getContext('2d').getImageData(20, 12, 1, 1).data]"
        )
        assert pixels[3] > 0
        with page.expect_download() as download:
            page.get_by_role("link", name="JSON", exact=True).click()
        segments = json.loads(Path(download.value.path()).read_text())
        assert [each["start"] for each in segments][:3] == [0.0, 2.5, 5.0]
        page.get_by_text("All windows as a table").click()
        page.locator("tbody tr").first.wait_for()
        assert page.locator("tbody tr").count() == len(segments)
        name = next(key for key in segments[2] if key not in ("start", "end"))
        told = page.locator("tbody tr").nth(2).inner_text()
        assert f"{segments[2][name]} {segments[2]['scores'][name][segments[2][name]]:.3f}" in told
        for kind, begins in (("CSV", "start"), ("WebVTT", "WEBVTT")):
            with page.expect_download() as download:
                page.get_by_role("link", name=kind).click()
            assert Path(download.value.path()).read_text().startswith(begins)
        assert check(page, "faults") == []


def test_a_long_job_can_be_cancelled(browser, address, recording):
    with opened(browser, address) as page:
        page.set_input_files("#file", recording(500))
        page.fill("#hop", "0.25")
        with page.expect_response("**/api/segments") as begun:
            page.click("#go")
        url = address + begun.value.json()["url"]
        headline(page, "Computing…")
        assert httpx.get(url, timeout=600).json()["status"] == "running"
        with page.expect_response(url):
            page.get_by_role("button", name="Cancel").click()
        headline(page, "Cancelled.")
        assert httpx.get(url, timeout=600).status_code == 404
        assert page.locator("#working").is_hidden()
        assert page.evaluate("document.activeElement.id") == "go"


def test_explanation_is_a_picture_and_the_same_as_tables(browser, address, clip):
    with opened(browser, address) as page:
        give(page, clip)
        page.check("#explain")
        page.click("#go")
        headline(page, "Done.")
        picture = page.locator("#result img")
        assert picture.evaluate("(image) => image.naturalWidth") > 300
        assert "sound, words and pictures" in picture.get_attribute("alt")
        told = httpx.post(
            f"{address}/api/explain",
            data={"text": clip[1], "picture": "none"},
            files={"clip": clip[0].open("rb")},
            timeout=600,
        ).json()["explanation"]
        effects = page.locator("#result ul.bars").last.locator("li data")
        shown = [float(each.get_attribute("value")) for each in effects.all()]
        assert shown == pytest.approx([each["score"] for each in told["without"]], abs=1e-6)
        page.get_by_text("Attention as tables").click()
        words = page.get_by_role("region", name="Attention on words").locator("tbody th")
        words.first.wait_for()
        assert words.all_text_contents() == [each["word"] for each in told["words"]]
        assert check(page, "faults") == []


def test_everything_by_keyboard(browser, address):
    with opened(browser, address) as page:

        def at(id, *keys):
            """Go on to where the focus must be next, and see that it shows."""
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.id") == id
            shown = "label[for=file]" if id == "file" else f"#{id}"
            assert page.locator(shown).evaluate("(node) => getComputedStyle(node).outlineStyle") == "solid"
            for key in keys:
                page.keyboard.press(key)

        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        for id in ("file", "record-audio", "record-video", "text"):
            at(id)
        page.keyboard.type("so glad that you came")
        at("use-audio")
        at("use-text")
        at("use-video", "Space")
        assert not page.locator("#use-video").is_checked()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.value") == "whole"
        page.keyboard.press("ArrowDown")
        assert page.locator("#windows").is_visible()
        page.keyboard.press("ArrowUp")
        at("explain")
        at("go", "Enter")
        headline(page, "Done.")
        assert page.evaluate("document.activeElement.id") == "answer"
        assert "Answered from words." in page.locator(".facts").inner_text()
        assert "Withheld: pictures." in page.locator(".facts").inner_text()
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.getAttribute('href')") == "/api"
        page.locator(".skip").focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.getAttribute('href')") == "/api"


def served_otherwise(page, address, **other):
    """As if the server's model had other targets, or read other things, and had answered oddly."""
    model = httpx.get(f"{address}/api/model", timeout=600).json() | other
    model["targets"] = [{"name": name, "kind": KINDS[name], "classes": labels} for name, labels in ODD.items()]
    page.route("**/api/model", lambda route: route.fulfill(json=model))
    page.route("**/api/predict", lambda route: route.fulfill(json=odd_answer()))
    page.reload()
    headline(page, "Nothing asked yet.")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_label_fits_and_can_be_read(browser, address, recording, viewport, scheme):
    with opened(browser, address, viewport, scheme, reduced_motion="reduce") as page:
        served_otherwise(page, address)

        def look():
            assert check(page, "overflow") == []
            assert check(page, "faults") == []
            found = check(page, "contrast")
            assert found["texts"] > 15
            assert found["faint"] == []
            if viewport == PHONE:
                assert check(page, "small") == []

        look()
        page.set_input_files("#file", recording(1))
        page.fill("#text", "مرحبا، كيف حالك؟")
        assert page.locator("#text").evaluate("(node) => node.matches(':dir(rtl)')")
        page.click("#go")
        headline(page, "Done.")
        look()
        assert check(page, "scores") == [*list(odd_answer()["targets"].values())[:2], []]
        assert page.locator(".verdict").all_text_contents() == ["happy", "topic 0", "-1.250"]
        assert page.locator("#result b").count() == 0
        assert page.evaluate("document.getAnimations().length") == 0
        dark = page.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((part) => part < 60)"
        )
        assert dark == (scheme == "dark")
        page.locator("label:has([value=windows])").click()
        page.click("#go")
        assert "need times" in page.locator("#complaint").inner_text()
        look()


def answered_by(reply, route):
    return route.fulfill(**reply) if reply else route.abort()


def test_states_of_a_request(browser, address, clip, model):
    with opened(browser, address, expected=[REFUSED]) as page:
        give(page, clip)
        asked = []
        page.on("request", lambda request: asked.append(request.url) if "predict" in request.url else None)
        page.route("**/health", lambda route: route.fulfill(json={"under_way": 3}))
        with model.turn:
            page.click("#go")
            headline(page, "Waiting for the answer…")
            page.get_by_text("2 other requests are under way.", exact=True).wait_for()
            assert page.locator("#go").get_attribute("aria-disabled") == "true"
            page.click("#go", force=True)
            assert len(asked) == 1
            page.get_by_role("button", name="Cancel").click()
            headline(page, "Cancelled.")
        for reply, told, detail in (
            (None, "The server does not answer.", "still running"),
            (
                {"status": 503, "json": {"error": "the server stops"}},
                "The server could not answer.",
                "The server stops",
            ),
            ({"status": 429, "json": {"error": "busy"}, "headers": {"Retry-After": "5"}}, "refuses", "again in 5 s"),
            ({"status": 422, "json": {"error": "x", "code": "too_long"}}, "refuses", "at most 1 min"),
        ):
            page.unroute("**/api/predict")
            page.route("**/api/predict", partial(answered_by, reply))
            page.click("#again")
            headline(page, told)
            assert detail in page.locator("#detail").inner_text()
        assert page.locator("#again").inner_text() == "Make a timeline of it"
        page.fill("#text", "")
        page.click("#again")
        headline(page, "Done.")
        assert page.get_by_role("slider").count() > 0


def test_a_file_can_be_dropped_anywhere(browser, address):
    with opened(browser, address) as page:
        drop = """(text) => {
          const data = new DataTransfer();
          data.items.add(new File([text], text ? "words.srt" : "empty.wav"));
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }"""
        page.evaluate(drop, "")
        assert page.locator("#complaint").inner_text() == "empty.wav is empty."
        page.evaluate(drop, "1\n00:00:00,000 --> 00:00:02,000\nso glad\n")
        page.wait_for_function("() => document.getElementById('text').value.includes('so glad')")
        assert page.locator("input[value=windows]").is_checked()


def test_only_what_the_model_reads_can_be_given(browser, address):
    seen = ("#source", "#words", "#record-audio", "#record-video", "input[value=windows]", "#use-audio", "#use-text")
    with opened(browser, address) as page:
        for modalities, features, shown in (
            (["audio", "video"], [], "1011110"),
            (["audio", "text"], [], "1110111"),
            (["text"], [], "0100001"),
            (["audio", "text"], ["audio"], "1100011"),
        ):
            served_otherwise(page, address, modalities=modalities, features=features)
            assert "".join(str(int(page.locator(place).is_visible())) for place in seen) == shown, modalities
            assert (".npz" in page.locator("#file").get_attribute("accept")) == bool(features)
            page.click("#go")
            assert page.locator("#complaint").inner_text().endswith("first.")
