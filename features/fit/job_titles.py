"""Which level of a company a job title names. English, and the commonest other words."""

from __future__ import annotations

import re
import unicodedata

LEVELS = ("c_level", "vp", "director", "manager", "senior", "individual", "entry")

# Phrases of up to three words; the longest that fits is taken, so that `vice president` never
# counts as `president`. A phrase that names no level ("") keeps its words from naming one.
_PHRASES = {
    "": "senior living, senior care, senior citizens, senior housing, senior centre, "
    "senior center, ceo office, cfo office, cto office, coo office, student affairs, "
    "student services, student success, student life, student recruitment, student support, "
    "student advisor, graduate recruitment, graduate programme, graduate program, "
    "graduate admissions, graduate studies, graduate school, intern program, intern programme, "
    "internship program, internship programme, internship manager, apprenticeship manager, "
    "apprenticeship coordinator, trainee program, trainee programme, lead generation, "
    "lead management, lead gen, head hunter, head chef, head nurse, head coach, head teacher, "
    "head waiter",
    "c_level": "ceo, cfo, coo, cto, cmo, cio, cro, cpo, cdo, ciso, chro, cso, cco, clo, cxo, "
    "cbo, president, presidente, presidenta, praesident, praesidentin, founder, cofounder, "
    "fondateur, fondatrice, cofondateur, cofondatrice, fundador, fundadora, cofundador, "
    "cofundadora, gruender, gruenderin, mitgruender, mitgruenderin, oprichter, oprichtster, "
    "medeoprichter, inhaber, inhaberin, eigentuemer, eigentuemerin, unternehmer, unternehmerin, "
    "entrepreneur, proprietor, proprietaire, propietario, propietaria, dueno, duena, eigenaar, "
    "eigenaresse, geschaeftsfuehrer, geschaeftsfuehrerin, geschaftsfuhrer, geschaftsfuhrerin, "
    "geschaeftsfuehrender direktor, geschaeftsfuehrender gesellschafter, gesellschafter, "
    "geschaeftsfuehrung, geschaeftsleitung, geschaeftsleiter, geschaeftsleiterin, vorstand, "
    "vorstands, vorstandsvorsitzender, vorstandsvorsitzende, vorstandsmitglied, pdg, gerant, "
    "gerante, zaakvoerder, bestuurder, managing director, managing partner, founding partner, "
    "general partner, equity partner, name partner, senior partner, chief of staff, "
    "general counsel, chairman, chairwoman, chairperson, vice chairman, vice chair, "
    "board member, board director, of the board, board of directors, directeur general, "
    "directrice generale, director general, directora general, director gerente, "
    "director ejecutivo, directora ejecutiva, gerente general, consejero delegado, "
    "consejera delegada, algemeen directeur, non executive director, secretary general, "
    "president director, managing owner, business owner, company owner, shop owner, store owner, "
    "restaurant owner, agency owner, firm owner, practice owner, studio owner, salon owner, "
    "franchise owner, part owner, sole owner, co owner, principal owner",
    "vp": "vp, svp, evp, avp, rvp, gvp, vice president, vice presidente, vice presidenta, "
    "vicepresident, vicepresidente, vicepresidenta, vizepraesident, vizepraesidentin, "
    "president adjoint, president elect",
    "director": "director, directora, directeur, directrice, direktor, direktorin, dir, head, "
    "general manager, country manager, leitung, leiter, leiterin, bereichsleiter, "
    "bereichsleiterin, abteilungsleiter, abteilungsleiterin, hoofd, chef de service, "
    "assistant director, drh, daf, kaufmaennischer leiter, technischer leiter",
    "manager": "manager, managerin, mgr, supervisor, superviseur, foreman, team lead, "
    "team leader, team leiter, team leitung, responsable, gerente, jefe, jefa, teamleider, "
    "chef de projet, chef de produit, chef de groupe, chef d equipe, encargado, encargada, "
    "coordinatrice, internship manager, apprenticeship manager, assistant manager, "
    "deputy manager, prokurist, prokuristin, teamchef, projektleitung",
    "senior": "senior, sr, snr, staff engineer, tech lead, technical lead",
    "individual": "internship coordinator, apprenticeship coordinator, account manager, "
    "accountmanager, customer success manager, csm, client success manager, case manager, "
    "community manager, relationship manager, territory manager, area sales manager, "
    "art director, account director, product owner, process owner, data owner, service owner, "
    "system owner, business partner, account executive, sales executive, marketing executive, "
    "business development executive, development representative, representative, rep, sdr, bdr, "
    "ae, analyst, specialist, engineer, developer, consultant, associate, coordinator, "
    "administrator, advisor, adviser, accountant, designer, recruiter, recruiting, buyer, "
    "purchaser, planner, officer, technician, agent, clerk, programmer, scientist, researcher, "
    "writer, copywriter, editor, strategist, architect, nurse, teacher, professor, lecturer, "
    "lawyer, attorney, counsel, paralegal, bookkeeper, auditor, underwriter, broker, trader, "
    "driver, operator, mechanic, electrician, freelancer, freelance, contractor, photographer, "
    "journalist, trainer, coach, instructor, tester, webmaster, marketer, salesperson, salesman, "
    "saleswoman, merchandiser, economist, statistician, receptionist, librarian, pharmacist, "
    "physician, sysadmin, dba, generalist, mitarbeiter, mitarbeiterin, sachbearbeiter, "
    "sachbearbeiterin, berater, beraterin, entwickler, entwicklerin, ingenieur, ingenieurin, "
    "referent, referentin, spezialist, spezialistin, kaufmann, kauffrau, buchhalter, "
    "buchhalterin, techniker, technikerin, verkaeufer, verkaeuferin, redakteur, redakteurin, "
    "einkaeufer, einkaeuferin, disponent, disponentin, aussendienst, jurist, juristin, "
    "rechtsanwalt, rechtsanwaeltin, avocat, avocate, abogado, abogada, advocaat, ingenieure, "
    "developpeur, developpeuse, analyste, consultante, charge, chargee, commercial, commerciale, "
    "comptable, technicien, technicienne, conseiller, conseillere, acheteur, acheteuse, "
    "redacteur, redactrice, juriste, attache, attachee, ingeniero, ingeniera, desarrollador, "
    "desarrolladora, analista, consultor, consultora, asesor, asesora, comercial, vendedor, "
    "vendedora, tecnico, tecnica, contable, administrativo, administrativa, especialista, "
    "coordinador, coordinadora, ejecutivo de cuentas, ejecutiva de cuentas, ejecutivo de ventas, "
    "ejecutiva de ventas, comprador, compradora, medewerker, adviseur, ontwikkelaar, verkoper, "
    "boekhouder, inkoper",
    "entry": "intern, internship, trainee, apprentice, apprenticeship, working student, student, "
    "graduate, junior, jr, entry level, praktikant, praktikantin, werkstudent, werkstudentin, "
    "azubi, auszubildende, auszubildender, lehrling, volontaer, volontaerin, stagiaire, "
    "alternant, alternante, apprenti, apprentie, becario, becaria, practicante, aprendiz, "
    "stagiair",
}
_LEVEL_OF = {
    phrase.strip(): level for level, phrases in _PHRASES.items() for phrase in phrases.split(",")
}
# Whoever assists is no executive, whoever is assisted; an assistant manager manages.
ASSISTANTS = frozenset(
    [
        *("assistant", "assistent", "assistentin", "assistante", "asistente", "assistente"),
        *("assistenz", "pa", "ea", "secretary", "sekretaer", "sekretaerin", "sekretariat"),
        *("secretaire", "secretaria", "secretaresse", "directiesecretaresse"),
        *("vorstandsassistent", "vorstandsassistentin"),
    ]
)
# German and Dutch write in one word what others write in two: the ends decide.
_ENDINGS = (
    (("teamleiter", "gruppenleiter", "projektleiter", "filialleiter", "marktleiter"), "manager"),
    (("bauleiter", "schichtleiter", "storeleiter", "kundenberater"), "individual"),
    (("leiter", "direktor", "directeur"), "director"),
    (("manager", "meister", "supervisor"), "manager"),
    (
        ("entwickler", "mitarbeiter", "referent", "berater", "ingenieur", "ontwikkelaar"),
        "individual",
    ),
    (("medewerker", "sachbearbeiter", "spezialist", "buchhalter", "techniker"), "individual"),
    (("kaufmann", "kauffrau", "verkaeufer", "einkaeufer", "assistent"), "individual"),
)
# Before the level of someone else: `Advisor to the CEO`, `Referent der Geschäftsführung`.
_STAFF = ("referent", "referentin", "mitarbeiter", "mitarbeiterin", "berater", "beraterin")
_FORMER = ("ex", "former", "formerly", "retired", "ehemaliger", "ehemalige", "ancien", "ancienne")

_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
_ABBREVIATION = re.compile(r"\b(?:[a-z]\.\s?){2,}")
_BOTH_SEXES = re.compile(r"\(?[/:*_]-?(?:in|innen|r|n|e|a)\b\)?|\((?:in|r|a|e|m/?w.*?|f/?m.*?)\)")
_EMPLOYER = re.compile(r"\s(?:at|bei|chez)\s|@")
_LETTERS = re.compile(r"\b([a-z]{1,2})\s?&\s?([a-z])\b")  # R&D, FP&A
_SEPARATOR = ","
_TOKEN = re.compile(r"[a-z0-9]+|[,;|/&+()\u2013\u2014]|(?<=\s)-(?=\s)")
_AND = ("and", "und", "et", "y", "en")


def words(text: str) -> list[str]:
    """Return the words of a title in lower case without accents, `,` between its parts.

    >>> words("V.P. Sales & Geschäftsführer/in (m/w/d)")
    ['vp', 'sales', ',', 'geschaeftsfuehrer']
    """
    plain = _EMPLOYER.split(text.lower())[0]  # `CEO at President Foods`
    plain = _LETTERS.sub(r"\1\2", plain)
    plain = _BOTH_SEXES.sub("", plain.translate(_GERMAN))
    plain = unicodedata.normalize("NFKD", plain)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    plain = _ABBREVIATION.sub(lambda found: re.sub(r"\W", "", found[0]) + " ", plain)
    plain = plain.replace("\u2019", "'").replace("'s ", "s ")
    tokens = (token if token.isalnum() else _SEPARATOR for token in _TOKEN.findall(plain))
    return [_SEPARATOR if token in _AND else token for token in tokens]


def seniority(job_title: str) -> str | None:
    """Return the level a job title names, one of `LEVELS`; None for titles that name none.

    The highest one counts, except that an intern stays one in any office and an assistant is no
    executive. Managers of customers, not of people or products (account manager), are individuals.

    >>> [seniority(title) for title in ("Vice President Sales", "Assistant to the CEO", "Intern")]
    ['vp', 'individual', 'entry']
    >>> [seniority(title) for title in ("Geschäftsführer", "Sales Development Representative", "-")]
    ['c_level', 'individual', None]
    """
    tokens = words(job_title)
    if not tokens or tokens[0] in _FORMER:
        return None
    tokens, is_assistant = _own_part(tokens)
    levels = set(_levels(tokens))
    if "entry" in levels:
        return "entry"
    if is_assistant:
        return "individual"
    return next((level for level in LEVELS if level in levels), None)


def _own_part(tokens: list[str]) -> tuple[list[str], bool]:
    """Return the words about the person alone, and whether it assists someone."""
    is_assistant = False
    for place, token in enumerate(tokens):
        following = tokens[place + 1 : place + 2]
        if token in ASSISTANTS and not is_assistant:
            phrases = (" ".join(tokens[place : place + 2]), " ".join(tokens[place - 1 : place + 1]))
            is_level = following and _LEVEL_OF.get(following[0]) in ("vp", "director", "manager")
            is_level = is_level or following == ["vice"] or following == ["general"]
            is_assistant = not is_level and not any(phrase in _LEVEL_OF for phrase in phrases)
        if token == "office" and following == ["of"]:
            return tokens[:place], is_assistant
        # `go to market`, `business to business` are about no one.
        if token == "to" and tokens[place - 1] not in ("go", "business", "direct"):
            return tokens[:place], is_assistant
        if token in ("der", "des", "von") and tokens[place - 1] in _STAFF and place:
            return tokens[:place], is_assistant
    return tokens, is_assistant


def _levels(tokens: list[str]) -> list[str]:
    found = []
    place = 0
    while place < len(tokens):
        for length in (3, 2, 1):
            level = _LEVEL_OF.get(" ".join(tokens[place : place + length]))
            if level is not None:
                break
        else:
            level, length = _level_of_word(tokens, place), 1
        found.append(level)
        place += length
    return [level for level in found if level]


def _level_of_word(tokens: list[str], place: int) -> str:
    """Return the level of a word that depends on its neighbours, or on its own ending."""
    token = tokens[place]
    before = tokens[place - 1] if place else _SEPARATOR
    after = tokens[place + 1] if place + 1 < len(tokens) else _SEPARATOR
    if token == "chief":
        near = tokens[place + 1 : place + 5]
        return "c_level" if {"officer", "executive"} & set(near) else "director"
    if token in ("owner", "partner"):
        # Alone; every other owner or partner is one of something (product, channel).
        return "c_level" if before == _SEPARATOR and after == _SEPARATOR else ""
    if token == "principal":
        return "senior" if after != _SEPARATOR else ""  # alone: of a school, or of a firm
    if token == "lead":
        # `Lead Engineer` is the best of them, the `Operations Lead` leads them.
        return "senior" if before == _SEPARATOR else "manager"
    for endings, level in _ENDINGS:
        if token.endswith(endings) or token.removesuffix("in").endswith(endings):
            return level
    return ""
