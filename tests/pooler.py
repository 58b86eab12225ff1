"""pgbouncer in front of the embedded server: transactions of many share few connections, and TLS ends there."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local.ports import free_port
from deploy.local.process import Process
from tests.certificates import Certificates
from tests.groups import PATH

CONNECTIONS = 4
"""To the server, for all clients together."""


@contextmanager
def pooled(url: str, folder: Path, known: Certificates) -> Iterator[str]:
    """A URL of the same database and role, through a pooler that wants TLS."""
    address, port = urlsplit(url), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    passwords, settings, log = folder / "users.txt", folder / "pgbouncer.ini", folder / "pgbouncer.log"
    passwords.write_text(f'"{address.username}" "{address.password}"\n')
    settings.write_text(
        f"""
[databases]
* = host={address.hostname} port={address.port}
[pgbouncer]
listen_addr = 127.0.0.1,127.0.0.2
listen_port = {port}
unix_socket_dir =
pool_mode = transaction
default_pool_size = {CONNECTIONS}
max_client_conn = 200
auth_type = scram-sha-256
auth_file = {passwords}
server_tls_sslmode = disable
client_tls_sslmode = require
client_tls_cert_file = {known.certificate}
client_tls_key_file = {known.key}
"""
    )
    program = shutil.which("pgbouncer", path=PATH)
    assert program
    command = [program, str(settings)]
    if os.geteuid() == 0:  # it refuses to run as root
        command[1:1] = ["-u", "nobody"]
        for file in (passwords, settings, known.key, known.certificate):
            shutil.chown(file, "nobody")
        for above in (*folder.parents, folder, *known.key.parents):
            if above.owner() == getpass.getuser() and above != Path("/"):
                above.chmod(above.stat().st_mode | 0o011)
    process = Process("pgbouncer", command, log)
    try:
        process.wait_until(lambda: _listens(port), 10)
        yield address._replace(
            netloc=f"{address.username}:{address.password}@127.0.0.1:{port}", query=""
        ).geturl()
    finally:
        process.stop(signal.SIGINT, 5)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
