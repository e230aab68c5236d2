"""Three byte strings -> merged text, or the regions in conflict."""

from sync.core.merge.join import MAX_TEXT_BYTES, Merged, Region, is_text, merge_text
from sync.core.merge.lines import Hunk, diff_lines, split_lines
from sync.core.merge.marked import merge_marked

__all__ = ["MAX_TEXT_BYTES", "Hunk", "Merged", "Region", "diff_lines", "is_text", "merge_marked", "merge_text", "split_lines"]
