"""What happened to a patient after the feed: hand-overs, what was said at a contact, holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

from shared.database import Db
from shared.events.enrollment import (
    Fill,
)
from shared.upsert import row, upsert


async def add_handed_over(
    db: Db, fills: Collection[Fill], owners: Mapping[str, str], packages: Mapping[str, str]
) -> set[str]:
    """Add the fills that patients took home, and lower what their prescriptions still authorize.

    `owners` maps the rx_ids to their patients, `packages` the fill_ids to the packages that held them. Answers the
    fill_ids that were not taken, for they name a fill of another prescription or package.

    A fill that the feed brought first is known already, and so is the quantity that it left. A refill number goes
    with each usual quantity that is no longer there (R10.7).
    """
    rows = await db.fetch(
        """
        with taken as (
            insert into fills as held
            select *
            from jsonb_populate_recordset(null::fills, $1)
            on conflict (fill_id) do update set
                package_id = excluded.package_id
            where held.rx_id = excluded.rx_id and coalesce(held.package_id, excluded.package_id) = excluded.package_id
            returning new.fill_id, new.rx_id, new.quantity, old.fill_id is null as added
        ),
        used as (
            select rx_id, sum(quantity) as quantity
            from taken
            where added
            group by rx_id
        ),
        lowered as (
            update prescriptions p
            set
                quantity_left = greatest(0, p.quantity_left - used.quantity),
                refills_left = least(
                    p.refills_left, floor(greatest(0, p.quantity_left - used.quantity) / p.usual_quantity)::integer
                )
            from used
            where p.rx_id = used.rx_id
        )
        select fill_id
        from taken
        """,
        [
            {
                **fill.model_dump(mode="json"),
                "patient_id": owners[fill.rx_id],
                "fed_revision": 0,
                "reversed": False,
                "package_id": packages[fill.fill_id],
            }
            for fill in fills
        ],
    )
    return {fill.fill_id for fill in fills} - {row["fill_id"] for row in rows}


@dataclass(frozen=True)
class ReportedChange:
    """What a patient said about one drug: stopped, dose_changed, on_hand (with the days left)."""

    patient_id: str
    rx_id: str
    change: str
    reported_on: date
    days_left: int | None


_keep_reported_changes = upsert("reported_changes", "patient_id rx_id change reported_on", "days_left")


async def save_reported_changes(db: Db, changes: Collection[ReportedChange]) -> None:
    """Keep what patients said; a later word of the same day replaces an earlier one."""
    await _keep_reported_changes(
        db, [row(change, "patient_id rx_id change reported_on days_left") for change in changes]
    )


async def load_reported_changes(db: Db, patient_id: str) -> list[ReportedChange]:
    """What this patient said, newest first."""
    rows = await db.fetch(
        """
        select patient_id, rx_id, change, reported_on, days_left
        from reported_changes
        where patient_id = $1
        order by reported_on desc, rx_id, change
        """,
        patient_id,
    )
    return [ReportedChange(**row) for row in rows]


async def hold(db: Db, stopped: Mapping[str, date]) -> None:
    """Put prescriptions on hold from the day on which the patient said to have stopped."""
    await db.execute(
        """
        update prescriptions p
        set reported_stopped_on = stop.reported_on
        from unnest($1::text[], $2::date[]) as stop (rx_id, reported_on)
        where p.rx_id = stop.rx_id
        """,
        list(stopped.keys()),
        list(stopped.values()),
    )


async def release(db: Db, patient_id: str, rx_id: str) -> bool:
    """End a hold; false: there is none."""
    released = await db.fetchval(
        """
        update prescriptions
        set reported_stopped_on = null
        where patient_id = $1 and rx_id = $2 and reported_stopped_on is not null
        returning rx_id
        """,
        patient_id,
        rx_id,
    )
    return released is not None
