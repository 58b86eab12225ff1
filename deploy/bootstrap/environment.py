"""The virtual environment as a folder: whether it is whole, and making it anew where it is not.

`.ready` is written into it last and taken out of it first: without that file it counts as nothing, whatever else is
in it, and is made anew. pip itself, killed at the wrong moment, takes half a package for an installed one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from deploy.bootstrap import room
from deploy.bootstrap.failures import SetupFailed
from deploy.bootstrap.wanted import Package

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
_READY = ".ready"


def is_ready(venv: Path) -> bool:
    """Whether it is whole, and what the checkout wants today. Asked of a Python of its own version."""
    return _read(venv) == _wanted(venv, _minor(sys.version_info[:2]))


def mark_ready(venv: Path) -> None:
    python = subprocess.run(
        [_python(venv), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=True,
    )
    (venv / _READY).write_text(_wanted(venv, python.stdout.strip()), encoding="utf-8")


def can_be_brought_up_to_date(venv: Path) -> bool:
    """Whether it was whole once, here, with a Python that still runs, so that only what changed is to be installed."""
    words = _read(venv)
    if words is None or (words and words.splitlines()[0] != _identity(venv, _minor(sys.version_info[:2]))):
        return False
    version = sys.version_info[:2]
    probe = [_python(venv), "-c", f"import pip, sys; sys.exit(sys.version_info[:2] != {version})"]
    try:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def begin(venv: Path) -> None:
    """From here on it counts as nothing, until it is marked ready."""
    (venv / _READY).unlink(missing_ok=True)


def make(venv: Path) -> None:
    """Make an empty one, with pip. SetupFailed where this Python cannot, or where the folder is something else."""
    _require_ours(venv)
    if not (_has("venv") and _has("ensurepip")):
        raise SetupFailed(
            f"This Python ({sys.executable}) came without venv or ensurepip. Debian and Ubuntu have them in a "
            "package of their own: sudo apt install python3-venv. Or name another Python: "
            "make setup PYTHON=/path/to/python3"
        )
    ran = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if ran.returncode != 0:
        if room.is_full(venv):
            raise SetupFailed(room.full(venv))
        raise SetupFailed(f"{venv} could not be made (code {ran.returncode}):\n{ran.stdout.strip()}")


def for_this_machine(venv: Path, packages: list[Package]) -> list[Package]:
    """Those whose marker holds here: the lock has some for other machines, and other Pythons. pip judges them."""
    judge = "import json, sys; from pip._vendor.packaging.markers import Marker as M; "
    judge += "print(json.dumps([not m or M(m).evaluate() for m in json.load(sys.stdin)]))"
    ran = subprocess.run(
        [_python(venv), "-c", judge],
        input=json.dumps([package.marker for package in packages]),
        capture_output=True,
        text=True,
        check=True,
    )
    return [package for package, holds in zip(packages, json.loads(ran.stdout), strict=True) if holds]


def installed(venv: Path) -> list[Path]:
    """What each installed package leaves in the environment."""
    return list(venv.glob("lib/python*/site-packages/*.dist-info"))


def _require_ours(venv: Path) -> None:
    """Never empty a folder that holds something else: VENV may be a slip of the pen."""
    if venv.is_dir() and any(venv.iterdir()) and not (venv / "pyvenv.cfg").exists():
        raise SetupFailed(
            f"{venv} holds something else than a virtual environment: move it, or name another by VENV=…"
        )


def _has(module: str) -> bool:
    """Debian leaves out a part: the module may be there, and what it runs be not."""
    try:
        return importlib.util.find_spec(f"{module}.__main__") is not None
    except ImportError:
        return False


def _wanted(venv: Path, minor: str) -> str:
    digest = hashlib.sha256(LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    return f"{_identity(venv, minor)}\n{digest}\n"


def _identity(venv: Path, minor: str) -> str:
    """An environment that was moved, or whose Python was exchanged, is none any more."""
    return f"Python {minor} in {venv.resolve()} for {ROOT.resolve()}"


def _read(venv: Path) -> str | None:
    try:
        return (venv / _READY).read_text(encoding="utf-8")
    except OSError:
        return None


def _python(venv: Path) -> str:
    return str(venv / "bin" / "python")


def _minor(version: tuple[int, ...]) -> str:
    return f"{version[0]}.{version[1]}"
