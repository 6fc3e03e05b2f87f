import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import refused, run
from small_ledger import URL
from sqlalchemy import Engine

from features.errors import InputError
from serving.ledger.clock import now_us
from serving.ledger.database import open_database
from serving.ledger.errors import LedgerUnavailable
from serving.ledger.keys import Keys

SECOND = 1_000_000
DAY = 86_400 * SECOND


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_database(URL, tmp_path)
    yield opened
    opened.dispose()


def test_a_key_is_found_by_its_secret_alone(engine: Engine) -> None:
    keys = Keys(engine)
    key, secret = keys.create(["score", "read"], "crm", None)
    other, _ = keys.create(["admin"], "boss", None)
    assert secret.startswith(f"cw_{key.key_id}_")
    assert keys.find(secret, now_us()) == key
    assert (key.allows("score"), key.allows("verdict")) == (True, False)
    assert all(other.allows(scope) for scope in ("read", "score", "verdict", "admin"))
    swapped = secret.replace(key.key_id, other.key_id)
    last = "A" if secret[-2] != "A" else "B"
    for wrong in ("", "cw", "cw__", secret[:-1], secret[:-2] + last + secret[-1], swapped,
                  secret.upper(), f" {secret}", f"{secret}{'x' * 1_000}", "cw_\0_x", "cw_é_x",
                  "cw_\ud800_\ud800", f"cw_{'0' * 12}_{'x' * 43}",
                  f"cw_{key.key_id}_\ud800"):  # fmt: skip
        assert keys.find(wrong, now_us()) is None, wrong


def test_only_a_hash_of_the_secret_is_stored(engine: Engine, tmp_path: Path) -> None:
    _, secret = Keys(engine).create(["read"], "crm", None)
    with engine.connect() as connection:
        stored = connection.exec_driver_sql("SELECT secret_sha256 FROM api_keys").scalar()
    assert stored == hashlib.sha256(secret.encode()).hexdigest()
    for path in tmp_path.glob("ledger.db*"):
        assert secret[16:].encode() not in path.read_bytes()


def test_a_key_ends_on_time(engine: Engine) -> None:
    keys = Keys(engine)
    now = now_us()
    key, secret = keys.create(["read"], "crm", now + DAY)
    assert keys.find(secret, now + DAY - 1) == key
    # Though it was just looked up.
    assert keys.find(secret, now + DAY) is None
    with pytest.raises(InputError, match="expired already"):
        keys.create(["read"], "crm", now - 1)


def test_a_revoked_key_ends_within_five_seconds_elsewhere(engine: Engine) -> None:
    server, command = Keys(engine), Keys(engine)
    key, secret = command.create(["read"], "crm", None)
    now = now_us()
    assert server.find(secret, now) == key
    revoked = command.revoke(key.key_id)
    assert revoked.revoked_at is not None
    assert command.find(secret, now) is None
    assert server.find(secret, now + 5 * SECOND) is None
    # A second time changes nothing.
    assert command.revoke(key.key_id) == revoked
    assert command.all() == [revoked]


def test_a_new_key_works_at_once_where_its_id_was_asked_for(engine: Engine) -> None:
    keys = Keys(engine)
    key, secret = keys.create(["read"], "crm", None)
    assert Keys(engine).find(secret, now_us()) == key


def test_known_keys_work_while_the_database_is_away(engine: Engine, tmp_path: Path) -> None:
    keys = Keys(engine)
    key, secret = keys.create(["read"], "crm", None)
    _, unseen = keys.create(["read"], "other", None)
    now = now_us()
    assert keys.find(secret, now) == key
    broken = sqlite3.connect(tmp_path / "ledger.db")
    broken.execute("ALTER TABLE api_keys RENAME TO gone")
    broken.close()
    assert keys.find(secret, now + 60 * SECOND) == key
    with pytest.raises(LedgerUnavailable):
        keys.find(unseen, now)


@pytest.mark.parametrize(
    ("scopes", "name", "message"),
    [
        (["write"], "crm", '"write" is no scope. Known: read, score, verdict, admin'),
        ([], "crm", "needs a scope"),
        (["read"], "", "needs a name"),
        (["read"], "x" * 101, "needs a name"),
        (["read"], "two\nlines", "needs a name"),
    ],
)
def test_a_wrong_key_is_not_made(
    engine: Engine, scopes: list[str], name: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Keys(engine).create(scopes, name, None)
    assert Keys(engine).all() == []


def test_the_command_makes_lists_and_revokes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "closedwon.toml").write_text('[serving]\nledger = "sqlite:///ledger.db"\n')
    assert "There is no ledger" in refused(run("keys", "list"))
    assert "is no scope" in refused(run("keys", "create", "--name", "crm", "--scope", "all"))
    assert "There is no key yet" in run("keys", "list").out
    made = json.loads(
        run("keys", "create", "--name", "crm", "--scope", "score", "--scope", "read",
            "--expires-days", "90", "--json").out
    )  # fmt: skip
    keys = Keys(open_database(URL, tmp_path))
    assert keys.find(made["secret"], now_us()) == keys.all()[0]
    assert keys.find(made["secret"], now_us() + 91 * DAY) is None
    shown = run("keys", "create", "--name", "boss", "--scope", "admin").out
    secret = shown.splitlines()[0]
    assert keys.find(secret, now_us()) is not None
    listed = run("keys", "list").out.splitlines()
    assert [line.split("  ")[2:] for line in listed] == [["read, score", "crm"], ["admin", "boss"]]
    assert "works until" in listed[0]
    assert "works for ever" in listed[1]
    assert secret not in "".join(listed)
    key_id = made["key_id"]
    assert run("keys", "revoke", key_id).out == f"The key {key_id} for crm is revoked.\n"
    assert "revoked 20" in run("keys", "list").out
    assert "There is no such key" in refused(run("keys", "revoke", "nonsense"))
    with sqlite3.connect(tmp_path / "ledger.db") as broken:
        broken.execute("ALTER TABLE api_keys RENAME TO gone")
    broken.close()
    assert "The ledger does not answer: no such table" in refused(run("keys", "list"))
