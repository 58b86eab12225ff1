"""The words of a contact: what a person or a dialer asks, and the message that anyone may hear or read.

A message on a machine, or read over a shoulder, holds the pharmacy's name and number, the day and how to answer, and
nothing else: no drug, no condition, no prescription number (45 CFR 164.510(b); R14.7).

Scripts are read out as they are, in words for a sixth grader: greeting, permission, questions, what to write down,
closing. The patient says the identifiers; open questions come before closed ones. What stands in brackets is for the
reader alone, and in English in Spanish scripts too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from services.outreach.domain.model import Kind
from shared.words.formats import phone, short_date

TEXT_LIMIT = 160
"""Characters of a text message (47 CFR 64.1200(a)(9)(iv)). Texts keep to the GSM 7-bit alphabet, in which so many are
one message: Spanish without the accents that it lacks."""


@dataclass(frozen=True, slots=True)
class Line:
    """One item of a script; `code` stays, `words` may be reworded."""

    code: str
    words: str


# ---- scripts ----------------------------------------------------------------------------------------------------

_IDENTIFY = Line(
    "identify",
    "Hi, this is ___ from ___ Pharmacy. May I speak with ___? [Once the patient is on the line:] To protect your "
    "privacy, please tell me your full name and date of birth. [Never read them out. Go on only if both are right.]",
)
_PERMISSION = Line(
    "permission", "Thank you. Is now a good time to talk? [If not, ask when to call back and write it down.]"
)
_OPENING = (_IDENTIFY, _PERMISSION)
_CLOSING = (
    Line(
        "questions",
        "What questions do you have for the pharmacist? [Anything clinical goes to the pharmacist.]",
    ),
    Line("closing", "Thank you. If anything changes, please call us. Have a good day."),
)
_HEALTH = (
    Line(
        "changes",
        "What has changed with your medications since we last spoke? Is anything new, stopped or at a different dose? "
        "Over-the-counter ones count too. [Write down each drug and the change.]",
    ),
    Line(
        "missed_doses",
        "Many people miss a dose now and then. About how many in the last two weeks? What got in the way? "
        "[Write down both answers.]",
    ),
    Line(
        "side_effects",
        "How do your medications make you feel? Have you noticed any side effects? [These go to the pharmacist.]",
    ),
    Line("on_hand", "How many do you have left of each? [Write down the count, drug by drug.]"),
    Line(
        "visits",
        "Have you been in the hospital, in an emergency room or at a doctor's office since we last spoke? "
        "[Write down where and when.]",
    ),
    Line(
        "address", "Are your address, phone number and insurance still the same? [Write down what changed.]"
    ),
)
_SCRIPTS: dict[Kind, tuple[Line, ...]] = {
    Kind.alignment: (
        *_OPENING,
        Line(
            "explain",
            "We can have all your medications ready on one day, so you make fewer trips. To get there, some first "
            "fills may be smaller. What do you think? [If the patient does not want it, write that down and close.]",
        ),
        *_HEALTH,
        Line(
            "choose_day",
            "Which of these days works best for you? [Read the days offered, and the trips that each one takes.]",
        ),
        Line(
            "confirm_near",
            "[Read the visits of the next seven days, drug by drug.] Would you like each one filled? "
            "[Write down what the patient does not want.]",
        ),
        *_CLOSING,
    ),
    Kind.confirmation: (
        *_OPENING,
        *_HEALTH,
        Line(
            "each_item",
            "[Read the list, drug by drug.] Would you like each one filled? [Write down what the patient does not "
            "want.]",
        ),
        Line("as_needed", "Which as-needed medications would you like with this order? [Write them down.]"),
        Line(
            "pickup",
            "Who will pick up? Is that day still good? [Write down the name. If the day is not good, ask for a "
            "better one.]",
        ),
        *_CLOSING,
    ),
    Kind.ready: (
        *_OPENING,
        Line("ready", "Your order is ready. We will keep it until ___. When would you like to come?"),
        *_CLOSING,
    ),
    Kind.reminder: (
        *_OPENING,
        Line(
            "reminder",
            "Your pickup day is tomorrow. Does that still work for you? [If not, ask for a better day.]",
        ),
        *_CLOSING,
    ),
    Kind.missed: (
        *_OPENING,
        Line(
            "missed",
            "Your order is still here. When can you come? We will keep it until ___. [Write down the day.]",
        ),
        *_CLOSING,
    ),
    Kind.insurance: (
        *_OPENING,
        Line(
            "lapsed",
            "The insurance we have on file has ended. Until that is settled, we cannot bill or fill anything.",
        ),
        Line(
            "new_insurance",
            "Do you have a new insurance card? Please read me the BIN, PCN, group and ID numbers. [Enter them in the "
            "chain's system.]",
        ),
        Line(
            "how_to_go_on",
            "[If there is no new card:] How many do you have left of each? What would you like us to do until you "
            "have insurance? [Write down both answers.]",
        ),
        *_CLOSING,
    ),
    Kind.question: (
        *_OPENING,
        Line("answer", "You had a question for the pharmacist. How can I help? [The pharmacist answers.]"),
    ),
}
_URGENT = Line(
    "urgent",
    "One medication runs out before your next regular pickup. We can have it ready on ___. [Read the day on the list.] "
    "Can you come then?",
)
_CONDITIONAL = Line(
    "conditional",
    "[Read each condition with its item.] We will fill it with the rest if that comes in time. If not, the rest will "
    "be ready all the same, and we will not call again about it.",
)
_LEFT_OUT = Line(
    "left_out",
    "[The pharmacist keeps a drug out of this order: do not offer it. Questions about it go to the pharmacist.]",
)
_READS_ITEMS = frozenset({"each_item", "confirm_near"})
_SHORT_ITEM = Line(
    "short_items",
    "We do not have enough of one item. You will get part of it now and the rest later. [Name the item.]",
)

_SPANISH: Mapping[str, str] = {
    "identify": "Buenos días, le habla ___ de la farmacia ___. ¿Puedo hablar con ___? [Once the patient is on the "
    "line:] Para proteger su privacidad, dígame por favor su nombre completo y su fecha de nacimiento. [Never read "
    "them out. Go on only if both are right.]",
    "permission": "Gracias. ¿Es un buen momento para hablar? [If not, ask when to call back and write it down.]",
    "urgent": "Una de sus medicinas se le acaba antes de su próxima visita. Podemos tenerla lista el ___. [Read the "
    "day on the list.] ¿Puede venir ese día?",
    "explain": "Podemos tener todas sus medicinas listas el mismo día, para que haga menos viajes. Para lograrlo, "
    "algunas de las primeras entregas pueden ser más pequeñas. ¿Qué le parece? [If the patient does not want it, "
    "write that down and close.]",
    "changes": "¿Qué ha cambiado en sus medicinas desde la última vez que hablamos? ¿Hay alguna nueva, alguna que dejó "
    "de tomar o alguna con otra dosis? También cuentan las que se compran sin receta. [Write down each drug and the "
    "change.]",
    "missed_doses": "A muchas personas se les olvida una dosis de vez en cuando. ¿Más o menos cuántas en las últimas "
    "dos semanas? ¿Por qué no las pudo tomar? [Write down both answers.]",
    "side_effects": "¿Cómo se siente con sus medicinas? ¿Ha notado algún efecto secundario? [These go to the "
    "pharmacist.]",
    "on_hand": "¿Cuánto le queda de cada una? [Write down the count, drug by drug.]",
    "visits": "¿Ha estado en el hospital, en una sala de emergencias o en el consultorio de un médico desde la última "
    "vez que hablamos? [Write down where and when.]",
    "address": "¿Su dirección, su teléfono y su seguro siguen siendo los mismos? [Write down what changed.]",
    "choose_day": "¿Cuál de estos días le queda mejor? [Read the days offered, and the trips that each one takes.]",
    "confirm_near": "[Read the visits of the next seven days, drug by drug.] ¿Quiere que le preparemos cada una? "
    "[Write down what the patient does not want.]",
    "each_item": "[Read the list, drug by drug.] ¿Quiere que le preparemos cada una? [Write down what the patient does "
    "not want.]",
    "conditional": "[Read each condition with its item.] Si eso llega a tiempo, la prepararemos con las demás. Si no, "
    "las demás estarán listas de todos modos, y no le llamaremos otra vez por esto.",
    "left_out": _LEFT_OUT.words,
    "as_needed": "¿Qué medicinas de las que toma solo cuando las necesita quiere con este pedido? [Write them down.]",
    "pickup": "¿Quién va a recoger el pedido? ¿Todavía le queda bien ese día? [Write down the name. If the day is not "
    "good, ask for a better one.]",
    "ready": "Su pedido está listo. Se lo guardaremos hasta el ___. ¿Cuándo le gustaría venir?",
    "reminder": "Mañana le toca recoger su pedido. ¿Todavía le queda bien? [If not, ask for a better day.]",
    "missed": "Su pedido todavía está aquí. ¿Cuándo puede venir? Se lo guardaremos hasta el ___. [Write down the day.]",
    "lapsed": "El seguro que tenemos registrado ya terminó. Hasta que eso se arregle, no podemos cobrarle al seguro ni "
    "preparar nada.",
    "new_insurance": "¿Tiene una tarjeta de seguro nueva? Por favor léame los números BIN, PCN, de grupo y de "
    "identificación (ID). [Enter them in the chain's system.]",
    "how_to_go_on": "[If there is no new card:] ¿Cuánto le queda de cada medicina? ¿Qué quiere que hagamos hasta que "
    "tenga seguro? [Write down both answers.]",
    "answer": "Usted tenía una pregunta para el farmacéutico. ¿En qué le puedo ayudar? [The pharmacist answers.]",
    "short_items": "No tenemos suficiente de una de sus medicinas. Ahora le daremos una parte y el resto después. "
    "[Name the item.]",
    "questions": "¿Qué preguntas tiene para el farmacéutico? [Anything clinical goes to the pharmacist.]",
    "closing": "Gracias. Si algo cambia, llámenos por favor. Que tenga un buen día.",
}
"""What is read out to patients whose language is Spanish, by the code of the line."""

# ---- messages ---------------------------------------------------------------------------------------------------

_TEXTS: dict[str, Mapping[Kind, str]] = {
    "en": {
        Kind.alignment: "{store}: time to choose your monthly pickup day. Reply with a good time to talk{or_call}.",
        Kind.confirmation: "{store}: can you pick up{on}? Reply 1 to confirm, 2 for another day{or_call}.",
        Kind.ready: "{store}: your order is ready. Reply 2 for another day{or_call}.",
        Kind.reminder: "{store}: your pickup is tomorrow. Reply 1 to confirm, 2 for another day{or_call}.",
        Kind.missed: "{store}: your order is waiting. Reply with the day you can come{or_call}.",
        Kind.insurance: "{store}: we have a question for you. Reply with a good time to talk{or_call}.",
        Kind.question: "{store}: we want to answer your question. Reply with a good time to talk{or_call}.",
    },
    "es": {
        Kind.alignment: "{store}: elija su fecha de cada mes. Responda con una hora para llamarle{or_call}.",
        Kind.confirmation: "{store}: confirme su cita{on}: responda 1, o 2 para otra fecha{or_call}.",
        Kind.ready: "{store}: su pedido le espera. Responda 2 para otra fecha{or_call}.",
        Kind.reminder: "{store}: le esperamos mañana. Responda 1 para confirmar, 2 para otra fecha{or_call}.",
        Kind.missed: "{store}: su pedido le espera. Responda con la fecha en que puede venir{or_call}.",
        Kind.insurance: "{store}: tenemos una pregunta. Responda con una hora para llamarle{or_call}.",
        Kind.question: "{store}: queremos responderle. Responda con una hora para llamarle{or_call}.",
    },
}
_ENDINGS = {
    "en": " Reply STOP to opt out, HELP for help.",
    "es": " ALTO para no recibir mensajes, AYUDA para ayuda.",
}
_VOICEMAILS: dict[str, Mapping[Kind, str]] = {
    "en": {
        Kind.ready: "This is {store}. Your order is ready.{call}",
        Kind.reminder: "This is {store}. We expect you tomorrow.{call}",
        Kind.missed: "This is {store}. Your order is waiting for you.{call}",
        Kind.alignment: "This is {store}. Please call us about your pickup day.{call}",
        Kind.confirmation: "This is {store}. Please call us to confirm your pickup.{call}",
    },
    "es": {
        Kind.ready: "Le llama {store}. Su pedido está listo.{call}",
        Kind.reminder: "Le llama {store}. Le esperamos mañana.{call}",
        Kind.missed: "Le llama {store}. Su pedido le espera.{call}",
        Kind.alignment: "Le llama {store}. Por favor llámenos para elegir su fecha.{call}",
        Kind.confirmation: "Le llama {store}. Por favor llámenos para confirmar su cita.{call}",
    },
}
_CALL_US = {
    "en": "This is {store}. Please call us.{call}",
    "es": "Le llama {store}. Por favor llámenos.{call}",
}
"""What a machine hears about anything else."""

_CALL = {"en": " Our number is {phone}.", "es": " Nuestro número es {phone}."}
_OR_CALL = {"en": ", or call {phone}", "es": ", o llame al {phone}"}
_STOPPED = {
    "en": "{store}: you are opted out. No more automated calls or texts from us. Reply HELP for help{or_call}.",
    "es": "{store}: no le mandaremos mensajes ni llamadas. Responda AYUDA para ayuda{or_call}.",
}
_HELP = {
    "en": "{store}: texts about your pickups. Reply with your question{or_call}. Reply STOP to opt out.",
    "es": "{store}: mensajes sobre sus pedidos. Responda con su pregunta{or_call}. ALTO para no recibir mensajes.",
}
_STARTED = {
    "en": "{store}: you will get our texts and calls again. Reply with any question{or_call}.",
    "es": "{store}: le mandaremos mensajes otra vez. Responda con su pregunta{or_call}.",
}
_WEEKDAYS_ES = ("lun", "mar", "mié", "jue", "vie", "sab", "dom")
_MONTHS_ES = ("ene", "feb", "mar", "abr", "may", "jun", "jul", "ago", "sep", "oct", "nov", "dic")


def script_of(
    kind: Kind,
    language: str = "en",
    *,
    short_items: bool = False,
    conditional: bool = False,
    urgent: bool = False,
    left_out: bool = False,
) -> tuple[Line, ...]:
    """What to ask and say, in order (R13.8), in the patient's language where there is a script in it, else in English.

    `conditional`: some item on the list depends on something; `urgent`: some visit on it cannot wait;
    `left_out`: a pharmacist keeps a drug out that the patient may ask for.
    """
    lines: list[Line] = []
    for line in _SCRIPTS[kind]:
        if short_items and line is _CLOSING[0]:
            lines.append(_SHORT_ITEM)
        lines.append(line)
        if urgent and line is _PERMISSION:
            lines.append(_URGENT)
        if conditional and line.code in _READS_ITEMS:
            lines.append(_CONDITIONAL)
        if left_out and line.code in _READS_ITEMS:
            lines.append(_LEFT_OUT)
    if tongue_of(language) == "es":
        lines = [replace(line, words=_SPANISH[line.code]) for line in lines]
    return tuple(lines)


def message_of(
    kind: Kind, store_name: str, store_phone: str, language: str, *, as_text: bool, on: date | None = None
) -> str:
    """The message for a machine; or as a text of at most 160 characters, with how to answer, stop and get help.

    `on` is the day of the visit that is to be confirmed. `1` and `2` are what `texts` takes for yes and another day.
    """
    tongue = tongue_of(language)
    if as_text:
        template, ending = _TEXTS[tongue][kind], _ENDINGS[tongue]
    else:
        template, ending = _VOICEMAILS[tongue].get(kind, _CALL_US[tongue]), ""
    return _filled(template + ending, store_name, store_phone, tongue, on)


def stopped_message(store_name: str, store_phone: str, language: str) -> str:
    """The one text that answers a stop: it says so, and asks for nothing (47 CFR 64.1200(a)(12))."""
    tongue = tongue_of(language)
    return _filled(_STOPPED[tongue], store_name, store_phone, tongue)


def help_message(store_name: str, store_phone: str, language: str) -> str:
    """The text that answers HELP: who writes, about what, whom to call, how to stop."""
    tongue = tongue_of(language)
    return _filled(_HELP[tongue], store_name, store_phone, tongue)


def started_message(store_name: str, store_phone: str, language: str) -> str:
    """The text that answers START."""
    tongue = tongue_of(language)
    return _filled(_STARTED[tongue] + _ENDINGS[tongue], store_name, store_phone, tongue)


def _filled(template: str, store_name: str, store_phone: str, tongue: str, on: date | None = None) -> str:
    """The template with name, number and day; a name that is too long is cut."""
    number = phone(store_phone)
    given = {
        "call": _CALL[tongue].format(phone=number) if number else "",
        "or_call": _OR_CALL[tongue].format(phone=number) if number else "",
        "on": _on(on, tongue) if on else "",
    }
    room = TEXT_LIMIT - len(template.format(store="", **given))
    return template.format(store=store_name[:room].rstrip(), **given)


def _on(day: date, tongue: str) -> str:
    if tongue == "es":
        return f" el {_WEEKDAYS_ES[day.weekday()]} {day.day} {_MONTHS_ES[day.month - 1]}"
    return f" on {short_date(day)}"


def tongue_of(language: str) -> Literal["en", "es"]:
    """The language in which a patient of this one is written and spoken to."""
    return "es" if language.lower().startswith("es") else "en"
