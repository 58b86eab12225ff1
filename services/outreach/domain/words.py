"""The words of a contact: what a person or a dialler asks, and the message that anyone may hear or read.

A message on a machine, or read over a shoulder, holds the pharmacy's name and number and nothing else: no drug, no
condition, no prescription number (45 CFR 164.510(b); R14.7).
"""

from __future__ import annotations

from dataclasses import dataclass

from services.outreach.domain.model import Kind

TEXT_LIMIT = 160
"""Characters of a text message (47 CFR 64.1200(a)(9)(iv))."""


@dataclass(frozen=True, slots=True)
class Line:
    """One item of a script; `code` stays, `words` may be reworded."""

    code: str
    words: str


_IDENTIFY = Line("identify", "Ask for the full name and the date of birth before saying anything else.")
_CLOSING = (
    Line("questions", "Do you have questions for the pharmacist? Anything clinical goes to the pharmacist."),
)
_HEALTH = (
    Line("address", "Are you still at the same address, with the same phone and insurance?"),
    Line("visits", "Have you been in hospital, in an emergency room or at a doctor's since we last spoke?"),
    Line("changes", "Was any drug started, stopped or changed, over-the-counter ones included?"),
    Line("missed_doses", "Did you miss any doses, and why?"),
    Line("side_effects", "Do you notice any side effects?"),
    Line("on_hand", "How many do you have left of each?"),
)
_SCRIPTS: dict[Kind, tuple[Line, ...]] = {
    Kind.alignment: (
        _IDENTIFY,
        Line("explain", "Explain: one pickup day for all medications, and short fills up to that day."),
        *_HEALTH,
        Line("choose_day", "Which of the offered days suits you best? Name the visits that each takes."),
        Line("confirm_near", "Confirm the visits of the next seven days now, drug by drug."),
        *_CLOSING,
    ),
    Kind.confirmation: (
        _IDENTIFY,
        *_HEALTH,
        Line("each_item", "Read the list: do you want each one filled?"),
        Line("as_needed", "Are there as-needed medications to add?"),
        Line("pickup", "Is the day still good, and who collects?"),
        *_CLOSING,
    ),
    Kind.ready: (_IDENTIFY, Line("ready", "The order is ready: say until when it is kept."), *_CLOSING),
    Kind.reminder: (_IDENTIFY, Line("reminder", "Tomorrow is the pickup day."), *_CLOSING),
    Kind.missed: (
        _IDENTIFY,
        Line(
            "missed",
            "The order was not collected: ask when the patient comes, and say until when it is kept.",
        ),
        *_CLOSING,
    ),
    Kind.insurance: (
        _IDENTIFY,
        Line("lapsed", "The insurance on record has ended: nothing is billed or filled meanwhile."),
        Line(
            "new_insurance", "Is there another one? Take the particulars of the card for the chain's system."
        ),
        Line(
            "how_to_go_on", "If there is none: how many are left of each, and what is to be done until then?"
        ),
        *_CLOSING,
    ),
    Kind.question: (_IDENTIFY, Line("answer", "The pharmacist answers the patient's question.")),
}
_URGENT = Line(
    "urgent",
    "A medication runs out before your next regular pickup. We can have it ready on the day on the list: can you come "
    "then?",
)
_CONDITIONAL = Line(
    "conditional",
    "Read each condition with its item: we fill it with the rest if that comes in time. If not, the rest is ready all "
    "the same, and nobody calls again about it.",
)
_LEFT_OUT = Line(
    "left_out",
    "The pharmacist keeps a drug out of this order: do not offer it. Questions about it go to the pharmacist.",
)
_READS_ITEMS = frozenset({"each_item", "confirm_near"})
_SHORT_ITEM = Line("short_items", "The store has too little of an item: a part will follow.")

_MESSAGES = {
    ("en", Kind.ready): "{store}: your order is ready.{call}",
    ("en", Kind.reminder): "{store}: we expect you tomorrow.{call}",
    ("en", Kind.insurance): "{store}: please call us.{call}",
    ("en", None): "{store}: please call us about your appointment.{call}",
    ("es", Kind.ready): "{store}: su pedido está listo.{call}",
    ("es", Kind.reminder): "{store}: le esperamos mañana.{call}",
    ("es", Kind.insurance): "{store}: por favor llámenos.{call}",
    ("es", None): "{store}: por favor llámenos acerca de su cita.{call}",
}
_CALL = {"en": " Call {phone}.", "es": " Llame al {phone}."}
_STOP = {"en": " Reply STOP to end messages.", "es": " Responda ALTO para no recibir mensajes."}
_STOPPED = {
    "en": "{store}: you will get no more automated calls or messages from us.{call}",
    "es": "{store}: no recibirá más llamadas ni mensajes automáticos.{call}",
}
_HELP = {
    "en": "{store}: we send messages about your orders. Questions?{call} Reply STOP to end messages.",
    "es": "{store}: le mandamos mensajes sobre sus pedidos. ¿Preguntas?{call} Responda ALTO para no recibir mensajes.",
}
_STARTED = {
    "en": "{store}: you will get messages from us again.{call} Reply STOP to end messages.",
    "es": "{store}: le mandaremos mensajes otra vez.{call} Responda ALTO para no recibir mensajes.",
}


def script_of(
    kind: Kind,
    *,
    short_items: bool = False,
    conditional: bool = False,
    urgent: bool = False,
    left_out: bool = False,
) -> tuple[Line, ...]:
    """What to ask and say, in order (R13.8).

    `conditional`: some item on the list depends on something; `urgent`: some visit on it cannot wait;
    `left_out`: a pharmacist keeps a drug out that the patient may ask for.
    """
    lines: list[Line] = []
    for line in _SCRIPTS[kind]:
        lines.append(line)
        if urgent and line is _IDENTIFY:
            lines.append(_URGENT)
        if conditional and line.code in _READS_ITEMS:
            lines.append(_CONDITIONAL)
        if left_out and line.code in _READS_ITEMS:
            lines.append(_LEFT_OUT)
    return (*lines, _SHORT_ITEM) if short_items else tuple(lines)


def message_of(kind: Kind, store_name: str, store_phone: str, language: str, *, as_text: bool) -> str:
    """The message for a machine, or as a text of at most 160 characters with the way to stop it."""
    tongue = _tongue(language)
    template = _MESSAGES.get((tongue, kind)) or _MESSAGES[tongue, None]
    return _filled(template, _STOP[tongue] if as_text else "", store_name, store_phone, tongue)


def stopped_message(store_name: str, store_phone: str, language: str) -> str:
    """The one text that answers a stop."""
    tongue = _tongue(language)
    return _filled(_STOPPED[tongue], "", store_name, store_phone, tongue)


def help_message(store_name: str, store_phone: str, language: str) -> str:
    """The text that answers HELP: who writes, about what, whom to call, how to stop."""
    tongue = _tongue(language)
    return _filled(_HELP[tongue], "", store_name, store_phone, tongue)


def started_message(store_name: str, store_phone: str, language: str) -> str:
    """The text that answers START."""
    tongue = _tongue(language)
    return _filled(_STARTED[tongue], "", store_name, store_phone, tongue)


def _filled(template: str, ending: str, store_name: str, store_phone: str, tongue: str) -> str:
    """The template with name and number; a name that is too long is cut."""
    call = _CALL[tongue].format(phone=store_phone) if store_phone else ""
    room = TEXT_LIMIT - len(template.format(store="", call=call)) - len(ending)
    return template.format(store=store_name[:room], call=call) + ending


def _tongue(language: str) -> str:
    return "es" if language.lower().startswith("es") else "en"
