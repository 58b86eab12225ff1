"""What a fault test keeps beside the system, for the checks that need more than the system itself remembers.

The relay deletes outbox rows, so a trigger copies each in the transaction that wrote it; and only the sender of a
command knows how it was answered.
"""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

TABLES = """
    create schema proof;

    create table proof.outbox_copy (like fabric.outbox);

    create function proof.copy_outbox() returns trigger language plpgsql as $$
    begin
        insert into proof.outbox_copy select new.*;
        return null;
    end
    $$;

    create trigger copy_outbox after insert on fabric.outbox
    for each row execute function proof.copy_outbox();

    create table proof.commands (
        idempotency_key text primary key,
        status integer -- null: no answer came
    );
"""


async def start_recording(database_url: str) -> None:
    """Copy from now on whatever a service writes to its outbox. To be called before the service first runs."""
    db = await asyncpg.connect(database_url, timeout=10)
    try:
        await db.execute(TABLES)
    finally:
        await db.close()


async def note_commands(database_url: str, commands: Mapping[str, int | None]) -> None:
    """Note how commands were last answered: idempotency key to HTTP status, none where no answer came."""
    db = await asyncpg.connect(database_url, timeout=10)
    try:
        await db.executemany(
            """
            insert into proof.commands (idempotency_key, status)
            values ($1, $2)
            on conflict (idempotency_key) do update
            set status = excluded.status
            """,
            list(commands.items()),
        )
    finally:
        await db.close()
