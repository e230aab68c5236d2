"""Tables of what people work on: projects, workspaces, snapshots, replicas, and what happened to them."""
