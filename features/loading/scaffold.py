"""A first `closedwon.toml` for the files in a folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from features.config import Config
from features.errors import InputError
from features.loading.cells import literal, quoted
from features.loading.files import FILE_SUFFIXES, read_columns
from features.tables import CONTRACT, TableSpec

# File name without suffix, punctuation and plural -> table of the contract.
FILE_NAMES = {
    "leads": ("lead", "contact", "prospect", "person", "people", "customer", "user"),
    "accounts": ("account", "company", "companie", "organization", "organisation"),
    "engagement_events": ("engagementevent", "event", "activity", "activitie", "engagement"),
    "opportunities": ("opportunity", "opportunitie", "deal"),
    "opportunity_leads": ("opportunitylead", "opportunitycontactrole", "dealcontact"),
    "stage_changes": ("stagechange", "leadhistory", "lifecycle", "lifecyclestagehistory"),
    "verdicts": ("verdict",),
    "campaign_costs": ("campaigncost", "adspend", "spend", "cost"),
}
# Column of the contract -> names that CRMs give it, without case and punctuation.
COLUMN_NAMES = {
    "lead_id": ("leadid", "contactid", "prospectid", "whoid", "personid", "userid", "leadnumber"),
    "account_id": ("accountid", "companyid", "associatedcompanyid", "organizationid", "orgid"),
    "opportunity_id": ("opportunityid", "dealid"),
    "event_id": ("eventid", "activityid"),
    "event_type": ("eventtype", "activitytype", "type", "eventname", "event"),
    "occurred_at": ("occurredat", "activitydate", "timestamp", "eventtime", "date", "createddate"),
    "created_at": ("createdat", "createddate", "createdate", "creationtime", "creationdate"),
    # never a time of last modification: it comes after the outcome
    "recorded_at": ("recordedat", "validfrom"),
    "closed_at": ("closedat", "closedate", "closeddate"),
    "changed_at": ("changedat", "changedate", "createddate"),
    "decided_at": ("decidedat", "decisiondate"),
    "stage": ("stage", "stagename", "dealstage", "newvalue", "lifecyclestage", "status"),
    "amount": ("amount", "value", "dealvalue"),
    "source": ("source", "leadsource", "originalsource", "creationsource", "origin"),
    "merged_into": ("mergedinto", "masterrecordid", "mergedintoid"),
    "campaign": ("campaign", "campaignid", "campaignname", "utmcampaign"),
    "channel": ("channel", "medium", "utmmedium"),
    "role": ("role",),
    "day": ("day", "date"),
    "cost": ("cost", "spend", "amount"),
}
# Every CRM has its own names for the open stages; few have other words for the two ends.
STAGES = (
    "case when {0} ilike '%won%' then 'closed_won' when {0} ilike '%lost%' then 'closed_lost'"
    " else 'open' end"
)
LABELS = (
    *("won", "iswon", "closedwon", "converted", "isconverted", "label", "target"),
    *("outcome", "approved", "qualified", "becamecustomer", "y"),
)
FLAT_IDS = ("leadid", "prospectid", "contactid", "leadnumber", "customerid", "userid", "id")


def draft_config(folder: Path) -> str:
    """Return the text of a `closedwon.toml` for the files in `folder`.

    Files are recognised by their names and columns, never by their rows. What is guessed is
    marked; what is not found is left as `null` to be filled in. Every setting follows, commented
    out, with its default. Raises InputError where the folder has no file that could be read.
    """
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist. Name it with --data FOLDER.")
    files = {
        path.name: read_columns(path)
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name.lower().endswith(FILE_SUFFIXES)
    }
    if not files:
        raise InputError(f"{folder} has no file of a known kind: {', '.join(FILE_SUFFIXES)}.")
    parts = ["# closedwon.toml: where the tables come from, and how leads are scored."]
    flat = _flat_file(files)
    if flat is not None:
        parts.append(_flat_section(flat, files[flat]))
    else:
        parts += _table_sections(files)
    parts += ['# [databases]\n# crm = "sqlite:///crm.db"  # in SQL: select ... from crm.contacts']
    for name, field in Config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            parts.append(_settings(name, field.annotation))
    return "\n\n".join(parts) + "\n"


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _stem(file: str) -> str:
    suffix = next(suffix for suffix in (".csv.gz", *FILE_SUFFIXES) if file.lower().endswith(suffix))
    return file[: -len(suffix)]


def _table_of(file: str) -> str | None:
    stem = _plain(_stem(file))
    for table, names in FILE_NAMES.items():
        if stem in names or stem.removesuffix("s") in names:
            return table
    return None


def _flat_file(files: dict[str, list[str]]) -> str | None:
    """Return the file that looks like a flat export: a label, and no opportunities beside it."""
    if any(_table_of(file) == "opportunities" for file in files):
        return None
    labelled = [
        file for file, columns in files.items() if any(_plain(name) in LABELS for name in columns)
    ]
    return labelled[0] if len(labelled) == 1 else None


def _flat_section(file: str, columns: list[str]) -> str:
    plain = {_plain(name): name for name in reversed(columns)}
    label = next(plain[name] for name in LABELS if name in plain)
    lines = [f"# {file} looks like a flat export: one row per lead, with its label.", "[flat]"]
    lines.append(f"path = {toml_value(file)}")
    lead_id = next((plain[name] for name in FLAT_IDS if name in plain), None)
    if lead_id is not None:
        lines.append(f"lead_id = {toml_value(lead_id)}")
    lines.append(f"label = {toml_value(label)}")
    dates = [name for name in columns if re.search(r"date|created|timestamp|_at$", name.casefold())]
    lines.append(f"# as_of = {toml_value(dates[0] if dates else '')}  # when the row was true")
    lines.append("# drop = []  # columns that were filled in after the outcome was known")
    return "\n".join(lines)


def _table_sections(files: dict[str, list[str]]) -> list[str]:
    sections = []
    found: set[str] = set()
    for file, columns in files.items():
        table = _table_of(file)
        if table is None or table in found:
            sections.append(f"# {_comment(file)}: not recognised as a table of the contract.")
            continue
        found.add(table)
        spec = CONTRACT[table]
        if _stem(file) == table and set(spec.required) <= {name.casefold() for name in columns}:
            sections.append(f"# {file} is read as the table {table}.")
        else:
            sections.append(_mapped(spec, file, columns))
    missing = [table for table in ("leads", "opportunities") if table not in found]
    sections += [
        f"# No file for {table} was recognised: it needs {', '.join(CONTRACT[table].required)}."
        for table in missing
    ]
    return sections


def _mapped(spec: TableSpec, file: str, columns: list[str]) -> str:
    """Return a `[tables.NAME]` section with the SQL that we guess maps the file's columns."""
    left = {_plain(name): name for name in reversed(columns)}
    cells = []
    for name in [*spec.required, *spec.optional, "recorded_at"]:
        known = [_plain(name), *COLUMN_NAMES.get(name, ())]
        if name == spec.key:
            known += ["id", "objectid"]
        match = next((plain for plain in known if plain in left), None)
        if match is not None:
            column = quoted(left.pop(match))
            is_deal_stage = (spec.name, name) == ("opportunities", "stage")
            cells.append(f"{STAGES.format(column) if is_deal_stage else column} as {name}")
        elif name in spec.required:
            cells.append(f"null as {name} /* which column? */")
    if spec.has_attributes:
        cells += [quoted(name) for name in columns if _plain(name) in left]
    select = ",\n  ".join(cells).replace("'''", "")
    return (
        f"# Guessed from the columns of {_comment(file)}: check it.\n"
        f"[tables.{spec.name}]\nsql = '''\nselect\n  {select}\nfrom {literal(file)}\n'''"
    )


def _comment(text: str) -> str:
    return re.sub(r"[\x00-\x1f]", " ", text)


def _settings(section: str, model: type[BaseModel]) -> str:
    return "\n".join([f"# [{section}]", *_setting_lines("", model)])


def _setting_lines(prefix: str, model: type[BaseModel]) -> list[str]:
    lines = []
    for name, field in model.model_fields.items():
        default = None if field.default is PydanticUndefined else field.default
        meaning = f"  # {' '.join(field.description.split())}" if field.description else ""
        if isinstance(default, BaseModel):
            lines += _setting_lines(f"{prefix}{name}.", type(default))
        elif default is None:
            lines.append(f"# {prefix}{name} = ...{meaning}")
        else:
            lines.append(f"# {prefix}{name} = {toml_value(default)}{meaning}")
    return lines


def toml_value(value: Any) -> str:
    """Return a setting's value as TOML.

    >>> toml_value(("a", 1, True))
    '["a", 1, true]'
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(toml_value(part) for part in value)}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{_comment(escaped)}"'
    return str(value)
