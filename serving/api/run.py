"""The server process: uvicorn around the app, from the open port to the flushed ledger."""

from __future__ import annotations

import logging
import socket
import sys
import threading
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from features.config import Config, ServingConfig
from features.errors import InputError
from serving.api.app import create_app
from serving.api.connections import Connection
from serving.api.logs import JsonLines, write_failure
from serving.api.service import Service
from serving.ledger.clock import now_us
from serving.ledger.keys import Keys
from serving.ledger.ledger import Ledger

_STOP_SECONDS = 10
"Requests at work may take this long once the server is asked to stop."

_IDLE_SECONDS = 75
"An idle connection is kept: programs that send a score now and then need no new one each time."


def serve(config: Config, root: Path, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT; then finish what is at work and write out the ledger.

    Raises InputError for a port that is in use, and without any key.
    """
    listening = _listen(host, port)
    try:
        app = create_app(open_service(config, root))
        _log_as_json()
        settings = settings_of(app, config.serving)
        bound, shown = listening.getsockname()[1], f"[{host}]" if ":" in host else host
        print(f"Serving on http://{shown}:{bound} (Ctrl-C ends it)", flush=True)
        _run(uvicorn.Server(settings), listening)
    finally:
        listening.close()


def settings_of(app: FastAPI, config: ServingConfig) -> uvicorn.Config:
    """Return how uvicorn is to serve `app`."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_SECONDS,
        timeout_keep_alive=_IDLE_SECONDS,
        # Without a trusted proxy, anybody could choose the address and scheme we see.
        proxy_headers=bool(config.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in config.trusted_proxies],
    )


def _run(server: uvicorn.Server, listening: socket.socket) -> None:
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        # uvicorn hands the signal on once all is done; only then was it answered.
        if not server.should_exit:
            raise
    if not server.started:
        raise RuntimeError("The server could not start: the log says why.")


def open_service(config: Config, root: Path) -> Service:
    """Return the service of `config`, its ledger open; InputError when there is no key."""
    ledger = Ledger.of(config, root)
    keys = Keys(ledger.engine)
    if not any(key.is_usable(now_us()) for key in keys.all()):
        ledger.close()
        raise InputError(
            "There is no valid API key, so nobody could ask anything. Make one: "
            "closedwon keys create --name crm --scope score --scope read --scope verdict"
        )
    return Service(config, root, ledger, keys)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise InputError(
            f"The address {host}:{port} cannot be used: {error.strerror or error}. "
            "Choose another --port or --host."
        ) from None
    return listening


def _log_as_json() -> None:
    """Give every line of this process one form, whoever writes it."""
    logging.basicConfig(handlers=[JsonLines()], level=logging.WARNING, force=True)
    logging.captureWarnings(True)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # it looks at its own level only
    sys.excepthook = lambda _, error, __: write_failure(error)
    threading.excepthook = _thread_failed


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None:
        name = None if failed.thread is None else failed.thread.name
        write_failure(failed.exc_value, thread=name)
