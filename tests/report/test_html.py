"""The page: nothing fetched, text cannot become markup, and a real browser shows it without a fault."""

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from mm_fairseq import report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--allow-file-access-from-files",
    "--window-size=1400,1000",
]
MEASURE = """<script>addEventListener("load", () => {
  const frame = document.querySelector("iframe"), inside = frame.contentDocument;
  const wide = [...inside.querySelectorAll("body *")].filter((node) => !node.closest(".scroll, svg"));
  const over = wide.filter((node) => node.getBoundingClientRect().right > frame.clientWidth + 1);
  document.title = ["measured", frame.clientWidth, inside.documentElement.scrollWidth,
    over.map((node) => node.outerHTML.slice(0, 80)).join(" "), getComputedStyle(inside.body).backgroundColor].join("|");
});</script>"""


class Page(HTMLParser):
    """Collects tags, addresses and text, and fails on a tag that is closed in the wrong order."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.addresses, self.ids, self.text = [], [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page(make_run, random_lines, tmp_path_factory):
    """A page with everything in it: several targets of every kind, long names, another run, curves."""
    folder = tmp_path_factory.mktemp("page")
    classes = [f"a class of a very long name in which nothing can be broken {'x' * 30} {n}" for n in range(34)]
    lines = [
        *random_lines(),
        *random_lines(name="intent", classes=classes),
        *random_lines("multilabel", name="행사", classes=("말", "음악", "웃음")),
        *random_lines("binary_each", name="each"),
        *random_lines("regression", name="sentiment"),
    ]
    run, other = make_run(folder / "run", lines), make_run(folder / "other", random_lines(seed=4))
    report.write(run, folder / "out", name="run_" * 40, compare=[("other_" * 20, other)], resamples=20)
    return folder / "out/index.html"


def test_page_fetches_nothing_and_its_links_lead_somewhere(page):
    text = page.read_text("utf-8")
    parsed = Page(text)
    assert all(address.startswith(("data:", "#")) for address in parsed.addresses)
    assert {address[1:] for address in parsed.addresses if address.startswith("#")} <= set(parsed.ids)
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert "script" not in parsed.seen
    assert not re.search(r"url\((?!#)|@import|https?:", text)


def test_page_says_what_was_run(run_folder, tmp_path):
    report.write(run_folder, tmp_path / "out", resamples=20)
    text = " ".join(Page((tmp_path / "out/index.html").read_text("utf-8")).text)
    for fact in (
        "leave_one_session_out",
        "ssl_fusion",
        "checkpoint_best.pt",
        "--lr 3e-4",
        "9f86d081884c7d65",
        "torch 2.11",
    ):
        assert fact in text
    assert "bootstrap over 12 speakers" in text
    order = ["Side by side", "Each class", "Rows are the truth", "best wa on valid", "Can its", "By style", "Most conf"]
    places = [text.rindex(part) for part in [*order, "Where the numbers come from", "Beside this page"]]
    assert places == sorted(places)


def test_text_of_users_cannot_become_markup(write_lines, line, tmp_path):
    evil = "<script>alert(1)</script>|`x`"
    scores = {evil: 0.1, "sad": 0.9}
    path = write_lines([line(1, evil, "sad", id="<img src=x>", text=evil, scores=scores), line(2, scores=scores)])
    report.write(path, tmp_path / "out", name=evil, compare=[("<b>", path)], resamples=20)
    page = Page((tmp_path / "out/index.html").read_text("utf-8"))
    assert not {"script", "img"} & set(page.seen)
    assert evil in "".join(page.text)
    table = (tmp_path / "out/report.md").read_text("utf-8")
    assert not re.search(r"(?<!\\)<", table.replace("< 0.001", ""))
    widths = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines() if row.startswith("| ") and "wa" in row}
    assert 10 in widths


@pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_a_browser_shows_it_without_overflow_and_without_a_fault(page, tmp_path, width, dark):
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<!doctype html><meta charset="utf-8"><title>-</title><link rel="icon" href="data:,">{MEASURE}'
        f'<iframe src="{page.as_uri()}" width="{width}" height="900" style="border:0"></iframe>',
        encoding="utf-8",
    )
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    command = [BROWSER, *OPTIONS, scheme, f"--user-data-dir={tmp_path}/profile", "--dump-dom", frame.as_uri()]
    home = os.environ | {"HOME": str(tmp_path), "XDG_CONFIG_HOME": f"{tmp_path}/config"}
    shown = subprocess.run(command, capture_output=True, text=True, timeout=1000, env=home, check=False)
    found = re.search(r"<title>measured\|(.*?)</title>", shown.stdout, re.DOTALL)
    assert found, shown.stderr[-2000:]
    inner, content, over, background = found[1].split("|")
    assert int(content) <= int(inner)
    assert over == ""
    assert background == ("rgb(20, 24, 31)" if dark else "rgb(255, 255, 255)")
    assert [line for line in shown.stderr.splitlines() if "CONSOLE" in line] == []
