"""Table project_env_vars: values are sealed before they come here."""

from __future__ import annotations

import msgspec

from cloud.database import Reader, Tx


class Variable(msgspec.Struct, frozen=True):
    """One row; `value` as it is sealed."""

    key: str
    value: str
    is_secret: bool
    updated_at: str


async def list_variables(reader: Reader, project_id: str) -> list[Variable]:
    """Of a project that is known to be the asker's, by key."""
    sql = "SELECT key, value, is_secret, updated_at FROM project_env_vars WHERE project_id = $1 ORDER BY key"
    return [Variable(row[0], row[1], bool(row[2]), row[3]) for row in await reader.rows(sql, (project_id,))]


async def count_variables(reader: Reader, project_id: str) -> int:
    """How many a project has."""
    row = await reader.one("SELECT count(*) FROM project_env_vars WHERE project_id = $1", (project_id,))
    return int(row[0]) if row else 0


async def put_variable(tx: Tx, variable_id: str, project_id: str, key: str, value: str, is_secret: bool | None, at: str) -> None:
    """Keep a value; without `is_secret` a known variable stays what it is, and a new one is none."""
    flag = None if is_secret is None else int(is_secret)
    await tx.run(
        "INSERT INTO project_env_vars (id, project_id, key, value, is_secret, created_at, updated_at)"
        " VALUES ($1, $2, $3, $4, coalesce($5, 0), $6, $6) ON CONFLICT (project_id, key) DO UPDATE"
        " SET value = excluded.value, is_secret = coalesce($5, project_env_vars.is_secret), updated_at = excluded.updated_at",
        (variable_id, project_id, key, value, flag, at),
    )


async def remove_variable(tx: Tx, project_id: str, key: str) -> bool:
    """False when it was not there."""
    return await tx.run("DELETE FROM project_env_vars WHERE project_id = $1 AND key = $2", (project_id, key)) > 0
