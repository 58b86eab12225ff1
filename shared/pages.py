"""A page of a list, as every service answers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

from shared.values import Output

T = TypeVar("T")


class Page(Output, Generic[T]):
    """Some items of a list in its order; `next` is what to ask `after`, null on the last page."""

    items: list[T]
    next: str | None


def page_of(items: Sequence[T], limit: int, key: str) -> Page[T]:
    """The first `limit` of the items (ask the store for one more); `next` is the last one's field `key`."""
    shown = list(items[:limit])
    more = len(items) > limit
    return Page(items=shown, next=getattr(shown[-1], key) if more and shown else None)
