"""What a job title tells: a table of titles, with the reason where it surprises."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.fit.departments import DEPARTMENTS, department
from features.fit.job_titles import LEVELS, seniority

TITLES = [
    # title, seniority, department, why
    ("CEO", "c_level", "executive", ""),
    ("C.E.O.", "c_level", "executive", "dots are no matter"),
    ("Chief Executive Officer", "c_level", "executive", ""),
    ("Chief Marketing Officer", "c_level", "marketing", "the field is named"),
    ("Chief Revenue Officer", "c_level", "sales", ""),
    ("CFO", "c_level", "finance", ""),
    ("CTO", "c_level", "engineering", ""),
    ("CISO", "c_level", "it", ""),
    ("CPO", "c_level", "executive", "product, people or procurement: not told"),
    ("Co-Founder", "c_level", "executive", ""),
    ("Founder & CEO", "c_level", "executive", ""),
    ("Founder's Associate", "individual", None, "a founder's, not a founder"),
    ("Founding Engineer", "individual", "engineering", "no founder"),
    ("Owner", "c_level", "executive", ""),
    ("Owner / Operator", "c_level", "executive", ""),
    ("Business Owner", "c_level", "executive", ""),
    ("Product Owner", "individual", "product", "owns a backlog"),
    ("Process Owner", "individual", None, ""),
    ("President", "c_level", "executive", ""),
    ("Vice President", "vp", None, "never a president"),
    ("Vice-President of Sales", "vp", "sales", ""),
    ("SVP, Marketing", "vp", "marketing", ""),
    ("V.P. Engineering", "vp", "engineering", ""),
    ("Assistant Vice President", "vp", None, "a rank of banks, no assistant"),
    ("Executive Vice President", "vp", None, ""),
    ("Assistant Manager", "manager", None, "manages"),
    ("Marketing Assistant", "individual", "marketing", ""),
    ("Vice Chairman", "c_level", "executive", ""),
    ("Managing Director", "c_level", "executive", "no mere director"),
    ("Managing Partner", "c_level", "executive", ""),
    ("Partner", "c_level", "executive", "alone: an owner of a firm"),
    ("Channel Partner Manager", "manager", None, ""),
    ("HR Business Partner", "individual", "hr", ""),
    ("Chief of Staff", "c_level", "executive", "sits at the table"),
    ("Chief of Staff to the CEO", "c_level", "executive", ""),
    ("General Counsel", "c_level", "legal", ""),
    ("Chief Accountant", "director", "finance", "a chief without office"),
    ("Board Member", "c_level", "executive", ""),
    ("Member of the Board", "c_level", "executive", ""),
    ("Assistant to the CEO", "individual", "administration", "who is assisted says nothing"),
    ("Executive Assistant", "individual", "administration", ""),
    ("Executive Assistant to the VP Sales", "individual", "administration", "not in sales"),
    ("EA to CFO", "individual", "administration", ""),
    ("Office of the CTO", None, "engineering", "not the CTO"),
    ("CTO Office", None, "engineering", "not the CTO"),
    ("Advisor to the CEO", "individual", None, ""),
    ("Manager, Office of the CFO", "manager", "finance", ""),
    ("CEO at President Foods", "c_level", "executive", "the employer's name says nothing"),
    ("Former CEO", None, None, "no longer"),
    ("Head of Sales", "director", "sales", ""),
    ("Head of Sales and Marketing", "director", "sales", "the first field"),
    ("Marketing Head", "director", "marketing", ""),
    ("Head Chef", None, None, "heads a kitchen"),
    ("Head of R&D", "director", "research", ""),
    ("Director of Finance", "director", "finance", ""),
    ("Associate Director", "director", None, ""),
    ("Art Director", "individual", "design", "directs no one"),
    ("Account Director", "individual", "sales", "of accounts"),
    ("Director of Student Affairs", "director", None, "no student"),
    ("General Manager", "director", "executive", "of a whole business"),
    ("Product Manager", "manager", "product", ""),
    ("Senior Product Manager", "manager", "product", "the higher of the two"),
    ("Product Marketing Manager", "manager", "marketing", ""),
    ("Marketing Operations Manager", "manager", "marketing", "operations of marketing"),
    ("Office Manager", "manager", "administration", ""),
    ("Account Manager", "individual", "sales", "manages customers"),
    ("Customer Success Manager", "individual", "customer_service", "manages customers"),
    ("Technical Account Manager", "individual", "customer_service", ""),
    ("Account Executive", "individual", "sales", "no executive"),
    ("Senior Account Executive", "senior", "sales", ""),
    ("Sales Development Representative", "individual", "sales", ""),
    ("Business Development Manager", "manager", "sales", "no developer"),
    ("Sales Engineer", "individual", "sales", "what the person is comes first"),
    ("Sales Counsel", "individual", "legal", "what the person is comes first"),
    ("IT Recruiter", "individual", "hr", "what the person is comes first"),
    ("Team Lead", "manager", None, ""),
    ("Revenue Operations Lead", "manager", "sales", "leads them"),
    ("Lead Engineer", "senior", "engineering", "is the best of them"),
    ("Lead Generation Specialist", "individual", "marketing", "another lead"),
    ("Principal Consultant", "senior", None, ""),
    ("Principal", None, None, "of a school, or of a firm"),
    ("Senior Living Advisor", "individual", None, "the customers are old"),
    ("Software Engineer", "individual", "engineering", ""),
    ("System Administrator", "individual", "it", ""),
    ("Data Analyst", "individual", "data", ""),
    ("Financial Analyst", "individual", "finance", ""),
    ("Data Protection Officer", "individual", "legal", ""),
    ("Data Entry Clerk", "individual", "administration", ""),
    ("FP&A Manager", "manager", "finance", ""),
    ("People Operations Manager", "manager", "hr", ""),
    ("Personal Trainer", "individual", None, "no personnel"),
    ("Supply Chain Manager", "manager", "operations", ""),
    ("Market Research Analyst", "individual", "marketing", ""),
    ("Intern", "entry", None, ""),
    ("Marketing Intern", "entry", "marketing", ""),
    ("Intern, Office of the CEO", "entry", None, "in any office"),
    ("Internal Auditor", "individual", "finance", "no intern"),
    ("Internship Coordinator", "individual", None, "coordinates them"),
    ("Head of Internships", "director", None, ""),
    ("Graduate Recruitment Manager", "manager", "hr", "recruits them"),
    ("Junior Developer", "entry", "engineering", ""),
    ("Geschäftsführer", "c_level", "executive", ""),
    ("Geschäftsführer/in", "c_level", "executive", ""),
    ("Geschaeftsfuehrerin Vertrieb", "c_level", "sales", ""),
    ("Mitglied der Geschäftsleitung", "c_level", "executive", ""),
    ("Assistentin der Geschäftsführung", "individual", "administration", ""),
    ("Referent der Geschäftsführung", "individual", None, ""),
    ("Leiter Marketing (m/w/d)", "director", "marketing", ""),
    ("Vertriebsleiterin", "director", "sales", "one word for two"),
    ("Teamleiter Vertrieb", "manager", "sales", ""),
    ("Projektleiter", "manager", None, ""),
    ("Sachbearbeiterin Einkauf", "individual", "procurement", ""),
    ("Softwareentwickler", "individual", "engineering", ""),
    ("Werkstudent Marketing", "entry", "marketing", ""),
    ("Steuerberater", "individual", "finance", ""),
    ("PDG", "c_level", "executive", ""),
    ("Directeur général", "c_level", "executive", ""),
    ("Directeur commercial", "director", "sales", ""),
    ("Responsable RH", "manager", "hr", ""),
    ("Chargée de communication", "individual", "marketing", ""),
    ("Stagiaire marketing", "entry", "marketing", ""),
    ("Gerente General", "c_level", "executive", ""),
    ("Jefe de ventas", "manager", "sales", ""),
    ("Directora de Recursos Humanos", "director", "hr", ""),
    ("Ingeniero de Software", "individual", "engineering", ""),
    ("Algemeen Directeur", "c_level", "executive", ""),
    ("Hoofd ICT", "director", "it", ""),
    ("Medewerker klantenservice", "individual", "customer_service", ""),
    ("MD", None, None, "a physician, or a managing director"),
    ("Consultant", "individual", None, ""),
    ("Sales", None, "sales", "a field, no level"),
    ("Mr", None, None, ""),
    ("-", None, None, ""),
    ("", None, None, ""),
    ("12345", None, None, ""),
]


@pytest.mark.parametrize(("title", "level", "field", "why"), TITLES)
def test_a_title_names_its_level_and_department(title, level, field, why) -> None:
    assert (seniority(title), department(title)) == (level, field), why


@pytest.mark.parametrize("title", [title for title, *_ in TITLES])
def test_case_and_blanks_change_nothing(title) -> None:
    for written in (title.upper(), title.lower(), f"  {title.replace(' ', '  ')}\t"):
        assert seniority(written) == seniority(title), written
        assert department(written) == department(title), written


@settings(max_examples=200, derandomize=True, database=None, deadline=None)
@given(st.text(max_size=60))
def test_no_text_is_too_odd(title) -> None:
    assert seniority(title) in (*LEVELS, None)
    assert department(title) in (*DEPARTMENTS, None)


def test_every_level_and_department_is_named_by_some_title() -> None:
    assert {level for _, level, _, _ in TITLES} == {*LEVELS, None}
    assert {field for _, _, field, _ in TITLES} == {*DEPARTMENTS, None}
