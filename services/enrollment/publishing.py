"""What is published when a profile changed: one event per enrolled patient, with the profile whole."""

from __future__ import annotations

from collections.abc import Mapping

from services.enrollment.store import profiles
from shared.events.enrollment import (
    CaregiversChanged,
    ConsentChanged,
    ContactDetailsChanged,
    PatientDisenrolled,
    PatientEnrolled,
    ProfileChanged,
    StoreChanged,
)
from shared.messaging import Unit

REVISIONS = {
    "patients.revision": (
        PatientEnrolled,
        ConsentChanged,
        ProfileChanged,
        PatientDisenrolled,
        CaregiversChanged,
    ),
    "people.revision": (ContactDetailsChanged,),
    "stores.published_revision": (StoreChanged,),
}
"""The columns that hold the revisions of what is published."""


async def profiles_changed(
    unit: Unit, changes: Mapping[str, tuple[str, ...]], visits: Mapping[str, str] | None = None
) -> list[ProfileChanged]:
    """The changed profiles of those of these patients who are enrolled.

    `changes` names what changed per patient; `visits` the visit that was handed over or returned.
    """
    published = await profiles.next_profiles(unit.db, changes, unit.now)
    return [
        ProfileChanged(
            patient_id=each.patient_id,
            revision=each.revision,
            profile=each.profile,
            changes=changes[each.patient_id],
            visit_id=(visits or {}).get(each.patient_id),
        )
        for each in published
    ]
