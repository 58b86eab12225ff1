"""A sentence for every reason that a plan gives, in words that a pharmacist accepts."""

from __future__ import annotations

from contextlib import suppress

from shared.events import Reason
from shared.words.formats import sentence

REASONS: dict[str, str] = {
    # how a drug takes part
    "maintenance": "Eligible for sync: maintenance drug, OK to short-fill.",
    "unbreakable_pack": "Unbreakable package: never short-filled, dispensed whole with a pickup.",
    "not_divisible": "Cannot be split ({form}): never short-filled, dispensed whole with a pickup.",
    "form_not_recognised": (
        "Dosage form not recognized ({form}): never short-filled, dispensed whole with a pickup. If it is a tablet "
        "or a capsule, correct the drug file."
    ),
    "form_unknown": "No dosage form in the drug file: never short-filled, dispensed whole with a pickup.",
    "on_hold": "On hold: the patient said they stopped taking it. Pharmacist and prescriber decide.",
    "discontinued": "Discontinued by the prescriber.",
    "superseded": "Replaced by a newer prescription.",
    "superseded_by": "Replaced by the prescription for the same drug written {written_on}.",
    "follows": "Next prescription in line: not to be filled before {on}.",
    "inactive": "Not an active prescription.",
    "outside": "Filled at another pharmacy: kept for review, never planned.",
    "over_the_counter": "Over the counter: kept for review, never planned.",
    "long_term_care": "The patient lives in long-term care: the facility's pharmacy serves them.",
    "rems": "REMS drug: each fill depends on the program, so it is not synchronized.",
    "special_handling": "Needs special handling or one designated pharmacy: not synchronized.",
    "schedule_2": "Schedule II: refills are prohibited, so it is never synchronized.",
    "schedule_2_fill_from": "Earliest fill {on}.",
    "controlled": "Controlled substance ({schedule:schedule}): not synchronized by this chain's policy.",
    "as_needed": "Taken as needed (PRN): no due date, so not synchronized.",
    "as_needed_by_directions": "The directions say as needed (PRN): no due date, so not synchronized.",
    "short_course": "Short course: the directions end after {days:day}. Not a maintenance drug.",
    "antibiotic": "Antibiotic: a short course, not a maintenance drug.",
    "not_maintenance": "Not a maintenance drug.",
    "same_ingredient": "Same ingredient as {other}. Pharmacist: check whether both are intended.",
    "directions_unknown": "No directions on file, so the daily dose is unknown. Pharmacist: enter the units per day.",
    "directions_as_directed": "The directions say only as directed. Pharmacist: ask the prescriber for the daily dose.",
    "directions_by_weight": "The directions give the dose by weight. Pharmacist: enter the units per day.",
    "directions_no_amount": "The directions say how often, but not how much. Pharmacist: ask the prescriber.",
    "directions_no_frequency": "The directions say how much, but not how often. Pharmacist: ask the prescriber.",
    "directions_not_understood": (
        "The directions could not be read with certainty. Pharmacist: enter the units per day."
    ),
    "directions_other_unit": (
        "The directions use a different unit from the one dispensed. Pharmacist: enter the units per day."
    ),
    "days_supply_unknown": "The usual quantity or days' supply is not on file. Enter both.",
    "first_fill_awaited": (
        "New: it joins once the patient has taken home a first fill and tolerates it, or a pharmacist adds it"
        " to sync."
    ),
    "stock_unknown": (
        "Filled at another pharmacy so far: it joins once the patient says what is left, or has had a fill "
        "here."
    ),
    "fill_days_unknown": (
        "The fill of {on} has no days' supply on file, and it cannot be worked out. Enter the days' supply or the "
        "quantity."
    ),
    "expired": "The prescription is good through {on} only. Needs a renewal.",
    "no_quantity_left": "Out of refills. Needs a renewal.",
    "authorization_ended": "Prior authorization is good through {on} only: out until it is renewed.",
    "payer_refused": "Insurance rejected it (reject {code}): to be resolved, or tried again from {until}.",
    "staff_excluded": "The {by} left it out of the plan on {made_on}.",
    # what is done about it
    "early": "Filled on the sync date with {days:day} left.",
    "late": "Filled on the sync date; none left as of {on}.",
    "on_time": "Filled on the sync date, the day it runs out.",
    "not_filled": "No longer possible to dispense it on the sync date, {on}.",
    "bridge": (
        "Runs out before its sync date. Short fill of {days:day} on {on}; the supply lasts through "
        "{until:through}."
    ),
    "bridge_falls_short": (
        "Runs out before its sync date. Short fill of {days:day} on {on}, all that can be filled before then;"
        " the supply lasts only through {until:through}."
    ),
    "short_fills": (
        "Runs out before its sync date. {fills:short fill}, {days:day} in all; the supply lasts through "
        "{until:through}."
    ),
    "full_fills": (
        "Runs out before its sync date. {fills:usual fill} before then; the supply lasts through "
        "{until:through}."
    ),
    "long_fill_before": (
        "Runs out before its sync date. {fills:fill} before then, the last one a long fill; the supply lasts "
        "through {until:through}."
    ),
    "full_then_bridge": (
        "Runs out before its sync date. {fills:usual fill}, then a short fill of {days:day}; the supply lasts"
        " through {until:through}."
    ),
    "long_fill": (
        "Runs out before its sync date. One long fill of {days:day} on {on} lasts to {until}, so none is due "
        "before then."
    ),
    "whole_fills_only": (
        "No short fill that would last to the sync date is possible: filled whole on {on}, as it runs out. It"
        " joins where it can be filled at a sync pickup."
    ),
    "not_due": "Not due: the supply lasts through {run_out_on:through}. Filled on {joins_on}.",
    "join_later": (
        "Insurance pays on or after {payable_from}, too late for the pickup on {anchor_on}. In sync from "
        "{joins_on}."
    ),
    "join_later_not_before": (
        "Cannot be picked up before {not_before}, too late for the pickup on {anchor_on}. In sync from "
        "{joins_on}."
    ),
    "join_later_visit_stands": (
        "The pickup on {anchor_on} is agreed without it and takes nothing more. In sync from {joins_on}."
    ),
    "ride_along_with_pickup": "Goes with the sync pickup on {on}, the last one before it runs out.",
    "ride_along_before_run_out": "Dispensed on {on}, because it runs out on {run_out_on}.",
    "ride_along_not_due": "Not due: the supply lasts through {run_out_on:through}.",
    # remarks on a drug
    "payer_says": "Insurance response {code}: next fill payable on {on}.",
    "payer_rule_assumed": (
        "The plan's refill-too-soon rule is unknown: {percent}% of the days' supply is assumed."
    ),
    "payer_missing": (
        "No insurance on file: planned by the rules of the strictest plan. Ask for the card, or record the "
        "patient as cash pay."
    ),
    "cash_price": "Paid at the cash price: no claim goes to insurance, so refill too soon does not apply.",
    "second_payer": "Also on file: secondary insurance {payer}. The plan does not count it.",
    "coupon": "Also on file: a coupon. The plan does not count it.",
    "payable_by_surplus": (
        "By its last fill alone insurance would pay on or after {on}, but it also counts what the fills of "
        "the past {look_back:day} leave on hand, {most:day} at most: it pays on or after {payable_from}. "
        "Earlier claims reject 79 (refill too soon)."
    ),
    "high_cost": "A month of it costs {limit} or more: no short fill unless staff approve it for the plan.",
    "vacation_fill": (
        "Insurance pays on or after {payable_from}, but it runs out while the patient is away from "
        "{leaves_on}: filled before the trip with a vacation override (code {code})."
    ),
    "discharge_fill": (
        "Insurance pays on or after {payable_from}, but it runs out sooner, after the discharge on "
        "{discharged_on}: paid with the override for it (code {code})."
    ),
    "override_by_law": (
        "Insurance pays on or after {payable_from}; {law} grants an override of refill too soon to "
        "synchronize it sooner. Expect reject 79, and resubmit with code {code}, unless the plan's payer "
        "sheet gives another."
    ),
    "override_by_staff": (
        "Insurance pays on or after {payable_from}, or sooner as settled with it. Expect reject 79, and "
        "resubmit with code {code}, unless it gave another."
    ),
    "dose_changed": "The last paid claim was for another dose: code {code}, therapy change.",
    "days_supply_capped": (
        "Insurance does not pay the usual {days:day} at once. Filled for {most:day}, the longest supply below that "
        "it pays."
    ),
    "fewer_packs": (
        "The usual packages last {days:day}, longer than insurance pays. Fewer whole packages are filled, for "
        "{most:day}."
    ),
    "billed_as": (
        "The package lasts {days:day}, longer than insurance pays, and cannot be split. Submit code {code}, else "
        "bill it as {billed:day}; both figures are recorded."
    ),
    "override_needs_consent": "The law requires consent to the synchronization from: {who}.",
    "daily_use_read": "Directions read as {units:a_day} at most.",
    "daily_use_as_directed": (
        "Directions read as {units:a_day} at most, but also say as directed: pharmacist to check."
    ),
    "daily_use_rounded": "The daily use on file ({given}) is planned as {units:a_day}.",
    "daily_use_by_fills": (
        "The directions cannot be read. The last three fills were {quantity} units for {days:day} each, so "
        "{units:a_day} is planned. Pharmacist: check the directions."
    ),
    "directions_differ": (
        "The directions read as {read:a_day} at most, but the file says {given:a_day}: planned as on file. "
        "Pharmacist: check the directions."
    ),
    "days_supply_counted": "Usual days' supply worked out from quantity and daily use: {days:day}.",
    "days_supply_differs": (
        "The usual quantity lasts {days:day} at maximum use, but the file says {usual:day}: planned as on file. "
        "Pharmacist: check quantity, days' supply and directions."
    ),
    "usual_days_differ": (
        "The usual {quantity} units last {days:day} at the daily use on file, but the file says {usual:day}: planned "
        "as {days:day}. Pharmacist: check quantity, days' supply and directions."
    ),
    "fill_days_differ": (
        "The fill of {on} is on file for {days:day}, but its {quantity} units last {counted:day} at the daily use on "
        "file: planned as {planned:day}. Pharmacist: check the quantity, the days' supply and the directions."
    ),
    "fill_days_counted": (
        "The fill of {on} has no days' supply on file: worked out from quantity and daily use, {days:day}."
    ),
    "days_supply_in_use": "Discard {opened:day} after opening: the usual quantity lasts {days:day}, not {usual:day}.",
    "days_supply_by_use": "At maximum use the usual quantity lasts {days:day}, not {usual:day}.",
    "shared_ingredient": "Shares an ingredient with {other}: pharmacist to check.",
    "filled_elsewhere": (
        "Another pharmacy filled it on {on}, and insurance counts that fill. Ask the patient what is left of "
        "it."
    ),
    "stock_report_doubted": (
        "On {on} the patient reported {days:day} on hand; the fills on file make it {by_fills:day}, which is planned. "
        "Ask again: a second answer within a week of the first takes its place."
    ),
    "stock_by_new_dose": (
        "The dose changed. What was at home on {on} is counted at the new dose from then on. Ask how much is left."
    ),
    "after_former_strength": (
        "Replaces {other}, and enough of that is at home until {on}. Pharmacist: decide whether the patient uses it "
        "up."
    ),
    "billed_fewer": (
        "The last fill was billed as {billed:day} but lasts {days:day}. Not filled again before {on}, by its true "
        "days' supply."
    ),
    "scheduled_by_state": "Controlled substance ({schedule:schedule}) in {state}, though not by the drug file.",
    "fill_from": "The prescriber wrote: do not fill before {on}.",
    "larger_fill": (
        "{law} allows {days:day} at once, after a usual fill and within what is authorized. Pharmacist: decide, "
        "unless the drug is psychotropic, and notify the prescriber."
    ),
    "valid_by_payer": "Insurance accepts a prescription for {months:month}, until {until}.",
    "valid_by_law": "{law}: a prescription is valid {months:month} from the date written, until {until}.",
    "refills_by_law": "{law} allows {refills:refill}: {left} units may still be dispensed.",
    "short_fill_assumed": (
        "Whether the plan pays a short fill of {days:day} is unknown: assumed, with a possible reject 76."
    ),
    "short_fill_by_code": (
        "{days:day} is not a days' supply the plan lists; it pays a short fill by its clarification code "
        "({code})."
    ),
    "short_fill_by_law": (
        "{days:day} is not a days' supply the plan lists; {law} has it pay a short fill that synchronizes."
    ),
    "payer_may_reject": "{days:day} is not a days' supply the plan lists: expect a possible reject 76.",
    "declined": "The patient declined it: no fill before {until}.",
    "below_minimum": (
        "Short fill of {days:day}, below the chain's minimum of {minimum:day}: nothing else fits."
    ),
    "at_least_minimum": (
        "{needed:day} would reach the pickup, but the chain's shortest fill is {minimum:day}; the rest "
        "carries over."
    ),
    "next_size_paid": (
        "{needed:day} would reach the pickup; the next days' supply that may be filled is {days:day}, and the"
        " rest carries over."
    ),
    "whole_units": "Whole units only: {days:day} more than needed, carried over.",
    "whole_doses": (
        "Not taken every day, so filled by whole doses ({units} units each): {days:day} more than needed, carried over."
    ),
    "bridge_cushion": "{days:day} extra past the pickup, so the date holds in longer months.",
    "supply_shorter_than_cycle": (
        "A usual supply of {days:day} does not reach the next pickup, {cycle_days:day} later."
    ),
    "unavoidable": "{days:day} without it before {workable_on}, the first day it can be picked up.",
    "uncovered": "{days:day} without it that no plan can cover.",
    "costs_more": "The patient pays {cost:dollars} more than usual for it.",
    "staff_included": (
        "The {by} added it to the plan on {made_on}, short fills too, although the chain's policy does not."
    ),
    "staff_holds": "The {by} decided on {made_on}: nothing is filled before {until}.",
    "staff_fills": "The {by} decided on {made_on}: filled at the sync pickup, due or not, paid or not.",
    "staff_quantity": "The {by} decided on {made_on}: {quantity} units at the sync pickup.",
    "staff_idle": "What the {by} decided about it on {made_on} ({what}) has no effect now.",
    "probably_not_taken": (
        "Ran out on {run_out_on} and not filled since, so probably no longer taken. Ask the patient; no "
        "renewal is requested."
    ),
    "renewal_needed_by": "A renewal from the prescriber is needed by {on}.",
    "renewal_needed_now": "A renewal from the prescriber is needed now.",
    "answer_needed_by": "An answer is needed by {on}, when it runs out.",
    "answer_needed_now": "An answer is needed now: none left.",
    "authorization_needed_by": (
        "Insurance requires prior authorization: needed by {on}, when the supply runs out."
    ),
    "authorization_needed_now": "Insurance requires prior authorization: needed now, none left.",
    "authorization_renew_by": (
        "Prior authorization ends on {until}, and nothing is filled after that: start the renewal by {on}."
    ),
    "authorization_renew_now": (
        "Prior authorization ends on {until}, and nothing is filled after that: start the renewal now."
    ),
    "transition_supply": (
        "In the patient's first {within:day} on the plan it pays a transition supply of {days:day} without "
        "one: pharmacist decides."
    ),
    "emergency_supply": (
        "The plan pays an emergency supply of {hours:hour} while it is pending: pharmacist decides."
    ),
    # fills
    "item_staff": "{days:day}, as staff decided.",
    "item_full": "The usual {days}-day fill.",
    "item_long": "Long fill of {days:day} in place of the usual {usual:day}, as the plan allows.",
    "item_bridge": "Short fill of {days:day}, to reach {until}.",
    "item_rest": "The last {days:day} still authorized.",
    "item_ride_along": "The whole pack of {days:day}.",
    "left_at_joining": "{days:day} left when it joins.",
    "never_joins": (
        "Not in sync: a usual fill of {usual:day} fits no pickup every {cycle_days:day}, so it is filled on "
        "its own."
    ),
    "joins_at_later_slot": "Cannot join at the pickup on {anchor_on}. In sync from {joins_on}.",
    "therapy_change_fill": (
        "Insurance pays on or after {payable_from}, but at the new dose it runs out sooner: paid with the "
        "override for a therapy change (code {code})."
    ),
    # the year
    "rhythm_of_days": "Pickups every {days:day}.",
    "rhythm_of_month": "Pickups on day {day} of every month.",
    "year_ahead": "The next 365 days: {trips:trip}, {short_fills:short fill} in this plan, {uncovered:without}.",
    "year_ahead_and_before": (
        "The next 365 days: {trips:trip}, against {before} in the past 365 days; {short_fills:short fill} in "
        "this plan, {uncovered:without}."
    ),
    "rhythm_proposed": (
        "Every {days:day} would save {fewer:trip} a year: {trips} instead of {here}. Ask the patient."
    ),
    "cycle_policy_unknown": "The cycle {policy} is not offered here: the best one is chosen.",
    "cycle_fits_no_drug": (
        "No drug lasts from pickup to pickup in the cycle of {days:day} on file: the best one is chosen. Ask the "
        "patient."
    ),
    "day_of_month_unknown": (
        "Pickups on one day of every month are wanted, but no day is on file: the best cycle is chosen. Ask the "
        "patient."
    ),
    "day_of_month_too_late": (
        "Not every month has a day {day}; {last} is the last that every month has: the best cycle is chosen."
    ),
    "anchor_best_of_year": (
        "Best date: {visits:extra trip} before all are in sync, {short_fills:short "
        "fill}{overrides:overrides}, {uncovered:without}."
    ),
    "anchor_moved_uncovered": (
        "Moved from {told} to {on}: on the agreed day the patient would be out of a drug that can be filled "
        "sooner."
    ),
    "search_cut_off": (
        "Not every day could be compared in full: a better one would save at most the equivalent of {trips} "
        "trips."
    ),
    # the day
    "anchor_best": (
        "Best of {candidates:day} compared: {visits:extra trip} before all are in sync, {short_fills:short "
        "fill}{overrides:overrides}, {uncovered:without}."
    ),
    "all_joined_on": (
        "All are in sync on {on}: trips before that date count, including the pickup on {anchor_on}."
    ),
    "no_visit_on_the_day": "No visit is listed on {on}: what would be filled then is in one already agreed.",
    "stands_besides": (
        "Not counted, because the patient was already told: {visits:trip} before all are in sync, "
        "{short_fills:short fill}."
    ),
    "instead_of_latest_due": (
        "{on}, when the last drug runs out, would take {visits:extra trip} before all are in sync, "
        "{short_fills:short fill}{overrides:overrides}, {uncovered:without}."
    ),
    "excluded_by_pharmacist": "A pharmacist excluded it after it was confirmed.",
    # what staff decided, where a visit was confirmed before
    "decision_pickup_confirmed": (
        "The pickup on {on:short_date} is confirmed: its fills and quantities no longer change. Decide again after "
        "the pickup. To keep a drug out of it, a pharmacist excludes the drug."
    ),
    "decision_visit_due": (
        "The pickup on {on:short_date} is due: nothing is replanned until it is picked up or closed. Decide again "
        "after that."
    ),
    "decision_hold_too_late": (
        "The visit on {on:short_date} is due with this drug, and a hold no longer stops it. A pharmacist excludes "
        "the drug, or takes it out at verification."
    ),
    "decision_after_visit": (
        "Plans change after the visit on {on:short_date} is picked up or closed: nothing is replanned before then."
    ),
    "decision_excludes": (
        "Out of every visit, confirmed ones too. Fills not made yet are canceled, and a package that holds it goes "
        "back to verification without it. If the patient already has it, call them."
    ),
    "decision_exclusion_revoked": (
        "No longer excluded. What was taken out of a package stays out, and confirmed visits planned without the "
        "drug stay as they are. Its next fill is planned again."
    ),
    "decision_hold_not_of_filled": (
        "What is already filled for the visit on {on:short_date} stays in its package. A pharmacist can take it out "
        "at verification."
    ),
    "decision_day_asks_anew": (
        "The pickup on {on:short_date} was confirmed. The patient is asked again about the new plan."
    ),
    "staff_day": (
        "The {by} set the pickup to {on}, decided on {made_on}: {visits:extra trip} before all are in sync, "
        "{short_fills:short fill}{overrides:overrides}, {uncovered:without}."
    ),
    "staff_day_stay": (
        "The {by} set the pickup to {on}, which is not possible: the patient is in the hospital then."
    ),
    "staff_day_away": "The {by} set the pickup to {on}, which is not possible: the patient is away then.",
    "staff_day_delivery": "The {by} set the pickup to {on}, which is not possible: it is not a delivery day.",
    "staff_day_nothing_due": (
        "The {by} set the pickup to {on}, which is not possible: nothing can be dispensed then."
    ),
    "staff_day_closed": "The {by} set the pickup to {on}, which is not possible: the store is closed then.",
    "without_staff": (
        "Without what staff decided: {on}, {visits:extra trip} before all are in sync, {short_fills:short "
        "fill}{overrides:overrides}, {uncovered:without}."
    ),
    "without_staff_no_plan": "Without what staff decided there would be no plan.",
    "store_day_full": "{on} would suit better, but the store already has its {cap:pickup} for that day.",
    "other_day_critical": "Not {on}: {days:day} without a drug that must not be missed, instead of {here}.",
    "other_day_uncovered": "Not {on}: {days:without}, instead of {here}.",
    "other_day_changes_told": (
        "Not {on}: changes {visits:visit} the patient was already told, instead of {here}."
    ),
    "other_day_above_cost_limit": (
        "Not {on}: costs the patient {cost:dollars} more than usual, instead of {here:dollars}; the limit is "
        "{limit:dollars}."
    ),
    "other_day_trips_a_year": "Not {on}: {trips:trip} a year, instead of {here}.",
    "other_day_late_claims": (
        "Not {on}: {fills:claim} payable only after the store's fill day, instead of {here}."
    ),
    "other_day_surplus": "Not {on}: drugs would join with weeks of supply left.",
    "other_day_urgent": "Not {on}: takes an urgent visit, or more fills on one.",
    "other_day_joined_later": "Equally good; all are in sync only on {joined} if the first pickup is {on}.",
    "other_day_visits": "Not {on}: {visits:extra trip} before all are in sync, instead of {here}.",
    "other_day_short_fills": "Not {on}: {fills:short fill}, instead of {here}.",
    "other_day_overrides": "Not {on}: {overrides:refill-too-soon override}, instead of {here}.",
    "other_day_below_minimum": "Not {on}: {fills:short fill} below the chain's minimum, instead of {here}.",
    "other_day_run_dry": "Not {on}: {drugs:drug} with none left that morning, instead of {here}.",
    "other_day_not_preferred": (
        "Not {on}: {days:day} from the patient's preferred weekday, instead of {here}."
    ),
    "other_day_costs_more": (
        "Not {on}: costs the patient {cost:dollars} more than usual, instead of {here:dollars}."
    ),
    "other_day_cushion": (
        "Not {on}: days left at home miss the chain's cushion by {days:day} in all, instead of {here}."
    ),
    "other_day_fuller": "Not {on}: equally good, but more pickups are planned that day.",
    "other_day_later": "Not {on}: equally good, but later.",
    "other_day_full": "Not {on}: the store has all the pickups it takes that day.",
    "anchor_agreed": "Kept: the patient was told {on}.",
    "anchor_moved_closed": "{told} was agreed, but the store is closed: the nearest open day is {on}.",
    "anchor_moved_nothing_due": "{told} was agreed, but nothing can be dispensed that day anymore.",
    "rescheduled": "Moved to {on}, as the patient asked.",
    "wanted_day_not_possible": "The patient asked for {wanted}, which is not possible: {on} is the nearest that is.",
    "offered": (
        "{visits:extra trip} before all are in sync, {short_fills:short fill}{overrides:overrides}, "
        "{uncovered:without}."
    ),
    "cycle_spine": (
        "Some drugs are dispensed for {usual:day} at a time, so in a cycle of {days:day} pickups come every "
        "{cycle_days:day}; longer supplies are not due at each."
    ),
    "day_of_month_missing": (
        "Pickups on one day of every month are wanted, but no day is on file: planned every {cycle_days:day}."
    ),
    "day_of_month_refused": "Not every month has a day {day}: choose one up to {last}. Planned every {cycle_days:day}.",
    "cycle_policy_not_offered": "The cycle {policy} is not offered here: planned every {cycle_days:day}.",
    "cost_unknown": "What the patient pays is unknown, so cost did not decide.",
    # whose days they are
    "must_weekdays": "The patient can come on {days} only.",
    "must_payday": "The patient pays from day {day} of the month on: no pickup in a month before it.",
    "must_paydays": "No pickup in a month before its payday, so far as paydays are known (the first: {first}).",
    "must_ride_weekdays": "The patient needs a ride, and has one on {days}.",
    "must_ride_also": "The patient needs a ride, and has one on {days}, and on {besides:other day}.",
    "must_ride_dates": "The patient needs a ride: rides are known up to {last}; later days are not certain.",
    "must_delivery": "Delivered, on the store's delivery days: {days}.",
    "away": "The patient is away from {since} to {until}: no pickup then.",
    "by_letter": "The patient can be reached only by mail: no visit before {on} can be confirmed.",
    "household_day": "{on} is the day agreed with others in the household, so one trip serves all.",
    "household_apart": (
        "The household picks up on {on}; on that day this patient would be without a drug longer, so another "
        "is planned."
    ),
    "household_not_possible": "Nothing can be dispensed on the household's days, so another is planned.",
    "limits_cost": (
        "The days on which the patient can be served leave {days:without}; with all open days it would be "
        "{fewer:day}."
    ),
    "barred_weekday": (
        "{on} would work, but it is not one of the patient's weekdays: ask whether it can be, this once."
    ),
    "barred_payday": "{on} would work, but it is before payday: ask whether the patient can pay sooner.",
    "barred_ride": "{on} would work, but the patient has no ride: find one, or deliver.",
    "barred_delivery": "{on} would work, but it is not a delivery day: ask whether somebody can pick up.",
    "barred_away": (
        "{on} would work, but the patient is away: ask whether somebody else can pick up, or mail it."
    ),
    "anchor_moved_delivery": "{told} was agreed, but it is no longer a delivery day: the nearest is {on}.",
    "anchor_moved_away": "{told} was agreed, but the patient is away then: the nearest day is {on}.",
    "anchor_moved_stay": (
        "{told} was agreed, but the patient is in the hospital then: the nearest day is {on}."
    ),
    # planning is halted
    "in_hospital": "In the hospital or a nursing home since {since}: no calls and no fills until discharge.",
    "stay_to_reconcile": (
        "Discharged on {discharged_on}. Pharmacist: reconcile the medications before anything is filled. Ask again "
        "what is left at home."
    ),
    "coverage_lapsed": "No insurance since {since}: claims are on hold. Call the patient today.",
    # no plan
    "no_pickup_day": "The store has no open day that suits the patient within {days:day}.",
    "nothing_to_synchronize": "No drug can be synchronized now.",
    "no_prescription": "No prescription is on file.",
    "nothing_payable": "No drug can be dispensed on any day of the next cycle.",
    "not_reached": "Not reached, or declined, {cycles:cycle} in a row. Call, or remove from med sync.",
    "disenrolled": "No longer enrolled.",
    "plan_withdrawn": "No plan can be made now, so the one in place is withdrawn.",
    # renewals
    "renewal_quantity": "{left} units will be left on the prescription: not enough for the next usual fill.",
    "renewal_refills": "{left:refill} left: too few for the fills that are planned.",
    "renewal_expiry": "The prescription expires on {expires_on}, before the pickup after next.",
    # why a fill that was confirmed is not in the package
    "declined_at_counter": "Due at the pickup, and not wanted then.",
    "condition_not_met": "Not filled: {kind:not_met} by {needed_by:short_date}.",
}

EARLIER: dict[str, str] = {
    "override_by_law": (
        "Insurance pays on or after {payable_from}; {law} grants an override of refill too soon to synchronize it "
        "sooner."
    ),
    **{
        code: words.replace("{overrides:overrides}", "")
        for code, words in REASONS.items()
        if "{overrides:overrides}" in words
    },
    "staff_day_not_possible": (
        "The {by} set the pickup to {on}, which is not possible: the store is closed, or nothing can be dispensed then."
    ),
    "other_day_changes_told": "Not {on}: changes {visits:visit} the patient was already told.",
    "other_day_above_cost_limit": "Not {on}: costs the patient more than the limit.",
    "other_day_not_preferred": "Not {on}: farther from the patient's preferred weekday.",
    "other_day_costs_more": "Not {on}: costs the patient more.",
    "other_day_cushion": "Not {on}: too little or too much left at home that morning.",
}
"""Words for what plans of earlier versions said, with fewer parameters: they are kept, and shown."""


def render(reason: Reason) -> str:
    """The reason as a sentence; a code of a later version reads as its own words."""
    for templates in (REASONS, EARLIER):
        if reason.code in templates:
            with suppress(KeyError):
                text = sentence(templates[reason.code], reason.params)
                return text[0].upper() + text[1:]
    return reason.code.replace("_", " ").capitalize() + "."
