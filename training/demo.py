"""Settings and points rules of the demo, for the commands that follow it."""

from __future__ import annotations

from pathlib import Path

DEMO_MARK = "# Written by `closedwon demo`"
_MARKED = f"{DEMO_MARK}; the next demo writes it again. Yours: closedwon init"
_TEMPLATE = f"""{_MARKED}
[data]
data_until = 2026-01-05

[tables.leads]
path = ".closedwon/demo/leads.parquet"
[tables.accounts]
path = ".closedwon/demo/accounts.parquet"
[tables.engagement_events]
path = ".closedwon/demo/engagement_events.parquet"
[tables.opportunities]
path = ".closedwon/demo/opportunities.parquet"
[tables.opportunity_leads]
path = ".closedwon/demo/opportunity_leads.parquet"
[tables.stage_changes]
path = ".closedwon/demo/stage_changes.parquet"
[tables.verdicts]
path = ".closedwon/demo/verdicts.parquet"
[tables.campaign_costs]
path = ".closedwon/demo/campaign_costs.parquet"

[tracking]
model_name = "closedwon-demo" # not in the way of your own

# so that the demo is quick: fewer lost rows to learn from, and no search
[snapshots]
max_rows = 40000

[training]
trials = 0

[cutoff]
policy = "capacity"
mqls_per_week = MQLS
"""
LEADS_PER_MQL = 20_000 / 60
"Two years bring 20,000 leads, and sales can work 60 MQLs a week."


def demo_config(leads: int) -> str:
    """Return the settings of a demo with so many leads.

    >>> demo_config(leads=2_000).splitlines()[-1]
    'mqls_per_week = 6'
    """
    return _TEMPLATE.replace("MQLS", str(max(1, round(leads / LEADS_PER_MQL))))


def demo_rules() -> str:
    """Return the points rules of the demo's marketing team: who they sell to, and what counts."""
    rules = Path(__file__).with_name("demo_rules.toml").read_text(encoding="utf-8")
    return f"{_MARKED}\n{rules}"
