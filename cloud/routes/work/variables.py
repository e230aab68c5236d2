"""/v1/projects/{id}/env-vars: a project's environment, sealed at rest, masked in lists, told in the clear to the system alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, TypedDict

import msgspec
from aiohttp import web

from cloud.accounts.keys import ENVIRONMENT
from cloud.accounts.session import who_is
from cloud.context import Cloud
from cloud.database import Tx
from cloud.records.people.accounts import Account
from cloud.records.work import activity, projects, variables
from cloud.records.work.variables import Variable
from cloud.routes.asking import Acting, Done
from cloud.routes.declare import delete, get, post, put
from cloud.routes.envelope import account_of, cloud_of, for_everybody, named_id
from store.errors import InvalidValue, NotFound, TooLarge
from store.types import new_ulid
from sync.core.wire import Actor

MAX_VARIABLES: Final = 500
MAX_VALUE: Final = 32 * 1024
MASK: Final = "****"
SHOWN_FROM: Final = 20
"""A secret of so many characters shows its last four; of a shorter one they would be too much of it."""
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}\Z")


class SentVariable(msgspec.Struct, frozen=True):
    """One variable; without `is_secret` it stays what it is."""

    key: str
    value: str
    is_secret: bool | None = None


class SentOneVariable(SentVariable, frozen=True):
    """The body of a POST."""

    actor: Actor = "cli"


class SentVariables(msgspec.Struct, frozen=True):
    """The body of a PUT."""

    variables: list[SentVariable]
    actor: Actor = "cli"


class ShownVariable(TypedDict):
    """A secret is masked."""

    key: str
    value: str
    is_secret: bool
    updated_at: str


class ShownVariables(TypedDict):
    """By key."""

    variables: list[ShownVariable]


class Counted(TypedDict):
    """How many of them."""

    success: bool
    count: int


class Values(TypedDict):
    """In the clear."""

    values: dict[str, str]


async def list_variables(request: web.Request) -> ShownVariables:
    """By key; secrets masked."""
    cloud, account = cloud_of(request), account_of(request)
    project = await projects.get_project(cloud.read(), account.user_id, named_id(request, "project"))
    found = await variables.list_variables(cloud.read(), project.id)
    return {"variables": [_shown(each, _opened(cloud, account, project.id, each)) for each in found]}


async def put_variable(request: web.Request, asked: SentOneVariable) -> Done:
    """One variable, new or changed."""
    await _put(request, [asked], asked.actor)
    return {"success": True}


async def put_variables(request: web.Request, asked: SentVariables) -> Counted:
    """Several, all or none; those that are not named stay."""
    await _put(request, asked.variables, asked.actor)
    return {"success": True, "count": len({each.key for each in asked.variables})}


async def remove_variable(request: web.Request, query: Acting) -> Done:
    """Gone, also when it was before."""
    cloud, account, project_id = cloud_of(request), account_of(request), named_id(request, "project")
    key = request.match_info["key"]
    if not _KEY.match(key):
        raise NotFound("no such variable")

    async def work(tx: Tx) -> None:
        await projects.get_open_project(tx, account.user_id, project_id)
        if await variables.remove_variable(tx, project_id, key):
            await activity.add_activity(tx, cloud.now_ms(), project_id, "env.removed", query.actor, message=key)

    await cloud.write(work)
    return {"success": True}


@for_everybody
async def release_values(request: web.Request) -> Values:
    """All values in the clear, to a session that is good for this project's and nothing else; each time is an event of the project."""
    cloud, project_id = cloud_of(request), named_id(request, "project")
    account = await who_is(cloud.read(), request.headers.get("Authorization", ""), cloud.now_ms(), ENVIRONMENT + project_id)

    async def work(tx: Tx) -> list[Variable]:
        await projects.get_project(tx, account.user_id, project_id)
        await activity.add_activity(tx, cloud.now_ms(), project_id, "env.released", "system")
        return await variables.list_variables(tx, project_id)

    found = await cloud.write(work)
    return {"values": {each.key: _opened(cloud, account, project_id, each) for each in found}}


async def _put(request: web.Request, sent: Sequence[SentVariable], actor: Actor) -> None:
    cloud, account, project_id = cloud_of(request), account_of(request), named_id(request, "project")
    _check(sent)
    sealed = [cloud.vault.seal(each.value, *_place(account, project_id, each.key)) for each in sent]

    async def work(tx: Tx) -> None:
        await projects.get_open_project(tx, account.user_id, project_id)
        for each, value in zip(sent, sealed, strict=True):
            await variables.put_variable(tx, new_ulid(cloud.now_ms()), project_id, each.key, value, each.is_secret, cloud.now())
        if await variables.count_variables(tx, project_id) > MAX_VARIABLES:
            raise TooLarge(f"a project has at most {MAX_VARIABLES} variables")
        if sent:
            names = ", ".join(sorted({each.key for each in sent}))
            await activity.add_activity(tx, cloud.now_ms(), project_id, "env.changed", actor, message=names[:1_000])

    await cloud.write(work)


def _check(sent: Sequence[SentVariable]) -> None:
    if len(sent) > MAX_VARIABLES:
        raise TooLarge(f"a project has at most {MAX_VARIABLES} variables")
    wrong = [each.key[:300] for each in sent if not _KEY.match(each.key)]
    if wrong:
        raise InvalidValue("a key is letters, digits and underscores, and begins with no digit", "Nothing was changed.", invalid=wrong)
    long = [each.key for each in sent if len(each.value) > MAX_VALUE or "\0" in each.value]
    if long:
        raise InvalidValue(f"a value is at most {MAX_VALUE} characters, without NUL", "Nothing was changed.", invalid=long)


def _place(account: Account, project_id: str, key: str) -> tuple[str, ...]:
    return (account.user_id, project_id, "project_env_vars", key)


def _opened(cloud: Cloud, account: Account, project_id: str, variable: Variable) -> str:
    return cloud.vault.open(variable.value, *_place(account, project_id, variable.key))


def _shown(variable: Variable, value: str) -> ShownVariable:
    if variable.is_secret:
        value = MASK + value[-4:] if len(value) >= SHOWN_FROM else MASK
    return {"key": variable.key, "value": value, "is_secret": variable.is_secret, "updated_at": variable.updated_at}


ROUTES = [
    get("/v1/projects/{project}/env-vars", list_variables),
    post("/v1/projects/{project}/env-vars", put_variable),
    put("/v1/projects/{project}/env-vars", put_variables),
    get("/v1/projects/{project}/env-vars/values", release_values, is_secret=True, needs="a session of the scope `env:PROJECT`"),
    delete("/v1/projects/{project}/env-vars/{key}", remove_variable),
]
