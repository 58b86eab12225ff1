"""What pharmacists keep out of plans, published for those who fill: it holds whatever a plan says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.planner import store
from services.planner.domain.model import StaffDecision
from services.planner.domain.staff_decisions import excluded_by
from services.planner.translation import excluded_prescriptions
from shared.events.planner import ExclusionsChanged
from shared.messaging import Unit


async def publish_exclusions(unit: Unit, decisions: Mapping[str, Sequence[StaffDecision]]) -> None:
    """Publish the list of each patient, by the decisions that were not revoked, where it is another than before."""
    lists = {patient_id: excluded_prescriptions(excluded_by(made)) for patient_id, made in decisions.items()}
    revisions = await store.save_exclusions(
        unit.db,
        {patient_id: [each.model_dump(mode="json") for each in kept] for patient_id, kept in lists.items()},
    )
    unit.emit(
        ExclusionsChanged(patient_id=patient_id, revision=revision, excluded=lists[patient_id])
        for patient_id, revision in sorted(revisions.items())
    )
