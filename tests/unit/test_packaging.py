"""What lies in packaging/: each command line is one that the cloud takes, and no secret stands where others can read it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from cloud.accounts.vault import find_vault
from cloud.app import DRAIN_SECONDS
from cloud.config import SECRETS, Settings, parse_arguments
from tests.lab.process import fst_command
from tests.lab.services import binary

PACKAGING = Path(__file__).parents[2] / "packaging"
TOP = PACKAGING.parent
DOMAIN = "cloud.example.org"
SERVERS = ("cloud1", "cloud2", "cloud3")


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """The folder, with its secrets drawn."""
    folder = shutil.copytree(PACKAGING / "docker", tmp_path / "docker", ignore=shutil.ignore_patterns("secrets"))
    subprocess.run([folder / "make-secrets.sh"], check=True, stdout=subprocess.DEVNULL)
    return folder


def composed(folder: Path) -> dict[str, Any]:
    text = re.sub(r"\$\{FASTEST_DOMAIN[^}]*\}", DOMAIN, (folder / "compose.yaml").read_text())
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def settings_of(folder: Path, service: dict[str, Any]) -> Settings:
    """As the container would read them."""
    files = {name: folder / each["file"] for name, each in composed(folder)["secrets"].items() if name in service["secrets"]}
    env = dict(service["environment"])
    for name, value in env.items():
        if str(value).startswith("/run/secrets/"):
            env[name] = str(files[Path(value).name])
    return parse_arguments(service["command"], env)


def test_three_servers_stand_on_the_same_and_share_one_key(docker: Path, tmp_path: Path) -> None:
    services = composed(docker)["services"]
    one, two, three = (settings_of(docker, services[name]) for name in SERVERS)
    assert one == two == three
    assert one.verb == "serve" and one.port == 8470 and one.redis and one.objects.startswith("s3://") and one.metrics_token
    assert (docker / "secrets" / "database_password").read_text() in one.database
    find_vault(tmp_path, one.key)
    assert not list(tmp_path.glob("*key*")), "the key is one that seals"
    assert len({services[name]["volumes"][0] for name in SERVERS}) == 3
    assert one.gate.public_url == f"https://{DOMAIN}"
    assert one.gate.proxies == (services["proxy"]["networks"]["inside"]["ipv4_address"],)
    assert services["proxy"]["environment"]["FASTEST_SERVERS"].split() == [f"{name}:8470" for name in SERVERS]


def test_there_is_time_to_leave(docker: Path) -> None:
    services = composed(docker)["services"]
    for name in SERVERS:
        grace = int(services[name]["stop_grace_period"].removesuffix("s"))
        assert settings_of(docker, services[name]).notice_seconds + DRAIN_SECONDS < grace
    checks = re.search(r"health_interval (\d+)s", (PACKAGING / "proxy" / "Caddyfile").read_text())
    assert checks and settings_of(docker, services["cloud1"]).notice_seconds >= 3 * int(checks[1])
    unit = (PACKAGING / "systemd" / "fastest-cloud.service").read_text()
    assert unit_settings(unit).notice_seconds + DRAIN_SECONDS < int(unit.partition("TimeoutStopSec=")[2].split()[0])


def test_secrets_are_drawn_once_and_stand_in_files_alone(docker: Path) -> None:
    secrets = docker / "secrets"
    assert secrets.stat().st_mode & 0o777 == 0o700
    texts = {path.name: path.read_text() for path in secrets.iterdir()}
    named = {Path(each["file"]).name for each in composed(docker)["secrets"].values()}
    assert texts.keys() == named | {"objects.env"} and all(texts.values())
    keys = json.loads(texts["objects.json"])["identities"][0]["credentials"][0]
    assert texts["objects.env"].split() == [f"AWS_ACCESS_KEY_ID={keys['accessKey']}", f"AWS_SECRET_ACCESS_KEY={keys['secretKey']}"]
    for service in composed(docker)["services"].values():
        assert not (set(SECRETS) - {"FASTEST_CLOUD_REDIS"}) & service.get("environment", {}).keys(), (
            "a service's environment can be read of it"
        )
        assert not re.search("|".join(map(re.escape, texts.values())), json.dumps(service))
    again = subprocess.run([docker / "make-secrets.sh"], check=False, capture_output=True, text=True)
    assert again.returncode == 1 and {path.name: path.read_text() for path in secrets.iterdir()} == texts
    assert "/packaging/docker/secrets/" in (TOP / ".gitignore").read_text()


def test_nobody_but_the_proxy_is_reached_from_outside(docker: Path) -> None:
    found = composed(docker)
    assert [name for name, service in found["services"].items() if "ports" in service] == ["proxy"]
    assert found["networks"]["inside"]["internal"] is True
    shared = set(found["services"]["proxy"]["networks"]) & set(found["services"]["cloud1"]["networks"])
    assert shared == {"inside"}, "by its address there the servers know the proxy"


def test_the_image_has_what_the_cloud_imports_and_starts_it() -> None:
    text = (PACKAGING / "docker" / "Dockerfile").read_text()
    copied = [line.split()[1] for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line]
    assert {"store", "sync", "cloud"} <= set(copied) and all((TOP / path).exists() for path in copied)
    kept_in = (PACKAGING / "docker" / "Dockerfile.dockerignore").read_text().split()
    assert {f"!{path}" for path in copied} <= set(kept_in)
    (command,) = re.findall(r"^CMD (\[.*\])$", text, re.MULTILINE)
    assert parse_arguments(json.loads(command), {}).port == 8470


def test_the_image_has_the_libraries_that_the_tests_ran_with() -> None:
    ours, theirs = (pinned(TOP / path) for path in ("packaging/docker/requirements.txt", "requirements-dev.txt"))
    assert ours.items() <= theirs.items() and {"asyncpg", "obstore", "redis", "aiohttp"} <= ours.keys()
    assert "pytest" not in ours


def pinned(path: Path) -> dict[str, str]:
    lines = [line.split(";")[0].split() for line in path.read_text().splitlines() if re.match(r"[a-z].*==", line)]
    return dict(line[0].split("==") for line in lines)


# --- units and proxies ----------------------------------------------------------------------------------------------------------------


def unit_settings(text: str) -> Settings:
    (command,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    words = shlex.split(command.replace("${STATE_DIRECTORY}", "/var/lib/fastest-cloud"))
    assert words[1] == "cloud"
    return parse_arguments(words[2:], {})


def test_the_unit_starts_what_there_is() -> None:
    settings = unit_settings((PACKAGING / "systemd" / "fastest-cloud.service").read_text())
    assert (settings.verb, settings.address, settings.gate.proxies) == ("serve", "127.0.0.1", ("127.0.0.1",))


@pytest.mark.parametrize("unit", ["fastest-cloud.service", "user/fastest.service"])
def test_systemd_takes_the_unit(tmp_path: Path, unit: str) -> None:
    text = (PACKAGING / "systemd" / unit).read_text()
    made = tmp_path / Path(unit).name
    made.write_text(re.sub(r"^ExecStart=\S+", f"ExecStart={fst_command()[0]}", text, flags=re.MULTILINE))
    whose = ["--user"] if unit.startswith("user/") else []
    env = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    words = [binary("systemd-analyze"), *whose, "verify", "--man=no", str(made)]
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=env)
    assert (done.returncode, [line for line in done.stderr.splitlines() if made.name in line]) == (0, [])


def test_the_unit_is_shut_in() -> None:
    words = [
        binary("systemd-analyze"),
        "security",
        "--offline=true",
        "--threshold=15",
        str(PACKAGING / "systemd" / "fastest-cloud.service"),
    ]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-500:]
