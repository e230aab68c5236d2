CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE users (
    id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT, picture TEXT,
    created_at TEXT NOT NULL DEFAULT (datetime('now'))
);
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users (id), token_hash TEXT NOT NULL UNIQUE,
    expires_at TEXT NOT NULL, created_at TEXT NOT NULL DEFAULT (datetime('now'))
);
CREATE INDEX sessions_user ON sessions (user_id);

CREATE TABLE projects (
    id TEXT PRIMARY KEY, owner_user_id TEXT NOT NULL REFERENCES users (id), name TEXT NOT NULL, intent TEXT, brief TEXT,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL, last_snapshot_id TEXT, main_workspace_id TEXT
);
CREATE INDEX projects_owner_updated ON projects (owner_user_id, updated_at);

CREATE TABLE snapshots (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL REFERENCES projects (id), workspace_id TEXT, manifest_hash TEXT NOT NULL,
    parent_snapshot_ids TEXT NOT NULL DEFAULT '[]', source TEXT NOT NULL DEFAULT 'cli', summary TEXT, created_at TEXT NOT NULL,
    author_name TEXT NOT NULL DEFAULT '', author_email TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '',
    agent TEXT NOT NULL DEFAULT '', version INTEGER NOT NULL
);
CREATE INDEX snapshots_project_created ON snapshots (project_id, created_at);
CREATE INDEX snapshots_workspace_created ON snapshots (workspace_id, created_at);

CREATE TABLE workspaces (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL REFERENCES projects (id), name TEXT NOT NULL, machine_id TEXT,
    base_snapshot_id TEXT REFERENCES snapshots (id), current_snapshot_id TEXT REFERENCES snapshots (id),
    current_manifest_hash TEXT, local_path TEXT, last_seen_at TEXT, created_at TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 1, merge_history TEXT
);
CREATE INDEX workspaces_project_created ON workspaces (project_id, created_at);
CREATE UNIQUE INDEX workspaces_project_name ON workspaces (project_id, name);

CREATE TABLE activity_events (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL REFERENCES projects (id), workspace_id TEXT, actor TEXT NOT NULL,
    type TEXT NOT NULL, snapshot_id TEXT, message TEXT, created_at TEXT NOT NULL
);
CREATE INDEX activity_events_project_created ON activity_events (project_id, created_at);

CREATE TABLE machines (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users (id), name TEXT NOT NULL, platform TEXT NOT NULL,
    public_key TEXT, version TEXT NOT NULL, created_at TEXT NOT NULL, last_seen_at TEXT, revoked_at TEXT
);
CREATE INDEX machines_user ON machines (user_id);

CREATE TABLE workspace_replicas (
    id TEXT PRIMARY KEY, workspace_id TEXT NOT NULL REFERENCES workspaces (id),
    machine_id TEXT NOT NULL REFERENCES machines (id), local_path TEXT NOT NULL, agreed_version INTEGER,
    agreed_manifest_hash TEXT, state TEXT NOT NULL DEFAULT 'idle', created_at TEXT NOT NULL, last_seen_at TEXT,
    removed_at TEXT
);
CREATE INDEX workspace_replicas_workspace ON workspace_replicas (workspace_id);
CREATE INDEX workspace_replicas_machine ON workspace_replicas (machine_id);

CREATE TABLE workspace_versions (
    workspace_id TEXT NOT NULL REFERENCES workspaces (id), version INTEGER NOT NULL, manifest_hash TEXT NOT NULL,
    snapshot_id TEXT, replica_id TEXT, actor TEXT NOT NULL, created_at TEXT NOT NULL, PRIMARY KEY (workspace_id, version)
) WITHOUT ROWID;
CREATE INDEX workspace_versions_root ON workspace_versions (workspace_id, manifest_hash);

CREATE TABLE workspace_conflicts (
    id TEXT PRIMARY KEY, workspace_id TEXT NOT NULL REFERENCES workspaces (id), path BLOB NOT NULL, kind TEXT NOT NULL,
    base_hash TEXT, ours_hash TEXT, theirs_hash TEXT, state TEXT NOT NULL, version INTEGER NOT NULL, created_at TEXT NOT NULL,
    resolved_at TEXT, resolution TEXT, entries TEXT NOT NULL
);
CREATE INDEX workspace_conflicts_workspace ON workspace_conflicts (workspace_id, state);

CREATE TABLE owned_blobs (
    user_id TEXT NOT NULL REFERENCES users (id), hash BLOB NOT NULL, size INTEGER NOT NULL, created_at TEXT NOT NULL,
    touched_at TEXT NOT NULL, PRIMARY KEY (user_id, hash)
) WITHOUT ROWID;
CREATE TABLE owned_nodes (
    user_id TEXT NOT NULL REFERENCES users (id), hash BLOB NOT NULL, PRIMARY KEY (user_id, hash)
) WITHOUT ROWID;
