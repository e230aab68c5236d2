"""Keeping a cloud running: its checks, its jobs, its copies."""
