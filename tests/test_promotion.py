"""Who may be champion: what the gate said of it, an override, a way back, and the record of all."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import refused, run
from small_registry import CONFIG, digest_of, empty_folder, own_copy, register

from features.errors import InputError
from models.registry import CHALLENGER, CHAMPION, connect, fetch_bundle
from training.promotion import Promotion, champion_in_use, promote, rollback
from training.promotion_records import (
    LONGEST_WHY,
    Record,
    end_record,
    whoami,
    write_record,
)
from training.promotion_standing import Standing, history
from training.run_lock import run_lock


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, migrated_store: Path) -> Path:
    """A champion, version 1, and what the gate said of versions 2 to 6."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        root = empty_folder(tmp_path_factory.mktemp("promotion") / "made", migrated_store)
        for number, decision in enumerate(
            (None, "pass", "refuse", "not_enough_evidence", None, "pass"), start=1
        ):
            register(root, (20 + number) / 100, decision)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return own_copy(made, tmp_path, monkeypatch)


def aliases(root: Path) -> dict[str, str]:
    standing = history(CONFIG, root)
    named = {CHAMPION: standing.champion, CHALLENGER: standing.challenger}
    return {alias: version for alias, version in named.items() if version is not None}


def told(root: Path) -> list[tuple[str, str | None, str, str]]:
    records = history(CONFIG, root).records
    return [(one.action, one.before, one.version, one.state) for one in records]


def test_a_pass_against_the_champion_is_promoted_and_recorded(root: Path) -> None:
    moved = promote(CONFIG, root, who="ann@crm")
    assert (moved.outcome, moved.champion) == ("moved", "6")
    assert moved.told == "Version 6 is champion after version 1."
    assert aliases(root) == {"champion": "6"}, "a promoted version is no challenger any more"
    first, second = history(CONFIG, root).records
    assert (first.action, first.version, first.why) == (
        "first",
        "1",
        "It beats the base rate, and there was no champion before.",
    )
    assert second == replace(moved.record, state="done")
    assert (second.who, second.why, second.verdict) == ("ann@crm", "It passed the gate.", "pass")
    assert (second.before, second.version, second.is_override) == ("1", "6", False)


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("3", "The gate refused version 3 against version 1."),
        ("4", "not enough evidence to judge version 4 against version 1"),
        ("5", "never judged against the champion, version 1: run closedwon retrain"),
    ],
)
def test_whatever_did_not_pass_is_refused_and_changes_nothing(
    version: str, reason: str, root: Path
) -> None:
    asked = promote(CONFIG, root, version)
    assert (asked.outcome, asked.champion, asked.record) == ("refused", "1", None)
    assert reason in asked.told
    assert aliases(root) == {"champion": "1", "challenger": "6"}
    assert told(root) == [("first", None, "1", "done")]


def test_a_verdict_against_another_champion_is_stale(root: Path) -> None:
    promote(CONFIG, root, "2")
    asked = promote(CONFIG, root, "6")
    assert asked.outcome == "refused"
    assert asked.told == (
        "Version 6 was judged against version 1, the champion is version 2: run closedwon retrain."
    )


def test_a_verdict_against_other_bytes_of_the_champions_number_is_stale(root: Path) -> None:
    verdict = {"decision": "pass", "champion": "1", "champion_digest": digest_of(root, "2")}
    connect(CONFIG.tracking, root).set_model_version_tag(
        "closedwon", "3", "gate", json.dumps(verdict)
    )
    assert promote(CONFIG, root, "3").outcome == "refused"


@pytest.mark.parametrize("damaged", ["{", "[1]", '"pass"', "{}", '{"decision": "pass"}'])
def test_a_verdict_that_cannot_be_read_is_none(damaged: str, root: Path) -> None:
    connect(CONFIG.tracking, root).set_model_version_tag("closedwon", "6", "gate", damaged)
    assert promote(CONFIG, root).outcome == "refused"


def test_an_override_promotes_what_was_refused_and_is_recorded(root: Path) -> None:
    moved = promote(CONFIG, root, "3", override="  The gate's segment\nis no more ")
    assert (moved.outcome, moved.champion) == ("moved", "3")
    assert "overriding: The gate refused version 3" in moved.told
    record = history(CONFIG, root).records[-1]
    assert (record.why, record.verdict) == ("The gate's segment is no more", "refuse")
    assert record.is_override and record.who == whoami()
    assert aliases(root) == {"champion": "3", "challenger": "6"}, "another's challenger stays"


def test_an_override_that_was_not_needed_is_none(root: Path) -> None:
    promote(CONFIG, root, override="to be sure")
    record = history(CONFIG, root).records[-1]
    assert (record.why, record.is_override) == ("to be sure", False)


def test_asking_again_changes_nothing(root: Path) -> None:
    promote(CONFIG, root, "6")
    before = history(CONFIG, root)
    assert promote(CONFIG, root).told == "There is no challenger. Version 6 stays champion."
    assert promote(CONFIG, root, "6").told == "Version 6 is champion already."
    assert rollback(CONFIG, root, "6", "nothing").outcome == "unchanged"
    assert history(CONFIG, root) == before


def test_going_back_twice_goes_back_two_champions(root: Path) -> None:
    promote(CONFIG, root, "2")
    promote(CONFIG, root, "3", override="a trial")
    assert rollback(CONFIG, root, None, "Leads of Energy are all A").champion == "2"
    assert rollback(CONFIG, root, None, "still").champion == "1"
    with pytest.raises(InputError, match=r"Version 1 has no champion before it. .*: 2, 3"):
        rollback(CONFIG, root, None, "further")
    assert rollback(CONFIG, root, "3", "forward").champion == "3"
    assert told(root)[1:] == [
        ("promote", "1", "2", "done"),
        ("promote", "2", "3", "done"),
        ("rollback", "3", "2", "done"),
        ("rollback", "2", "1", "done"),
        ("rollback", "1", "3", "done"),
    ]
    assert history(CONFIG, root).records[3].why == "Leads of Energy are all A"


def test_what_never_was_champion_cannot_be_gone_back_to(root: Path) -> None:
    with pytest.raises(InputError, match=r"Version 2 never was champion.*closedwon promote 2"):
        rollback(CONFIG, root, "2", "try")
    assert aliases(root)["champion"] == "1"


def test_what_was_gone_back_from_needs_more_than_its_old_verdict(root: Path) -> None:
    promote(CONFIG, root, "2")
    rollback(CONFIG, root, None, "too many MQLs")
    asked = promote(CONFIG, root, "2")
    assert asked.outcome == "refused"
    assert "it: too many MQLs. To use it again" in asked.told
    assert asked.told.endswith('closedwon rollback 2 --reason "..."')
    assert promote(CONFIG, root, "2", override="the feed is mended").champion == "2"


def test_a_champion_made_by_hand_is_recorded_and_can_be_gone_back_from(root: Path) -> None:
    connect(CONFIG.tracking, root).set_registered_model_alias("closedwon", CHAMPION, "3")
    assert rollback(CONFIG, root, None, "by mistake").champion == "1"
    assert told(root)[1:] == [("found", "1", "3", "done"), ("rollback", "3", "1", "done")]


def test_without_a_champion_the_base_rate_is_what_counts(
    root: Path, migrated_store: Path, tmp_path: Path
) -> None:
    folder = empty_folder(tmp_path / "new", migrated_store)
    register(folder, 0.25, skilled=False)
    asked = promote(CONFIG, folder)
    assert asked.told == "Version 1 does not clearly beat the base rate, as far as is recorded."
    assert (asked.outcome, champion_in_use(CONFIG, folder)) == ("refused", None)
    connect(CONFIG.tracking, root).delete_registered_model_alias("closedwon", CHAMPION)
    unjudged = promote(CONFIG, root, "5")
    assert unjudged.outcome == "refused"
    assert unjudged.told.startswith("Version 5 was never judged, and there was a champion before")
    assert promote(CONFIG, root, "5", override="nothing else is left").champion == "5"
    assert history(CONFIG, root).records[-1].why == "nothing else is left"


def test_a_damaged_bundle_never_becomes_champion(root: Path, made: Path, tmp_path: Path) -> None:
    promote(CONFIG, root, "2")
    client = connect(CONFIG.tracking, root)
    fetch_bundle("1", CONFIG.tracking, root)  # a sound copy in the cache is no help to others
    for version in ("1", "6"):
        client.set_model_version_tag("closedwon", version, "bundle_sha256", "0" * 64)
    with pytest.raises(InputError, match="digest differs"):
        promote(CONFIG, root, "6", override="in a hurry")
    with pytest.raises(InputError, match="digest differs"):
        rollback(CONFIG, root, None, "in a hurry")
    assert aliases(root)["champion"] == "2"
    assert len(told(root)) == 2


def test_the_champion_in_use_is_the_bundle_that_serves(root: Path) -> None:
    champion = champion_in_use(CONFIG, root)
    assert champion is not None
    assert (champion.version, champion.digest) == ("1", digest_of(root, "1"))
    assert champion.scorer.cutoff.value == 0.21


def test_a_run_at_work_keeps_others_out_and_is_named(root: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from training.run_lock import run_lock\n"
        "with run_lock(Path(sys.argv[1]), 'retrain'):\n"
        "    print('held', flush=True); sys.stdin.readline()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(root)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        busy = rf"retrain \(process {child.pid}, since 20.* UTC\) is at work in this folder"
        with pytest.raises(InputError, match=busy):
            promote(CONFIG, root)
        with pytest.raises(InputError, match=busy):
            rollback(CONFIG, root, "1", "now")
        assert history(CONFIG, root).champion == "1", "looking needs no lock"
        child.kill()
    assert promote(CONFIG, root).champion == "6", "a killed run leaves no lock behind"


def test_a_run_may_take_its_own_lock_again(root: Path) -> None:
    with run_lock(root, "retrain"):
        assert promote(CONFIG, root).champion == "6"
        assert "retrain" in (root / ".closedwon" / "life.lock").read_text(), "still the outer one's"


def stopped(root: Path, **changed: object) -> Record:
    """A record that was left pending by this process."""
    client = connect(CONFIG.tracking, root)
    record = Record("promote", "1", "6", whoami(), "It passed the gate.")
    return write_record(
        client,
        "closedwon",
        replace(record, **changed),  # type: ignore[arg-type]
        history(CONFIG, root).records,
    )


def test_another_machine_at_work_is_waited_for_until_it_must_be_dead(root: Path) -> None:
    young = stopped(root, who="bo@other")
    with pytest.raises(InputError, match="bo@other has been changing the champion"):
        promote(CONFIG, root)
    end_record(connect(CONFIG.tracking, root), "closedwon", young, "void")
    stopped(root, who="bo@other", at="2026-01-05T09:00:00+00:00")
    assert promote(CONFIG, root).champion == "6"
    assert [state for *_, state in told(root)] == ["done", "void", "void", "done"]


def test_two_machines_at_once_both_give_way_rather_than_both_go_on(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_after_another(*arguments: object) -> Record:
        stopped(root, who="bo@other", version="2")
        return write_record(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("training.promotion.write_record", write_after_another)
    with pytest.raises(InputError, match="being changed by somebody else at this moment"):
        promote(CONFIG, root)
    assert aliases(root) == {"champion": "1", "challenger": "6"}
    # Both took number 2: neither overwrote the other.
    assert sorted(one.number for one in history(CONFIG, root).records) == [1, 2, 2]


def test_a_tag_that_is_not_ours_does_not_stand_in_the_way(root: Path) -> None:
    client = connect(CONFIG.tracking, root)
    for key in ("promotion.000009.0123abcd", "promotion.000010.0123abcd", "promotion.plan"):
        client.set_registered_model_tag("closedwon", key, "{" if "9" in key else "7")
    assert promote(CONFIG, root).champion == "6"
    assert [one.number for one in history(CONFIG, root).records] == [1, 2]


@pytest.mark.parametrize(("why", "found"), [("  ", "is empty"), ("x" * (LONGEST_WHY + 1), "501")])
def test_a_reason_is_asked_for_and_kept_short(why: str, found: str, root: Path) -> None:
    with pytest.raises(InputError, match=f"--override .*{found}"):
        promote(CONFIG, root, "3", override=why)
    with pytest.raises(InputError, match=f"--reason .*{found}"):
        rollback(CONFIG, root, None, why)


def test_the_longest_record_fits_into_the_databases_of_mlflow(root: Path) -> None:
    promote(CONFIG, root, "3", override="ß" * LONGEST_WHY, who="u" * 256 + "@" + "h" * 64)
    tags = connect(CONFIG.tracking, root).get_registered_model("closedwon").tags
    assert max(len(value) for value in tags.values()) < 5_000


def test_the_history_reads_like_a_log(root: Path) -> None:
    promote(CONFIG, root, "3", override="a trial", who="ann@crm")
    rollback(CONFIG, root, None, "no good", who="bo@crm")
    stopped(root, who="bo@other")
    now, *lines = history(CONFIG, root).lines()
    assert now == "Champion: version 1. Challenger: version 6."
    assert [line[25:] for line in lines] == [
        f"version 1 became the first champion, by {whoami()}: "
        "It beats the base rate, and there was no champion before.",
        "version 3 was promoted after version 1, by ann@crm: a trial [gate: refuse, "
        "overridden: The gate refused version 3 against version 1.]",
        "version 1 was gone back to after version 3, by bo@crm: no good",
        "version 6 was promoted after version 1 (not finished), by bo@other: It passed the gate.",
    ]


def test_the_commands_say_what_happened_and_end_as_a_gate_does(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    (root / "closedwon.toml").write_text("")
    no = run("promote", "3")
    assert (no.code, no.out) == (3, "The gate refused version 3 against version 1.\n")
    assert "--override REASON" in no.err
    yes = run("promote", "--json")
    assert yes.code == 0 and json.loads(yes.out)["record"]["version"] == "6"
    back = run("rollback", "--reason", "no good")
    assert (back.code, back.out) == (0, "Version 1 is champion again, in place of version 6.\n")
    assert "Champion: version 1." in run("promote", "--history").out
    shown = json.loads(run("promote", "--history", "--json").out)
    assert (shown["champion"], len(shown["records"])) == ("1", 3)
    assert "no version 99" in refused(run("promote", "99"))
    assert "never was champion" in refused(run("rollback", "3", "--reason", "try"))
    assert refused(run("rollback", "abc", "--reason", "try")).startswith(
        "closedwon: abc is no version. Give the number of an earlier champion"
    )
    assert run("rollback").code == 2, "a reason is asked for"


def test_without_a_model_the_user_is_told_to_train_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for asked in (
        lambda: promote(CONFIG, tmp_path),
        lambda: rollback(CONFIG, tmp_path, None, "bad"),
        lambda: history(CONFIG, tmp_path),
    ):
        with pytest.raises(InputError, match="no model closedwon yet"):
            asked()
    assert champion_in_use(CONFIG, tmp_path) is None
    assert not (tmp_path / ".closedwon" / "mlflow.db").exists()


def test_what_is_printed_for_machines_has_no_process_in_it() -> None:
    record = Record("first", None, "1", "ann@crm", "why")
    assert "pid" not in Promotion("moved", "1", "told", record).as_dict()["record"]
    assert Standing("1", None, (record,)).as_dict()["records"] == [record.as_dict()]
