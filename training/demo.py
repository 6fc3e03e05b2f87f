"""Settings of the demo, for the commands that follow it."""

DEMO_MARK = "# Written by `closedwon demo`"
DEMO_CONFIG = f"""{DEMO_MARK}; the next demo writes it again. Yours: closedwon init
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

[training]
trials = 1 # the defaults only, so that the demo is quick

[cutoff]
policy = "capacity"
mqls_per_week = 30
"""
