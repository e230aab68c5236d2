-- Since when nothing of this user names it: what is named again meanwhile is pardoned, the rest goes after a while.

ALTER TABLE owned_blobs ADD COLUMN condemned_at TEXT;
ALTER TABLE owned_nodes ADD COLUMN condemned_at TEXT;
