-- Objects of the bucket on their way in or out: written down before they are there, removed only after a while without a frame's row.

CREATE TABLE loose_frames (
    key BLOB PRIMARY KEY, since INTEGER NOT NULL DEFAULT floor(extract(epoch FROM now()))
);
CREATE INDEX owned_blobs_hash ON owned_blobs (hash);
CREATE INDEX owned_nodes_hash ON owned_nodes (hash);
