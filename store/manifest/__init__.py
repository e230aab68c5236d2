"""The manifest: the sorted entries of a folder, as a bucket tree that has one shape however it was built (docs/format-manifest.md)."""

from store.manifest.entry import EntryRecord, entry_of, record_of
from store.manifest.node import EMPTY_NODE, EMPTY_ROOT, Child, Node, Totals, encode_node, parse_node
from store.manifest.source import Draft, MemoryNodes, NodeSource

__all__ = [
    "EMPTY_NODE",
    "EMPTY_ROOT",
    "Child",
    "Draft",
    "EntryRecord",
    "MemoryNodes",
    "Node",
    "NodeSource",
    "Totals",
    "encode_node",
    "entry_of",
    "parse_node",
    "record_of",
]
