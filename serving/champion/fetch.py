"""Child process of the server that looks the champion up: `python -m serving.champion.fetch`.

The server imports no mlflow: this process does, at low priority. It reads its settings as one JSON
line on stdin, and writes one JSON line on stdout for every look-up. The end of stdin ends it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from features.config import TrackingConfig
from models.bundle import bundle_digest
from models.registry import CHAMPION, NoModel, fetch_bundle
from serving.champion.failures import told


def look_up(tracking: TrackingConfig, root: Path) -> dict[str, str]:
    """Return version, digest and folder of the champion's checked bundle, or an `error`."""
    try:
        folder, version = fetch_bundle(CHAMPION, tracking, root)
        return {"version": version, "digest": bundle_digest(folder), "folder": str(folder)}
    except NoModel as error:
        # Also where the store was moved while its champion is in use: training is no cure then.
        return {"error": f"{error.found} None was trained, or [tracking] uri names another store."}
    except Exception as error:  # whatever MLflow raises, the next look-up may do better
        return {"error": told(error)}


def main() -> None:
    """Look up and report until stdin ends."""
    # A server in the background may have been told to ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What libraries print must not come between our lines.
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    asked = sys.stdin.readline()
    if not asked:
        return  # the server ended before it could ask
    settings: dict[str, Any] = json.loads(asked)
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    tracking = TrackingConfig.model_validate(settings["tracking"])
    while True:
        print(json.dumps(look_up(tracking, Path(settings["root"]))), file=reports, flush=True)
        time.sleep(settings["refresh_seconds"])


def _end_with_the_server() -> None:
    while sys.stdin.readline():
        pass
    # Also in the middle of a download that hangs; what it has written so far is removed.
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    os.nice(10)
    with suppress(KeyboardInterrupt):
        main()
