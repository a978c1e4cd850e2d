"""Answer for clips over HTTP: a page to try a checkpoint on, and a JSON API.

It listens on this machine only, unless another --host is given; there is no authentication. Files that are sent are
gone when their request is answered. The API is listed at /api, and described for programs at /openapi.json.
"""

import argparse
from dataclasses import replace

from ..errors import MMFairseqError
from ..preprocessing.engines import cores

MEGABYTE = 1 << 20
_HELD = 16  # largest uploads that are held at once


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="CKPT",
        help="a checkpoint of fairseq-train, the folder of a training, or a folder of EmotionModel.save_pretrained",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a further name by which it is asked, that of a proxy perhaps; may be given several times",
    )
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="of torch, such as cuda:0 (default: %(default)s)")
    parser.add_argument(
        "--max-upload-mb", type=float, default=100, metavar="MB", help="of one request (default: %(default)s)"
    )
    parser.add_argument("--max-seconds", type=float, default=60, metavar="S", help="of a clip (default: %(default)s)")
    parser.add_argument(
        "--max-recording-seconds",
        type=float,
        default=3600,
        metavar="S",
        help="of a recording that is answered window by window (default: %(default)s)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=cores(),
        metavar="N",
        help="clips that are decoded at once (default: the cores, %(default)s)",
    )
    parser.add_argument(
        "--queue", type=int, default=256, metavar="N", help="requests at once; further ones get 429 (default: 256)"
    )
    parser.add_argument(
        "--timeout", type=float, default=120, metavar="S", help="for one answer, waiting included (default: 120)"
    )


def run(args: argparse.Namespace) -> int:
    given = {
        "--max-upload-mb": args.max_upload_mb,
        "--max-seconds": args.max_seconds,
        "--max-recording-seconds": args.max_recording_seconds,
        "--jobs": args.jobs,
        "--queue": args.queue,
        "--timeout": args.timeout,
    }
    for option, value in given.items():
        if not 0 < value < float("inf"):
            raise MMFairseqError(f"{option} {value:g}: more than 0")
    if not 0 <= args.port < 1 << 16:
        raise MMFairseqError(f"--port {args.port}: 0 to 65535")
    try:
        from ..inference.loading import load
        from ..inference.model import device_of
        from ..inference.server.limits import Limits
        from ..inference.server.run import serve
        from ..inference.server.work import SharedModel
    except ImportError as error:
        told = f"{error.name} is not installed: pip install 'mm-fairseq[serve]'"
        raise MMFairseqError(f"mm-fairseq serve: {told}") from error
    upload = int(args.max_upload_mb * MEGABYTE)
    limits = replace(
        Limits(),
        upload_bytes=upload,
        held_bytes=_HELD * upload,
        seconds=args.max_seconds,
        recording_seconds=args.max_recording_seconds,
        timeout_seconds=args.timeout,
        queue=args.queue,
        jobs=args.jobs,
    )
    device_of(args.device)
    serve(
        lambda: SharedModel(load(args.checkpoint), args.device, args.max_seconds),
        limits,
        args.host,
        args.port,
        args.allow_host,
    )
    return 0
