"""The words and phrases by which patients say stop and the like, in English and Spanish: the tables that `texts` reads.

They are matched against plain words: lower case, without accents and marks, with what is mistyped put right. A pattern
is matched against a whole sentence: what has more to say is not understood.
"""

from __future__ import annotations

import re


def _words(table: str) -> frozenset[str]:
    """Words and phrases, separated by bars; a line may break anywhere between them."""
    return frozenset(" ".join(each.split()) for each in table.split("|") if each.strip())


STOP_WORDS = _words(
    """
    stop | stopall | stop all | quit | end | revoke | opt out | optout | cancel | unsubscribe | unsub | remove | stop it
    | stop this | stop that | stop now | go away | leave me alone | leave us alone | do not disturb
    | stpo | sotp | tsop | srop | stip | sopt | cancle
    | unsuscribe | unsubcribe | unsubscibe | unsubsribe | unsubscrib
    """
)
"""Messages that end automated contact at once (47 CFR 64.1200(a)(10)), and how they are mistyped."""

STOP_WORDS_ES = _words(
    """
    alto | parar | pare | paren | para | cancelar | cancele | basta | ya basta | detener | detengan | detenganse
    | baja | dar de baja | darme de baja | denme de baja | deme de baja | quiero darme de baja
    | no molestar | no molesten | no me molesten | no me moleste | deje de molestar
    | dejeme en paz | dejenme en paz | dejame en paz | quiteme | quitenme | saqueme | saquenme | borreme | borrenme
    | desuscribir | desuscribirme | revoco mi consentimiento
    """
)
"""The same in Spanish."""

START = _words(
    """
    start | unstop | resume | subscribe | opt in | optin | opt me in | opt me back in | start again
    | start texting me again
    """
)
START_ES = _words("comenzar | empezar | iniciar | reanudar | inicio")

HELP = _words("help | info | information | help me | more info")
HELP_ES = _words("ayuda | informacion | ayudeme | mas informacion")

YES = _words(
    """
    1 | yes | y | yeah | yep | yup | yea | yess | confirm | confirmed | i confirm | correct | yes confirm | yes 1
    | 1 yes | yes i confirm | that works | works for me | yes that works | yes that is fine
    """
)
YES_ES = _words(
    """
    si | sip | confirmo | confirmar | confirmado | claro | claro que si | si confirmo | esta bien si | correcto | si 1
    | 1 si
    """
)

ANOTHER_DAY = _words(
    """
    2 | another day | a different day | different day | other day | another date | different date | change day
    | change the day | change date | change the date | reschedule | i need another day | need another day
    | 2 another day | i want another day | i need to reschedule | need to reschedule
    """
)
ANOTHER_DAY_ES = _words(
    """
    otro dia | otra fecha | cambiar | cambiar dia | cambiar el dia | cambiar la fecha | necesito otro dia
    | quiero otro dia | otro dia mejor | 2 otro dia
    """
)

THANKS = _words(
    """
    got it | will do | great | good | perfect | noted | received | you too | have a good day | have a nice day
    | great day
    """
)
THANKS_ES = _words("entendido | recibido | vale | de nada | bueno | perfecto | igualmente")

POLITE = _words(
    """
    please | kindly | thanks | thank you | thank you very much | thx | ty | tysm | ok | okay | hi | hello | hey
    | good morning | good afternoon | sir | maam | sorry | just | now | right now | immediately | asap | already
    | would you | could you | can you | will you | i said | i told you | i would like you to | i want you to
    | i need you to | i am asking you to | for the last time | god | everyone | again please
    | por favor | favor de | favor | gracias | muchas gracias | mil gracias | hola | buenos dias | buenas tardes
    | disculpe | perdon | ya mismo | ahora | ahora mismo | inmediatamente | les pido que | le pido que | quiero que
    | quisiera que
    """
)
"""What goes before and after, and changes nothing; alone it asks for nothing."""

SPELLED = {
    "u": "you", "ur": "your", "r": "are", "txt": "text", "txts": "texts", "txting": "texting", "texing": "texting",
    "textin": "texting", "callin": "calling", "msg": "message", "msgs": "messages", "mesage": "message",
    "mesages": "messages", "messges": "messages", "massages": "messages", "mssgs": "messages", "plz": "please",
    "pls": "please", "plse": "please", "pleas": "please", "pleae": "please", "dont": "do not", "donot": "do not",
    "dnt": "do not", "doesnt": "does not", "isnt": "is not", "wont": "will not", "id": "i would", "im": "i am",
    "youve": "you have", "wanna": "want to", "anymore": "any more", "msj": "mensajes", "msjs": "mensajes",
    "mensage": "mensaje", "mensages": "mensajes", "mesajes": "mensajes", "mensajitos": "mensajes", "q": "que",
    "k": "ok", "xfa": "por favor", "porfa": "por favor", "porfavor": "por favor", "nbr": "number", "num": "number",
}  # fmt: skip
"""Words as they are typed, and as they are meant."""

EMOJI = str.maketrans(
    {"🛑": " stop ", "👍": " ok ", "👌": " ok ", "✅": " ok ", "🙏": " thanks ", "❤": " thanks "}
)


def _list(words: str) -> str:
    """One of these words, or several: `calls, texts and messages`."""
    return rf"(?:{words})(?:(?: and| or| nor|) (?:{words}))*"


_THINGS = _list(
    "texts?|text messages?|messages?|messaging|calls?|phone calls?|calling|robocalls?|robo calls?|voicemails?"
    "|notifications?|reminders?|alerts?|emails?|letters|sms|contact|texting|spam"
)
_DOING = _list(
    "texting|messaging|calling|contacting|emailing|phoning|bothering|harassing|spamming|notifying|bugging|robocalling"
    "|writing"
)
_DO = _list(
    "text|message|call|contact|email|phone|bother|harass|spam|notify|bug|robocall|write(?: to)?|sms|reach out(?: to)?"
)
_DONE = _list("texted|messaged|called|contacted|emailed|bothered|reminded|notified")
_WHICH = "(?: all| any| the| these| those| this| your| more| such| of| automated| automatic| further| other)*"
_WHOM = "(?: to)?(?: me| us| this number| this phone| my number| my phone| my cell| this cell| here)?"
_WHEN = (
    "(?: again| any more| any longer| ever| ever again| now| right now| at all| forever| at this number"
    "| on this number| on this phone| on my phone| to this number| to this phone| to my phone| from you| at once)*"
)
_FROM = "(?: off| from| out| out of| of| to| with)*"
_LIST = (
    "(?: the| your| this| all| call| calling| text| texting| mailing| contact| phone| message| reminder| automated"
    "| lists?| program| programs| system| database| records| service| it| texts?| messages?| calls?)*"
)
_ME = (
    "(?: me| us| my name| my number| my phone number| my cell| my phone| this number| this phone| this phone number"
    "| the number)"
)
_STOPPING = "(?:stop|quit|cease|end|discontinue|halt|turn off|cancel)"
_WISH = "(?:i (?:want|wish|would like|need) to )?"
_NOT = "(?:do not|never|you may not|you cannot|no longer)"
_PROGRAM = "(?:program|refill program|sync|med sync|sync program|enrollment|subscription|service)"

STOPPED = re.compile(
    "|".join(
        (
            f"{_STOPPING}{_WHICH} {_DOING}{_WHOM}{_WHICH}(?: {_THINGS})?{_WHEN}",
            f"{_STOPPING}(?: sending| making| with| getting)?{_WHOM}{_WHICH} {_THINGS}{_WHOM}{_WHEN}",
            f"{_NOT}(?: ever| you ever)? {_DO}{_WHOM}{_WHEN}",
            f"{_NOT}(?: ever)? (?:send|give|make|leave){_WHOM}{_WHICH} {_THINGS}{_WHOM}{_WHEN}",
            f"(?:i |we )?(?:do not|no longer|never) (?:want|wish|need|like|care)(?: to (?:get|receive|have))?{_WHICH}"
            f" {_THINGS}{_WHEN}",
            f"(?:i |we )?(?:do not|no longer|never) (?:want|wish|like)(?: to be| being| to get)? {_DONE}{_WHEN}",
            f"(?:i |we )?(?:do not|no longer) want you to {_DO}{_WHOM}{_WHEN}",
            f"(?:i |we )?(?:do not|no longer) want you {_DOING}{_WHOM}{_WHEN}",
            f"no(?: more| further)?{_WHICH} {_THINGS}{_WHEN}",
            f"{_WISH}(?:opt|opting)(?: me| us| this number| my number)? out{_FROM}{_LIST}",
            "optout(?: me| us)?",
            f"{_WISH}unsub(?:scribe)?{_WHOM}{_FROM}{_LIST}",
            f"{_WISH}be (?:removed|taken off){_FROM}{_LIST}",
            f"(?:remove|delete|erase){_ME}{_FROM}{_LIST}",
            f"(?:take|get|drop){_ME} (?:off|out){_FROM}{_LIST}",
            "lose (?:my|this) number",
            f"leave (?:me|us) (?:alone|be){_WHEN}",
            "(?:fuck|piss|buzz) off",
            "stop the harassment",
            "(?:i )?(?:revoke|withdraw|take back|cancel)(?: all)?(?: my)? (?:consent|permission)"
            f"(?: to (?:be {_DONE}|{_DO}{_WHOM}))?",
            "(?:i )?(?:do not|no longer) consent(?: to (?:this|these|any|your| )*(?:texts|messages|calls|contact))?",
            f"{_STOPPING} (?:the|this|your|my) {_PROGRAM}",
            f"(?:unenroll|disenroll) me{_FROM}{_LIST}",
        )
    )
)

_THINGS_ES = (
    "(?:mensajes?|textos?|mensajes de texto|llamadas?|llamados|llamados automaticos|avisos?|recordatorios?"
    "|notificaciones|sms|correos|cartas|contacto)"
)
_THINGS_ES = rf"{_THINGS_ES}(?:(?: y| o| ni|)(?: mas| los| las)* {_THINGS_ES})*(?: automaticos| automaticas)?"
_WHICH_ES = "(?: mas| ya| los| las| el| la| estos| estas| sus| tus| de| todos| todas| tantos| ningun| con)*"
_WHEN_ES = "(?: mas| nunca| nunca mas| jamas| a este numero| a este telefono| a mi telefono| a mi celular| de ustedes)*"
_DO_ES = (
    "(?:manden?|mandes|mandan|mande|envien?|envies|escriban?|escribas|llamen?|llames|molesten?|molestes|contacten?"
    "|contactes|texteen?|textees|marquen?|marque)"
)
_DO_ES = rf"{_DO_ES}(?:(?: y| o| ni)(?: me)? {_DO_ES})*"
_DOING_ES = "(?:mandar|enviar|escribir|llamar|molestar|contactar|textear|recibir)(?:me|nos)?"
_DOING_ES = rf"{_DOING_ES}(?:(?: y| o| ni)(?: de)? {_DOING_ES})*"

_LIST_ES = "(?: de| del| la| su| sus| esta| las| lista| listas| programa| sistema)*"

STOPPED_ES = re.compile(
    "|".join(
        (
            f"(?:ya )?no(?: ya)?(?: mas| quiero| deseo| necesito| quiero recibir| deseo recibir| recibir){_WHICH_ES}"
            f" {_THINGS_ES}{_WHEN_ES}",
            f"(?:ya )?no {_THINGS_ES}{_WHEN_ES}",
            f"(?:ya )?no (?:quiero|deseo) que(?: me)? {_DO_ES}{_WHICH_ES}(?: {_THINGS_ES})?{_WHEN_ES}",
            f"(?:que )?(?:ya |nunca )?no (?:me |nos )?{_DO_ES}{_WHICH_ES}(?: {_THINGS_ES})?{_WHEN_ES}",
            f"(?:que )?(?:ya |por favor )?(?:dejen?|deja|dejar|paren?|para|basta|dejes) de {_DOING_ES}{_WHICH_ES}"
            f"(?: {_THINGS_ES})?{_WHEN_ES}",
            f"(?:parar|pare|paren|para|cancelar|cancelen?|detener|detengan?|quiten?|alto a){_WHICH_ES} {_THINGS_ES}"
            f"{_WHEN_ES}",
            f"(?:quiten?me|quitame|saquen?me|sacame|borren?me|borrame|eliminen?me|remuevan?me){_LIST_ES}",
            "(?:quiten?|borren?|eliminen?|saquen?|remuevan?|quitar|borrar|eliminar)(?: a)? (?:mi|este)"
            f" (?:numero|telefono|celular)(?: de telefono)?{_LIST_ES}",
            "(?:quiero )?(?:dar|dar me|darme|denme|deme|dame) de baja(?: de| del| la| su| esta| lista| programa)*",
            "(?:ya )?dejen?(?:me|nos) (?:en paz|tranquil[oa]s?)",
            "cancelar (?:mi |la )?suscripcion",
        )
    )
)

WRONG = re.compile(
    "(?:i think |i believe )?(?:you |you all )?"
    "(?:have |got |have got |this is |it is |its |you are texting |you are calling )*"
    "(?:the |a )?wrong (?:number|person|phone|phone number|num|guy|lady)(?: here)?"
    "|(?:this is |it is )?not (?:her|his|their) (?:number|phone)"
    "|(?:stop |do not )?(?:texting |calling |call |text )(?:the )?wrong number"
)
WRONG_ES = re.compile(
    "(?:es |este es |tiene |tienen |esta |es un )?(?:el |al |un )?(?:numero|telefono) (?:equivocado|incorrecto|erroneo)"
    "|(?:se )?(?:equivoco|equivocaron|esta equivocado|estan equivocados) de (?:numero|telefono|persona)"
    "|(?:esta|estan) equivocad[oa]s?"
)
