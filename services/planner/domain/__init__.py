"""The rules of planning: pure functions over frozen values, no I/O, no clock.

Read `plan` first (one patient in, one plan out), then `anchor` (which day, and why), then what they build on:
`participation` (which drug takes part), `stock` (what is on hand, what the payer pays), `course` (how one drug
reaches one day), `visits` (the fewest trips), `calendar` (days on which the patient can come).
"""
