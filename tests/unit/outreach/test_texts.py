"""What patients write, and what it means: the table of messages, English and Spanish."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.outreach.domain.model import Calendar
from services.outreach.domain.texts import LONGEST, Deadlines, Heard, Meaning, deadlines, hear
from tests.unit.outreach.given import NEW_YORK, at

STOP = """
STOP
Stop.
stop!!!
 stop
StOp
s t o p
s.t.o.p
STOOOP
ＳＴＯＰ
St\u200bop
"STOP"
(stop)
STOP 🛑
🛑
STOP \ud83d
STOP\x00
S\x00TOP
stop stop stop
STOPALL
Stop all
sotp
stpo
st0p
quit
END
revoke
Opt out
opt-out
OPTOUT
cancel
Unsubscribe
unsuscribe
Please stop
please, stop
Stop please
stop. thank you
stop thanks
Hi, please stop.
STOP NOW
stop it
stop this
Please STOP texting me!
stop texting
stop txting me
stop calling me!
stop calling
stop calling and texting me
stop calling, texting and messaging me
stop texting me at this number
Stop sending me text messages
stop sending texts
stop all messages
stop the texts please
stop the automated calls
stop messages to this number
stop contacting me
Stop bothering me!!
quit texting me
quit calling
do not text me
Do not text me.
don't text me
don’t text me
Don't text me anymore
dont text me
DONT TXT ME
don t text me
do not call or text me again
please don't call me any more
pls dont msg me
do not contact me
do not contact this number
never call me again
Don't send me any more messages
do not send texts to this number
I don't want these texts
I do not want to receive any messages
i dont want text messages from you anymore
I don't want to be contacted
I do not want you to call me
I no longer want to receive texts
no more texts
No more messages please
no more calls or texts
no calls
no texts
unsubscribe me
Unsubscribe me please!
unsubscribe from this list
please unsubscribe me from your texts
i want to unsubscribe
opt me out
opt me out please
I'd like to opt out
I want to opt out of messages
opt out of the program
opting out
take me off your list
Take me off of your calling list
take me off
remove me
Remove me from your list.
remove me from the program
remove my number
Please remove my number from your system
delete my number
remove this number
lose my number
leave me alone
Leave me alone!!!
leave us alone please
go away
I revoke my consent
i withdraw my consent to be contacted
I do not consent
stop the program
cancel the reminders
cancel texts
turn off notifications
Stop. Do not text me. Take me off your list.
I said stop!
I told you, stop calling me
Would you please stop texting me
For the last time stop texting me
"""

STOP_IN_SPANISH = """
ALTO
alto por favor
¡Alto!
Pare
paren
PARAR
para
cancelar
Basta
ya basta
detener
baja
darme de baja
quiero darme de baja
denme de baja por favor
dar de baja
no más mensajes
no mas mensajes
NO MÁS MENSAJES
No mas mensajes por favor
no mas llamadas ni mensajes
no más textos
no mensajes
no quiero mensajes
no quiero más mensajes
ya no quiero mensajes
Ya no quiero recibir mensajes
no deseo recibir llamadas
no quiero que me llamen
ya no me manden mensajes
Ya no me manden mensajes, por favor.
ya no me manden más mensajes
no me manden mensages
no me mande mensajes
no me envíen mensajes
no me escriban
no me escriba más
no me llamen
ya no me llamen
no me llamen más
no me llamen ni me escriban
no me molesten
no me molesten más
ya no manden mensajes
dejen de llamarme
dejen de mandarme mensajes
deje de escribirme
Por favor dejen de enviarme mensajes
paren de llamar
paren los mensajes
cancelar mensajes
quítenme de la lista
quiteme de su lista
sáquenme de la lista
borren mi número
eliminen mi numero de su lista
déjenme en paz
dejeme en paz
revoco mi consentimiento
no me manden msjs porfa
"""

WRONG_NUMBER = """
wrong number
Wrong number.
WRONG NUMBER!!!
Sorry, wrong number
wrong number, sorry
you have the wrong number
You've got the wrong number
This is the wrong number
it's a wrong number
wrong person
wrong #number
I think you have the wrong number
Wrong number. Stop texting me.
Stop! Wrong number!
"""

WRONG_NUMBER_IN_SPANISH = """
número equivocado
numero equivocado
Es número equivocado
tiene el número equivocado
se equivocó de número
está equivocado
numero incorrecto
"""

YES = "1|1.|yes|YES|Yes!|yes please|Yes, thank you|y|yep|yeah|confirm|Confirmed|ok yes|yes 1|that works"
YES_IN_SPANISH = "sí|si|SI|Sí, por favor|si gracias|confirmo|claro"
ANOTHER_DAY = "2|2.|another day|Another day please|different day|reschedule|change day|I need another day"
ANOTHER_DAY_IN_SPANISH = "otro día|otro dia por favor|cambiar el día|necesito otro dia"
THANKS = "ok|OK!|okay|k|thanks|Thank you|thx|thank you very much|got it|👍|🙏|gracias|Muchas gracias|   |\n"
HELP = "HELP|help|Help!|help please|info|INFO|help me|AYUDA|ayuda|información|informacion"
START = "START|start|unstop|Opt in|resume|comenzar|Empezar"

FOR_A_PERSON = """
Stop filling the metformin
stop the metformin
Stop. Metformin makes me sick
stop sending the blue pills
stop taking lisinopril?
I stopped taking it
cancel the tablets but fill the rest
cancel my order
cancel my appointment
I ended up at the weekend clinic
end of the month is better
Do not call me at work, call my cell
don't text me, call me
stop texting my husband's phone
stop calling my doctor
do not call my doctor
call me
don't fill the water pill
no more pills
no more metformin please
I don't want the metformin
please remove the aspirin
take me off the metformin
remove metformin from my list
take lisinopril off my list
leave it at the front desk
leave the bag with my neighbor
no
No thanks
NO
no más
ya no tomo la metformina
no me manden la metformina
no quiero la metformina
paren la metformina
para mi esposo también
para el lunes
dejen de llenar la metformina
my number changed to 918-555-0142
This is not Ada
who is this?
who dis
?
???
🙃
yes but not the aspirin
yes and stop the metformin
yes stop
1 2
1 and 2
Friday
can I come tuesday instead?
tomorrow at 5
how much is it
start the new insulin
help I have chest pain
help, what is my copay
stop by tomorrow?
I will stop by on Friday
can i stop in at noon
what happens if I say stop
do I have to reply STOP
wrong pills
wrong number of pills
you gave me the wrong number of tablets
the wrong number is on my bottle
I quit smoking
quit smoking
I was in the hospital
never mind
I never got my call
did you call me
I can't talk now, text me
No, calls please
Please do not. Call me
take me
get me
drop me a line
take my number
I don't need contacts
this is not the right number
Stop, texts are fine but no calls
pick up my order
\u202e
"""


def lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


TABLE = [
    *[(text, Heard(Meaning.stop)) for text in lines(STOP)],
    *[(text, Heard(Meaning.stop, spanish=True)) for text in lines(STOP_IN_SPANISH)],
    *[(text, Heard(Meaning.wrong_number)) for text in lines(WRONG_NUMBER)],
    *[(text, Heard(Meaning.wrong_number, spanish=True)) for text in lines(WRONG_NUMBER_IN_SPANISH)],
    *[(text, Heard(Meaning.yes)) for text in YES.split("|")],
    *[(text, Heard(Meaning.yes, spanish=True)) for text in YES_IN_SPANISH.split("|")],
    *[(text, Heard(Meaning.another_day)) for text in ANOTHER_DAY.split("|")],
    *[(text, Heard(Meaning.another_day, spanish=True)) for text in ANOTHER_DAY_IN_SPANISH.split("|")],
    *[(text, Heard(Meaning.unclear)) for text in lines(FOR_A_PERSON)],
]


@pytest.mark.parametrize(("text", "means"), TABLE)
def test_what_a_message_means(text: str, means: Heard) -> None:
    assert hear(text) == means


@pytest.mark.parametrize(
    ("texts", "meaning"), [(THANKS, Meaning.thanks), (HELP, Meaning.help), (START, Meaning.start)]
)
def test_what_a_word_means(texts: str, meaning: Meaning) -> None:
    assert [text for text in texts.split("|") if hear(text).meaning is not meaning] == []


def test_a_message_that_is_too_long_is_for_a_person_and_blanks_make_none_long() -> None:
    assert hear("stop " * 400).meaning is Meaning.unclear
    assert hear("stop" + " " * LONGEST).meaning is Meaning.stop
    assert hear("x" * 100_000).meaning is Meaning.unclear


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=300))
def test_whatever_is_written_is_heard(text: str) -> None:
    assert hear(text).meaning in Meaning


@given(st.sampled_from(lines(STOP + STOP_IN_SPANISH)), st.sampled_from([str.upper, str.title, str.lower]))
def test_a_stop_is_a_stop_in_any_case(text: str, cased: object) -> None:
    assert hear(cased(text)).meaning is Meaning.stop  # type: ignore[operator]


@given(
    st.sampled_from(lines(STOP)), st.sampled_from(["filling the metformin", "my doctor said so", "aspirin"])
)
def test_whatever_is_said_beside_a_stop_is_read_by_a_person(text: str, more: str) -> None:
    assert hear(f"{text} {more}").meaning is Meaning.unclear


WEEKDAYS = Calendar(frozenset(range(5)), frozenset({date(2026, 10, 5)}))


@pytest.mark.parametrize(
    ("now", "calendar", "due", "escalates"),
    [
        (at(1), Calendar(), at(1, "20:00"), at(2, "20:00")),
        (at(1, "20:00"), Calendar(), at(2, "20:00"), at(2, "20:00")),
        (at(2), WEEKDAYS, at(2, "20:00"), at(6, "20:00")),  # a Friday, and Monday is a holiday
        (at(3), WEEKDAYS, at(6, "20:00"), at(6, "20:00")),
        (at(1), Calendar(frozenset()), at(2, "20:00"), at(2, "20:00")),  # a store that is never open
    ],
)
def test_a_message_is_read_the_same_day_and_escalates_after_the_next(
    now: object, calendar: Calendar, due: object, escalates: object
) -> None:
    assert deadlines(now, calendar, NEW_YORK) == Deadlines(due, escalates)  # type: ignore[arg-type]
