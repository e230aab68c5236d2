"""Routes of projects, workspaces and all that hangs on them."""
