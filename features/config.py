"""`closedwon.toml` as one frozen model: every setting, its default and its meaning."""

from __future__ import annotations

import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, IPvAnyNetwork, ValidationError, model_validator
from pydantic_core import ErrorDetails

from features.config_section import PositiveInt, Section, Share
from features.errors import InputError
from features.life_config import (
    ExplorationConfig,
    GateConfig,
    MonitorConfig,
    RetrainConfig,
    VerdictConfig,
)

Day = date


class TableSource(Section):
    """Where one table comes from: a file, or a DuckDB query over files and attached databases."""

    path: str | None = None
    "CSV, Parquet or JSON file, relative to `--data`."
    sql: str | None = None
    "DuckDB SQL that returns the table's columns. A database's table is written `name.table`."

    @model_validator(mode="after")
    def _one_of_two(self) -> TableSource:
        if (self.path is None) == (self.sql is None):
            raise ValueError("give either path or sql")
        return self


class FlatSource(TableSource):
    """A flat export: one row per lead with its label; each row is one snapshot."""

    lead_id: str | None = None
    "Column with the lead's id; the row number without it."
    account_id: str | None = None
    as_of: str | None = None
    "Column with the instant the row describes. Without it there is no time order."
    label: str | None = None
    "Column that is true (1, yes, true, won) for leads that closed."
    won_at: str | None = None
    "Column with the instant of the win, instead of `label`; matured rows only are used."
    labels_known_until: Day | None = None
    "For `label` with `as_of`: rows younger than one horizon at this day are left out."
    drop: tuple[str, ...] = ()
    "Columns that are no features."


class DataConfig(Section):
    """How tables are read and checked."""

    data_until: Day | None = None
    "The day the data end; otherwise the newest plausible time in them."
    max_rejected_share: Share = 0.05
    "A table that breaks one rule in more than this share of its rows stops the run."
    max_line_megabytes: PositiveInt = 8
    "Longest accepted line of a CSV or JSON file."
    memory_gb: Annotated[float, Field(gt=0)] = 4.0
    "Memory to work in; larger data go to disk, part by part. It changes no result."


class PopulationConfig(Section):
    """Who is scored, and who can become an MQL."""

    customers: Literal["exclude", "include"] = "exclude"
    "Leads of accounts that already bought."
    requalify_after_days: PositiveInt | None = None
    "An MQL can be one again after this many days; without it only after `recycled`."
    attribution_days: PositiveInt = 90
    "A win without contacts labels the account's leads active this long before the opportunity."
    account_from: Literal["account_id", "email_domain"] = "account_id"
    "`email_domain` derives the account from the leads' `email_domain` column, free mail excluded."


class SnapshotConfig(Section):
    """When leads are looked at for training."""

    at: Literal["weeks", "age"] = "weeks"
    "`weeks`: one random Monday per lead and `every_days`; `age`: once, `age_days` after creation."
    every_days: PositiveInt = 28
    age_days: PositiveInt = 14
    max_rows: PositiveInt = 300_000
    "Negatives are thinned above this, and weighted back."


class JourneyConfig(Section):
    """Event types that tell how far a lead is; found by their names unless set."""

    consideration: tuple[str, ...] | None = None
    decision: tuple[str, ...] | None = None
    ignored: tuple[str, ...] | None = None
    "Types that tell nothing, such as a bounced e-mail. All further types mean awareness."


class FeatureConfig(Section):
    """What the catalogue holds."""

    windows_days: tuple[PositiveInt, ...] = (7, 30, 90)
    half_lives_days: tuple[PositiveInt, ...] = (7, 30)
    drop: tuple[str, ...] = ()
    "Attributes (`leads.column`, `accounts.column` or plain `column`) that are no features."
    max_event_types: PositiveInt = 40
    "Event types beyond the most frequent ones are counted together as `other`."
    groups: dict[str, tuple[str, ...]] = Field({})
    """Name -> event types that are also counted together. `explicit_interest` is found by names
    (demo, pricing, contact, trial) unless set; an empty list leaves it out."""
    journey: JourneyConfig = JourneyConfig()
    known_at_creation: tuple[str, ...] = ()
    """Attributes, named as in `drop`, that are known to be filled when a lead is created: the
    leakage audit takes your word for it."""
    email_domain: str | None = None
    """Attribute that holds the domain of the e-mail address; found by name unless set. From this
    and the next two come the kind of e-mail, seniority and department, and company size band."""
    job_title: str | None = None
    company_size: str | None = None


class TrainingConfig(Section):
    """Labels, evaluation and the search."""

    horizon_days: PositiveInt = 91
    gap_days: Annotated[int, Field(ge=0)] | None = None
    "Days between a fit row and the test start; one horizon unless set. Less is optimistic."
    test_from: Day | None = None
    test_until: Day | None = None
    test_share: Annotated[float, Field(gt=0, lt=0.9)] = 0.2
    "Share of the matured time span (without dates: of the accounts) kept for the test."
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    trials: Annotated[int, Field(ge=0)] = 8
    "Optuna trials; the first is the defaults. 0 searches nothing, recency weights neither."
    calibrate_by: str | None = None
    """Category attribute (`leads.region`) whose values' probabilities are moved to their own win
    rates, as far as there is evidence that they differ; the order within a value stays."""
    min_wins: PositiveInt = 50
    "Fewer won leads than this in the fit rows: refused."
    bootstraps: PositiveInt = 200
    seed: Annotated[int, Field(ge=0)] = 0
    num_threads: PositiveInt = 2
    "Fixed, since LightGBM writes it into the model text."


class CutoffConfig(Section):
    """How the probability cutoff is chosen."""

    policy: Literal["capacity", "precision", "capture", "money", "rules_volume", "fixed"] = (
        "capacity"
    )
    """What the cutoff is chosen for: as many MQLs as sales can work, a least precision, a least
    capture of the wins, the most money, the volume of the rules, or a value you set."""
    mqls_per_week: Annotated[float, Field(gt=0)] | None = None
    "capacity: MQLs that sales can work a week."
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    "capacity: instead, the share of the arriving leads that sales can work; a tenth unless set."
    target_precision: Annotated[float, Field(gt=0, lt=1)] = 0.2
    "precision: the least share of MQLs that should close within the horizon."
    min_capture: Annotated[float, Field(gt=0, lt=1)] = 0.8
    "capture: the least share of wins that should be MQLs before their deal is opened."
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.9
    "precision and capture: how sure it must be that the cutoff keeps its promise."
    win_value: Annotated[float, Field(gt=0)] | None = None
    "money: what a won deal brings."
    contact_cost: Annotated[float, Field(gt=0)] | None = None
    "money: what it costs sales to work an MQL."
    value: Annotated[float, Field(ge=0, le=1)] | None = None
    "fixed: the probability from which a lead is an MQL."
    segment_by: str | None = None
    "Category feature (`leads.region`) whose values get cutoffs of their own, by the same policy."
    segment_mqls_per_week: dict[str, Annotated[float, Field(gt=0)]] = Field({})
    """capacity by segment: MQLs a week for each value; the others share `mqls_per_week` by their
    arrivals."""

    @model_validator(mode="after")
    def _settings_fit_the_policy(self) -> CutoffConfig:
        policy = self.policy
        if policy == "money" and (self.win_value is None or self.contact_cost is None):
            raise ValueError("policy money needs win_value and contact_cost")
        if policy == "fixed" and self.value is None:
            raise ValueError(
                "policy fixed needs value, the probability from which a lead is an MQL"
            )
        if policy != "fixed" and self.value is not None:
            raise ValueError(f'value is for policy = "fixed", and the policy is {policy}')
        if self.mqls_per_week is not None and self.share is not None:
            raise ValueError("give either mqls_per_week or share")
        if policy == "fixed" and self.segment_by is not None:
            raise ValueError("policy fixed sets one value, so segment_by has nothing to choose")
        if self.segment_mqls_per_week and (policy != "capacity" or self.segment_by is None):
            raise ValueError("segment_mqls_per_week needs policy capacity and segment_by")
        return self


class CompareConfig(Section):
    """How the comparison of model and rules is told."""

    segments: tuple[str, ...] | None = None
    """Attributes (`leads.source`, `accounts.industry` or plain `source`) by which it is also shown;
    unless set, the source and the first category attributes of few values."""


class TrackingConfig(Section):
    """MLflow. `MLFLOW_TRACKING_URI` wins over `uri`."""

    uri: str = "sqlite:///.closedwon/mlflow.db"
    experiment: str = "closedwon"
    model_name: str = "closedwon"


class ServingConfig(Section):
    """The API and its ledger."""

    ledger: str = "sqlite:///.closedwon/ledger.db"
    "Where every score is kept: a URL of SQLite or PostgreSQL."
    refresh_seconds: PositiveInt = 10
    "How often the champion is looked up in MLflow."
    max_leads: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    "Leads of one request."
    max_rows: PositiveInt = 50_000
    "Rows of one request, all tables together."
    max_body_megabytes: PositiveInt = 10
    max_waiting: PositiveInt = 64
    "Requests at work or waiting; the next one is told to come back later."
    requests_per_minute: PositiveInt | None = None
    "Quota of one key; none unless set."
    accept_within_hours: Annotated[float, Field(gt=0)] = 24
    "Service level of sales: from MQL to the first answer."
    contact_within_hours: Annotated[float, Field(gt=0)] = 48
    "Service level of sales: from MQL to the first contact."
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    "Addresses or networks of reverse proxies whose X-Forwarded-For and -Proto are believed."


class Config(Section):
    """The whole file."""

    data: DataConfig = DataConfig()
    databases: dict[str, str] = Field({})
    "Name -> URL (`sqlite:///crm.db`, `postgresql://...`), used as `name.table` in SQL."
    tables: dict[str, TableSource] = Field({})
    flat: FlatSource | None = None
    population: PopulationConfig = PopulationConfig()
    snapshots: SnapshotConfig = SnapshotConfig()
    features: FeatureConfig = FeatureConfig()
    training: TrainingConfig = TrainingConfig()
    cutoff: CutoffConfig = CutoffConfig()
    compare: CompareConfig = CompareConfig()
    tracking: TrackingConfig = TrackingConfig()
    serving: ServingConfig = ServingConfig()
    gate: GateConfig = GateConfig()
    retrain: RetrainConfig = RetrainConfig()
    monitor: MonitorConfig = MonitorConfig()
    verdicts: VerdictConfig = VerdictConfig()
    exploration: ExplorationConfig = ExplorationConfig()

    @property
    def gap_days(self) -> int:
        """Days between a fit row and the test start, one horizon unless set."""
        gap = self.training.gap_days
        return self.training.horizon_days if gap is None else gap


def read_config(path: Path) -> Config:
    """Return the settings in the TOML file at `path`; every mistake in it is an InputError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist. Write one with: closedwon init --data FOLDER"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text, so no TOML. Save it as UTF-8.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        return Config.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None
    except ValidationError as error:
        problems = "; ".join(_problem(found) for found in error.errors()[:3])
        raise InputError(f"{path}: {problems}") from None


def _problem(found: ErrorDetails) -> str:
    """Return one mistake as `section.setting: what is wrong`, unknown settings with the known.

    >>> _problem({"loc": ("tracking", "modl"), "type": "extra_forbidden", "msg": "", "input": ""})
    'tracking.modl is no setting; known: uri, experiment, model_name'
    """
    place = ".".join(str(part) for part in found["loc"])
    if found["type"] != "extra_forbidden":
        return f"{place}: {found['msg'].removeprefix('Value error, ')}"
    section: type[BaseModel] = Config
    for part in found["loc"][:-1]:
        section = _section_of(section, str(part))
    return f"{place} is no setting; known: {', '.join(section.model_fields)}"


def _section_of(section: type[BaseModel], name: str) -> type[BaseModel]:
    if name == "flat":
        return FlatSource
    field = section.model_fields.get(name)
    kind = None if field is None else field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else TableSource
