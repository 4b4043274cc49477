"""The server of the app, which only this machine reaches unless a password or the user says otherwise."""

import ipaddress
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seqgen.config import SeqgenError

QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000",  # it would compute a table of all requests after each of them
    "GRADIO_ANALYTICS_MAX_EVENTS": "100",
}
"""Environment set before Gradio is imported: no telemetry, no network, and little kept about requests."""
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


def run(runs: Sequence[str], host: str, port: int, auth: str | None, insecure: bool, device: str) -> None:
    """Serve until Ctrl-C. Raises SeqgenError for a host that others reach without a password, and CheckpointError."""
    users = _users(auth)
    check_host(host, users, insecure)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with served(runs, host, port, users, device) as url:
        print(f"seqgen app: {url} (Ctrl-C ends it)", flush=True)
        threading.Event().wait()


@contextmanager
def served(
    runs: Sequence[str], host: str, port: int, users: list[tuple[str, str]] | None = None, device: str = "cpu"
) -> Iterator[str]:
    """The address of a server that runs during the block; its files lie in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="seqgen-app-", ignore_cleanup_errors=True) as files:
        os.environ.update(QUIET, GRADIO_TEMP_DIR=files)
        blocks = _launched(runs, host, port, users, device, Path(files))
        try:
            yield blocks.local_url
        finally:
            blocks.close(verbose=False)


def check_host(host: str, users: object, insecure: bool) -> None:
    """Raises SeqgenError unless only this machine reaches the app, or it has users, or `insecure` is set."""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not (local or users or insecure):
        raise SeqgenError(
            f"--host {host} lets others in: expected --auth NAME:PASSWORD with it, or --insecure for no password"
        )


def _users(auth: str | None) -> list[tuple[str, str]] | None:
    if auth is None:
        return None
    name, colon, password = auth.partition(":")
    if not (name and colon and password):
        raise SeqgenError("--auth lacks the name or the password, expected NAME:PASSWORD")
    return [(name, password)]


def _check_port(host: str, port: int) -> None:
    """Raises OSError for a host and port that cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            raise OSError(f"cannot serve at {host}, port {port}: {why}; choose another one with --port") from None


def _launched(
    runs: Sequence[str], host: str, port: int, users: list[tuple[str, str]] | None, device: str, files: Path
) -> Any:
    _check_port(host, port)  # what may fail comes before seconds of imports
    import torch

    from seqgen_app.catalog import Catalog
    from seqgen_app.limits import Limits

    limits, models = Limits(), Catalog.load(runs, device)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // limits.running))  # requests run in parallel
    from starlette.middleware import Middleware

    from seqgen_app import style
    from seqgen_app.guard import Guard, events
    from seqgen_app.page import page

    blocks = page(models, limits)
    hosts = LOCAL if host in LOCAL else None
    guard = Middleware(Guard, limits, hosts, files, events(lambda: blocks.fns))
    threading.Thread(target=models.warm_up, daemon=True).start()  # so that nobody waits for it
    blocks.launch(
        server_name=host,
        server_port=port,
        auth=users,
        share=False,
        strict_cors=True,
        allowed_paths=[],
        show_error=False,
        enable_monitoring=False,
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        max_file_size=limits.upload,
        max_threads=8,
        state_session_capacity=limits.sessions,
        footer_links=["api"],
        app_kwargs={"middleware": [guard], "docs_url": None, "redoc_url": None, "openapi_url": None},
        theme=style.theme(),
        css=style.CSS,
        prevent_thread_lock=True,
        quiet=True,
        inbrowser=False,
    )
    return blocks
