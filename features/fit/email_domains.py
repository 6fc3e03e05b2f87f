"""What an e-mail domain tells: anyone's mail host, a school's or an organisation's own."""

from __future__ import annotations

import re

from features.fit.free_mail import is_free_mail

# Reserved for education by a country's registry.
_EDUCATION_SUFFIX = re.compile(
    r"\.edu$|\.(?:edu|ac|sch|school)\.[a-z]{2}$|\.k12\.[a-z]{2}\.us$|\.schule\.de$"
)
# Names that universities of German- and French-speaking countries go by.
_EDUCATION_NAME = re.compile(
    r"(?:^|\.)(?:"
    r"(?:uni|tu|fh|rwth|hochschule|universitaet|dhbw)-[a-z-]+\.(?:de|at|ch)"
    r"|(?:univ|universite|ecole)-[a-z0-9-]+\.fr"
    r"|(?:[a-z-]*-)?(?:university|universitaet|universite|universiteit|universidad|universita)"
    r"(?:-[a-z-]+)?\.[a-z.]+"
    r"|[a-z]+(?:university|universiteit|universitaet|universite)\.[a-z]{2,3}"
    r")$"
)
# Well-known ones with neither such a suffix nor such a name.
_WELL_KNOWN = """
    aalto.fi au.dk chalmers.se concordia.ca dal.ca dcu.ie dtu.dk ens.fr epfl.ch ethz.ch eur.nl
    fau.de fu-berlin.de gu.se helsinki.fi hs-augsburg.de hs-bremen.de hs-esslingen.de
    hs-karlsruhe.de hs-mannheim.de hs-osnabrueck.de htw-berlin.de hu-berlin.de jku.at kth.se
    ku.dk kuleuven.be leidenuniv.nl liu.se lmu.de lu.se mcgill.ca mcmaster.ca ntnu.no ovgu.de
    polimi.it polito.it queensu.ca ru.nl rug.nl sdu.dk sfu.ca su.se tcd.ie th-koeln.de
    th-nuernberg.de th-owl.de tudelft.nl tue.nl tugraz.at tum.de u-bordeaux.fr u-paris.fr
    ualberta.ca uam.es uantwerpen.be ubc.ca uc.pt uc3m.es ucalgary.ca ucc.ie ucd.ie uclouvain.be
    ucm.es ugent.be ugr.es uib.no uio.no ulaval.ca ulb.be ulisboa.pt umontreal.ca umu.se
    unibas.ch unibe.ch unibo.it unibw.de unifi.it unifr.ch unige.ch unil.ch unimi.it unina.it
    unipd.it unipi.it uniroma1.it unisg.ch unitn.it unito.it uottawa.ca up.pt upm.es upv.es
    us.es usherbrooke.ca utoronto.ca utu.fi utwente.nl uu.nl uu.se uv.es uva.nl uvic.ca
    uwaterloo.ca uzh.ch vu.nl wur.nl yorku.ca
"""
_UNIVERSITIES = frozenset(_WELL_KNOWN.split())
_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+(?:xn--[a-z0-9-]+|[^\W\d_]{2,63})")


def email_kind(domain: str) -> str | None:
    """Return `free`, `business` or `education`; None for text that is no domain.

    Throw-away hosts count as free. `business` is any other organisation's own domain.

    >>> [email_kind(domain) for domain in ("Gmail.com", "yahoo.com.br", "acme.example")]
    ['free', 'free', 'business']
    >>> [email_kind(domain) for domain in ("mit.edu", "student.uni-koeln.de", "n/a")]
    ['education', 'education', None]
    """
    name = domain.strip().lower().lstrip("@").rstrip(".")
    if len(name) > 253 or not _DOMAIN.fullmatch(name):
        return None
    if is_free_mail(name):
        return "free"
    if _EDUCATION_SUFFIX.search(name) or _EDUCATION_NAME.search(name) or _is_university(name):
        return "education"
    return "business"


def _is_university(domain: str) -> bool:
    """Return whether `domain` is that of a well-known university, or lies below it."""
    while domain:
        if domain in _UNIVERSITIES:
            return True
        domain = domain.partition(".")[2]
    return False
