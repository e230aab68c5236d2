"""Mutants that live because no test could tell: by module and by what `python -m tests.mutation` calls them, with the reason."""

from __future__ import annotations

EXPLAINED: dict[str, dict[str, str]] = {}
