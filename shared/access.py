"""Who may do what: one table for all services, route → roles, and whose data a principal reaches.

Read when a service starts: one whose route has no row does not start, and what no row names is refused. What depends on
what is said (a merge, a question for a pharmacist) is in `FINER`; commands ask it. Nothing here does input or output.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from shared.problems import NotAllowed


class Role(StrEnum):
    """In what capacity someone acts; of several, the first in this order that a route takes."""

    pharmacist = "pharmacist"
    technician = "technician"
    clerk = "clerk"
    manager = "manager"  # of a store
    operator = "operator"  # runs the services; sees no patient
    auditor = "auditor"
    privacy = "privacy"  # tells patients what is held, and has them forgotten
    prescriber = "prescriber"
    patient = "patient"
    caregiver = "caregiver"
    feed = "feed"  # the chain's data
    dialer = "dialer"
    dispensing = "dispensing"
    system = "system"  # the three above in one account


class Kind(StrEnum):
    """Whether a principal is a person or a program."""

    person = "person"
    service = "service"


Stores = Sequence[str] | None
"""Which stores a list is of; None: of all."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Whose data a caller may see and change; None: no bound of this kind."""

    stores: frozenset[str] | None = None
    patients: frozenset[str] | None = None
    caregiver: str | None = None  # those alone of whom this person is recorded as a caregiver

    @property
    def bounded(self) -> bool:
        return self.stores is not None or self.of_patients

    @property
    def of_patients(self) -> bool:
        """Whether patients are named, so that no store is within reach."""
        return self.patients is not None or self.caregiver is not None

    def narrowed(self, store_id: str | None) -> Stores:
        """The stores of a list: the one that was asked for, or all within reach; none where it is out of it."""
        if self.of_patients:
            return []
        if store_id is None:
            return None if self.stores is None else sorted(self.stores)
        return [store_id] if self.has_store(store_id) else []

    def has_store(self, store_id: str | None) -> bool:
        """Whether a store's own data is within it: who acts for patients alone reaches no store."""
        return not self.of_patients and (self.stores is None or store_id in self.stores)


EVERYTHING = Reach()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls, as a token says, or a header where nobody but this machine is listened to."""

    sub: str  # opaque: no name
    kind: Kind
    grants: Mapping[Role, frozenset[str] | None]  # each role with its stores; None: every store
    license: str = ""
    patients: frozenset[str] = frozenset()  # as whom a patient acts

    @property
    def roles(self) -> frozenset[Role]:
        return frozenset(self.grants)

    def roles_about(self, patient_id: str | None) -> frozenset[Role]:
        """In which it may act about a patient: who is a caregiver too is a patient where it is about themselves."""
        of_others = Role.caregiver in self.grants and patient_id not in self.patients
        return self.roles - {Role.patient} if of_others else self.roles

    def reach(self, role: Role) -> Reach:
        """What is within reach of the principal in a role: of a pharmacist at one store who is a clerk at another, as a
        pharmacist the one store alone."""
        if role is Role.patient:
            return Reach(patients=self.patients)
        if role is Role.caregiver:
            return Reach(caregiver=self.sub)
        return Reach(stores=self.grants[role])


class About(StrEnum):
    """What a route is about: what a caller's reach is held against."""

    patient = "patient"  # or what belongs to one: 404 where the patient is out of reach
    store = "store"  # 404 where the store is out of reach
    stores = "stores"  # a list: what is out of reach is left out
    system = "system"  # no patient and no store
    public = "public"  # no caller is needed


@dataclass(frozen=True, slots=True)
class Row:
    """One route of the table."""

    about: About
    roles: frozenset[Role] = frozenset()
    personal: bool = False  # its answer names persons: whoever gets it is written down (`shared.audit`)


Rows = Mapping[str, Row]
"""`GET /patients/{patient_id}` → its row; without the convertors of a path."""


def role_for(row: Row, roles: Collection[Role]) -> Role:
    """The role in which someone who has these may use a route. Raises NotAllowed, which names those it takes."""
    return _acting(row.roles, roles)


def require(what: str, role: str) -> None:
    """Let a role pass that may do one of the finer things. Raises NotAllowed."""
    _acting(FINER[what], [Role(role)])


def may(what: str, role: str) -> bool:
    """Whether a role may do one of the finer things."""
    return role in FINER[what]


def _acting(granted: Collection[Role], roles: Collection[Role]) -> Role:
    for role in Role:
        if role in granted and role in roles:
            return role
    allowed = " or ".join(role for role in Role if role in granted)
    acting = ", ".join(role for role in Role if role in roles) or "nobody"
    raise NotAllowed("not_allowed", f"only {allowed} may do this; you act as {acting}")


def missing(rows: Rows, routes: Iterable[str]) -> list[str]:
    """The routes that have no row."""
    return sorted({route for route in routes if route not in rows})


# ---- the table ------------------------------------------------------------------------------------------------

R = Role
STAFF = (R.clerk, R.technician, R.pharmacist)
PEOPLE = (*STAFF, R.manager)
SYSTEMS = (R.feed, R.dialer, R.dispensing, R.system)
OF_PATIENTS = (R.patient, R.caregiver)
LOOKERS = (*PEOPLE, R.operator, R.auditor)
LEASING = (*STAFF, R.dialer, R.system)
FILLING = (R.technician, R.pharmacist, R.dispensing, R.system)

PUBLIC = Row(About.public)


def _patient(*roles: Role) -> Row:
    return Row(About.patient, frozenset(roles), personal=True)


def _store(*roles: Role) -> Row:
    return Row(About.store, frozenset(roles), personal=True)


def _stores(*roles: Role) -> Row:
    return Row(About.stores, frozenset(roles), personal=True)


def _system(*roles: Role) -> Row:
    return Row(About.system, frozenset(roles))


def _naming(row: Row) -> Row:
    """Of no patient, and yet its answer may name some."""
    return replace(row, personal=True)


def _figures(row: Row) -> Row:
    """Its answer is times and numbers, and names nobody."""
    return replace(row, personal=False)


STAFF_ALONE = _patient(*STAFF)
"""The row of a command about one patient, for apps of tests and benchmarks too."""

OF_EVERY_SERVICE: Rows = {
    "GET /ops/live": PUBLIC,
    "GET /ops/ready": PUBLIC,
    "GET /ops/consuming": PUBLIC,
    "GET /metrics": PUBLIC,
    "GET /docs": PUBLIC,
    "GET /docs/start.js": PUBLIC,
    "GET /docs/swagger-ui-bundle.js": PUBLIC,
    "GET /docs/swagger-ui.css": PUBLIC,
    "GET /ops/status": _system(*LOOKERS, *SYSTEMS),
    "GET /ops/gaps": _system(*LOOKERS),
    "GET /ops/deadletters": _system(*LOOKERS),
    "GET /ops/replays": _system(*LOOKERS),
    "GET /ops/keys": _system(*LOOKERS),
    "GET /ops/retention": _system(*LOOKERS),
    "GET /ops/privacy/{patient_id}": _system(R.privacy, R.operator),
    "GET /ops/privacy/{patient_id}/export": _naming(_system(R.privacy)),
    "GET /ops/erasures": _system(R.privacy, R.operator),
    "POST /ops/erasures": _system(R.operator),
    "GET /ops/deadletters/{number}": _naming(_system(R.operator)),
    "GET /ops/audit": _naming(_system(R.auditor)),
    "GET /ops/audit/chain": _naming(_system(R.auditor)),
    "POST /ops/gaps/{topic}/accept": _system(R.operator),
    "POST /ops/deadletters/{number}/redrive": _system(R.operator),
    "POST /ops/deadletters/{number}/skip": _system(R.operator),
    "POST /ops/held/{row_id}/release": _system(R.operator),
    "POST /ops/replay": _system(R.operator),
    "POST /ops/keys/reseal": _system(R.operator),
    "POST /ops/retention/run": _system(R.operator),
    "POST /ops/republish": _system(R.operator),
    "POST /ops/recovered": _system(R.operator),
}

ACCESS: Mapping[str, Rows] = {
    "enrollment": {
        "POST /imports/{kind}": _system(R.feed, R.system),
        "POST /patients/{patient_id}/consent": _patient(*STAFF, *OF_PATIENTS),
        "POST /patients/{patient_id}/caregivers": _patient(*STAFF, R.patient),
        "POST /patients/{patient_id}/caregivers/{caregiver_id}/end": _patient(*STAFF, R.patient),
        "GET /patients/{patient_id}/caregivers": _patient(*STAFF, R.manager, R.patient, R.auditor),
        "POST /patients/{patient_id}/disenrolment": _patient(*STAFF, *OF_PATIENTS, R.feed, R.system),
        "POST /candidates/{patient_id}/answer": _patient(*STAFF, *OF_PATIENTS, R.dialer, R.system),
        "POST /patients/{patient_id}/prescriptions/{rx_id}/release": _patient(R.pharmacist),
        "POST /patients/{patient_id}/circumstances": _patient(*STAFF),
        "POST /patients/{patient_id}/rhythm": _patient(*STAFF),
        "GET /patients/{patient_id}/erasure": _patient(R.privacy, R.auditor),
        "POST /patients/{patient_id}/erasure": _patient(R.privacy),
        "POST /patients/{patient_id}/legal-hold": _patient(R.privacy),
        "POST /patients/{patient_id}/legal-hold/lift": _patient(R.privacy),
        "POST /stores/{store_id}/closures": _store(*PEOPLE, R.feed, R.system),
        "POST /stores/{store_id}/closures/{on}/lift": _store(*PEOPLE, R.feed, R.system),
        "POST /patients/lookup": _patient(*PEOPLE, *SYSTEMS, R.privacy),
        "POST /patients/search": _stores(*PEOPLE, R.privacy),
        "GET /patients/{patient_id}": _patient(*PEOPLE, *SYSTEMS, *OF_PATIENTS, R.auditor),
        "GET /patients/{patient_id}/consents": _patient(*PEOPLE, *SYSTEMS, *OF_PATIENTS, R.auditor),
        "GET /patients": _stores(*PEOPLE, *SYSTEMS, R.auditor),
        "GET /candidates": _stores(*PEOPLE, *SYSTEMS, R.auditor),
    },
    "planner": {
        "GET /plans": _stores(*PEOPLE, *SYSTEMS, R.auditor),
        "POST /plans/what-if": _patient(*PEOPLE, R.system),
        "GET /stores/{store_id}/demand": _figures(_store(*PEOPLE, R.feed, R.system)),
        "GET /plans/replan/stores": _figures(_stores(R.pharmacist, R.manager, R.operator, R.system)),
        "POST /plans/replan": _stores(R.pharmacist, R.operator, R.system),
        "GET /plans/{patient_id}": _patient(*PEOPLE, *SYSTEMS, *OF_PATIENTS, R.auditor),
        "GET /plans/{patient_id}/explanation": _patient(*PEOPLE, *SYSTEMS, *OF_PATIENTS, R.auditor),
        "POST /plans/{patient_id}/rulings": _patient(*STAFF),
        "POST /plans/{patient_id}/rulings/{ruling_id}/take-back": _patient(*STAFF),
        "GET /plans/{patient_id}/rulings": _patient(*PEOPLE, R.system, R.auditor),
    },
    "outreach": {
        "POST /contacts/lease": _stores(*LEASING),
        "POST /contacts/{contact_id}/lease": _patient(*STAFF),
        "POST /contacts/{contact_id}/outcome": _patient(*LEASING),
        "POST /contacts/{contact_id}/close": _patient(*STAFF),
        "GET /contacts/next-due": _figures(_stores(*LEASING)),
        "GET /call-list": _store(*PEOPLE, R.dialer, R.system),
        "GET /patients/{patient_id}/contacts": _patient(*PEOPLE, R.dialer, R.system, R.auditor),
        "POST /patients/{patient_id}/inbound": _patient(*STAFF, *OF_PATIENTS, R.dialer, R.system),
        "POST /patients/{patient_id}/opt-out": _patient(*STAFF, *OF_PATIENTS, R.dialer, R.system),
        "GET /texts": _stores(*STAFF),
        "POST /texts/{text_id}/read": _patient(*STAFF),
        "GET /questions": _stores(*STAFF),
        "POST /questions/{question_id}/answer": _patient(R.pharmacist),
        "POST /prescriber-contacts/lease": _stores(*LEASING),
        "POST /prescriber-contacts/{contact_id}/outcome": _patient(*LEASING, R.prescriber),
        "GET /prescriber-contacts/next-due": _figures(_stores(*LEASING)),
    },
    "fulfillment": {
        "POST /fill-orders/lease": _stores(*FILLING),
        "GET /fill-orders/next-due": _figures(_stores(*FILLING)),
        "POST /fill-orders/{order_id}/result": _patient(*FILLING),
        "POST /fill-orders/{order_id}/resolution": _patient(*FILLING),
        "GET /owed": _stores(*PEOPLE, R.dispensing, R.system),
        "POST /packages/{package_id}/verification": _patient(R.pharmacist),
        "POST /packages/{package_id}/cancel": _patient(R.pharmacist),
        "POST /visits/{visit_id}/consultation": _patient(R.pharmacist),
        "GET /counseling-topics": _system(*PEOPLE, R.dispensing, R.system),
        "GET /packages": _stores(*PEOPLE, R.dispensing, R.system),
        "POST /packages/{package_id}/offers": _patient(*STAFF),
        "POST /packages/{package_id}/hand-over": _patient(*PEOPLE),
        "POST /hand-overs": _patient(*PEOPLE),
    },
    "console": {
        "GET /": _stores(*LOOKERS),
        "GET /stores/{store_id}": _store(*LOOKERS),
        "GET /stream": _stores(*LOOKERS),
        "GET /stream/events": _stores(*LOOKERS),
        "GET /patients": _stores(*LOOKERS),
        "GET /patients/{patient_id}": _patient(*LOOKERS),
        "GET /health": _system(*LOOKERS),
        "GET /audit": _naming(_system(R.auditor)),
        "GET /acting-as": PUBLIC,
        "POST /acting-as": PUBLIC,
        "GET /sign-in": PUBLIC,
        "GET /signed-in": PUBLIC,
        "POST /sign-out": _system(*LOOKERS),
        "POST /patients/{patient_id}/reveal": _patient(*STAFF),
        "POST /health/{service}/deadletters/{number}/{way_out}": _system(R.operator),
        "POST /rebuild": _system(R.operator),
    },
}

FINER: Mapping[str, frozenset[Role]] = {
    "merge": frozenset({R.pharmacist, R.feed, R.system}),
    "reconcile a stay": frozenset({R.pharmacist}),
    "release without proof": frozenset({R.pharmacist, R.manager}),
    "answer a question": frozenset({R.pharmacist}),
    "settle a fill with the patient": frozenset({R.technician, R.pharmacist, R.system}),
    "read why a name was revealed": frozenset({R.auditor}),
}
"""What depends on what is said or shown. Which decisions about a plan are whose: `planner.domain.staff_decisions`."""
