"""The record of every change of champion, kept with the registered model and so shared by all.

Each record is a tag of the registered model, `promotion.000012.9f3a61c2`: its JSON says what is
about to be done, and is written before. A second tag with `.end` says how it ended. Neither is
ever changed or removed. The random part keeps two machines that take the same number apart.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import secrets
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from features.errors import InputError

if TYPE_CHECKING:  # mlflow takes 5 s to import
    from mlflow import MlflowClient

Action = Literal["first", "promote", "rollback", "found"]
State = Literal["pending", "done", "void"]

LONGEST_WHY = 500
"Characters: MLflow's databases keep 5,000 of a tag."
LONGEST_REFUSAL = 200
ABANDONED_SECONDS = 600
"A record that has not ended by then belongs to a run that was stopped, wherever it ran."
_IN_TAGS = ("number", "mark", "state")
"What the names of the tags and the second tag tell."
_KEY = re.compile(r"promotion\.(?P<number>\d{6,})\.(?P<mark>[0-9a-f]{8})")


@dataclass(frozen=True)
class Record:
    """One change of champion."""

    action: Action
    "`first` by training, `found`: the alias had been moved by something else."
    before: str | None
    "The champion until then."
    version: str
    "The champion from then on."
    who: str
    "user@host."
    why: str
    verdict: str | None = None
    "What the gate had said of `version`: `stale` if of another champion, None if not asked."
    is_override: bool = False
    refusal: str | None = None
    "What was overridden: why `version` was refused, at most `LONGEST_REFUSAL` characters."
    at: str = field(default_factory=lambda: _now().isoformat(timespec="seconds"))
    "UTC."
    pid: int = field(default_factory=os.getpid)
    number: int = 0
    mark: str = field(default_factory=lambda: secrets.token_hex(4))
    state: State = "pending"

    @property
    def key(self) -> str:
        """The name of its tag."""
        return f"promotion.{self.number:06d}.{self.mark}"

    def is_abandoned(self) -> bool:
        """Whether the run that wrote it is over, as far as can be told from here."""
        is_ours = self.who.rpartition("@")[2] == socket.gethostname()
        if is_ours and (self.pid == os.getpid() or not _is_running(self.pid)):
            return True
        # Also of our machine: another process may have got its number since.
        return (_now() - datetime.fromisoformat(self.at)).total_seconds() > ABANDONED_SECONDS

    def as_dict(self) -> dict[str, Any]:
        """Return what `closedwon promote --history --json` prints of it."""
        hidden = ("pid", "mark")
        return {name: told for name, told in asdict(self).items() if name not in hidden}


def read_records(tags: Mapping[str, str]) -> list[Record]:
    """Return the records among the tags of a registered model, oldest first.

    What cannot be read was not written by us; it is passed over, so that it never stands in the way
    of a rollback.
    """
    read = (_read(key, written, tags) for key, written in tags.items())
    found = [record for record in read if record is not None]
    return sorted(found, key=lambda record: (record.number, record.mark))


def _read(key: str, written: str, tags: Mapping[str, str]) -> Record | None:
    named = _KEY.fullmatch(key)
    if named is None:
        return None
    content: dict[str, Any] = {"number": int(named["number"]), "mark": named["mark"]}
    try:
        parts = json.loads(written)
        content |= {one.name: parts[one.name] for one in fields(Record) if one.name in parts}
        if f"{key}.end" in tags:
            content["state"] = json.loads(tags[f"{key}.end"])["state"]
        return Record(**content)
    except (ValueError, TypeError, KeyError):
        return None


def write_record(
    client: MlflowClient, name: str, record: Record, known: Sequence[Record]
) -> Record:
    """Write `record` behind those `known`, and return it with its number; it is pending."""
    numbered = replace(record, number=max((one.number for one in known), default=0) + 1)
    content = {part: told for part, told in asdict(record).items() if part not in _IN_TAGS}
    client.set_registered_model_tag(name, numbered.key, json.dumps(content, sort_keys=True))
    return numbered


def end_record(client: MlflowClient, name: str, record: Record, state: State) -> Record:
    """Say how `record` ended, and return it so."""
    ended = {"state": state, "at": _now().isoformat(timespec="seconds")}
    client.set_registered_model_tag(name, f"{record.key}.end", json.dumps(ended, sort_keys=True))
    return replace(record, state=state)


def earlier_champions(records: Sequence[Record]) -> list[str]:
    """Return every version that was champion, in the order they first were."""
    done = [record for record in records if record.state == "done"]
    named = [version for record in done for version in (record.before, record.version)]
    return list(dict.fromkeys(version for version in named if version is not None))


def last_champion(records: Sequence[Record]) -> str | None:
    """Return the newest recorded champion, whether or not it still is; None if nobody ever was."""
    done = [record.version for record in records if record.state == "done"]
    return done[-1] if done else None


def champion_before(
    records: Sequence[Record], champion: str | None, kept: Collection[str]
) -> str | None:
    """Return the version that `champion` took the place of; the last one if there is no champion.

    A rollback does not count: going back twice goes back two champions, not forward again. One that
    is not among the versions `kept` in MLflow is passed over, for the one before it.
    """
    found = last_champion(records) if champion is None else _before(records, champion)
    passed = {champion}
    while found is not None and found not in kept:
        passed.add(found)
        found = _before(records, found)
        if found in passed:  # moved by hand to and fro
            return None
    return found


def _before(records: Sequence[Record], champion: str) -> str | None:
    done = [record for record in records if record.state == "done"]
    place = _came(done, champion)
    return done[place].before if place >= 0 else None


def gone_back_from(records: Sequence[Record], version: str) -> Record | None:
    """Return the rollback away from `version`, unless it was made champion again since.

    A rollback to one that came in later goes forward: nobody was gone back from.
    """
    done = [record for record in records if record.state == "done"]
    for place, one in reversed(list(enumerate(done))):
        if one.version == version:
            return None
        if one.action == "rollback" and one.before == version:
            earlier = done[:place]
            return one if _came(earlier, one.version) < _came(earlier, version) else None
    return None


def _came(done: Sequence[Record], version: str) -> int:
    """Return the place of the newest record by which `version` came in, -1 without any."""
    places = [
        place
        for place, one in enumerate(done)
        if one.version == version and one.action != "rollback"
    ]
    return places[-1] if places else -1


def ever_champion(records: Sequence[Record]) -> bool:
    """Whether there was a champion, or another run is making one at this moment."""
    return any(
        one.state == "done" or (one.state == "pending" and not one.is_abandoned())
        for one in records
    )


def whoami() -> str:
    """Return user@host of this process."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may run under an id without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def told_why(text: str, option: str) -> str:
    """Return the reason a person gave, in one line; InputError without one or for a long one."""
    line = " ".join(text.split())
    if not line:
        raise InputError(f'{option} is empty. Say why in a few words: {option} "..."')
    if len(line) > LONGEST_WHY:
        raise InputError(
            f"{option} has {len(line)} characters; at most {LONGEST_WHY} are kept. Shorten it."
        )
    return line


def kept_refusal(refusal: str) -> str:
    """Return what is recorded of a refusal that was overridden: its beginning, if it is long."""
    if len(refusal) <= LONGEST_REFUSAL:
        return refusal
    return refusal[: LONGEST_REFUSAL - 1] + "\N{HORIZONTAL ELLIPSIS}"


def as_sentence(why: str) -> str:
    """Return a reason with a full stop at its end.

    >>> as_sentence("too many MQLs"), as_sentence("Why not?")
    ('too many MQLs.', 'Why not?')
    """
    return why if why.endswith((".", "!", "?", "\N{HORIZONTAL ELLIPSIS}")) else f"{why}."


def _now() -> datetime:
    return datetime.now(UTC)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
