"""What is kept: blobs, manifests, snapshots, workspaces, the stat index, the journal. Knows no network, no clock, no home."""
