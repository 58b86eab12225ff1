"""What a service is told from outside, and how."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from deploy.local.keys import SEALING
from services import SERVICES
from services.enrollment.settings import Settings
from shared.events import events_of


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("MEDSYNC_DATABASE_URL", "postgres://variable")
    monkeypatch.setenv("MEDSYNC_KAFKA_BOOTSTRAP", "kafka:9092")
    monkeypatch.setenv("MEDSYNC_PSEUDONYM_KEY", "0d" * 32)
    return monkeypatch


def test_every_setting_may_be_a_file(told: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgres://file\n")
    (tmp_path / "pseudonym").write_text("1d" * 32)
    told.setenv("MEDSYNC_DATABASE_URL_FILE", str(tmp_path / "url"))
    told.delenv("MEDSYNC_PSEUDONYM_KEY")
    told.setenv("MEDSYNC_PSEUDONYM_KEY_FILE", str(tmp_path / "pseudonym"))
    settings = Settings()  # type: ignore[call-arg]
    assert settings.database_url == "postgres://file"
    assert settings.pseudonym_key.get_secret_value() == "1d" * 32


def test_a_file_that_is_missing_is_said(told: pytest.MonkeyPatch) -> None:
    told.setenv("MEDSYNC_DATABASE_URL_FILE", "/nowhere/url")
    with pytest.raises(FileNotFoundError, match="/nowhere/url"):
        Settings()  # type: ignore[call-arg]


def test_keys_are_given_to_the_services_that_seal_or_open_something() -> None:
    needed = set()
    for name in SERVICES:
        handled = import_module(f"services.{name}.handlers").on.events.values()
        if any(event.SEALED for event in (*handled, *events_of(name))):
            needed.add(name)
    assert needed == set(SEALING)
