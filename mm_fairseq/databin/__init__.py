"""The on-disk format of a data-bin: streams of shards, written atomically, read by memory map.

Whatever grows with the number of utterances stays in files: a joined index beside the shards of each stream (`joined`),
where the rows of the manifest begin and the labels as numbers (`lookup`), and the row numbers of every split. A
stream's folder, and every single shard in it, may be a link to another disk or to a network file system.
"""

from .arrays import FileArray, Numbers
from .dropped import dropped
from .features import CachedStream, cached_streams
from .folder import DataBin, Place, complete, fingerprint, meta_bytes
from .format import pack_frames, unpack_frames
from .labels import Labels, ParsedLabels
from .lookup import Ids, write_lookup
from .reader import StreamReader
from .writer import ShardWriter, remove_shard, write_shard

__all__ = [
    "CachedStream",
    "DataBin",
    "FileArray",
    "Ids",
    "Labels",
    "Numbers",
    "ParsedLabels",
    "Place",
    "ShardWriter",
    "StreamReader",
    "cached_streams",
    "complete",
    "dropped",
    "fingerprint",
    "meta_bytes",
    "pack_frames",
    "remove_shard",
    "unpack_frames",
    "write_lookup",
    "write_shard",
]
