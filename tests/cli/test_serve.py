"""`mm-fairseq serve`: its options, and what it says before it serves; the server itself is tested under inference."""

import asyncio
import socket
import sys

import pytest

from mm_fairseq.cli import main

pytest.importorskip("fastapi")

from mm_fairseq.inference.server import run


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--max-upload-mb", "0", "--max-upload-mb 0: more than 0"),
        ("--max-seconds", "-1", "--max-seconds -1: more than 0"),
        ("--max-recording-seconds", "nan", "--max-recording-seconds nan: more than 0"),
        ("--timeout", "inf", "--timeout inf: more than 0"),
        ("--jobs", "0", "--jobs 0: more than 0"),
        ("--queue", "-5", "--queue -5: more than 0"),
        ("--port", "70000", "--port 70000: 0 to 65535"),
        ("--host", "no such host", "--host no such host: no such address"),
        ("--host", "192.0.2.1", "--host 192.0.2.1 --port 0: "),
        ("--device", "toaster", "device 'toaster': "),
        ("--device", "meta", "device 'meta': expected cpu"),
    ],
)
def test_bad_values(tmp_path, capsys, option, value, told):
    assert main(["serve", "--checkpoint", str(tmp_path), "--port", "0", option, value]) == 2
    assert told in capsys.readouterr().err


def test_no_checkpoint(tmp_path, capsys):
    assert main(["serve", "--checkpoint", str(tmp_path), "--port", "0"]) == 2
    assert "no checkpoint_best.pt in this folder" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["uvicorn", "fastapi", "python_multipart.multipart"])
def test_without_the_extra(tmp_path, capsys, monkeypatch, missing):
    for name in [name for name in sys.modules if name.startswith("mm_fairseq.inference.server.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["serve", "--checkpoint", str(tmp_path)]) == 2
    assert "pip install 'mm-fairseq[serve]'" in capsys.readouterr().err


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_other_hosts_are_warned_of(small_models, monkeypatch, capsys, host, warned):
    seen = []

    def stop(server, listening):
        app = server.config.app
        seen.append((app.state.office.limits, listening.getsockname()[0], app.user_middleware[0].kwargs["names"]))
        asyncio.run(app.state.office.close())

    monkeypatch.setattr(run, "_run", stop)
    checkpoint = str(small_models.checkpoint("wave_text"))
    words = ["--host", host, "--port", "0", "--jobs", "1", "--max-upload-mb", "2", "--queue", "7", "--timeout", "9"]
    assert main(["serve", "--checkpoint", checkpoint, *words, "--max-seconds", "5", "--allow-host", "a.example"]) == 0
    told = capsys.readouterr().err
    assert ("no authentication" in told) == warned
    assert f"http://{host}:" in told
    ((limits, address, names),) = seen
    assert address == host
    assert names == ["a.example", *([host, socket.gethostname()] if warned else [])]
    assert (limits.upload_bytes, limits.held_bytes, limits.jobs) == (2 << 20, 32 << 20, 1)
    assert (limits.queue, limits.timeout_seconds, limits.seconds) == (7, 9.0, 5.0)
