-- What happened to an account, for its owner to see.

CREATE TABLE account_events (
    id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE, type TEXT NOT NULL, detail TEXT NOT NULL DEFAULT '',
    address TEXT NOT NULL DEFAULT '', created_at TEXT NOT NULL
);
CREATE INDEX account_events_user_created ON account_events (user_id, created_at);

-- One connection of a stream, by whoever cannot send a header.

CREATE TABLE stream_tickets (
    ticket_hash TEXT PRIMARY KEY, session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE, expires_at TEXT NOT NULL
);
CREATE INDEX stream_tickets_session ON stream_tickets (session_id);

CREATE INDEX sessions_expires ON sessions (expires_at);
CREATE INDEX device_codes_expires ON device_codes (expires_at);
CREATE INDEX auth_codes_expires ON auth_codes (expires_at);
