"""The ports of processes that work together on one machine, at which whoever comes may have code run.

fairseq's gathering of objects pickles, and nobody asks for a password. PyTorch's store of rank 0 listens on all
addresses of the machine, even where the others are told to find it on 127.0.0.1; gloo and NCCL listen on that of its
name. Here all of them listen on 127.0.0.1 where that is the address of the store. A store that torchrun itself opens is
out of reach: `examples/cluster/one_machine.sh` has it open none.
"""

import functools
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

HERE = ("127.0.0.1", "localhost")
INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
WAITING = 512  # connections that are not accepted yet: one a rank


def apply() -> None:
    """Bind the store of rank 0; a second call changes nothing."""
    rendezvous = sys.modules["torch.distributed.rendezvous"]  # the package has a function of that name
    if getattr(rendezvous.TCPStore, "repaired_by", None) != __name__:
        rendezvous.TCPStore = _store(rendezvous.TCPStore)  # type: ignore[attr-defined]


def _store(original: Callable) -> Callable:
    @functools.wraps(original, updated=())
    def build(host_name: str, port: int, *args: Any, is_master: bool = False, **kwargs: Any) -> Any:
        if host_name not in HERE:
            return original(host_name, port, *args, is_master=is_master, **kwargs)
        if "lo" in (name for _, name in socket.if_nameindex()):
            for variable in INTERFACES:
                os.environ.setdefault(variable, "lo")
        if is_master:
            own = socket.socket()
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                own.bind((HERE[0], port))
            except OSError:
                own.close()
                raise
            own.listen(WAITING)
            kwargs["master_listen_fd"] = own.detach()
        return original(HERE[0], port, *args, is_master=is_master, **kwargs)

    build.repaired_by = __name__  # type: ignore[attr-defined]
    return build
