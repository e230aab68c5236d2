"""Workspaces compared and merged: what the daemon's planner decides about two folders, decided about two heads."""
