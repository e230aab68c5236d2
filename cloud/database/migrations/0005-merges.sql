-- Merges of workspaces that were done: what undo takes back, and what it took back already.

CREATE TABLE workspace_merges (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE, version INTEGER NOT NULL,
    source_workspace_id TEXT NOT NULL, snapshot_id TEXT NOT NULL, before_snapshot_id TEXT, history_before TEXT,
    undo_snapshot_id TEXT, created_at TEXT NOT NULL, PRIMARY KEY (workspace_id, version)
) WITHOUT ROWID;
