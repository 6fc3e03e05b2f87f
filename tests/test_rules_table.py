"""`rules.toml`: what a points table may say, and how each mistake in it is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from points_rules import CATALOGUE, scorer_of

from features.errors import InputError
from models.rules import RulesScorer, read_rules
from training.demo import demo_rules

HEAD = "mql_threshold = 20\n"
FIT = (
    '[[fit.rules]]\nname = "Software"\nfeature = "leads.industry"\nin = ["Software"]\npoints = 20\n'
)
VIEWED = '[[engagement.rules]]\nname = "Viewed pricing"\nevent = "pricing_view"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "rules.toml"
    path.write_text(text)
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(InputError) as refused:
        RulesScorer.of(read_rules(written(folder, text)), CATALOGUE)
    return str(refused.value)


def test_a_table_is_read_as_it_is_written(tmp_path: Path) -> None:
    text = (
        f"{HEAD}[fit]\nmax = 30\ngrades = {{A = 20, B = 15, C = 10.5}}\n{FIT}"
        f"{VIEWED}half_life_days = 30\npoints_each = 5\ncap = 20\n"
        '[[disqualify]]\nname = "Tiny"\nfeature = "accounts.employees"\nbelow = 3\nmissing = true\n'
    )
    table = read_rules(written(tmp_path, text))
    assert table.mql_threshold == 20
    assert table.fit.rules[0].one_of == ("Software",)
    assert table.fit.grade_bounds() == (20, 15, 10.5)
    assert table.engagement.rules[0].cap == 20
    assert table.engagement.grade_bounds() == (15, 10, 5)  # 75%, 50%, 25% of what it can give
    assert table.disqualify[0].missing
    assert [line.name for line in table.conditions] == ["Software", "Viewed pricing", "Tiny"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mql_threshold = ", "rules.toml is not valid TOML"),
        (FIT, "mql_threshold: Field required"),
        ("mql_threshold = 0\n" + FIT, "mql_threshold: Input should be greater than 0"),
        (HEAD + "[fitt]\nmax = 3\n", "fitt is unknown; known: mql_threshold, fit, engagement"),
        (HEAD + "[fit]\nmaximum = 3\n", "fit: maximum is unknown; known: max, grades, rules"),
        (HEAD + "[fit]\nmax = 0\n", "fit: max: Input should be greater than 0"),
        (HEAD + FIT + "pts = 3\n", 'fit rule "Software": pts is unknown; known: name, feature'),
        (HEAD + FIT.replace("20", '"20"'), 'fit rule "Software": points: Input should be a valid'),
        (HEAD + FIT.replace("20", "true"), 'fit rule "Software": points: Input should be a valid'),
        (HEAD + FIT.replace("20", "nan"), 'fit rule "Software": points: Input should be a finite'),
        (HEAD + FIT.replace("20", "20.25"), "points: points are counted in tenths"),
        (HEAD + FIT.replace("points = 20", "points = 0"), "0 points change nothing"),
        (HEAD + FIT.replace("points = 20", ""), "give either points or points_each"),
        (HEAD + FIT + "cap = 30\n", "a cap belongs to points_each"),
        (HEAD + FIT.replace('["Software"]', "[]"), "in needs at least one value, and each once"),
        (HEAD + FIT.replace('["Software"]', "[1]"), "in.0: Input should be a valid string"),
        (HEAD + FIT.replace('"Software"\nf', '""\nf'), 'fit rule "": name: a name is one line'),
        (HEAD + FIT + "at_least = 3\n", "in is for categories, at_least and below are for numbers"),
        (HEAD + FIT + 'event = "x"\n', "give either feature or event"),
        (HEAD + FIT + "window_days = 7\n", "window_days and half_life_days belong to event"),
        (HEAD + FIT.replace('in = ["Software"]', ""), "a feature needs in, at_least, below"),
        (HEAD + FIT + FIT, 'two rules are named "Software"; every name must be another'),
        (
            HEAD + FIT.replace('in = ["Software"]', "at_least = 5\nbelow = 5"),
            "nothing is at least 5 and below 5",
        ),
        (HEAD + VIEWED + "points = 30\n", "give either window_days or half_life_days"),
        (
            HEAD + VIEWED + "window_days = 7\nhalf_life_days = 7\npoints = 30\n",
            "give either window_days or half_life_days",
        ),
        (
            HEAD + VIEWED + 'window_days = 7\nin = ["a"]\npoints = 30\n',
            "an event is a count: say at_least or below",
        ),
        (HEAD + VIEWED + "half_life_days = 30\npoints = 30\n", "a fading count never ends"),
        (
            HEAD + VIEWED + "window_days = 7\nat_least = 2\npoints_each = 5\ncap = 20\n",
            "points_each counts everything",
        ),
        (
            HEAD + VIEWED + "window_days = 7\npoints_each = 5\ncap = 4\n",
            "the cap of 4 does not leave room for 5 points once",
        ),
        (
            HEAD + VIEWED + "window_days = 7\npoints_each = -5\ncap = 20\n",
            "the cap of 20 does not leave room for -5 points once",
        ),
        (HEAD + VIEWED + "window_days = 7\npoints_each = 5\n", "engagement has no limit: give it"),
        (
            "mql_threshold = 20.1\n" + FIT,
            "mql_threshold is 20.1, but the sections reach at most 20 points",
        ),
        (HEAD + "[fit]\nmax = 15\n" + FIT, "the sections reach at most 15 points"),
        (HEAD, "the sections reach at most 0 points"),
        (
            HEAD + "[fit]\ngrades = {A = 3, B = 2}\n" + FIT,
            "fit.grades must be like {A = 30, B = 20, C = 10}, the best first",
        ),
        (HEAD + "[fit]\ngrades = {A = 3, B = 3, C = 1}\n" + FIT, "fit.grades must fall from A to"),
        (
            HEAD + "[fit]\ngrades = {A = 21, B = 3, C = 1}\n" + FIT,
            "fit.grades: A starts at 21 points, but the section reaches at most 20",
        ),
        (
            HEAD + FIT + '[[disqualify]]\nname = "All"\nfeature = "leads.industry"\n',
            'disqualify "All": a feature needs in, at_least, below or missing = true',
        ),
        (
            HEAD + FIT + '[[disqualify]]\nname = "X"\nfeature = "leads.industry"\npoints = 3\n',
            'disqualify "X": points is unknown; known: name, feature',
        ),
    ],
)
def test_each_mistake_is_named_with_its_rule(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            FIT.replace("leads.industry", "leads.industri"),
            'Rule "Software": no feature is called "leads.industri". Nearest are leads.industry',
        ),
        (FIT.replace("leads.industry", "accounts.employees"), "employees is a number; ask with"),
        (
            FIT.replace('in = ["Software"]', "at_least = 3"),
            "industry is a category, no number; list values with in",
        ),
        (
            VIEWED.replace("pricing_view", "pricing_veiw") + "window_days = 7\npoints = 20\n",
            'no event type is called "pricing_veiw". Nearest are pricing_view',
        ),
        (
            VIEWED + "window_days = 14\npoints = 20\n",
            "pricing_view has no count with window_days = 14; it has 7, 30. Use one of these, or"
            " add yours to [features] windows_days",
        ),
        (
            VIEWED + "half_life_days = 7\npoints_each = 5\ncap = 20\n",
            "pricing_view has no count with half_life_days = 7; it has 30.",
        ),
        (
            VIEWED.replace("pricing_view", "fax") + "window_days = 7\npoints = 20\n",
            "fax is too rare to be counted by itself. Raise [features] max_event_types",
        ),
    ],
)
def test_what_the_catalogue_lacks_is_named_with_what_it_has(
    tmp_path: Path, text: str, message: str
) -> None:
    assert message in refusal(tmp_path, HEAD + text)


def test_files_that_cannot_be_read_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Draft one with: closedwon init"):
        read_rules(tmp_path / "rules.toml")
    (tmp_path / "latin.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_rules(tmp_path / "latin.toml")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_rules(tmp_path)


@pytest.mark.parametrize(
    ("asked", "column"),
    [
        ({"feature": "leads.industry", "in": ["x"]}, "industry"),
        ({"feature": "industry", "missing": True}, "industry"),
        ({"feature": "accounts.employees", "below": 10}, "account_employees"),
        ({"event": "pricing_view", "window_days": 30}, "pricing_view_count_30d"),
        # of one name, the type of the data wins over our word for all events
        ({"event": "any", "window_days": 7}, "any_2_count_7d"),
        # and over a group
        ({"event": "visit", "window_days": 7}, "visit_count_7d"),
        ({"event": "buying_signals", "window_days": 7}, "buying_signals_count_7d"),
        # a group with one type that occurs has no count of its own
        ({"event": "explicit_interest", "window_days": 7}, "pricing_view_count_7d"),
    ],
)
def test_a_line_finds_its_column(asked: dict[str, object], column: str) -> None:
    scorer = scorer_of(fit={"rules": [{"name": "r", "points": 30, **asked}]})
    assert [found.name for found in scorer.columns] == [column]


def test_the_demo_keeps_a_table_that_can_be_read(tmp_path: Path) -> None:
    table = read_rules(written(tmp_path, demo_rules()))
    assert (table.fit.max, table.engagement.max) == (40, 60)
    assert demo_rules().startswith("# Written by `closedwon demo`")


def test_the_table_in_the_readme_is_read(tmp_path):
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    table = next(part for part in readme.split("```toml\n") if part.startswith("mql_threshold"))
    (tmp_path / "rules.toml").write_text(table.split("```")[0], encoding="utf-8")
    assert len(read_rules(tmp_path / "rules.toml").engagement.rules) == 2
