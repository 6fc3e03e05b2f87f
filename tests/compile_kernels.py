"""Compiles the kernels, once, before the tests start: two test processes would both do it.

Run as a script. What it leaves out, the first test that needs it compiles.
"""

from __future__ import annotations

import json


def compile_kernels() -> None:
    """Make examples, and score a few of their leads with reasons, in batch and live."""
    from live_requests import body_at, drawn, live, scorer, snapshots
    from small_crm import small_examples

    from models.reasons import reasons
    from serving.live.requests import parse_request

    small_examples()
    few = snapshots().head(50)
    scorer().score(few)
    reasons(scorer(), few)
    for lead_id, as_of in drawn(20):
        body = json.dumps(body_at(lead_id, as_of)).encode()
        live().score(parse_request(body, as_of), as_of, {}, lambda version: None)


if __name__ == "__main__":
    compile_kernels()
