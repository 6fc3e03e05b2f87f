"""The command line. Heavy imports wait inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from features.errors import InputError
from serving.ledger.errors import LedgerUnavailable

if TYPE_CHECKING:
    from features.config import Config
    from serving.ledger.keys import Keys
    from training.promotion import Promotion
    from training.recipe import Training
    from training.steps import Steps

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Which open leads will close: calibrated, audited, explained.",
)
keys_app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the API's keys.")
app.add_typer(keys_app, name="keys")

ConfigOption = Annotated[Path, typer.Option("--config", help="Settings.")]
DataOption = Annotated[Path, typer.Option("--data", help="Folder where relative files lie.")]
RulesOption = Annotated[
    Path | None, typer.Option("--rules", help="Points table; rules.toml beside the settings.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]

DEFAULT_CONFIG = Path("closedwon.toml")
RULES = "rules.toml"
LOCAL = Path(".closedwon")
REJECTS = LOCAL / "rejects"
GATE_SAID_NO = 3
# What the user's disk says, not our code.
DISK_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EEXIST,
               errno.ENOTDIR, errno.EISDIR)  # fmt: skip


@app.command()
def demo(
    leads: Annotated[int, typer.Option(min=1000, help="Leads to simulate.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Another seed, another CRM.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Make a demo CRM, train on it and write the report."""
    from training.simulate import simulate, write_demo

    with _steps(as_json) as steps:
        config_path = _leave_demo_config(leads)
        with steps("simulate"):
            write_demo(simulate(leads=leads, seed=seed), LOCAL / "demo")
        trained = _train(config_path, Path(), None, steps)
    _say_trained(trained, as_json)
    if not as_json:
        _say(f"\nThe demo CRM is in {LOCAL / 'demo'}, its settings in {config_path}, marketing's")
        _say(f"points rules in {_rules_beside(config_path, None)}. Go on with:")
        named = "" if config_path == DEFAULT_CONFIG else f" --config {config_path}"
        _say(f"  closedwon compare{named}  model and rules, side by side")
        _say(f"  closedwon score{named}    every open lead, with its reasons, to scores.csv")
        _say(f"  closedwon check{named}    data quality and leakage audit")
        _say(f"  closedwon serve{named}    the API and the pages for sales, once there is a key:")
        _say(f"  closedwon keys create{named} --name me --scope score --scope read --scope verdict")


@app.command()
def init(
    data: DataOption = Path(),
    output: Annotated[Path, typer.Option("--output", help="File to write.")] = DEFAULT_CONFIG,
) -> None:
    """Write a commented closedwon.toml for the tables found in a folder, and a rules.toml.

    Where the settings are there already, only the points rules are drafted.
    """
    from features.loading.scaffold import draft_config
    from features.outputs import check_output

    check_output(output, (".toml",))
    rules = output.with_name(RULES)
    is_there = _is_own(output)
    if is_there and _is_own(rules):
        there = f"{output} is already there, and so is {rules}"
        raise InputError(f"{there}. Move one away, or choose another --output.")
    if not is_there:
        _write(output, draft_config(data))
        named = "" if output == DEFAULT_CONFIG else f" --config {output}"
        lies = "" if data == Path() else f" --data {data}"
        _say(f"Wrote {output}. Read it through, then: closedwon check{named}{lies}")
    if _is_own(rules):
        _say(f"{rules} is already there and stays as it is.")
        return
    try:
        _draft_rules(output, data, rules)
    except InputError as error:
        if is_there:
            raise InputError(f"{output} is already there. No {rules} from it: {error}") from None
        _say(f"No {rules} yet: {error} Once {output} reads your tables, run closedwon init again.")


@app.command()
def check(
    config: ConfigOption = DEFAULT_CONFIG,
    data: DataOption = Path(),
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 3 if a column is blocked, or none was audited.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Load the tables, look at the quality of the data, and audit every column for leakage."""
    from training.check import PAGE, check_sources, write_check_page

    settings = _read(config)
    with _steps(as_json) as steps:
        checked = check_sources(settings, data, REJECTS, steps)
        with steps("page"):
            page = write_check_page(checked, PAGE)
    if as_json:
        _print_json({**checked.as_dict(), "page": str(page)})
    else:
        _say("\n".join([*checked.lines(), f"With pictures: {page}"]))
    if strict and (checked.audit is None or checked.audit.blocked()):
        raise typer.Exit(GATE_SAID_NO)


@app.command()
def features(
    config: ConfigOption = DEFAULT_CONFIG,
    data: DataOption = Path(),
    output: Annotated[Path, typer.Option("--output", help="Parquet file.")] = Path(
        "snapshots.parquet"
    ),
    as_json: JsonOption = False,
) -> None:
    """Write the training snapshots, without labels, as Parquet."""
    from features.outputs import check_output
    from training.snapshot_file import write_snapshots

    settings = _read(config)
    check_output(output, (".parquet",), _inputs(config, settings, data))
    with _steps(as_json) as steps:
        written = write_snapshots(settings, data, LOCAL, output, steps)
    if as_json:
        _print_json({**asdict(written), "output": str(output)})
        return
    _say(f"Wrote {written.rows:,} snapshots with {written.features} features to {output}.")
    if written.parts > 1:
        reused = f", {written.parts_reused} of them ready from before"
        _say(f"The tables were read in {written.parts} parts{reused * bool(written.parts_reused)}.")


@app.command()
def train(
    config: ConfigOption = DEFAULT_CONFIG,
    data: DataOption = Path(),
    rules: RulesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train, evaluate, compare with the rules, log and register a model.

    It becomes a challenger, or the first champion.
    """
    with _steps(as_json) as steps:
        trained = _train(config, data, rules, steps)
    _say_trained(trained, as_json)
    if not trained.beats_base_rate:
        print(
            "The model does not clearly beat the base rate, so it was not made champion.",
            file=sys.stderr,
        )
        raise typer.Exit(GATE_SAID_NO)


@app.command()
def verify(
    config: ConfigOption = DEFAULT_CONFIG,
    data: DataOption = Path(),
    model: Annotated[str, typer.Option(help="champion, challenger or a version.")] = "champion",
    sample: Annotated[int, typer.Option(min=1, help="Lead-dates of the past to compare.")] = 2_000,
    as_json: JsonOption = False,
) -> None:
    """Rebuild leads of the past live, one at a time, and in batch: both must be the same."""
    from models.bundle import open_bundle
    from models.registry import fetch_bundle
    from serving.verify import verify_past

    settings = _read(config)
    with _steps(as_json) as steps:
        with steps("model"):
            folder, version = fetch_bundle(model, settings.tracking, Path())
            scorer = open_bundle(folder)
        with steps("verify"):
            found = verify_past(scorer, settings, data, sample)
    if as_json:
        _print_json({**found.as_dict(), "model_version": version})
    else:
        _say("\n".join(found.lines()))
    if not found.is_passed:
        print("Live and batch differ.", file=sys.stderr)
        raise typer.Exit(GATE_SAID_NO)


@app.command()
def score(
    config: ConfigOption = DEFAULT_CONFIG,
    data: DataOption = Path(),
    flat_file: Annotated[
        Path | None, typer.Option("--input", help="Flat file of new leads, instead of the tables.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", help="CSV or Parquet file.")] = Path(
        "scores.csv"
    ),
    model: Annotated[str, typer.Option(help="champion, challenger or a version.")] = "champion",
    all_reasons: Annotated[
        bool, typer.Option("--all-reasons", help="Every reason, in a second file.")
    ] = False,
    to_ledger: Annotated[
        bool, typer.Option("--ledger/--no-ledger", help="Keep the scores in the ledger too.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Score every open lead: probability, grade, qualified, reasons; to a file and the ledger."""
    from features.outputs import check_output
    from models.bundle import open_bundle
    from models.registry import fetch_bundle
    from serving.batch import score_leads
    from serving.batch_records import old_data_note, open_batch_ledger
    from serving.ledger.clock import now_us
    from serving.open_leads import read_open_leads

    settings = _read(config)
    inputs = _inputs(config, settings, data)
    check_output(output, (".csv", ".parquet"), [*inputs, flat_file] if flat_file else inputs)
    with _steps(as_json) as steps:
        with steps("model"):
            folder, version = fetch_bundle(model, settings.tracking, Path())
            scorer = open_bundle(folder)
        with steps("snapshots"):
            snapshots, tables = read_open_leads(scorer, settings, data, flat_file)
        # Whom another model than the one in use would hand over is nobody's MQL.
        is_kept = to_ledger and model == "champion"
        with steps("score"), ExitStack() as stack:
            ledger = None
            if is_kept:
                asked = open_batch_ledger(scorer, version, folder, settings, Path(), tables)
                ledger = stack.enter_context(asked)
            kept = "all" if all_reasons else "top"
            summary = score_leads(
                scorer,
                snapshots,
                output,
                reasons_kept=kept,
                ledger=ledger,
                exploration=settings.exploration,
            )
    note = old_data_note(snapshots["as_of"], now_us()) if is_kept else None
    if note:
        print(f"closedwon: {note}", file=sys.stderr)
    if as_json:
        _print_json({**summary.as_dict(), "model_version": version, "in_ledger": is_kept})
        return
    grades = ", ".join(f"{grade} {count:,}" for grade, count in summary.grades.items())
    _say(f"Scored {summary.leads:,} open leads with version {version}: {grades}.")
    _say(f"{summary.qualified:,} qualify as MQLs of {summary.eligible:,} that may.")
    if summary.explored:
        _say(f"{summary.explored:,} below the cutoff are drawn to go to sales all the same.")
    all_told = f", and every reason to {summary.reasons_path}" if summary.reasons_path else ""
    also = ", and to the ledger" if is_kept else ""
    _say(f"Wrote {summary.path}{all_told}{also}.")


@app.command()
def compare(
    config: ConfigOption = DEFAULT_CONFIG,
    data: DataOption = Path(),
    rules: RulesOption = None,
    model: Annotated[str, typer.Option(help="champion, challenger or a version.")] = "champion",
    as_json: JsonOption = False,
) -> None:
    """Compare model and rules, side by side, on the test weeks of the model's evaluation."""
    from training.comparison.command import compare_with_rules

    table = _rules_beside(config, rules)
    with _steps(as_json) as steps:
        compared = compare_with_rules(_read(config), table, data, Path(), model, steps)
    if as_json:
        _print_json(compared.as_dict())
    else:
        _say("\n".join(compared.lines()))


@app.command()
def backtest(
    config: ConfigOption = DEFAULT_CONFIG,
    data: DataOption = Path(),
    rules: RulesOption = None,
    months: Annotated[int, typer.Option(min=2, max=60, help="At most so many, the newest.")] = 12,
    output: Annotated[Path | None, typer.Option("--output", help="HTML page to write.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Replay the past as if the model had been retrained every month, or less often.

    What retraining brings, how fast a model ages, and the rules beside it; nothing is registered.
    """
    from features.outputs import check_output
    from models.rules import read_rules
    from training.backtest.backtest import backtest as run
    from training.report.backtest_page import PAGE, write_backtest_page

    settings, table = _read(config), _rules_beside(config, rules)
    if output is not None:
        check_output(output, (".html",), _inputs(config, settings, data))
    with _steps(as_json) as steps:
        points = None if table is None else read_rules(table)
        found = run(settings, data, Path(), steps, points, months)
        with steps("page"):
            page = write_backtest_page(found, output or PAGE)
    if as_json:
        _print_json({**found.as_dict(), "page": str(page), "seconds": steps.seconds})
    else:
        _say("\n".join([*found.lines(), "", f"With pictures: {page}"]))


@app.command()
def serve(
    config: ConfigOption = DEFAULT_CONFIG,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free one.")] = 8000,
) -> None:
    """Serve scores over HTTP, and the pages for sales, until Ctrl-C or SIGTERM."""
    # Nothing of what is loaded now is garbage; the server switches the collector on again.
    gc.disable()
    from serving.api.run import serve as run

    run(_read(config), Path(), host, port)


@app.command()
def retrain(
    config: ConfigOption = DEFAULT_CONFIG,
    data: DataOption = Path(),
    rules: RulesOption = None,
    may_promote: Annotated[
        bool, typer.Option("--promote", help="Make it champion if the gate lets it pass.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Learn from what has closed since: a new model, or the champion recalibrated.

    The gate judges it against the champion. The same data make it once only, so it may be run
    again after a stop.
    """
    from models.rules import read_rules
    from training.retrain.retrain import retrain as run

    settings, table = _read(config), _rules_beside(config, rules)
    with _steps(as_json) as steps:
        points = None if table is None else read_rules(table)
        retrained = run(settings, data, Path(), steps, points, may_promote)
    if as_json:
        _print_json(retrained.as_dict())
    else:
        _say("\n".join(retrained.lines()))
    if retrained.is_refused:
        print("The champion stays as it is.", file=sys.stderr)
        raise typer.Exit(GATE_SAID_NO)


@app.command()
def monitor(
    config: ConfigOption = DEFAULT_CONFIG,
    data: DataOption = Path(),
    model: Annotated[str, typer.Option(help="champion, challenger or a version.")] = "champion",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            help="HTML page to write; .closedwon/monitor.html, monitor-VERSION.html if not in use.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Watch the model at work: drift, broken feeds, wins against what was promised.

    Exit code 3 when something needs a person.
    """
    from features.outputs import check_output
    from training.monitor.monitor import monitor as run
    from training.report.monitor_section import write_monitor_page

    settings = _read(config)
    if output is not None:
        check_output(output, (".html",))
    with _steps(as_json) as steps:
        result = run(settings, data, Path(), model, steps)
        with steps("page"):
            named = "monitor" if result.in_use else f"monitor-{result.model}"
            page = write_monitor_page(result.as_dict(), output or LOCAL / f"{named}.html")
    if as_json:
        _print_json({**result.as_dict(), "page": str(page)})
    else:
        _say("\n".join([*result.lines(), f"With pictures: {page}"]))
    if result.needs_person:
        raise typer.Exit(GATE_SAID_NO)


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="challenger or a version.")] = "challenger",
    override: Annotated[
        str | None, typer.Option(help="Promote whatever the gate said, for this reason.")
    ] = None,
    show_history: Annotated[
        bool, typer.Option("--history", help="Only show every change of champion so far.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Make a version champion, if the gate let it pass; the service takes it up by itself."""
    from training.promotion import promote as run
    from training.promotion_standing import history

    settings = _read(config)
    if show_history:
        standing = history(settings, Path())
        if as_json:
            _print_json(standing.as_dict())
        else:
            _say("\n".join(standing.lines()))
        return
    _say_promoted(run(settings, Path(), version, override), as_json)


@app.command()
def rollback(
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")],
    version: Annotated[
        str | None, typer.Argument(help="An earlier champion; the one before without it.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Make an earlier champion champion again, at once."""
    from training.promotion import rollback as run

    _say_promoted(run(_read(config), Path(), version, reason), as_json)


def _say_promoted(promotion: Promotion, as_json: bool) -> None:
    if as_json:
        _print_json(promotion.as_dict())
    else:
        _say(promotion.told)
    if promotion.outcome == "refused":
        print("Not promoted. To do it all the same: --override REASON", file=sys.stderr)
        raise typer.Exit(GATE_SAID_NO)


@app.command()
def reproduce(
    version: Annotated[str, typer.Argument(help="champion, challenger or a version.")],
    config: ConfigOption = DEFAULT_CONFIG,
    data: DataOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Make a version again from its recorded settings and data, and compare every byte."""
    from training.reproduce import reproduce as run

    settings = _read(config)
    with _steps(as_json) as steps:
        found = run(version, settings, data, Path(), steps)
    if as_json:
        _print_json(found.as_dict())
    else:
        _say("\n".join(found.lines()))
    if not found.is_equal:
        raise typer.Exit(GATE_SAID_NO)


@app.command()
def export(
    output: Annotated[Path, typer.Option("--output", help="Folder to write to.")],
    config: ConfigOption = DEFAULT_CONFIG,
    file_format: Annotated[
        Literal["parquet", "csv"], typer.Option("--format", help="Of the files.")
    ] = "parquet",
    with_features: Annotated[
        bool, typer.Option("--features", help="Also the feature values of every score.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the ledger as tables: verdicts, stage changes and scores."""
    from serving.ledger.database import open_database
    from serving.ledger.exports import export_tables

    engine = open_database(_read(config).serving.ledger, Path(), must_exist=True)
    rows = export_tables(engine, output, file_format, with_features)
    if as_json:
        _print_json({"output": str(output), "rows": rows})
        return
    told = ", ".join(f"{name} ({count:,} rows)" for name, count in rows.items())
    _say(f"Wrote to {output}: {told}.")


@app.command()
def forget(
    lead_ids: Annotated[list[str], typer.Argument(help="Leads to erase.")],
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Erase leads from the ledger, and say which evaluations still hold them."""
    from serving.ledger.database import open_database
    from serving.ledger.erasing import erase_leads
    from training.comparison.kept_leads import versions_with_leads

    settings = _read(config)
    erased = erase_leads(open_database(settings.serving.ledger, Path(), must_exist=True), lead_ids)
    told = ", ".join(f"{count:,} rows of {table}" for table, count in erased.items() if count)
    if not as_json:
        _say(f"Erased from the ledger: {told}.")
    versions: list[str] | None = None
    try:
        versions = versions_with_leads(lead_ids, settings, Path())
    except InputError as error:  # the leads are erased all the same
        print(f"closedwon: Evaluations could not be looked through. {error}", file=sys.stderr)
    if as_json:
        _print_json({"erased": erased, "versions_with_leads": versions})
    elif versions:
        _say(f"Still with MLflow: the evaluation of version {', '.join(versions)} holds scores of")
        _say("them, and its report may name them. That goes when the run is deleted. Erase them in")
        _say("your source tables too, before you train again.")


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Option("--name", help="Whose key it is.")],
    scopes: Annotated[list[str], typer.Option("--scope", help="read, score, verdict or admin.")],
    expires_days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Days it works; for ever without it.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Make a key, and print its secret this once."""
    from serving.ledger.key_lines import key_as_dict

    key, secret = _keys(config, must_exist=False).create_for_days(scopes, name, expires_days)
    if as_json:
        _print_json({**key_as_dict(key), "secret": secret})
        return
    _say(f"{secret}\n")
    _say(f"That is the key {key.key_id} for {key.name}. Keep it safe: it cannot be shown again.")


@keys_app.command("list")
def list_keys(config: ConfigOption = DEFAULT_CONFIG, as_json: JsonOption = False) -> None:
    """List the keys, without their secrets."""
    from serving.ledger.key_lines import key_as_dict, key_lines

    found = _keys(config).all()
    if as_json:
        _print_json({"keys": [key_as_dict(key) for key in found]})
    else:
        _say("\n".join(key_lines(found)))


@keys_app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="As `closedwon keys list` shows it.")],
    config: ConfigOption = DEFAULT_CONFIG,
) -> None:
    """End a key; a running server takes up to 5 seconds to notice."""
    key = _keys(config).revoke(key_id)
    _say(f"The key {key.key_id} for {key.name} is revoked.")


def _keys(config: Path, must_exist: bool = True) -> Keys:
    from serving.ledger.database import open_database
    from serving.ledger.keys import Keys

    return Keys(open_database(_read(config).serving.ledger, Path(), must_exist=must_exist))


def _draft_rules(config: Path, data: Path, path: Path) -> None:
    """Write a first points table for the data that `config` reads."""
    from features.loading.rules_draft import draft_rules

    _write(path, draft_rules(_read(config), data))
    _say(f"Wrote {path}, a first points table to compare the model with. Change it to yours.")


def _train(config: Path, data: Path, rules: Path | None, steps: Steps) -> Training:
    from models.rules import read_rules
    from training.recipe import train as run

    settings, table = _read(config), _rules_beside(config, rules)
    return run(settings, data, Path(), steps, None if table is None else read_rules(table))


def _rules_beside(config: Path, rules: Path | None) -> Path | None:
    """Return the points table to use: `rules`, else the one beside the settings if there is one."""
    beside = config.with_name(RULES)
    return beside if rules is None and beside.exists() else rules


def _read(config: Path) -> Config:
    from features.config import read_config

    return read_config(config)


def _say_trained(trained: Training, as_json: bool) -> None:
    if as_json:
        _print_json(trained.as_dict())
    else:
        from training.report.summary import summary_lines

        _say("\n".join(summary_lines(trained)))


def _leave_demo_config(leads: int) -> Path:
    """Write closedwon.toml and rules.toml for the demo; a person's own settings are kept.

    The demo's are then written to .closedwon/.
    """
    from training.demo import demo_config, demo_rules

    is_taken = _is_own(DEFAULT_CONFIG) or _is_own(DEFAULT_CONFIG.with_name(RULES))
    path = LOCAL / "demo.toml" if is_taken else DEFAULT_CONFIG
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, demo_config(leads))
    _write(path.with_name(RULES), demo_rules())
    return path


def _is_own(config: Path) -> bool:
    """Whether `config` is there and not just the demo's, which may be overwritten."""
    from training.demo import DEMO_MARK

    return config.exists() and not config.read_bytes().startswith(DEMO_MARK.encode())


@contextmanager
def _steps(as_json: bool) -> Iterator[Steps]:
    """Give the steps of a run, shown while they last if a person watches."""
    from rich.console import Console

    from training.steps import Steps

    console = Console(stderr=True)
    if as_json or not console.is_terminal:
        yield Steps(lambda _: _stop_if_asked())
        return
    with console.status("starting") as status:

        def announce(name: str) -> None:
            _stop_if_asked()
            status.update(name)

        yield Steps(announce)


def _inputs(config: Path, settings: Config, data: Path) -> list[Path]:
    """Return the files this run reads, which no output may overwrite."""
    from features.loading.files import FILE_SUFFIXES
    from features.tables import CONTRACT

    sources = [*settings.tables.values(), *([settings.flat] if settings.flat else [])]
    named = [source.path for source in sources if source.path is not None]
    found = [f"{table}{suffix}" for table in CONTRACT for suffix in FILE_SUFFIXES]
    return [config, *(data / name for name in [*named, *found])]


def _write(path: Path, text: str) -> None:
    from features.outputs import written_aside

    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")


def _say(text: str) -> None:
    """Print to stdout. A reader that went away is no error: the work is done."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_json(content: dict[str, Any]) -> None:
    _say(json.dumps(_finite(content), allow_nan=False))


def _finite(content: Any) -> Any:
    """Return `content` with null for NaN, which JSON does not know."""
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and content != content else content


_signals: list[int] = []
"Ctrl-C and SIGTERM this command was sent."


def _stop_if_asked() -> None:
    """End the run where a library swallowed the interrupt, as every destructor does."""
    if _signals:
        raise KeyboardInterrupt


@contextmanager
def _stopped_in_words() -> Iterator[None]:
    """Make of Ctrl-C and SIGTERM one line and the exit code that shells expect.

    Libraries turn an interrupt into errors of their own, so whatever ends the run after a signal
    is taken for the signal.
    """
    _signals.clear()

    def stop(number: int, _: object) -> None:
        _signals.append(number)
        raise KeyboardInterrupt

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in handlers.items():
        if handler != signal.SIG_IGN:  # nohup, or a shell's background job
            signal.signal(number, stop)
    try:
        yield
    except BaseException as error:
        is_finished = isinstance(error, SystemExit) and error.code in (0, None, GATE_SAID_NO)
        if not _signals or is_finished:
            raise
        print("closedwon: stopped. Nothing half-done is left behind.", file=sys.stderr)
        raise SystemExit(128 + _signals[0]) from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def main(arguments: list[str] | None = None) -> None:
    """Run one command, of the shell unless `arguments` are given; it always ends in SystemExit.

    Exit 0 fine, 2 the user's mistake, 3 a gate said no, 1 a bug, 130 stopped by Ctrl-C.
    """
    # Our matrices are small: threads that wait for each other cost a tenth of a training, and
    # their number may change last bits. Before NumPy is imported, and for child processes.
    for library in ("OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    with _stopped_in_words():
        try:
            app(args=arguments)
        except InputError as error:
            print(f"closedwon: {error}", file=sys.stderr)
            raise SystemExit(2) from None
        except LedgerUnavailable as error:
            print(f"closedwon: The ledger does not answer: {error}. Try again.", file=sys.stderr)
            raise SystemExit(2) from None
        except OSError as error:
            if error.errno not in DISK_ERRORS:
                raise
            print(f"closedwon: {error.filename}: {error.strerror}.", file=sys.stderr)
            raise SystemExit(2) from None
