-- Accounts.

CREATE TABLE auth_codes (
    id TEXT PRIMARY KEY, user_id TEXT, email TEXT NOT NULL, code TEXT NOT NULL UNIQUE, expires_at TEXT NOT NULL,
    used INTEGER NOT NULL DEFAULT 0, created_at TEXT NOT NULL DEFAULT (datetime('now')),
    attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX auth_codes_email ON auth_codes (email, created_at);

CREATE TABLE device_codes (
    id TEXT PRIMARY KEY, device_code TEXT NOT NULL UNIQUE, user_code TEXT NOT NULL UNIQUE, user_id TEXT REFERENCES users (id),
    status TEXT NOT NULL DEFAULT 'pending', expires_at TEXT NOT NULL, created_at TEXT NOT NULL DEFAULT (datetime('now')),
    interval_seconds INTEGER NOT NULL DEFAULT 5, polled_at TEXT, machine TEXT NOT NULL DEFAULT '', address TEXT NOT NULL DEFAULT ''
);
CREATE INDEX device_codes_device_code ON device_codes (device_code);
CREATE INDEX device_codes_user_code ON device_codes (user_code);

CREATE TABLE user_identities (
    issuer TEXT NOT NULL, subject TEXT NOT NULL, user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE, created_at TEXT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX user_identities_user ON user_identities (user_id);

ALTER TABLE sessions ADD COLUMN scope TEXT NOT NULL DEFAULT 'user';
ALTER TABLE sessions ADD COLUMN machine TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN last_seen_at TEXT;

CREATE TABLE user_api_keys (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE, provider TEXT NOT NULL, key_name TEXT NOT NULL,
    key_value TEXT NOT NULL, created_at TEXT NOT NULL, updated_at TEXT NOT NULL
);
CREATE UNIQUE INDEX user_api_keys_provider ON user_api_keys (user_id, provider);

-- Projects.

ALTER TABLE projects ADD COLUMN archived_at TEXT;
ALTER TABLE projects ADD COLUMN deleted_at TEXT;
ALTER TABLE workspaces ADD COLUMN archived_at TEXT;
ALTER TABLE workspaces ADD COLUMN deleted_at TEXT;

CREATE TABLE project_env_vars (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE, key TEXT NOT NULL, value TEXT NOT NULL,
    is_secret INTEGER NOT NULL DEFAULT 0, created_at TEXT NOT NULL, updated_at TEXT NOT NULL
);
CREATE UNIQUE INDEX project_env_vars_key ON project_env_vars (project_id, key);

-- Drift and sync.

CREATE TABLE drift_reports (
    id TEXT PRIMARY KEY, workspace_id TEXT NOT NULL REFERENCES workspaces (id), source_workspace_id TEXT REFERENCES workspaces (id),
    workspace_snapshot_id TEXT REFERENCES snapshots (id), source_snapshot_id TEXT REFERENCES snapshots (id),
    source_only TEXT NOT NULL DEFAULT '[]', workspace_only TEXT NOT NULL DEFAULT '[]', both_same TEXT NOT NULL DEFAULT '[]',
    both_different TEXT NOT NULL DEFAULT '[]', files_added INTEGER NOT NULL DEFAULT 0, files_modified INTEGER NOT NULL DEFAULT 0,
    files_deleted INTEGER NOT NULL DEFAULT 0, bytes_changed INTEGER NOT NULL DEFAULT 0, summary TEXT, reported_at TEXT NOT NULL
);
CREATE INDEX drift_reports_workspace_reported ON drift_reports (workspace_id, reported_at);

CREATE TABLE sync_previews (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    workspace_id TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE, body BLOB NOT NULL, expires_at TEXT NOT NULL, used_at TEXT
);
CREATE INDEX sync_previews_expires ON sync_previews (expires_at);

CREATE TABLE housekeeping (
    name TEXT PRIMARY KEY, holder TEXT NOT NULL, held_until TEXT NOT NULL, finished_at TEXT, result TEXT NOT NULL DEFAULT ''
);

-- Conversations.

CREATE TABLE conversations (
    id TEXT PRIMARY KEY, workspace_id TEXT NOT NULL REFERENCES workspaces (id), title TEXT, created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX conversations_workspace_updated ON conversations (workspace_id, updated_at);

-- Intelligence.

CREATE TABLE next_steps (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE, title TEXT NOT NULL, description TEXT,
    rationale TEXT, category TEXT NOT NULL, priority INTEGER NOT NULL DEFAULT 2, effort TEXT, status TEXT NOT NULL DEFAULT 'pending',
    helpful_count INTEGER NOT NULL DEFAULT 0, not_helpful_count INTEGER NOT NULL DEFAULT 0, model TEXT, generated_at TEXT NOT NULL,
    acted_on_at TEXT
);
CREATE INDEX next_steps_project_status ON next_steps (project_id, status);
CREATE INDEX next_steps_project_priority ON next_steps (project_id, priority);

CREATE TABLE project_decisions (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    conversation_id TEXT REFERENCES conversations (id) ON DELETE SET NULL, decision TEXT NOT NULL, rationale TEXT, category TEXT,
    decided_at TEXT NOT NULL
);
CREATE INDEX project_decisions_project_decided ON project_decisions (project_id, decided_at);
CREATE UNIQUE INDEX project_decisions_decision ON project_decisions (project_id, decision);

CREATE TABLE action_items (
    id TEXT PRIMARY KEY, workspace_id TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE, type TEXT NOT NULL, severity TEXT NOT NULL DEFAULT 'info',
    title TEXT NOT NULL, description TEXT, affected_files TEXT, suggested_prompt TEXT, metadata TEXT,
    status TEXT NOT NULL DEFAULT 'pending', source TEXT NOT NULL DEFAULT 'analysis', created_at TEXT NOT NULL, updated_at TEXT NOT NULL
);
CREATE INDEX action_items_workspace_created ON action_items (workspace_id, created_at);
CREATE INDEX action_items_project_created ON action_items (project_id, created_at);
CREATE INDEX action_items_workspace_status ON action_items (workspace_id, status);

CREATE TABLE action_item_runs (
    id TEXT PRIMARY KEY, action_item_id TEXT NOT NULL REFERENCES action_items (id) ON DELETE CASCADE,
    workspace_id TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE, status TEXT NOT NULL DEFAULT 'queued',
    attempt_count INTEGER NOT NULL DEFAULT 0, max_attempts INTEGER NOT NULL DEFAULT 3, base_manifest_hash TEXT, summary TEXT, report TEXT,
    patch TEXT, checks TEXT, error TEXT, started_at TEXT, completed_at TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL
);
CREATE INDEX action_item_runs_item_created ON action_item_runs (action_item_id, created_at);
CREATE INDEX action_item_runs_workspace_created ON action_item_runs (workspace_id, created_at);
CREATE INDEX action_item_runs_status_created ON action_item_runs (status, created_at);

CREATE TABLE refactoring_suggestions (
    id TEXT PRIMARY KEY, workspace_id TEXT NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    snapshot_id TEXT REFERENCES snapshots (id), type TEXT NOT NULL, severity TEXT NOT NULL DEFAULT 'info', title TEXT NOT NULL,
    description TEXT, affected_files TEXT, suggested_prompt TEXT, status TEXT NOT NULL DEFAULT 'pending', created_at TEXT NOT NULL
);
CREATE INDEX refactoring_suggestions_workspace_created ON refactoring_suggestions (workspace_id, created_at);
CREATE INDEX refactoring_suggestions_workspace_status ON refactoring_suggestions (workspace_id, status);

CREATE TABLE atlas_concepts (
    id TEXT NOT NULL, project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE, name TEXT NOT NULL, layer TEXT NOT NULL,
    type TEXT, description TEXT, source_snapshot_id TEXT REFERENCES snapshots (id) ON DELETE SET NULL, source_manifest_hash TEXT,
    metadata TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL, PRIMARY KEY (project_id, id)
);
CREATE INDEX atlas_concepts_project_layer ON atlas_concepts (project_id, layer);

CREATE TABLE atlas_edges (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE, from_concept_id TEXT NOT NULL,
    to_concept_id TEXT NOT NULL, type TEXT NOT NULL, weight INTEGER, created_at TEXT NOT NULL
);
CREATE INDEX atlas_edges_project_from ON atlas_edges (project_id, from_concept_id);
CREATE INDEX atlas_edges_project_to ON atlas_edges (project_id, to_concept_id);
CREATE INDEX atlas_edges_project_type ON atlas_edges (project_id, type);

CREATE TABLE atlas_chunks (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE, concept_id TEXT, kind TEXT NOT NULL,
    content TEXT NOT NULL, file_path TEXT, symbol TEXT, source_hash TEXT, created_at TEXT NOT NULL
);
CREATE INDEX atlas_chunks_project_kind ON atlas_chunks (project_id, kind);
CREATE INDEX atlas_chunks_project_concept ON atlas_chunks (project_id, concept_id);

CREATE TABLE atlas_embeddings (
    id TEXT PRIMARY KEY, chunk_id TEXT NOT NULL REFERENCES atlas_chunks (id) ON DELETE CASCADE, model TEXT NOT NULL, vector TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX atlas_embeddings_chunk ON atlas_embeddings (chunk_id);

CREATE TABLE atlas_decision_links (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    decision_id TEXT NOT NULL REFERENCES project_decisions (id) ON DELETE CASCADE, concept_id TEXT NOT NULL, confidence INTEGER,
    created_at TEXT NOT NULL
);
CREATE INDEX atlas_decision_links_project_decision ON atlas_decision_links (project_id, decision_id);
CREATE INDEX atlas_decision_links_project_concept ON atlas_decision_links (project_id, concept_id);

CREATE TABLE atlas_diagrams (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE, concept_id TEXT, type TEXT NOT NULL,
    data TEXT NOT NULL, created_at TEXT NOT NULL
);
CREATE INDEX atlas_diagrams_project_created ON atlas_diagrams (project_id, created_at);
CREATE INDEX atlas_diagrams_project_concept ON atlas_diagrams (project_id, concept_id);

-- Infrastructure.

CREATE TABLE provider_credentials (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE, provider TEXT NOT NULL, api_token TEXT NOT NULL,
    metadata TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL
);
CREATE UNIQUE INDEX provider_credentials_provider ON provider_credentials (user_id, provider);

CREATE TABLE infrastructure_resources (
    id TEXT PRIMARY KEY, project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE, type TEXT NOT NULL, provider TEXT NOT NULL,
    provider_resource_id TEXT, name TEXT NOT NULL, connection_info TEXT, status TEXT NOT NULL DEFAULT 'pending', error TEXT,
    created_at TEXT NOT NULL, updated_at TEXT NOT NULL
);
CREATE INDEX infrastructure_resources_project ON infrastructure_resources (project_id);
CREATE INDEX infrastructure_resources_project_type ON infrastructure_resources (project_id, type);

CREATE TABLE deployment_settings (
    workspace_id TEXT PRIMARY KEY REFERENCES workspaces (id) ON DELETE CASCADE, auto_deploy INTEGER NOT NULL DEFAULT 0,
    runtime_override TEXT, build_command TEXT, start_command TEXT, created_at TEXT NOT NULL, updated_at TEXT NOT NULL
);

CREATE TABLE deployments (
    id TEXT PRIMARY KEY, workspace_id TEXT REFERENCES workspaces (id) ON DELETE SET NULL,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    snapshot_id TEXT REFERENCES snapshots (id) ON DELETE SET NULL, status TEXT NOT NULL, "trigger" TEXT NOT NULL, url TEXT, error TEXT,
    started_at TEXT NOT NULL, completed_at TEXT
);
CREATE INDEX deployments_workspace_started ON deployments (workspace_id, started_at);
CREATE INDEX deployments_project_started ON deployments (project_id, started_at);
CREATE INDEX deployments_status_started ON deployments (status, started_at);

CREATE TABLE jobs (
    id TEXT PRIMARY KEY, workspace_id TEXT NOT NULL REFERENCES workspaces (id), project_id TEXT NOT NULL REFERENCES projects (id),
    prompt TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'pending', output_snapshot_id TEXT REFERENCES snapshots (id), error TEXT,
    created_at TEXT NOT NULL, started_at TEXT, completed_at TEXT
);
