"""When, and for whom: the daemon, its local API, and the `fst` command."""
