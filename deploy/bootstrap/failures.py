"""What pip says when it fails, in words that say what to do."""

from __future__ import annotations

import os
import platform
import re
import sys
from urllib.parse import urlsplit


class SetupFailed(Exception):
    """Set-up cannot go on: what happened, and what to do."""


_UNREACHABLE = re.compile(
    r"Retrying \(|ConnectionError|NewConnectionError|ProxyError|Max retries exceeded|ReadTimeout|Read timed out"
    r"|Connection broken|IncompleteRead|incomplete-download|Temporary failure in name resolution"
    r"|Network is unreachable|Connection reset|ProtocolError|RemoteDisconnected"
)
_NOT_TRUSTED = re.compile(r"SSLError|SSLCertVerificationError|CERTIFICATE_VERIFY_FAILED")
_REFUSED = re.compile(r"\b(401|403|407|404|429|5\d\d) (?:Client |Server )?Error\b|Credentials not correct")
_FULL = re.compile(r"No space left on device|Disk quota exceeded|\[Errno (?:28|122)\]")
_TOO_LARGE = re.compile(r"File too large|\[Errno 27\]")
_CHANGED = re.compile(r"DO NOT MATCH THE HASHES")
_NOT_THERE = re.compile(
    r"No matching distribution found for ([\w.-]+)(?:==(\S+))?|is not a supported wheel on this platform"
)
_READ_ONLY = re.compile(r"Read-only file system|Permission denied|\[Errno (?:13|30)\]")


def is_network(said: str) -> bool:
    """Whether trying again may help, and nothing else."""
    return bool(_UNREACHABLE.search(said)) and not any(
        cause.search(said) for cause in (_FULL, _TOO_LARGE, _CHANGED, _NOT_TRUSTED, _READ_ONLY)
    )


def is_changed(said: str) -> bool:
    """Whether what came is not what was pinned."""
    return bool(_CHANGED.search(said))


def explained(said: str, code: int, *, kept: str, place: str, log: str) -> SetupFailed:
    """Why pip ended with `code`. `kept`: what becomes of what was fetched; `place`: where it wrote, and its room."""
    package = package_of(said)
    if _FULL.search(said):
        return SetupFailed(f"The disk is full: {place}, and more is needed. Free some space. {kept}")
    if _TOO_LARGE.search(said):
        return SetupFailed(
            f"Files may not grow as large as they must (`ulimit -f` says the limit): {place}. {kept}"
        )
    if _CHANGED.search(said):
        return SetupFailed(
            f"{package} is not the file that requirements.lock pins: something between here and the package index "
            f"changes files. Use another network, or another index (PIP_INDEX_URL). {kept}"
        )
    if _NOT_TRUSTED.search(said):
        return SetupFailed(
            f"{package} could not be fetched: the package index{_by_way_of()} shows a certificate that is not trusted "
            f"here. Where a company's proxy reads along, name its certificate: PIP_CERT=/path/to/ca.pem. {kept}"
        )
    if is_network(said):
        return SetupFailed(
            f"{package} could not be fetched: the package index cannot be reached{_by_way_of()}. Look at the network; "
            f"HTTPS_PROXY names a proxy, PIP_INDEX_URL an index of your own. {kept}"
        )
    if refused := _REFUSED.search(said):
        return SetupFailed(
            f"{package} could not be fetched: the package index{_by_way_of()} refuses it ({refused[0]}). Look at the "
            f"index that PIP_INDEX_URL or pip's configuration names. {kept}"
        )
    if _NOT_THERE.search(said):
        return SetupFailed(
            f"{package} is not at the package index{_by_way_of()} as a wheel for this machine ({_machine()}). Try "
            "another Python (make setup PYTHON=python3.12) or another index (PIP_INDEX_URL); or run MedSync with "
            "Docker, as docs/how-to/run.md says."
        )
    if _READ_ONLY.search(said):
        return SetupFailed(f"A file may not be written: {_last(said, 1)}. Look at who owns {place}. {kept}")
    if code == -9:
        return SetupFailed(f"pip was killed, by somebody or for want of memory: end other programs. {kept}")
    return SetupFailed(f"pip failed (code {code}; all it said is in {log}). It said last:\n{_last(said, 6)}")


def package_of(said: str) -> str:
    """The package that was the matter, with its version."""
    if (missing := _NOT_THERE.search(said)) and missing[1]:
        return " ".join(part for part in missing.groups() if part)
    begun = re.findall(r"^\s*Collecting ([\w.-]+)==(\S+)", said, flags=re.MULTILINE)
    return " ".join(begun[-1]) if begun else "What is needed"


def _by_way_of() -> str:
    """The settings of the environment that lead to the index, without what is secret in them."""
    index = os.environ.get("PIP_INDEX_URL")
    proxy = os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy")
    named = [f"PIP_INDEX_URL is {_without_secret(index)}"] if index else []
    named += [f"HTTPS_PROXY is {_without_secret(proxy)}"] if proxy else []
    return f" ({', '.join(named)})" if named else ""


def _without_secret(url: str) -> str:
    address = urlsplit(url)
    return address._replace(netloc=address.netloc.rpartition("@")[2], query="").geturl()


def _machine() -> str:
    libc = " ".join(platform.libc_ver()) or "another C library than glibc"
    return f"{sys.platform} {platform.machine()}, {libc}, Python {platform.python_version()}"


def _last(said: str, lines: int) -> str:
    return "\n".join(f"    {line}" for line in said.strip().splitlines()[-lines:]).lstrip(
        "\n" if lines > 1 else " "
    )
