"""Does this file look like a secret? Such a file stays in the local history and is held back from the cloud until allowed.

Theory. A name is enough for files that exist to hold secrets. All others are asked for tokens whose form says what they are: a
prefix and a body of its own alphabet and length, or the frame of a private key. Nothing is guessed from entropy or from variable
names. A false alarm costs a person one `allow`; a miss leaves the machine for good, so sample keys count as keys; only bodies that
were visibly blanked out (`ghp_xxxx...`) and frames with nothing in them do not.

Speed. Three *gates*, each one pass over the bytes from one rare first byte, say what kinds of token may be there at all; nearly
every file passes none of them, and only the few others meet the exact forms. A file with a NUL in its first 8,000 bytes is binary,
as git has it, and is not asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

CONTENT_BYTES = 1024 * 1024
"""So much of a file is looked at, from its beginning."""
_BINARY_BYTES = 8000


class Reason(StrEnum):
    """Why a file is held back; the value is shown to people, and kept."""

    ENVIRONMENT = "an environment file"
    KEY_FILE = "a private key or key store, by its name"
    CREDENTIALS = "a file of credentials, by its name"
    PRIVATE_KEY = "a private key"
    AWS = "an AWS access key with its secret"
    GITHUB = "a GitHub token"
    GITLAB = "a GitLab token"
    SLACK = "a Slack token"
    MODEL_API = "an API key of a model provider"
    GOOGLE = "a Google API key"
    NPM = "an npm token"
    PYPI = "a PyPI token"
    STRIPE = "a Stripe live key"
    PROVIDER_API = "a provider's API token"
    REGISTRY = "a login to a package or image registry"
    KUBERNETES = "a Kubernetes client key or token"


def looks_secret(path: bytes, data: bytes) -> Reason | None:
    """Why a file with this path and these bytes (or their first CONTENT_BYTES) looks like a secret; None: it does not."""
    return name_reason(path) or content_reason(path, data)


# --- names ------------------------------------------------------------------------------------------------------------------

_SAMPLE_WORDS = frozenset(b"example examples sample template tmpl tpl dist default defaults schema md ts d j2 erb".split())
_KEY_NAMES = frozenset(b"id_rsa id_dsa id_ecdsa id_ecdsa_sk id_ed25519 id_ed25519_sk".split())
_KEY_SUFFIXES = frozenset(b".p12 .pfx .jks .keystore .bcfks .ppk .kdbx .kdb .agekey".split())
_CREDENTIAL_NAMES = frozenset(
    b".netrc _netrc .pypirc .pgpass pgpass.conf .my.cnf .mylogin.cnf .htpasswd .git-credentials .dockercfg .s3cfg .boto .vault-token"
    b" .terraformrc terraform.rc credentials.tfrc.json terraform.tfstate terraform.tfstate.backup .cargo-credentials"
    b" application_default_credentials.json credentials credentials.json client_secret.json master.key secrets.toml secrets.yml"
    b" secrets.yaml secrets.json".split()
)
_CREDENTIAL_PATHS = (
    b"/.cargo/credentials.toml",
    b"/.config/gh/hosts.yml",
    b"/.config/hub",
    b"/.azure/accesstokens.json",
    b"/.kube/config",
    b"/.config/gcloud/credentials.db",
)
_ENDS_OF_PATHS = frozenset(path.rpartition(b"/")[2] for path in _CREDENTIAL_PATHS)


def name_reason(path: bytes) -> Reason | None:
    """The same by the path alone, for files whose bytes are not at hand."""
    name = path[path.rfind(b"/") + 1 :].lower()
    if b".env" in name:
        return Reason.ENVIRONMENT if _is_environment(name) else None
    if name in _KEY_NAMES or name[name.rfind(b".") :] in _KEY_SUFFIXES:
        return Reason.KEY_FILE
    if name in _CREDENTIAL_NAMES or (name in _ENDS_OF_PATHS and (b"/" + path.lower()).endswith(_CREDENTIAL_PATHS)):
        return Reason.CREDENTIALS
    return None


def _is_environment(name: bytes) -> bool:
    """`.env`, `.env.local`, `prod.env`; not `.env.example`, `.env.d.ts` or `.envrc`."""
    words = re.split(rb"[._-]", name)
    known = name.startswith((b".env.", b".env-", b".env_")) or name.endswith(b".env")
    return known and _SAMPLE_WORDS.isdisjoint(words)


# --- content ----------------------------------------------------------------------------------------------------------------


class _Form(NamedTuple):
    """One kind of token: group 1 is the body that may have been blanked out; `also` must be found in the same file."""

    reason: Reason
    regex: re.Pattern[bytes]
    also: re.Pattern[bytes] | None = None


class _Gate(NamedTuple):
    """A first look that is true of every file with one of the forms."""

    regex: re.Pattern[bytes]
    forms: Sequence[_Form]


def _form(reason: Reason, source: bytes) -> _Form:
    """A token that stands by itself."""
    return _Form(reason, re.compile(rb"(?<![0-9A-Za-z_-])" + source + rb"(?![0-9A-Za-z_-])"))


# Between the frame and the body of a key: white space, or what stands there in the source of a program.
_GAP = rb"(?:[\s\"'+,]|\\[nr])+"
_PEM = re.compile(
    rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----" + _GAP + rb"(?:[A-Za-z][A-Za-z-]*: [^\r\n\\]*" + _GAP + rb")*([0-9A-Za-z+/]{16})"
)
_AWS_ID = re.compile(rb"(?<![0-9A-Za-z])AKIA([0-9A-Z]{16})(?![0-9A-Za-z])")
_AWS_SECRET = re.compile(rb"(?<![0-9A-Za-z+/=])(?=[^a-z]{0,39}[a-z])(?=[^A-Z]{0,39}[A-Z])[0-9A-Za-z+/]{40}(?![0-9A-Za-z+/=])")

_BLANK = re.compile(rb"([xX0.*])\1{7}")

_DASHED = _Gate(
    re.compile(
        rb"-(?:----BEGIN [A-Z0-9 ]*PRIVATE KEY|[0-9A-Za-z_-]{18}"
        rb"(?:(?<=sk-.{18})|(?<=glpat-.{18})|(?<=xox[a-z]-.{18})|(?<=pypi-.{18})|(?<=KEY-.{18})|(?<=GOCSPX-.{18})))"
    ),
    [
        _Form(Reason.PRIVATE_KEY, _PEM),
        _form(Reason.PRIVATE_KEY, rb"AGE-SECRET-KEY-(1[0-9A-Z]{58})"),
        _form(Reason.MODEL_API, rb"sk-(?:ant|proj|svcacct|admin|or)-([0-9A-Za-z_-]{20,})"),
        _form(Reason.MODEL_API, rb"sk-((?=[A-Za-z]*[0-9])[0-9A-Za-z]{32,})"),
        _form(Reason.GITLAB, rb"glpat-([0-9A-Za-z_-]{20,})(?:\.[0-9a-z.]+)?"),
        _form(Reason.SLACK, rb"xox[a-z]-([0-9A-Za-z-]{20,})"),
        _form(Reason.PYPI, rb"pypi-(AgE[0-9A-Za-z_-]{50,})"),
        _form(Reason.GOOGLE, rb"GOCSPX-([0-9A-Za-z_-]{28})"),
    ],
)
_UNDERSCORED = _Gate(
    re.compile(
        rb"_[0-9A-Za-z]{16}(?:(?<=gh[a-z]_.{16})|(?<=pat_.{16})|(?<=npm_.{16})|(?<=live_.{16})|(?<=hf_.{16})|(?<=v1_.{16})"
        rb"|(?<=shp[a-z][a-z]_.{16})|(?<=glsa_.{16}))"
    ),
    [
        _form(Reason.GITHUB, rb"gh[pousr]_([0-9A-Za-z]{36,})"),
        _form(Reason.GITHUB, rb"github_pat_([0-9A-Za-z]{22}_[0-9A-Za-z]{59})"),
        _form(Reason.NPM, rb"npm_([0-9A-Za-z]{36})"),
        _form(Reason.STRIPE, rb"[sr]k_live_([0-9A-Za-z]{20,})"),
        _form(Reason.MODEL_API, rb"hf_([0-9A-Za-z]{34})"),
        _form(Reason.PROVIDER_API, rb"do[opr]_v1_([0-9a-f]{64})"),
        _form(Reason.PROVIDER_API, rb"shp(?:at|ca|pa|ss)_([0-9a-fA-F]{32})"),
        _form(Reason.PROVIDER_API, rb"glsa_([0-9A-Za-z]{32}_[0-9a-f]{8})"),
    ],
)
_CAPITAL_A = _Gate(
    re.compile(rb"A(?:KIA[0-9A-Z]{16}|Iza[0-9A-Za-z_-]{35})"),
    [_Form(Reason.AWS, _AWS_ID, _AWS_SECRET), _form(Reason.GOOGLE, rb"AIza([0-9A-Za-z_-]{35})")],
)
_GATES = (_DASHED, _UNDERSCORED, _CAPITAL_A)

# Files whose name says that a login may stand in them, and what it looks like. A `$` is a variable, which is no secret.
_LOGINS = {
    b".npmrc": _Form(Reason.REGISTRY, re.compile(rb"(?m)^[^#;\n]*(?:_authToken|_password|_auth)\s*=\s*\"?([^\s\"$]{6,})")),
    b".yarnrc.yml": _Form(Reason.REGISTRY, re.compile(rb"(?m)^\s*[\"']?npmAuth(?:Token|Ident)[\"']?:\s*[\"']?([^\s\"'$]{6,})")),
    b".yarnrc": _Form(Reason.REGISTRY, re.compile(rb"(?m)^[^#\n]*_(?:authToken|password)[\"']?\s+[\"']?([^\s\"'$]{6,})")),
    b".docker/config.json": _Form(Reason.REGISTRY, re.compile(rb"\"(?:auth|identitytoken)\"\s*:\s*\"([^\"$]{6,})\"")),
    b"kubeconfig": _Form(Reason.KUBERNETES, re.compile(rb"(?m)^\s*(?:client-key-data|token|password):\s*[\"']?([^\s\"'$]{6,})")),
    b".envrc": _Form(
        Reason.ENVIRONMENT,
        re.compile(rb"(?mi)^\s*(?:export\s+)?\w*(?:secret|token|passw(?:or)?d|api_?key|private_?key)\w*=[\"']?([^\s\"'$]{8,})"),
    ),
}


def content_reason(path: bytes, data: bytes) -> Reason | None:
    """The same by the bytes; the path only says which further logins to look for."""
    if b"\0" in data[:_BINARY_BYTES]:
        return None
    data = data[:CONTENT_BYTES]
    for name, form in _LOGINS.items():
        if path.endswith(name) and _holds(form, data):
            return form.reason
    for gate in _GATES:
        if gate.regex.search(data):
            for form in gate.forms:
                if _holds(form, data):
                    return form.reason
    return None


def _holds(form: _Form, data: bytes) -> bool:
    if form.also is not None and not form.also.search(data):
        return False
    return any(not _is_blanked(match[1]) for match in form.regex.finditer(data))


def _is_blanked(body: bytes) -> bool:
    """`xxxxxxxx`, `XXXX-XXXX`, `0000000000`: no random token repeats one of these eight times."""
    return _BLANK.search(body.translate(None, b"-_")) is not None
