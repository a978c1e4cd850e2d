"""G17: ports of distributed training have no authentication: the documentation says so; they listen here alone."""

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch.distributed as dist
from commands import EXAMPLES
from trainings import on_ranks

from mm_fairseq.fairseq_compat import loopback

README = EXAMPLES.parent / "README.md"
LAUNCHER = EXAMPLES / "cluster" / "one_machine.sh"
HERE = {"0100007F", "00000000000000000000000001000000"}  # 127.0.0.1 and ::1, as Linux writes them

pytestmark = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks at ports as Linux shows them")


def listening(processes):
    """Addresses that these processes listen on."""
    sockets = set()
    for process in processes:
        for link in Path(f"/proc/{process}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                if found := re.match(r"socket:\[(\d+)\]", os.readlink(link)):
                    sockets.add(found[1])
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
    return {words[1].partition(":")[0] for words in lines if words[3] == "0A" and words[9] in sockets}


def meet(folder, repaired):
    """What a process does to work with others; each says what it listens on."""
    if repaired:
        loopback.apply()
    else:
        rendezvous = sys.modules["torch.distributed.rendezvous"]
        rendezvous.TCPStore = getattr(rendezvous.TCPStore, "__wrapped__", rendezvous.TCPStore)
    dist.init_process_group("gloo")
    dist.barrier()
    (folder / str(dist.get_rank())).write_text("\n".join(listening([os.getpid()])))
    dist.barrier()


@pytest.mark.parametrize("repaired", [True, False])
def test_processes_of_one_machine_listen_on_it_alone(tmp_path, repaired, monkeypatch):
    for variable in loopback.INTERFACES:
        monkeypatch.delenv(variable, raising=False)
    assert on_ranks(2, meet, tmp_path, repaired) == ["", ""]
    found = [set(path.read_text().split()) for path in sorted(tmp_path.iterdir())]
    assert all(found)
    assert (set.union(*found) <= HERE) == repaired


def test_other_addresses_are_left_alone(monkeypatch):
    seen = []
    build = loopback._store(lambda *args, **kwargs: seen.append((args, kwargs)))
    build("10.0.0.1", 2950, world_size=4, is_master=True)
    build("127.0.0.1", 2950, world_size=4, is_master=False)
    assert seen == [
        (("10.0.0.1", 2950), {"world_size": 4, "is_master": True}),
        (("127.0.0.1", 2950), {"world_size": 4, "is_master": False}),
    ]


def test_a_port_that_is_taken_is_an_error():
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            loopback._store(dist.TCPStore)("127.0.0.1", other.getsockname()[1], is_master=True)


def test_the_documentation_says_so():
    assert re.search(r"fairseq's port\s+has no authentication", README.read_text())
    page = (EXAMPLES / "cluster" / "README.md").read_text()
    assert re.search(r"no\s+authentication", page)
    assert "one_machine.sh" in page


def test_the_launcher_tells_its_use():
    done = subprocess.run(["bash", LAUNCHER], capture_output=True, text=True)
    assert done.returncode == 2
    assert "bash examples/cluster/one_machine.sh PROCESSES fairseq-train DATA_BIN" in done.stderr
    done = subprocess.run(["bash", LAUNCHER, "2", "no-such-command"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "error: no no-such-command in the PATH\n")


PROBE = """#!{python}
import os, sys
from pathlib import Path
sys.path[:0] = {path!r}
import torch.distributed as dist
from mm_fairseq import fairseq_compat
from test_g17_ports import listening
dist.init_process_group("gloo")
dist.barrier()
if not dist.get_rank():
    found = listening([os.getpid(), os.getppid()])
    Path(sys.argv[1]).write_text(" ".join(found))
dist.barrier()
dist.destroy_process_group()
"""


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("launcher", [True, False])
def test_the_launcher_opens_no_other_port(tmp_path, launcher):
    """Of rank 0 and of torchrun itself; torchrun by its own defaults opens one to all."""
    tests = Path(__file__).parents[1]
    probe = tmp_path / "probe"
    probe.write_text(
        PROBE.format(python=sys.executable, path=[str(tests.parent), str(tests), str(tests / "reliability")])
    )
    probe.chmod(0o700)
    path = f"{Path(sys.executable).parent}{os.pathsep}{tmp_path}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", LAUNCHER, "2", "probe"] if launcher else ["torchrun", "--nproc-per-node", "2", probe]
    around = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([*command, tmp_path / "found"], capture_output=True, text=True, env=around, timeout=150)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (set((tmp_path / "found").read_text().split()) <= HERE) == launcher
