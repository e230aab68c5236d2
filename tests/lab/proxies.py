"""Debian's nginx and Caddy as packaging/proxy sets them up, on a loopback port in front of servers of ours."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.lab.process import free_port
from tests.lab.services import binary
from tests.waiting import wait_until

PROXY = Path(__file__).parents[2] / "packaging" / "proxy"


def nginx_config(folder: Path, port: int, servers: Sequence[int]) -> str:
    """The packaged file with our ports, without what needs a certificate or the system's folders."""
    text = (PROXY / "nginx.conf").read_text()
    places = iter(servers)
    text = re.sub(r"server 127\.0\.0\.1:\d+ ", lambda _: f"server 127.0.0.1:{next(places)} ", text)
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};").replace("listen 80;", f"listen 127.0.0.1:{free_port()};")
    text = re.sub(r"^\s*ssl_certificate.*\n", "", text, flags=re.MULTILINE)
    kept = "".join(f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return f"pid {folder}/pid;\ndaemon off;\n" + text.replace("http {\n", "http {\n" + kept, 1)


@contextmanager
def nginx(folder: Path, servers: Sequence[int]) -> Iterator[str]:
    """Its address."""
    port = free_port()
    (folder / "nginx.conf").write_text(nginx_config(folder, port, servers))
    words = [binary("nginx"), "-p", str(folder), "-e", str(folder / "nginx.log"), "-c", str(folder / "nginx.conf")]
    subprocess.run([*words, "-t"], check=True, capture_output=True)
    with _running(words, {}, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def caddy(folder: Path, servers: Sequence[int]) -> Iterator[str]:
    """Its address."""
    port = free_port()
    places = " ".join(f"127.0.0.1:{server}" for server in servers)
    env = {"FASTEST_DOMAIN": f"http://127.0.0.1:{port}", "FASTEST_SERVERS": places, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    # Its own door for orders is one port for the whole machine.
    (folder / "Caddyfile").write_text((PROXY / "Caddyfile").read_text().replace("{\n", "{\n\tadmin off\n", 1))
    words = [binary("caddy"), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    with _running(words, env, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(words: list[str], env: dict[str, str], port: int) -> Iterator[None]:
    process = subprocess.Popen(words, env=dict(os.environ) | env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        assert process.poll() is None, f"{words[0]} ended with {process.poll()}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(answers, 20, f"{words[0]} answers")
        yield
    finally:
        process.terminate()
        process.wait(30)
