"""The on-disk format of a data-bin: streams of shards, written atomically, read by memory map."""

from .folder import DataBin, Place, fingerprint
from .format import pack_frames, unpack_frames
from .reader import StreamReader
from .writer import ShardWriter, locked, remove_leftovers, write_atomic, write_shard

__all__ = [
    "DataBin",
    "Place",
    "ShardWriter",
    "StreamReader",
    "fingerprint",
    "locked",
    "pack_frames",
    "remove_leftovers",
    "unpack_frames",
    "write_atomic",
    "write_shard",
]
