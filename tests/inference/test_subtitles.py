"""Words with their times, from files as programs write them."""

import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.inference.subtitles import Cue, Script, parse, read_subtitles

VTT = """WEBVTT - a talk
Kind: captions

NOTE
not spoken

STYLE
::cue { color: red }

1
00:01.000 --> 00:03.500 align:start position:0%
<v Ann>How <i>nice</i> &amp; warm
and bright

01:00:00.000 --> 01:00:02.000
late
"""
SRT = """1
00:00:01,000 --> 00:00:03,500
{\\an8}<font color='red'>How nice</font>

2
00:00:04,000 --> 00:00:05,000

""".replace("\n", "\r\n")


def test_webvtt():
    assert parse(VTT) == [Cue(1.0, 3.5, "How nice & warm and bright"), Cue(3600.0, 3602.0, "late")]


def test_subrip():
    assert parse(SRT) == [Cue(1.0, 3.5, "How nice")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(tmp_path, encoding):
    (tmp_path / "a.srt").write_bytes("1\n00:00:01,000 --> 00:00:02,000\n안녕 é\n".encode(encoding))
    assert read_subtitles(tmp_path / "a.srt") == [Cue(1.0, 2.0, "안녕 é")]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no subtitles"),
        (b"\x00\x01\xff\xfe", "not utf-8"),
        ("é".encode("latin-1"), "byte 0"),
        (b"hello", "no subtitles"),
        (
            b"1\n00:00:01,000 --> 00:00:02,000\nfine\n\n2\n00:00:01,000 -> 00:00:02,000\nlost",
            "line 6: '00:00:01,000 ->",
        ),
        (b"00:00:01.000 --> 00:00:0x\nlost", r"a\.srt: line 1: .*expected 00:00:01"),
        (b"\n00:00:03.000 --> 00:00:02.000\nlost", "line 2: .*ends before it begins"),
    ],
)
def test_files_that_are_none(tmp_path, content, told):
    (tmp_path / "a.srt").write_bytes(content)
    with pytest.raises(MMFairseqError, match=told):
        read_subtitles(tmp_path / "a.srt")


def test_numbers_that_are_none():
    """Hours without end are no time; a character's number without end is passed on as it stands."""
    with pytest.raises(MMFairseqError, match="line 1: '9999"):
        parse(f"{'9' * 400}:00:00.000 --> {'9' * 5000}:00:01.000\nlate\n")
    (cue,) = parse(f"00:00.000 --> 00:01.000\na &#{'9' * 5000}; b\n")
    assert cue.text.startswith("a &#9")


def test_words_of_a_window_have_a_bound():
    cues = [Cue(0, 9, "one two"), Cue(1, 9, "three"), Cue(2, 9, "four")]
    assert Script(cues, 13).between(0, 9) == "one two three"
    assert Script(cues, 9).between(0, 9) == "one two t"
    assert Script(cues, 99).between(0, 9) == "one two three four"


def test_words_between():
    cues = [Cue(5, 6, "c"), Cue(0, 60, "all"), Cue(1, 2, "a"), Cue(2, 4, "b")]
    script = Script(cues)
    for start in range(8):
        for end in range(start + 1, 9):
            expected = " ".join(cue.text for cue in sorted(cues) if cue.start < end and cue.end > start)
            assert script.between(start, end) == expected
    assert Script([]).between(0, 10) == ""
