"""Which department of a company a job title names. English, and the commonest other words."""

from __future__ import annotations

from collections.abc import Iterator

from features.fit.job_titles import ASSISTANTS, seniority, words

# What the person is: decides wherever it stands (`IT Recruiter`, `Sales Counsel`).
_ROLES = {
    "hr": "recruiter, recruiterin, recruiting, recruitment, talent acquisition, headhunter, "
    "hrbp, personalreferent, personalreferentin, chro, drh",
    "sales": "account executive, account manager, accountmanager, key account, sdr, bdr, "
    "presales, pre sales, sales engineer, salesperson, salesman, saleswoman, "
    "business development, revenue operations, sales operations, technical sales, aussendienst, "
    "vertrieb, business developer, attache commercial, attachee commerciale",
    "legal": "lawyer, attorney, counsel, paralegal, syndikus, syndikusrechtsanwalt, avocat, "
    "avocate, abogado, abogada, advocaat, data protection, datenschutzbeauftragter, "
    "datenschutzbeauftragte",
    "finance": "accountant, accounts payable, accounts receivable, bookkeeper, cfo, buchhalter, "
    "buchhalterin, comptable, boekhouder",
    "marketing": "product marketing, content marketing, marketing operations, market research, "
    "copywriter, cmo",
    "customer_service": "customer success, customer service, customer support, customer care, "
    "client success, client services, client service, technical support, support engineer, "
    "support specialist, support agent, service client, call center, call centre, "
    "contact center, contact centre, technical account manager, csm, kundenservice, "
    "kundendienst, kundenbetreuung, kundenbetreuer, kundensupport, klantenservice, after sales, "
    "atencion al cliente",
    "data": "data analyst, data scientist, data science, data engineer, data engineering, "
    "data architect, data steward, data governance, data analytics, machine learning, "
    "business intelligence, analytics engineer",
    "it": "system administrator, systems administrator, sysadmin, network engineer, "
    "network administrator, systems engineer, security engineer, security analyst, help desk, "
    "helpdesk, service desk, database administrator, dba, cio, ciso, systemadministrator, "
    "systemadministratorin",
    "design": "art director, product designer, product design",
    "product": "product owner, product manager, produktmanager, produktmanagerin, chef de produit",
}
# The field of work: the first one named counts (`Director of Sales and Marketing` is in sales).
_FIELDS = {
    "marketing": "marketing, marketer, marketeer, brand, demand gen, demand generation, growth, "
    "content, seo, sem, ppc, social media, communications, communication, communicatie, "
    "kommunikation, pr, public relations, advertising, werbung, publicite, publicidad, mercadeo, "
    "mercadotecnia, campaign, campaigns, events, event manager, community manager, "
    "lead generation, go to market, webmaster",
    "sales": "sales, revenue, cro, verkauf, verkoop, verkoper, verkaeufer, verkaeuferin, ventes, "
    "vente, ventas, vendedor, vendedora, commercial, commerciale, comercial, account director, "
    "partnerships, territory manager",
    "it": "it, ict, edv, information technology, information systems, informatik, informatique, "
    "informatica, infrastructure, cybersecurity, cyber security, information security, cloud, "
    "systems",
    "engineering": "engineer, engineering, developer, programmer, devops, sre, qa, "
    "quality assurance, tester, cto, technology, technical, technik, technique, tecnico, "
    "entwicklung, solution architect, solutions architect, software architect, "
    "enterprise architect, software development, web development, technischer, technische, "
    "ingenieur, ingenieurin, ingenieure, ingenierie, ingeniero, ingeniera, ingenieria, "
    "developpeur, developpeuse, desarrollador, desarrolladora, desarrollo, ontwikkelaar, "
    "entwickler, entwicklerin, konstrukteur",
    "finance": "finance, financial, finances, accounting, controller, controlling, treasury, "
    "treasurer, tax, audit, auditor, investment, investments, investor relations, credit, "
    "billing, payroll, fpa, finanzen, rechnungswesen, buchhaltung, comptabilite, financier, "
    "financiere, finanzas, contable, contabilidad, financien, financieel, boekhouding",
    "hr": "hr, human resources, human capital, people, talent, ld, learning development, "
    "compensation, benefits, personal, personalwesen, personalleiter, personalleiterin, "
    "personalleitung, personalabteilung, personalentwicklung, rh, ressources humaines, rrhh, "
    "recursos humanos, personeel, personeelszaken",
    "operations": "operations, ops, coo, logistics, logistik, logistique, logistica, logistiek, "
    "supply chain, manufacturing, production, produktion, produccion, productie, plant, "
    "warehouse, lager, fulfilment, fulfillment, facilities, facility, quality, qualitaet, "
    "qualite, calidad, kwaliteit, maintenance, transport, fleet, operaciones, operaties, "
    "betriebsleiter, betriebsleiterin, produktionsleiter, logistikleiter, qualitaetsmanagement",
    "product": "product, products, produkt, produktmanagement, produit, produits, producto, "
    "productos, productmanager, ux research",
    "legal": "legal, compliance, privacy, jurist, juristin, juriste, juridique, juridico, recht, "
    "rechtsabteilung, contracts, notary",
    "customer_service": "customer experience, customer relations, customer operations, "
    "customer advisor, customer adviser, customer representative, client relations, "
    "client advisor, client adviser, relation client, support",
    "procurement": "procurement, purchasing, purchaser, buyer, sourcing, einkauf, einkaeufer, "
    "einkaeuferin, einkaufsleiter, einkaufsleiterin, achats, achat, acheteur, acheteuse, "
    "compras, comprador, compradora, inkoop, inkoper",
    "data": "analytics, bi, data, ai, statistician",
    "design": "design, designer, ux, ui, creative, graphic, grafik, grafiker, grafikerin, "
    "graphiste, diseno, disenador, disenadora",
    "research": "research, rd, researcher, scientist, forschung, recherche, investigacion, "
    "onderzoek",
}
# Only where no field is named, like the level of `CEO`, which is executive.
_OTHERWISE = {
    "administration": "executive assistant, personal assistant, office manager, "
    "office management, secretary, sekretaer, sekretaerin, sekretariat, secretaire, secretaria, "
    "secretaresse, receptionist, empfang, administration, administrative, administrativo, "
    "administrativa, verwaltung, administratie, administrator, clerk, teamassistenz, "
    "teamassistent, teamassistentin, backoffice, back office",
    "executive": "general manager",
}
# Words that start like these are compounds of the field: `Vertriebsleiter`, `Marketingreferent`.
_STARTS = {
    "marketing": "marketing",
    "sales": "vertrieb, verkaufs, sales, verkoop",
    "it": "informatik, informati",
    "engineering": "softwareentwickl, entwicklungs, konstruktion, technik",
    "finance": "finanz, buchhalt, comptab, contab, financ, boekhoud, steuer",
    "hr": "personalreferent, personalmanag, personalsach, personalchef, recruit, personeels",
    "operations": "logisti, produktions, qualitaets, betriebsleit, lagerleit, operacion",
    "product": "produktmanag",
    "legal": "rechtsanw, juridi, datenschutz, compliance",
    "customer_service": "kunden, klanten",
    "procurement": "einkaufs, einkaeuf, inkoop",
    "design": "grafik",
}
# Words that name no field here.
_NOTHING = {
    "": "personal trainer, personal banker, data entry, support worker, assistant professor",
}


def _ranked(*tables: dict[str, str]) -> dict[str, tuple[int, str]]:
    """Return phrase -> (rank of its table, department)."""
    return {
        phrase.strip(): (rank, department)
        for rank, table in reversed(list(enumerate(tables)))
        for department, phrases in table.items()
        for phrase in phrases.split(",")
    }


_PHRASES = _ranked(_ROLES, _FIELDS, _OTHERWISE, _NOTHING)
_PHRASES_OF_STARTS = _ranked({}, _STARTS)
_ALL_STARTS = tuple(_PHRASES_OF_STARTS)
DEPARTMENTS = tuple(dict.fromkeys([*_ROLES, *_FIELDS, *_OTHERWISE]))


def department(job_title: str) -> str | None:
    """Return the department a job title names, one of `DEPARTMENTS`; None if it names none.

    What the person is comes before the field it works in, and the first field before later ones.

    >>> [department(title) for title in ("VP Sales and Marketing", "IT Recruiter", "R&D Engineer")]
    ['sales', 'hr', 'research']
    >>> [department(title) for title in ("CEO", "CEO and Head of Sales", "Consultant")]
    ['executive', 'sales', None]
    """
    tokens = [token for token in words(job_title) if token != ","]
    found = [entry for entry in _entries(tokens) if entry[1]]
    if found:
        return min(found, key=lambda entry: entry[0])[1]
    level = seniority(job_title)
    if level == "individual" and not ASSISTANTS.isdisjoint(tokens):
        return "administration"
    return "executive" if level == "c_level" else None


def _entries(tokens: list[str]) -> Iterator[tuple[int, str]]:
    """Yield what each word, with the ones after it, stands for: the longest phrase that fits."""
    for place, token in enumerate(tokens):
        if token == "to" and tokens[max(place - 1, 0)] not in ("go", "business", "direct"):
            return  # `Assistant to the Head of Sales`
        for length in (3, 2, 1):
            entry = _PHRASES.get(" ".join(tokens[place : place + length]))
            if entry is not None:
                yield entry
                break
        else:
            if token.startswith(_ALL_STARTS):
                yield next(
                    entry for start, entry in _PHRASES_OF_STARTS.items() if token.startswith(start)
                )
