"""The command line. Heavy imports wait inside the commands, so that `--help` answers at once."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from features.errors import InputError

if TYPE_CHECKING:
    from features.config import Config
    from training.recipe import Training
    from training.steps import Steps

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Which open leads will close: calibrated, audited, explained.",
)

ConfigOption = Annotated[Path, typer.Option("--config", help="Settings.")]
DataOption = Annotated[Path, typer.Option("--data", help="Folder where relative files lie.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]

DEFAULT_CONFIG = Path("closedwon.toml")
LOCAL = Path(".closedwon")
GATE_SAID_NO = 3


@app.command()
def demo(
    leads: Annotated[int, typer.Option(min=1000, help="Leads to simulate.")] = 20_000,
    seed: Annotated[int, typer.Option(help="Another seed, another CRM.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Make a demo CRM, train on it and write the report."""
    from features.config import read_config
    from training.simulate import simulate, write_demo

    with _steps(as_json) as steps:
        config_path = _leave_demo_config()
        with steps("simulate"):
            write_demo(simulate(leads=leads, seed=seed), LOCAL / "demo")
        trained = _train(read_config(config_path), Path(), steps)
    _say_trained(trained, as_json)
    if not as_json:
        _say(f"\nThe demo CRM is in {LOCAL / 'demo'}, its settings in {config_path}. Go on with:")
        _say("  closedwon score --output scores.csv    every open lead, with its reasons")
        _say("  closedwon check                        what became of the tables")


@app.command()
def init(
    data: DataOption = Path(),
    output: Annotated[Path, typer.Option("--output", help="File to write.")] = DEFAULT_CONFIG,
) -> None:
    """Write a commented closedwon.toml for the tables found in a folder."""
    from features.scaffold import draft_config

    if output.exists():
        raise InputError(f"{output} is already there. Move it away, or choose another --output.")
    _write_aside(output, draft_config(data))
    _say(f"Wrote {output}. Read it through, then: closedwon check --data {data}")


@app.command()
def check(
    config: ConfigOption = DEFAULT_CONFIG, data: DataOption = Path(), as_json: JsonOption = False
) -> None:
    """Load the tables and tell which rows were set aside, and why."""
    from features.flat import load_flat
    from features.load_report import write_rejects
    from features.sources import load_tables

    settings = _read(config)
    with _steps(as_json) as steps, steps("load"):
        if settings.flat is not None:
            report = load_flat(settings, data, labels_needed=False).report
        else:
            report = load_tables(settings, data).report
    rejects = [str(path) for path in write_rejects(report, LOCAL / "rejects")]
    if as_json:
        _print_json({**report.as_dict(), "rejects": rejects})
        return
    _say("\n".join(report.lines()))
    _say(f"Rows set aside are in {', '.join(rejects)}." if rejects else "No row was set aside.")


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
    from training.recipe import training_snapshots

    if output.suffix != ".parquet":
        raise InputError(f"{output} must end in .parquet.")
    with _steps(as_json) as steps:
        snapshots = training_snapshots(_read(config), data, steps)
        with steps("write"), _written_aside(output) as aside:
            snapshots.to_parquet(aside, index=False)
    columns = len(snapshots.columns) - 4
    if as_json:
        _print_json({"rows": len(snapshots), "features": columns, "output": str(output)})
    else:
        _say(f"Wrote {len(snapshots):,} snapshots with {columns} features to {output}.")


@app.command()
def train(
    config: ConfigOption = DEFAULT_CONFIG, data: DataOption = Path(), as_json: JsonOption = False
) -> None:
    """Train, evaluate, log and register a model: a challenger, or the first champion."""
    with _steps(as_json) as steps:
        trained = _train(_read(config), data, steps)
    _say_trained(trained, as_json)
    if not trained.beats_base_rate:
        print(
            "The model does not clearly beat the base rate, so it was not made champion.",
            file=sys.stderr,
        )
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
    as_json: JsonOption = False,
) -> None:
    """Score every open lead: probability, grade, qualified, reasons."""
    from models.bundle import open_bundle
    from models.registry import fetch_bundle
    from serving.batch import score_leads
    from serving.open_leads import read_open_leads

    settings = _read(config)
    with _steps(as_json) as steps:
        with steps("model"):
            folder, version = fetch_bundle(model, settings.tracking, Path())
            scorer = open_bundle(folder)
        with steps("snapshots"):
            snapshots = read_open_leads(scorer, settings, data, flat_file)
        with steps("score"):
            kept = "all" if all_reasons else "top"
            summary = score_leads(scorer, snapshots, output, reasons_kept=kept)
    if as_json:
        reasons_path = summary.reasons_path
        _print_json(
            {
                "leads": summary.leads,
                "eligible": summary.eligible,
                "qualified": summary.qualified,
                "grades": summary.grades,
                "cutoff": summary.cutoff,
                "model_version": version,
                "output": str(summary.path),
                "reasons_output": None if reasons_path is None else str(reasons_path),
            }
        )
        return
    grades = ", ".join(f"{grade} {count:,}" for grade, count in summary.grades.items())
    _say(f"Scored {summary.leads:,} open leads with version {version}: {grades}.")
    _say(f"{summary.qualified:,} qualify as MQLs of {summary.eligible:,} that may.")
    _say(f"Wrote {summary.path}.")


def _train(settings: Config, data: Path, steps: Steps) -> Training:
    from training.recipe import train as run

    return run(settings, data, Path(), steps)


def _read(config: Path) -> Config:
    from features.config import read_config

    return read_config(config)


def _say_trained(trained: Training, as_json: bool) -> None:
    if as_json:
        _print_json(trained.as_dict())
    else:
        from training.summary import summary_lines

        _say("\n".join(summary_lines(trained)))


def _leave_demo_config() -> Path:
    """Write ./closedwon.toml for the demo; a person's own is kept, and one beside it written."""
    from training.demo import DEMO_CONFIG, DEMO_MARK

    path = DEFAULT_CONFIG
    if path.exists() and not path.read_text(encoding="utf-8").startswith(DEMO_MARK):
        path = LOCAL / "demo.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_aside(path, DEMO_CONFIG)
    return path


@contextmanager
def _steps(as_json: bool) -> Iterator[Steps]:
    """Give the steps of a run, shown while they last if a person watches."""
    from rich.console import Console

    from training.steps import Steps

    console = Console(stderr=True)
    if as_json or not console.is_terminal:
        yield Steps()
        return
    with console.status("starting") as status:
        yield Steps(lambda name: status.update(name))


@contextmanager
def _written_aside(path: Path) -> Iterator[Path]:
    """Give a path to write to, renamed to `path` once all of it is there."""
    aside = path.with_name(f".{path.name}.part")
    try:
        yield aside
        aside.replace(path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from None
    finally:
        aside.unlink(missing_ok=True)


def _write_aside(path: Path, text: str) -> None:
    with _written_aside(path) as aside:
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


def main() -> None:
    """Run one command. Exit 0 fine, 2 the user's mistake, 3 a gate said no, 1 a bug."""
    try:
        app()
    except InputError as error:
        print(f"closedwon: {error}", file=sys.stderr)
        raise SystemExit(2) from None
