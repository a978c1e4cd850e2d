"""Processes side by side: order, logs, failures, and that none outlives what started it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mm_fairseq.errors import MMFairseqError
from mm_fairseq.evaluation import commands
from mm_fairseq.evaluation.commands import Step

WAIT = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"


def python(code, *args):
    return [sys.executable, "-IS", "-c", code, *map(str, args)]


@pytest.fixture
def hold(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def until(condition, seconds=200):
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def alive(pid):
    """Whether a process runs; one that is dead but not yet waited for does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def members(group):
    """The processes of a group that run."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and os.getpgid(int(entry.name)) == group and alive(entry.name):
                found.append(int(entry.name))
    return found


def written(path):
    return path.is_file() and path.read_text()


def test_steps_follow_each_other_and_logs_hold_their_output(tmp_path, hold, capsys):
    seen = []

    def job(name):
        yield Step(python("print('first')"), tmp_path / name / "one.log")
        seen.append((tmp_path / name / "one.log").read_text())
        yield Step(python("import sys; sys.stderr.write('second')"), tmp_path / name / "one.log", append=True)
        return "good"

    results, faults = commands.run({name: job(name) for name in "abc"}, 2, hold)
    assert (results, faults) == (dict.fromkeys("abc", "good"), {})
    assert seen == ["first\n"] * 3
    assert (tmp_path / "c" / "one.log").read_text() == "first\nsecond"
    assert sorted(capsys.readouterr().out.splitlines()) == ["a: good", "b: good", "c: good"]


def test_as_many_at_a_time_as_asked_for(tmp_path, hold):
    # The first ones end only when as many as are allowed have begun.
    code = """
import sys, time
from pathlib import Path
place, wanted = Path(sys.argv[1]), int(sys.argv[2])
print(time.time(), flush=True)
(place / sys.argv[3]).write_text("")
while len(list(place.iterdir())) < wanted and time.time() < float(sys.argv[4]):
    time.sleep(0.01)
print(time.time())
"""

    def most_at_once(at_once):
        place = tmp_path / str(at_once)
        (place / "begun").mkdir(parents=True)

        def job(name):
            yield Step(python(code, place / "begun", at_once, name, time.time() + 100), place / f"{name}.log")
            return ""

        commands.run({name: job(name) for name in "abcd"}, at_once, hold)
        times = [[float(line) for line in path.read_text().split()] for path in place.glob("*.log")]
        return max(sum(begin <= moment < end for begin, end in times) for moment, _ in times)

    assert most_at_once(1) == 1
    assert most_at_once(2) == 2


def failing_on(bad, tmp_path):
    def job(name):
        code = f"print('line\\n' * 50 + 'the reason'); raise SystemExit({3 if name in bad else 0})"
        yield Step(python(code), tmp_path / f"{name}.log")
        return "good"

    return {name: job(name) for name in "abc"}


def test_a_failure_shows_the_end_of_its_log_and_leaves_the_others(tmp_path, hold, capsys):
    results, faults = commands.run(failing_on("b", tmp_path), 1, hold)
    assert list(results) == ["a", "c"]
    assert list(faults) == ["b"]
    out = capsys.readouterr().out
    command = Path(sys.executable).name
    assert f"b: failed: {command} ended with status 3; the whole log is {tmp_path}/b.log\n" in out
    assert out.count("    line") == commands.TAIL - 1
    assert "    the reason" in out


def test_when_the_first_fails_nothing_more_is_begun(tmp_path, hold):
    results, faults = commands.run(failing_on("abc", tmp_path), 1, hold)
    assert (results, list(faults)) == ({}, ["a"])


def test_a_job_may_find_fault_with_what_a_command_left(tmp_path, hold):
    def job():
        yield Step(python("print()"), tmp_path / "log")
        raise MMFairseqError("it left nothing")

    assert commands.run({"a": job()}, 1, hold) == ({}, {"a": "it left nothing"})


def test_a_signal_is_named(tmp_path, hold):
    def job():
        yield Step(python("import os; os.kill(os.getpid(), 9)"), tmp_path / "log")

    assert "ended with signal SIGKILL" in commands.run({"a": job()}, 1, hold)[1]["a"]


def test_threads_are_shared_out_only_where_the_caller_has_not_said(tmp_path, hold, monkeypatch):
    def threads(at_once):
        def job():
            yield Step(python("import os; print(os.environ.get('OMP_NUM_THREADS'))"), tmp_path / "log")
            return ""

        commands.run({"a": job()}, at_once, hold)
        return (tmp_path / "log").read_text().strip()

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert (threads(1), threads(2)) == ("None", "4")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads(2) == "3"


PARENTS = """
import json, os, signal, sys, time
from pathlib import Path
from mm_fairseq.evaluation.commands import Step, run

sleep = time.sleep

def wait(seconds):  # for both, which are started then
    (folder / "waits").write_text("yes")
    sleep(seconds)

def job(place):
    yield Step([sys.executable, "-IS", "-c", sys.argv[1], str(place)], place.with_suffix(".log"))
    return ""

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell makes what it runs in the background ignore it
for number in sys.argv[3:]:
    if not os.fork():
        folder = Path(sys.argv[2], number)
        folder.mkdir()
        (folder / "parent").write_text(str(os.getpid()))
        time.sleep = wait
        run({name: job(folder / name) for name in "ab"}, 2, os.open(".", os.O_RDONLY))
statuses = dict(os.wait() for _ in sys.argv[3:])
print(json.dumps({pid: os.waitstatus_to_exitcode(status) for pid, status in statuses.items()}))
"""


def test_children_end_with_their_parent(tmp_path):
    """However it ends; and with it those that they have started themselves, unless it is killed outright."""
    code = WAIT.replace("open(", "os.fork() and open(")
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
    argv = [sys.executable, "-c", PARENTS, code, tmp_path, *map(str, map(int, numbers))]
    parents = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    places = {number: [tmp_path / str(int(number)) / name for name in ("parent", "a", "b")] for number in numbers}
    until(lambda: all(written(place) for each in places.values() for place in (*each, each[0].with_name("waits"))))
    pids = {number: [int(place.read_text()) for place in each] for number, each in places.items()}
    for number, (parent, *children) in pids.items():
        assert all(alive(child) for child in children)
        os.kill(parent, number)
    statuses = json.loads(parents.communicate(timeout=200)[0])
    for number, (parent, *children) in pids.items():
        assert statuses[str(parent)] == (143 if number == signal.SIGTERM else -number)
        until(lambda children=children: not any(alive(child) for child in children))
        for child in children:
            if number == signal.SIGKILL:
                assert members(child)
                os.killpg(child, number)
            else:
                until(lambda child=child: not members(child))


def test_find(monkeypatch, tmp_path):
    assert os.access(commands.find("fairseq-train"), os.X_OK)
    (tmp_path / "fairseq-elsewhere").write_text("")
    (tmp_path / "fairseq-elsewhere").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commands.find("fairseq-elsewhere") == str(tmp_path / "fairseq-elsewhere")
    with pytest.raises(MMFairseqError, match=r"no command fairseq-nothing beside .* or on the PATH"):
        commands.find("fairseq-nothing")


def test_words():
    words = ["--lr", "-1", "--criterion=mine", "--flag"]
    assert commands.with_defaults(words, {"--criterion": "theirs", "--log-format": "json", "--quiet": None}) == [
        *("--log-format", "json", "--quiet"),
        *words,
    ]
    assert commands.option(words, "--lr") == "-1"
    assert commands.option(words, "--criterion") == "mine"
    assert commands.option(words, "--flag") == ""
    assert commands.option(words, "--none") is None
    assert commands.option([], "--none") is None
    assert commands.option(["--lr", "1", "--lr=2"], "--lr") == "2"
    with pytest.raises(MMFairseqError, match="this sets --flag, --criterion by itself"):
        commands.refuse(["--flag", "--criterion=x", "--flag"], ["--criterion", "--flag"], "this")
    commands.refuse(["--flag-two", "flag"], ["--flag"], "this")


def test_no_jobs_at_a_time(hold):
    with pytest.raises(MMFairseqError, match="--jobs 0: at least 1"):
        commands.run({}, 0, hold)
