"""Records of the feed for tests: a good one of each kind, with what a test wants different."""

from __future__ import annotations


def store(**different: str) -> dict[str, str]:
    return {
        "store_id": "S1",
        "revision": "1",
        "name": "Main Street",
        "state": "OK",
        "time_zone": "America/Chicago",
        "monday": "09:00-19:00",
        "saturday": "10:00-14:00",
        "closed_on": "2009-11-26 2009-12-25",
        "daily_cap": "20",
        "phone": "918-555-0100",
    } | different


def patient(**different: str) -> dict[str, str]:
    return {
        "patient_number": "P1",
        "revision": "1",
        "store_id": "S1",
        "given_name": "Ada",
        "family_name": "Canary",
        "birth_date": "1940-02-29",
        "mobile_phone": "(918) 555-0101",
        "address": "1 Elm Rd, Tulsa, OK 74108",
    } | different


def prescription(**different: str) -> dict[str, str]:
    return {
        "rx_id": "RX1",
        "revision": "1",
        "patient_number": "P1",
        "drug_code": "314077",
        "drug_name": "Lisinopril 20 MG Oral Tablet",
        "ingredient": "lisinopril",
        "strength": "20 mg",
        "form": "tablet",
        "maintenance": "yes",
        "directions": "1 daily",
        "units_per_day": "1",
        "usual_quantity": "30",
        "usual_days": "30",
        "quantity_left": "90",
        "refills_left": "3",
        "written_on": "2009-08-01",
        "expires_on": "2010-08-01",
        "prescriber_id": "DR1",
    } | different


def fill(**different: str) -> dict[str, str]:
    return {
        "fill_id": "F1",
        "revision": "1",
        "patient_number": "P1",
        "rx_id": "RX1",
        "filled_on": "2009-09-01",
        "handed_over_on": "2009-09-02",
        "quantity": "30",
        "days_supply": "30",
    } | different
