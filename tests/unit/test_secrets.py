"""What is held back, what is not, and that nothing in a real library is. No token stands in this file whole: they are put together."""

from __future__ import annotations

import base64
import random
import sysconfig
import time
from pathlib import Path

import pytest

from sync.core.secrets import CONTENT_BYTES, Reason, content_reason, looks_secret, name_reason

LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIGITS = b"0123456789"


def body(size: int, alphabet: bytes = LETTERS + DIGITS) -> bytes:
    chance = random.Random(size)
    return b"1" + bytes(chance.choice(alphabet) for _ in range(size - 1))


KEY_LINES = b"\n".join(base64.b64encode(random.Random(line).randbytes(48)) for line in range(4))


def pem(kind: bytes, lines: bytes = KEY_LINES) -> bytes:
    return b"-----BEGIN " + kind + b"-----\n" + lines + b"\n-----END " + kind + b"-----\n"


RSA, PKCS8, OPENSSH, PGP = b"RSA PRIVATE KEY", b"PRIVATE KEY", b"OPENSSH PRIVATE KEY", b"PGP PRIVATE KEY BLOCK"
UPPER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"

TOKENS = [
    (Reason.GITHUB, b"ghp" + b"_" + body(36)),
    (Reason.GITHUB, b"gho" + b"_" + body(36)),
    (Reason.GITHUB, b"ghs" + b"_" + body(40)),
    (Reason.GITHUB, b"ghu" + b"_" + body(36)),
    (Reason.GITHUB, b"ghr" + b"_" + body(76)),
    (Reason.GITHUB, b"github" + b"_pat_" + body(22) + b"_" + body(59)),
    (Reason.GITLAB, b"glpat" + b"-" + body(20)),
    (Reason.GITLAB, b"glpat" + b"-" + body(27) + b".01.0" + b"a1b2c3d4"),
    (Reason.SLACK, b"xoxb" + b"-123456789012-123456789012-" + body(24)),
    (Reason.SLACK, b"xoxp" + b"-123456789012-" + body(24)),
    (Reason.MODEL_API, b"sk" + b"-ant-api03-" + body(93)),
    *[(Reason.MODEL_API, b"sk" + kind + body(48)) for kind in (b"-proj-", b"-svcacct-", b"-admin-", b"-or-v1-")],
    (Reason.MODEL_API, b"sk" + b"-" + body(48)),
    (Reason.MODEL_API, b"hf" + b"_" + body(34)),
    (Reason.GOOGLE, b"AI" + b"za" + body(35)),
    (Reason.GOOGLE, b"GOCSPX" + b"-" + body(28)),
    (Reason.NPM, b"npm" + b"_" + body(36)),
    (Reason.PYPI, b"pypi" + b"-AgEIcHlwaS5vcmc" + body(60)),
    (Reason.STRIPE, b"sk" + b"_live_" + body(24)),
    (Reason.STRIPE, b"rk" + b"_live_" + body(24)),
    (Reason.PROVIDER_API, b"dop" + b"_v1_" + body(64, b"0123456789abcdef")),
    *[(Reason.PROVIDER_API, kind + b"_v1_" + body(64, b"0123456789abcdef")) for kind in (b"doo", b"dor")],
    *[(Reason.PROVIDER_API, kind + b"_" + body(32, b"0123456789abcdef")) for kind in (b"shpat", b"shpca", b"shppa", b"shpss")],
    (Reason.PROVIDER_API, b"shpat" + b"_" + body(32, b"0123456789ABCDEF")),
    (Reason.PROVIDER_API, b"glsa" + b"_" + body(32) + b"_" + body(8, b"0123456789abcdef")),
    (Reason.PRIVATE_KEY, b"AGE-SECRET" + b"-KEY-" + body(59, UPPER + DIGITS)),
]


@pytest.mark.parametrize(("reason", "token"), TOKENS)
@pytest.mark.parametrize(
    "frame", [b"%b", b"key = '%b'\n", b'{"token": "%b"}', b"curl -H 'Authorization: Bearer %b' x", b"https://x:%b@host/", b"TOKEN=%b\r\n"]
)
def test_a_token_wherever_it_stands(reason: Reason, token: bytes, frame: bytes) -> None:
    assert looks_secret(b"src/app.py", b"x" * 1000 + b"\n" + frame % token) == reason


@pytest.mark.parametrize(("reason", "token"), TOKENS)
def test_a_token_that_was_blanked_out_or_is_part_of_a_longer_name_is_none(reason: Reason, token: bytes) -> None:
    assert looks_secret(b"README.md", token[:-24] + b"x" * 24) is None
    assert looks_secret(b"README.md", b"a" + token) is None
    assert looks_secret(b"README.md", b"Z" + token) is None


@pytest.mark.parametrize(
    "text",
    [
        pem(RSA),
        pem(PKCS8).replace(b"\n", b"\r\n"),
        pem(OPENSSH),
        pem(b"EC PRIVATE KEY"),
        pem(b"ENCRYPTED PRIVATE KEY"),
        pem(RSA, b"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF\n\n" + KEY_LINES),
        pem(PGP, b"Version: GnuPG v2\nComment: for - me\n\n" + KEY_LINES),
        b'{"type": "service_account", "private_key": "' + pem(PKCS8).replace(b"\n", b"\\n") + b'"}',
        b'KEY = (\n    "' + pem(RSA).replace(b"\n", b'\\n"\n    "') + b'")',
        b"  key: |\n    " + pem(RSA).replace(b"\n", b"\n    "),
    ],
)
def test_a_private_key_in_any_dress(text: bytes) -> None:
    assert looks_secret(b"deploy/server.pem", text) == Reason.PRIVATE_KEY


@pytest.mark.parametrize(
    "text",
    [
        b"-----BEGIN " + RSA + b"-----",
        b"-----BEGIN " + RSA + b"-----\n...\n-----END " + RSA + b"-----\n",
        b'if line == "-----BEGIN ' + RSA + b'-----":\n    readTheRestOfTheKeyHere()',
        b"HEAD = b'-----BEGIN " + PKCS8 + b"-----\\n'\nbody = base64.standard_b64encode(data)",
        pem(RSA, b"x" * 64),
        pem(b"CERTIFICATE"),
        pem(b"PUBLIC KEY"),
        pem(b"PGP PUBLIC KEY BLOCK"),
    ],
)
def test_what_only_speaks_of_keys(text: bytes) -> None:
    assert looks_secret(b"src/keys.py", text) is None


def test_an_aws_key_counts_with_its_secret_only() -> None:
    key = b"AKIA" + body(16, UPPER + b"234567").replace(b"1", b"Q")
    secret = body(40, LETTERS + DIGITS + b"+/")
    assert looks_secret(b"a", b"id: %b\nsecret: %b\n" % (key, secret)) == Reason.AWS
    assert looks_secret(b"a", b"id: %b\n" % key) is None
    for longer in (b"x" + key, b"X" + key, b"0" + key, key + b"x", key + b"X", key + b"0"):
        assert looks_secret(b"a", b"id: %b\nsecret: %b\n" % (longer, secret)) is None
    assert looks_secret(b"a", b"secret: %b\n" % secret) is None
    assert looks_secret(b"a", b"id: %b\nsha1: %b\n" % (key, body(40, b"0123456789abcdef"))) is None


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (b".env", Reason.ENVIRONMENT),
        (b"app/.env.local", Reason.ENVIRONMENT),
        (b".env.production", Reason.ENVIRONMENT),
        (b".env-staging", Reason.ENVIRONMENT),
        (b".env_staging", Reason.ENVIRONMENT),
        (b".ENV", Reason.ENVIRONMENT),
        (b"deploy/prod.env", Reason.ENVIRONMENT),
        (b".ssh/id_rsa", Reason.KEY_FILE),
        (b"id_ed25519", Reason.KEY_FILE),
        (b"cert.p12", Reason.KEY_FILE),
        (b"cert.2026.p12", Reason.KEY_FILE),
        (b"a/Release.Keystore", Reason.KEY_FILE),
        (b"cert.pfx", Reason.KEY_FILE),
        (b"passwords.kdbx", Reason.KEY_FILE),
        (b".netrc", Reason.CREDENTIALS),
        (b".pypirc", Reason.CREDENTIALS),
        (b".aws/credentials", Reason.CREDENTIALS),
        (b"home/.aws/credentials", Reason.CREDENTIALS),
        (b".kube/config", Reason.CREDENTIALS),
        (b".git-credentials", Reason.CREDENTIALS),
        (b"infra/terraform.tfstate", Reason.CREDENTIALS),
        (b"credentials.json", Reason.CREDENTIALS),
    ],
)
def test_a_name_is_enough(path: bytes, reason: Reason) -> None:
    assert name_reason(path) == reason
    assert looks_secret(path, b"") == reason


KEY_NAMES = b"id_rsa id_dsa id_ecdsa id_ecdsa_sk id_ed25519 id_ed25519_sk".split()
KEY_SUFFIXES = b".p12 .pfx .jks .keystore .bcfks .ppk .kdbx .kdb .agekey".split()
CREDENTIALS = (
    b".netrc _netrc .pypirc .pgpass pgpass.conf .my.cnf .mylogin.cnf .htpasswd .git-credentials .dockercfg .s3cfg .boto .vault-token"
    b" .terraformrc terraform.rc credentials.tfrc.json terraform.tfstate terraform.tfstate.backup .cargo-credentials"
    b" application_default_credentials.json credentials credentials.json client_secret.json master.key secrets.toml secrets.yml"
    b" secrets.yaml secrets.json .cargo/credentials.toml .config/gh/hosts.yml .config/hub .azure/accessTokens.json .kube/config"
    b" .config/gcloud/credentials.db"
).split()


def test_every_name_that_is_enough() -> None:
    for folder in (b"", b"a/b/"):
        assert {name_reason(folder + name) for name in KEY_NAMES} == {Reason.KEY_FILE}
        assert {name_reason(folder + b"x" + suffix) for suffix in KEY_SUFFIXES} == {Reason.KEY_FILE}
        assert {name_reason(folder + name) for name in CREDENTIALS} == {Reason.CREDENTIALS}
        assert {name_reason(folder + name.upper()) for name in CREDENTIALS} == {Reason.CREDENTIALS}
    # The name alone, where it takes a folder too, and the other way round.
    assert {name_reason(name) for name in (b"hosts.yml", b"hub", b"config", b"accesstokens.json", b"x.kube/config")} == {None}
    assert {name_reason(name + b"x") for name in (*KEY_NAMES, *CREDENTIALS)} == {None}
    samples = b"example examples sample template tmpl tpl dist default defaults schema md ts d j2 erb".split()
    assert {name_reason(b".env." + word) for word in samples} == {None}


def test_what_people_read_as_the_reason() -> None:
    assert [reason.value for reason in Reason] == [
        "an environment file",
        "a private key or key store, by its name",
        "a file of credentials, by its name",
        "a private key",
        "an AWS access key with its secret",
        "a GitHub token",
        "a GitLab token",
        "a Slack token",
        "an API key of a model provider",
        "a Google API key",
        "an npm token",
        "a PyPI token",
        "a Stripe live key",
        "a provider's API token",
        "a login to a package or image registry",
        "a Kubernetes client key or token",
    ]


@pytest.mark.parametrize(
    "path",
    [
        b".env.example",
        b".env.sample",
        b".env.template",
        b".env.local.example",
        b"example.env",
        b"src/env.d.ts",
        b".envrc",
        b"environment.py",
        b"venv/bin/python",
        b".env/lib/x.py",
        b"id_rsa.pub",
        b"keystore.py",
        b"x.pem",
        b"aws/credentials.py",
        b"kube/config",
        b".npmrc",
        b"my.aws/credentials.md",
    ],
)
def test_a_name_that_is_not_enough(path: bytes) -> None:
    assert name_reason(path) is None


LOGINS = [
    (b".npmrc", b"//registry.npmjs.org/:_authToken=%b\n", Reason.REGISTRY),
    (b"web/.npmrc", b'registry=https://x/\n_auth = "%b"\n', Reason.REGISTRY),
    (b".yarnrc.yml", b'npmAuthToken: "%b"\n', Reason.REGISTRY),
    (b".npmrc", b"//registry.npmjs.org/:_password=%b\n", Reason.REGISTRY),
    (b".yarnrc.yml", b"  npmAuthIdent: '%b'\n", Reason.REGISTRY),
    (b".yarnrc", b'"//registry.yarnpkg.com/:_authToken" "%b"\n', Reason.REGISTRY),
    (b".yarnrc", b"_password %b\n", Reason.REGISTRY),
    (b".docker/config.json", b'{"identitytoken": "%b"}', Reason.REGISTRY),
    (b"kubeconfig", b"    password: '%b'\n", Reason.KUBERNETES),
    (b".envrc", b"api_key=%b\n", Reason.ENVIRONMENT),
    (b".envrc", b"export PRIVATE_KEY='%b'\n", Reason.ENVIRONMENT),
    (b".docker/config.json", b'{"auths": {"x": {"auth": "%b"}}}', Reason.REGISTRY),
    (b"kubeconfig", b"users:\n- user:\n    client-key-data: %b\n", Reason.KUBERNETES),
    (b"prod.kubeconfig", b"  token: %b\n", Reason.KUBERNETES),
    (b".envrc", b"export DB_PASSWORD=%b\n", Reason.ENVIRONMENT),
]


@pytest.mark.parametrize(("path", "text", "reason"), LOGINS)
def test_a_login_in_a_file_made_for_it(path: bytes, text: bytes, reason: Reason) -> None:
    assert looks_secret(path, text % body(30)) == reason
    assert looks_secret(path, text % b"${FROM_ELSEWHERE}") is None
    assert looks_secret(b"notes.txt", text % body(30)) is None


def test_what_stands_beside_a_login_blanks_nothing_out() -> None:
    assert looks_secret(b".npmrc", b"//xxxxxxxx.example/:_authToken=" + body(30)) == Reason.REGISTRY


FIXED = [
    token for _, token in TOKENS if token.startswith((b"AIza", b"npm_", b"GOCSPX-", b"hf_", b"github_pat_", b"dop_", b"shpat_", b"AGE-"))
]


@pytest.mark.parametrize("token", FIXED)
def test_a_token_of_fixed_length_is_no_longer(token: bytes) -> None:
    assert content_reason(b"a", token + b"\n") is not None
    assert {content_reason(b"a", token + more) for more in (b"A\n", b"a", b"0", b"_")} == {None}
    assert content_reason(b"a", token[:-1] + b"\n") is None


def test_a_token_may_be_blanked_out_in_groups() -> None:
    assert looks_secret(b"a", b"glpat" + b"-" + b"-".join([b"xxxx"] * 6)) is None
    assert looks_secret(b"a", b"github" + b"_pat_" + b"X" * 4 + b"1" * 18 + b"_" + b"X" * 59) is None
    assert looks_secret(b"a", b"glpat" + b"-" + b"-".join([b"xxxx", b"abcd"] * 3)) == Reason.GITLAB


def test_only_the_beginning_of_a_file_is_looked_at() -> None:
    assert CONTENT_BYTES == 1024 * 1024
    key, secret = b"AKIA" + body(16, UPPER).replace(b"1", b"Q"), body(40, LETTERS)
    assert content_reason(b"a", secret + b"\n" + key) == Reason.AWS
    assert content_reason(b"a", key + b" " * CONTENT_BYTES + secret) is None
    token = TOKENS[0][1]
    assert content_reason(b"a", b" " * (CONTENT_BYTES - len(token)) + token) == Reason.GITHUB
    assert content_reason(b"a", b" " * CONTENT_BYTES + token) is None


def test_a_binary_file_is_asked_by_its_name_only() -> None:
    data = b"\x7fELF\0" + TOKENS[0][1]
    assert looks_secret(b"a.out", data) is None
    assert looks_secret(b"a.p12", data) == Reason.KEY_FILE
    assert looks_secret(b"a.out", b"\0" + TOKENS[0][1]) is None
    # Its first 8,000 bytes tell, as for git.
    assert looks_secret(b"a.out", (TOKENS[0][1] + b"\n").ljust(7999) + b"\0") is None
    assert looks_secret(b"a.txt", (TOKENS[0][1] + b"\n").ljust(8000) + b"\0") == Reason.GITHUB


def test_the_standard_library_holds_nothing_but_its_own_test_keys() -> None:
    root = Path(sysconfig.get_path("stdlib"))
    paths = [path for path in root.rglob("*.py") if not {"site-packages", "test", "tests"} & set(path.parts)]
    assert len(paths) > 500
    assert {path for path in paths if looks_secret(bytes(path.relative_to(root)), path.read_bytes())} == set()


@pytest.mark.parametrize(
    "text", [b"_" * CONTENT_BYTES, b"-a" * (CONTENT_BYTES // 2), b"-----BEGIN " * 90000, b"A" * CONTENT_BYTES, b"sk-" * 300000]
)
def test_no_text_is_slow(text: bytes) -> None:
    started = time.process_time()
    looks_secret(b".npmrc", text)
    assert time.process_time() - started < 2
