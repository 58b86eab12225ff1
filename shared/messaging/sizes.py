"""How large a record may be: known before the commit, so that nothing is promised which the broker refuses."""

from __future__ import annotations

from collections.abc import Mapping

RECORD_BYTES = 1_000_000
"""Below the broker's own limit (message.max.bytes, 1 MiB by default), headers included."""

SEQUENCE_BYTES = 120
"""The headers `ce_id`, `ce_sequence` and `ce_epoch`, which a record has from its outbox row."""


def fits(key: str, headers: Mapping[str, str], payload: bytes) -> bool:
    """Whether the broker takes it. Only a large payload is weighed with its headers."""
    return len(payload) < RECORD_BYTES // 2 or record_bytes(key, headers, payload) <= RECORD_BYTES


def record_bytes(key: str, headers: Mapping[str, str], payload: bytes) -> int:
    """About what the record takes on the wire."""
    own = sum(len(name) + len(value) + 8 for name, value in headers.items())
    return len(payload) + len(key) + own + SEQUENCE_BYTES
