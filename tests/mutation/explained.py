"""Mutants that live because no test could tell: by module and by what `python -m tests.mutation` calls them, with the reason."""

from __future__ import annotations

SPARES = "only spares a look: what it skips would find nothing"
EXPLAINED: dict[str, dict[str, str]] = {
    "autosnapshot": {
        "snapshot_due_ms: 0 <= now_ms - newest_ms < COOLDOWN_MS -> 0 <= now_ms - newest_ms <= COOLDOWN_MS": "at the bound, both are now",
        "_common_start: 1 -> 2": "halving a little further up finds the same place",
    },
    "brake": {
        "_tell: 1 -> 2": "two parts read the same whether they are taken as a list or as its last and the rest",
        "count_losses: new is not None -> True": "what arrives as nothing is never looked up",
    },
}
