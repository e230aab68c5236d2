"""The manifest: the sorted entries of a folder, as a bucket tree that has one shape however it was built (docs/format-manifest.md)."""

from store.manifest.build import build_manifest
from store.manifest.check import check_manifest, check_node, check_tree_after
from store.manifest.diff import diff_manifests
from store.manifest.edit import edit_manifest
from store.manifest.entry import EntryRecord, entry_of, record_of
from store.manifest.node import EMPTY_NODE, EMPTY_ROOT, Child, Node, Totals, encode_node, parse_node
from store.manifest.source import Draft, MemoryNodes, NodeSource
from store.manifest.walk import find_entries, find_entry, list_folder, manifest_totals, node_digests, walk_manifest

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
    "build_manifest",
    "check_manifest",
    "check_node",
    "check_tree_after",
    "diff_manifests",
    "edit_manifest",
    "encode_node",
    "entry_of",
    "find_entries",
    "find_entry",
    "list_folder",
    "manifest_totals",
    "node_digests",
    "parse_node",
    "record_of",
    "walk_manifest",
]
