-- Bytes of a cloud whose database is no file of its own. `data` is null where a frame lies in the bucket.

CREATE TABLE kept_frames (
    key BLOB PRIMARY KEY, size INTEGER NOT NULL, data BLOB
);
CREATE TABLE kept_blobs (
    hash BLOB PRIMARY KEY, size INTEGER NOT NULL, frame BLOB NOT NULL REFERENCES kept_frames (key)
);
CREATE INDEX kept_blobs_frame ON kept_blobs (frame);
CREATE TABLE kept_nodes (
    hash BLOB PRIMARY KEY, data BLOB NOT NULL
);
