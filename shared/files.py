"""Files that hold secrets: written for their owner's eyes alone, and whole or not at all; read in place of settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

OWNER_ONLY = 0o600
OTHERS = 0o007

PREFIX = "MEDSYNC_"


def write_private(file: Path, text: str) -> None:
    """Write it under another name first: who reads meanwhile reads the old one."""
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with open(new, "x", opener=lambda path, flags: os.open(path, flags, OWNER_ONLY)) as output:
        output.write(text)
    new.replace(file)


def open_to_others(file: Path) -> bool:
    """Whether anybody on the machine may read or write it."""
    return bool(file.stat().st_mode & OTHERS)


class InFiles(PydanticBaseSettingsSource):
    """Settings whose variable, with `_FILE` behind it, names the file that holds them: how secrets are mounted."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        file = os.environ.get(f"{PREFIX}{field_name}_FILE".upper())
        return Path(file).read_text(encoding="utf-8").strip() if file else None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self._fields.items()}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def _fields(self) -> dict[str, FieldInfo]:
        return self.settings_cls.model_fields


class FileSettings(BaseSettings):
    """Each of its settings may be given as a file."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, InFiles(settings_cls), env_settings
