"""How things stand: which version is champion, and how that came about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.config import Config
from features.errors import InputError
from models.registry import CHALLENGER, CHAMPION, NoModel, open_store, store_errors, tracking_uri
from training.promotion_records import (
    Record,
    end_record,
    read_records,
    whoami,
    write_record,
)

if TYPE_CHECKING:  # mlflow takes 5 s to import
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Standing:
    """The aliases of a registered model, and the record of every change of champion."""

    champion: str | None
    challenger: str | None
    records: tuple[Record, ...]

    @classmethod
    def read(cls, client: MlflowClient, name: str) -> Standing:
        """Return how things stand; NoModel if nothing was registered yet."""
        from mlflow.exceptions import MlflowException

        try:
            model = client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise NoModel(name) from None
        aliases = {alias: str(version) for alias, version in model.aliases.items()}
        records = tuple(read_records(model.tags))
        return cls(aliases.get(CHAMPION), aliases.get(CHALLENGER), records)

    def as_dict(self) -> dict[str, Any]:
        """Return what `closedwon promote --history --json` prints."""
        return {
            "champion": self.champion,
            "challenger": self.challenger,
            "records": [record.as_dict() for record in self.records],
        }

    def lines(self) -> list[str]:
        """Return the history for people, oldest first."""
        now = f"Champion: version {self.champion}." if self.champion else "There is no champion."
        waiting = f" Challenger: version {self.challenger}." if self.challenger else ""
        return [now + waiting, *(_line(record) for record in self.records)]


_WORDS = {
    "first": "became the first champion",
    "promote": "was promoted",
    "rollback": "was gone back to",
    "found": "was found as champion",
}
_ENDS = {"pending": " (not finished)", "done": "", "void": " (did not happen)"}


def _line(record: Record) -> str:
    after = f" after version {record.before}" if record.before else ""
    notes = [f"gate: {record.verdict}"] if record.verdict else []
    if record.is_override:
        notes.append(f"overridden: {record.refusal}" if record.refusal else "overridden")
    gate = f" [{', '.join(notes)}]" if notes else ""
    when = record.at.replace("T", " ").replace("+00:00", " UTC")
    happened = f"version {record.version} {_WORDS[record.action]}{after}{_ENDS[record.state]}"
    return f"{when}  {happened}, by {record.who}: {record.why}{gate}"


def history(config: Config, root: Path) -> Standing:
    """Return the present champion and every recorded change; nothing is written."""
    client = open_store(config.tracking, root)
    with store_errors(tracking_uri(config.tracking, root)):
        return Standing.read(client, config.tracking.model_name)


def settled(client: MlflowClient, name: str) -> Standing:
    """Return how things stand after ending the records of runs that were stopped.

    A champion that no record tells of, made by an older closedwon or moved by hand, is recorded
    as found, so that it can be gone back to.
    """
    standing = Standing.read(client, name)
    pending = [record for record in standing.records if record.state == "pending"]
    for record in pending:
        if not record.is_abandoned():
            raise InputError(
                f"{record.who} has been changing the champion of {name} to version "
                f"{record.version} since {record.at}. Wait until it is done, then try again."
            )
    newest = next((one for one in reversed(standing.records) if one.state != "void"), None)
    for record in pending:
        is_moved = record is newest and record.version == standing.champion
        end_record(client, name, record, "done" if is_moved else "void")
    if standing.champion is not None and standing.champion == standing.challenger:
        client.delete_registered_model_alias(name, CHALLENGER)
    standing = Standing.read(client, name) if pending else standing
    done = [record for record in standing.records if record.state == "done"]
    last = done[-1].version if done else None
    if standing.champion is not None and standing.champion != last:
        why = (
            "The alias was moved outside closedwon."
            if done
            else "Champion before records were kept."
        )
        found = Record("found", last, standing.champion, whoami(), why)
        written = write_record(client, name, found, standing.records)
        end_record(client, name, written, "done")
    return Standing.read(client, name)
