"""A ring of keys: many open, one seals, and a file that changes is taken up."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.sealing import BadRing, Key, Ring, SealBroken, Sealer

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


def key(id_: str, seals_from: datetime) -> Key:
    return Key(id=id_, key=SecretStr(id_ * 64), seals_from=seals_from)


OLD, NEW, COMING = key("1", NOW - 2 * HOUR), key("2", NOW - HOUR), key("3", NOW + HOUR)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    Ring(keys=(NEW, OLD, COMING)).write(tmp_path / "ring.json")
    return tmp_path / "ring.json"


def test_the_key_that_began_last_seals_and_every_key_opens(file: Path) -> None:
    sealer = Sealer(file=file)
    assert sealer.seal(b"Ada", bound_to="p").key_id == "2"
    for each in (OLD, NEW, COMING):
        sealed = Sealer(each.key.get_secret_value(), key_id=each.id).seal(b"Ada", bound_to="p")
        assert sealer.open(sealed.payload, key_id=sealed.key_id, bound_to="p") == b"Ada"


def test_a_key_that_is_new_in_the_file_opens_at_once(file: Path) -> None:
    reader = Sealer(file=file)
    rotated = Ring.read(file).rotated(NOW, -HOUR / 2)
    rotated.write(file)
    sealed = Sealer(file=file).seal(b"Ada", bound_to="p")
    assert sealed.key_id == rotated.keys[-1].id == "4"
    assert reader.open(sealed.payload, key_id="4", bound_to="p") == b"Ada"


def test_a_file_that_cannot_be_read_takes_no_key_away(file: Path) -> None:
    reader = Sealer(file=file)
    file.write_text("{")
    with pytest.raises(SealBroken, match="does not hold"):
        reader.open(b"", key_id="4", bound_to="p")
    assert reader.seal(b"Ada", bound_to="p").key_id == "2"


@pytest.mark.parametrize("text", ["{", '{"keys": [{"id": "1", "key": "abcd"}]}', '{"keys": [{"id": "1"}]}'])
def test_what_is_no_ring_is_refused_without_what_it_holds(tmp_path: Path, text: str) -> None:
    (tmp_path / "ring").write_text(text)
    with pytest.raises(BadRing) as refused:
        Sealer(file=tmp_path / "ring")
    assert "abcd" not in f"{refused.value} {refused.value.__cause__}"


def test_a_single_key_opens_beside_a_ring_that_lacks_it(tmp_path: Path) -> None:
    before = Sealer("ab" * 32, key_id="mine")
    sealed = before.seal(b"Ada", bound_to="p")
    Ring(keys=(OLD,)).write(tmp_path / "ring")
    sealer = Sealer("ab" * 32, key_id="mine", file=tmp_path / "ring")
    assert sealer.open(sealed.payload, key_id="mine", bound_to="p") == b"Ada"
    assert sealer.seal(b"Ada", bound_to="p").key_id == "1"


def test_a_ring_is_for_its_owners_eyes_alone_even_where_it_was_not(file: Path) -> None:
    file.chmod(0o644)
    ring = Ring.read(file).without("1")
    ring.write(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each["id"] for each in json.loads(file.read_text())["keys"]] == ["2", "3"]
    assert [each.name for each in file.parent.iterdir()] == ["ring.json"]


def test_without_a_key_nothing_is_sealed_or_opened() -> None:
    with pytest.raises(SealBroken):
        Sealer().seal(b"Ada", bound_to="p")
    with pytest.raises(SealBroken):
        Sealer().open(b"Ada", key_id="1", bound_to="p")


def test_no_key_is_shown() -> None:
    assert "1" * 64 not in f"{OLD!r} {Ring(keys=(OLD,))!r}"
