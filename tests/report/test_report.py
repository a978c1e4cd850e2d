"""The written report: files, escaping, nothing fetched, the same bytes twice."""

import csv
import re
from html.parser import HTMLParser

import pytest

from mm_fairseq import report


class Page(HTMLParser):
    """Collects tags, addresses and text, and fails on a tag that is closed in the wrong order."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.addresses, self.text = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def lines(line):
    return [line(1), line(2, "angry", "sad"), line(3, "neutral", "neutral"), line(4, None)]


def test_writes_every_file_with_the_same_numbers(write_lines, lines, tmp_path):
    written = report.write(write_lines(lines, "run/test/predictions.jsonl"), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "confusion_emotion.png",
        "index.html",
        "metrics.csv",
        "report.md",
    ]
    assert written.name == "run"
    assert written.sections[0].summary.scores["wa"] == pytest.approx(2 / 3)
    text = " ".join(Page((tmp_path / "out/index.html").read_text("utf-8")).text)
    assert "0.667" in text
    assert "1 more without a true label" in text
    assert "| run | 0.667 |" in (tmp_path / "out/report.md").read_text("utf-8")
    with (tmp_path / "out/metrics.csv").open(encoding="utf-8") as file:
        values = {(row["class"], row["metric"]): row["value"] for row in csv.DictReader(file)}
    assert (values["", "wa"], values["", "n"], values["angry", "recall"]) == ("0.666667", "3", "0.000000")
    assert (tmp_path / "out/confusion_emotion.png").read_bytes().startswith(b"\x89PNG")


def test_page_fetches_nothing(write_lines, lines, tmp_path):
    report.write(write_lines(lines), tmp_path / "out")
    text = (tmp_path / "out/index.html").read_text("utf-8")
    page = Page(text)
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert not {"script", "link"} & set(page.seen)
    assert not re.search(r"url\(|@import|https?:", text)


def test_same_predictions_give_the_same_bytes(write_lines, lines, tmp_path):
    path = write_lines(lines)
    for out in ("a", "b"):
        report.write(path, tmp_path / out)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_text_of_users_cannot_become_markup(write_lines, line, tmp_path):
    evil = "<script>alert(1)</script>|`x`"
    path = write_lines([line(1, evil, "sad", id="<img src=x>"), line(2)])
    report.write(path, tmp_path / "out", name=evil, compare=[("<b>", path)])
    page = Page((tmp_path / "out/index.html").read_text("utf-8"))
    assert "script" not in page.seen
    assert page.seen.count("img") == 1
    assert evil in "".join(page.text)
    table = (tmp_path / "out/report.md").read_text("utf-8")
    assert not re.search(r"(?<!\\)<", table)
    widths = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines() if row.startswith("| ") and "wa" in row}
    assert widths == {7}


def test_several_splits_and_targets_get_their_own_pictures(write_lines, line, tmp_path):
    targets = [line(1), line(1, split="valid"), line(1, name="a/b"), line(1, name="a b"), line(1, name="..")]
    written = report.write(write_lines(targets), tmp_path / "out")
    names = [section.picture for section in written.sections]
    assert len(set(names)) == 5
    assert all((tmp_path / "out" / name).is_file() for name in names)
    assert written.exact[0][0] == "test"


def test_regression_has_a_picture_and_no_confusion(write_lines, line, tmp_path):
    path = write_lines([line(i, float(i - 2), i / 2, kind="regression") for i in range(5)])
    written = report.write(path, tmp_path / "out")
    assert written.sections[0].confusion is None
    assert (tmp_path / "out/scatter_emotion.png").read_bytes().startswith(b"\x89PNG")
    Page((tmp_path / "out/index.html").read_text("utf-8"))
