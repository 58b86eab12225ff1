"""What the console is told from outside."""

from __future__ import annotations

from pydantic import Field

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """The services' addresses, for commands and their state; one that is not given is shown as unknown."""

    gather_ms: int = (
        250  # a person reads it: a quarter of a second for many events at a time instead of one by one
    )
    enrollment_url: str = Field(default="", description="base URLs of its processes, comma-separated")
    planner_url: str = ""
    outreach_url: str = ""
    fulfillment_url: str = ""
    sign_in: bool = Field(
        default=True,
        description="let people say who they are by a form; switch it off behind a proxy that authenticates them "
        "and sets Medsync-Actor and Medsync-Role",
    )
    max_readers: int = Field(default=1000, ge=1, description="of the live stream at once, in this process")
    reveal_minutes: int = Field(default=15, ge=1, description="how long a revealed name stays visible")

    @property
    def services(self) -> dict[str, tuple[str, ...]]:
        """The known base URLs of each service."""
        given = {
            "enrollment": self.enrollment_url,
            "planner": self.planner_url,
            "outreach": self.outreach_url,
            "fulfillment": self.fulfillment_url,
        }
        return {name: tuple(url for url in urls.split(",") if url) for name, urls in given.items()}
