"""What a service does with events, and with work that falls due: one function each, found by a decorator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from shared.events import Event

if TYPE_CHECKING:
    from shared.messaging.unit import Unit

E = TypeVar("E", bound=Event)
Handler = Callable[[Sequence[E], "Unit"], Awaitable[None]]
DueWork = Callable[[Sequence[str], "Unit"], Awaitable[None]]
Owner = Literal["patient", "store"]


class Handlers:
    """The event handlers of one service: `@on(PatientEnrolled)`.

    A handler gets a list that never holds a patient twice, inside the one transaction, with the patients locked.
    `guests`: what may publish on topics that are others', as tests do.
    """

    def __init__(self, *guests: str) -> None:
        self.guests = frozenset(guests)
        self.by_type: dict[str, Handler[Any]] = {}
        self.events: dict[str, type[Event]] = {}

    def __call__(self, event: type[E]) -> Callable[[Handler[E]], Handler[E]]:
        def register(handler: Handler[E]) -> Handler[E]:
            if event.TYPE in self.by_type:
                raise ValueError(f"{event.TYPE} has a handler already")
            self.by_type[event.TYPE] = handler
            self.events[event.TYPE] = event
            return handler

        return register

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic that holds a handled type."""
        return tuple(sorted({event.TOPIC for event in self.events.values()}))


class Jobs:
    """The due work of one service: `@due("due_attempts")`.

    The name is a view of the service with the columns `patient_id text` and `due_at timestamptz`, one row per
    piece of open work. The function gets locked patients and reads again what is due for them. Work of stores is
    declared with `of="store"`: then the column is `store_id`, and stores are locked.
    """

    def __init__(self) -> None:
        self.by_view: dict[str, DueWork] = {}
        self.of_stores: set[str] = set()

    def of(self, view: str) -> Owner:
        """Whose work the view holds."""
        return "store" if view in self.of_stores else "patient"

    def __call__(self, view: str, *, of: Owner = "patient") -> Callable[[DueWork], DueWork]:
        if not view.isidentifier():
            raise ValueError(f"{view!r} is not the name of a view")

        def register(work: DueWork) -> DueWork:
            if view in self.by_view:
                raise ValueError(f"{view} has a job already")
            self.by_view[view] = work
            if of == "store":
                self.of_stores.add(view)
            return work

        return register
