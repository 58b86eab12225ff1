"""A checkout with the project's own Makefile and set-up, but little to install, and the package index that has it.

Everything in it is real: make, Python's venv, pip, HTTP. Only the packages are small, and the index is the test's.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")

_PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
_BACKEND = """
import zipfile
from pathlib import Path
def build_editable(directory, settings=None, metadata=None):
    name = "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(Path(directory, name), "w") as wheel:
        wheel.writestr("small.py", "")
        wheel.writestr("small-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: small\\nVersion: 1.0\\n")
        wheel.writestr("small-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("small-1.0.dist-info/RECORD", "")
    return name
"""


def wheel(name: str, *, modules: int = 1, padding: int = 0) -> bytes:
    """A package of so many modules, and of about so many bytes."""
    info = f"{name}-1.0.dist-info"
    tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files = {f"{name}/m{number}.py": "x = 1\n" * 20 for number in range(modules)}
    files |= {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": tags,
    }
    record = "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD", f"{name}/padding"))
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"{name}/padding", os.urandom(padding))
        for file, text in (files | {f"{info}/RECORD": record}).items():
            archive.writestr(file, text)
    return content.getvalue()


class Index:
    """A package index on this machine. `asked` is every wheel that somebody asked for, in order."""

    def __init__(self) -> None:
        self.wheels: dict[str, bytes] = {}  # by file name
        self.asked: list[str] = []
        self.instead: Callable[[str, BaseHTTPRequestHandler], bool] = lambda name, request: False
        self.url = ""

    def add(self, name: str, content: bytes | None = None, tag: str = "py3-none-any") -> None:
        self.wheels[f"{name}-1.0-{tag}.whl"] = content or wheel(name)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        *_, folder, name = request.path.rstrip("/").split("/")
        if folder == "simple":
            links = "".join(
                f'<a href="/files/{file}">{file}</a>' for file in self.wheels if file.startswith(f"{name}-")
            )
            self._send(request, links.encode(), "text/html")
        elif name in self.wheels:
            self.asked.append(name)
            if not self.instead(name, request):
                self._send(request, self.wheels[name], "application/octet-stream")
        else:
            request.send_error(404)

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, content: bytes, kind: str) -> None:
        request.send_response(200)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)


@contextmanager
def index() -> Iterator[Index]:
    """An index, while the context lasts."""
    served = Index()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.url = f"http://127.0.0.1:{server.server_address[1]}/simple"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield served
        finally:
            server.shutdown()


class Checkout:
    """The checkout, in `folder`. What it wants is what `served` has when `lock` is called."""

    def __init__(self, folder: Path, served: Index) -> None:
        self.folder, self.served = folder, served
        (folder / "deploy" / "local").mkdir(parents=True)
        shutil.copytree(ROOT / "deploy" / "bootstrap", folder / "deploy" / "bootstrap")
        for file in ("Makefile", "deploy/__init__.py", "deploy/local/tether.py"):
            shutil.copy(ROOT / file, folder / file)
        (folder / "pyproject.toml").write_text(_PYPROJECT)
        (folder / "backend.py").write_text(_BACKEND)
        self.lock()

    def lock(self) -> None:
        """Write the lock, as `make lock` would."""
        lines = [
            f"{file.split('-')[0]}==1.0 \\\n    --hash=sha256:{hashlib.sha256(content).hexdigest()}\n"
            for file, content in self.served.wheels.items()
        ]
        absent = "absent==1.0 ; sys_platform == 'plan9' \\\n    --hash=sha256:" + "0" * 64 + "\n"
        (self.folder / "requirements.lock").write_text("# of a test\n" + absent + "".join(lines))

    @property
    def installed(self) -> set[str]:
        """The names of what is installed."""
        found = self.folder.glob(".venv/lib/python*/site-packages/*-1.0.dist-info")
        return {path.name.split("-")[0] for path in found}

    def uninstall(self, *names: str) -> None:
        """Forget these, and what was fetched."""
        for name in names:
            for left in self.folder.glob(f".venv/lib/python*/site-packages/{name}*"):
                shutil.rmtree(left)
        shutil.rmtree(self.folder / ".medsync", ignore_errors=True)

    @property
    def kept(self) -> set[str]:
        """What was fetched and waits to be installed."""
        return {
            path.name.split("-")[0] for path in (self.folder / ".medsync" / "setup" / "wheels").glob("*.whl")
        }

    def environment(self, **settings: str) -> dict[str, str]:
        """A stranger's: nothing but what is needed. An empty setting is none."""
        home = self.folder.with_name("home")
        home.mkdir(exist_ok=True)
        given = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "PIP_INDEX_URL": self.served.url,
            "PIP_RETRIES": "1",
            "PIP_CONFIG_FILE": os.devnull,
            **settings,
        }
        return {name: value for name, value in given.items() if value}

    def start(self, *words: str, **settings: str) -> subprocess.Popen[str]:
        """`make setup`, running."""
        return subprocess.Popen(
            ["make", "setup", f"PYTHON={PYTHON}", *words],
            cwd=self.folder,
            env=self.environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def set_up(self, *words: str, **settings: str) -> tuple[int, str]:
        """`make setup` to its end: the exit code, and what it said."""
        with self.start(*words, **settings) as make:
            said, _ = make.communicate(timeout=100)
        return make.returncode, said

    def set_up_behind(self, mount: str, *words: str, **settings: str) -> tuple[int, str]:
        """The same by root of a namespace in which the shell command `mount` was run before."""
        script = f'{mount} && exec make setup "$@"'
        ran = subprocess.run(
            [
                "unshare",
                "--user",
                "--map-root-user",
                "--mount",
                "sh",
                "-c",
                script,
                "sh",
                f"PYTHON={PYTHON}",
                *words,
            ],
            cwd=self.folder,
            env=self.environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        return ran.returncode, ran.stdout
