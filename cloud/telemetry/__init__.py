"""What a running cloud tells those who run it: log lines, metrics, readiness. Never who did what, and never a secret."""
