"""`fst cloud migrate`: bring the tables up to what this program knows, and tell what was done."""

from __future__ import annotations

from cloud.config import Settings
from cloud.database.embedded import COMPONENTS, FILE, EmbeddedDatabase, versions_in
from cloud.database.schema import Versions, is_behind
from cloud.parts import lock_data, make_private, refuse_unfinished, refuse_without_scale
from store.database import Component


async def migrate(settings: Settings) -> int:
    """Makes what is not there. Raises NewerStore, AlreadyRunning while a cloud serves the folder, StoreDamaged, Busy, Unwritable."""
    found, components = await _on_postgres(settings.database) if settings.database else _in_folder(settings)
    for component in components:
        before, now = found.get(component.name, 0), len(component.migrations)
        print(f"{component.name}: {before} -> {now}" if before < now else f"{component.name}: {now}, nothing to do")
    return 0


def _in_folder(settings: Settings) -> tuple[Versions, tuple[Component, ...]]:
    make_private(settings.data)
    refuse_unfinished(settings.data)
    if (found := versions_in(settings.data)) and not is_behind(found, COMPONENTS, FILE):
        return found, COMPONENTS  # a cloud may go on serving it
    with lock_data(settings.data):
        found = versions_in(settings.data)
        EmbeddedDatabase.open(settings.data, threaded=False).close_now()
    return found, COMPONENTS


async def _on_postgres(url: str) -> tuple[Versions, tuple[Component, ...]]:
    """In one transaction, one process at a time; whoever comes second finds nothing to do."""
    with refuse_without_scale():
        from cloud.database import postgres
    db = await postgres.PostgresDatabase.open(url, upgrade=True)
    await db.close()
    return db.found, postgres.COMPONENTS
