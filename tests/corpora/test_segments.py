import json
from pathlib import Path

import pytest

from mm_fairseq.corpora.segments import Segment, match_files, read_ontology, read_segments, video_of
from mm_fairseq.errors import MMFairseqError

HEAD = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=3, num_segs=3, num_unique_labels=3, num_positive_labels=5
# YTID, start_seconds, end_seconds, positive_labels
"""
ROWS = """--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"
--ZhevVpy1s, 50.000, 60.000, "/m/012xff"
--aE2O5G5WE, 0.000, 8.500, "/m/012xff,/m/09x0r"
"""
NAMES = {"/m/09x0r": "Speech", "/t/dd00088": "Gush", "/m/012xff": "Toothbrush"}


@pytest.fixture
def write(tmp_path):
    def run(text):
        (tmp_path / "a.csv").write_text(text)
        return tmp_path / "a.csv"

    return run


def test_rows_of_the_release(write):
    rows = read_segments(write(HEAD + ROWS), NAMES)
    assert rows == [
        Segment(4, 0, "--PJHxphWEs", 30, 40, ("Speech", "Gush")),
        Segment(5, 1, "--ZhevVpy1s", 50, 60, ("Toothbrush",)),
        Segment(6, 2, "--aE2O5G5WE", 0, 8.5, ("Toothbrush", "Speech")),
    ]
    assert [row.events for row in read_segments(write(HEAD + ROWS), None)][1] == ("/m/012xff",)


def test_other_heads(write):
    plain = read_segments(write(ROWS), NAMES)
    assert [row.number for row in plain] == [0, 1, 2]
    other = 'positive_labels,YTID,extra,end_seconds,start_seconds\n"/m/012xff",--ZhevVpy1s,x,60,50\n'
    assert read_segments(write(other.replace("positive", "# positive", 1)), NAMES)[0].start == 50
    named = read_segments(write("YTID,start_seconds,end_seconds,positive_labels\n" + ROWS), NAMES)
    assert [row.number for row in named] == [0, 1, 2]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (", positive_labels", ", labels", r"a.csv:3: no column 'positive_labels'; columns: 'YTID', 'start_seconds'"),
        ("# YTID, start_seconds,", "# YTID,", r"a.csv:3: no column 'start_seconds'"),
        (', "/m/012xff"\n', "\n", r"a.csv:5: 3 fields instead of 4: YTID, start_seconds, end_seconds, positive_labels"),
        ('"/m/09x0r,/t/dd00088"', "/m/09x0r,/t/dd00088", r"a.csv:4: 5 fields .* in one pair of quotation marks"),
        ("/m/012xff", "/m/999", r"a.csv:5: label '/m/999' is not in the ontology, which has 3 .*--ontology"),
        ("50.000", "start", r"a.csv:5: start_seconds 'start' is not a number of seconds"),
        ("60.000", "-1", r"a.csv:5: end_seconds '-1' is not a number of seconds"),
        ("60.000", "50.000", r"a.csv:5: end_seconds 50 is not behind start_seconds 50"),
        ("--ZhevVpy1s", "ZhevVpy1s", r"a.csv:5: YTID 'ZhevVpy1s': expected 11 letters"),
        ('"/m/012xff"\n', '""\n', r"a.csv:5: positive_labels is empty"),
        ('"/m/012xff"\n', '"/m/012xff\n', r"a.csv:5: .*one pair of quotation marks"),
        ("--ZhevVpy1s, 50", "--PJHxphWEs, 30", r"a.csv:5: YTID '--PJHxphWEs' from 30 s stands already in line 4"),
    ],
)
def test_faults_name_the_line(write, old, new, reason):
    text = HEAD + ROWS
    assert old in text
    with pytest.raises(MMFairseqError, match=reason):
        read_segments(write(text.replace(old, new, 1)), NAMES)


def test_a_table_without_rows_or_of_other_letters(write):
    with pytest.raises(MMFairseqError, match=r"a.csv: holds no rows"):
        read_segments(write(HEAD), NAMES)
    file = write(HEAD)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MMFairseqError, match=r"a.csv:1: byte 0xff is not UTF-8"):
        read_segments(file, NAMES)


def test_an_ontology(tmp_path):
    file = tmp_path / "ontology.json"
    file.write_text(json.dumps([{"id": mid, "name": name, "child_ids": []} for mid, name in NAMES.items()]))
    assert read_ontology(file) == NAMES
    for wrong in ('{"id": "/m/1"}', '[{"id": "/m/1", "name": 3}]', '["x"]'):
        file.write_text(wrong)
        with pytest.raises(MMFairseqError, match=r'ontology.json: entry 1: expected a list of objects with "id" and'):
            read_ontology(file)
    file.write_text("{")
    with pytest.raises(MMFairseqError, match=r"ontology.json: not JSON: "):
        read_ontology(file)


@pytest.mark.parametrize(
    "stem",
    [
        "video_2_start_30_end_40",
        "a_b-c_d-e_f",
        "a_b-c_d-e_f_30",
        "a_b-c_d-e_f_30_40",
        "a_b-c_d-e_f_30.000_40.000",
        "a_b-c_d-e_f_30000_40000",
        "a_b-c_d-e_f_30000",
        "a_b-c_d-e_f_000030",
    ],
)
def test_names_of_files(stem):
    row = Segment(6, 2, "a_b-c_d-e_f", 30, 40, ("Speech",))
    other = Segment(7, 3, "a_b-c_d-e_g", 30, 40, ("Speech",))
    found, gone, left = match_files([row, other], {stem: Path(stem)}, numbered=True)
    assert (found, gone, left) == ({2: Path(stem)}, [other], [])
    assert video_of(stem) == ("video_2" if stem.startswith("video") else "a_b-c_d-e_f")


def test_a_numbered_name_needs_its_own_table():
    row = Segment(6, 2, "a_b-c_d-e_f", 30, 40, ("Speech",))
    name = "video_2_start_30_end_40"
    assert match_files([row], {name: Path(name)}, numbered=False)[0] == {}
    assert match_files([row], {name.replace("40", "50"): Path(name)}, numbered=True)[2] == [Path(name)]


@pytest.mark.parametrize("stem", ["clip", "video_2", "video_x_start_30_end_40", "a_b-c_d-e_f_30_40_50", "a_b-c_d-e_"])
def test_other_names(stem):
    assert video_of(stem) == ""
