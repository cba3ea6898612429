"""Ray itself: a cluster that runs, or one that is started here and ends with the run."""

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from tubedet.batch.cluster_room import ATTEMPTS, CPUS_BESIDE_A_GPU
from tubedet.batch.workers import signals_kept_away
from tubedet.errors import UsageError
from tubedet.extras import needed_for

LOCAL, AUTO = "local", "auto"
CONNECT_S = 10
LOOPBACK = "127.0.0.2"  # 127.0.0.1 is to Ray what other machines call this one
ENVIRONMENT = {  # read when Ray is imported
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_task_oom_retries": str(ATTEMPTS - 1),  # Ray's own is without end
}
QUIET = {"RAY_DEDUP_LOGS_SKIP_REGEX": "."}  # it tells of lost workers on stdout


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Ray cluster, and how it is used.

    Attributes:
        address: HOST:PORT of one of which this machine is a node, `auto` for the one that runs
            here, or `local` for one that is started here and ends with the run.
        at_most: so many videos at a time; None for what there is room for.
        with_logs: Ray's own messages are shown.
    """

    address: str
    at_most: int | None = None
    with_logs: bool = False


@contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """Ray, while the block runs."""
    address, at_most, with_logs = cluster.address, cluster.at_most, cluster.with_logs
    for name, value in (ENVIRONMENT if with_logs else ENVIRONMENT | QUIET).items():
        os.environ.setdefault(name, value)
    with needed_for("clusters", "ray"):
        import ray  # noqa: PLC0415
    level = logging.INFO if with_logs else logging.CRITICAL
    how: dict[str, Any] = {"address": address, "log_to_driver": with_logs, "logging_level": level}
    if address == LOCAL:
        how["include_dashboard"] = False
        if sys.platform == "linux":
            how["_node_ip_address"] = LOOPBACK
        # Enough whether or not there is a GPU.
        how["num_cpus"] = CPUS_BESIDE_A_GPU * at_most if at_most else None
    elif address != AUTO:
        _refuse_unless_answered(address)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with signals_kept_away() if address == LOCAL else nullcontext():
            ray.init(**how)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"--ray {address}: Ray cannot be reached ({reason}); its version, RAY_AUTH_MODE and "
            "RAY_AUTH_TOKEN have to be those of the cluster"
        ) from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)  # Ray's own would end the program at once
    try:
        yield ray
    finally:
        ray.shutdown()


def _refuse_unless_answered(address: str) -> None:
    """Raise UsageError if nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()) or "/" in host:
        raise UsageError(
            f"--ray {address}: expected HOST:PORT of the cluster's head, on one of whose nodes "
            "the command runs, or auto, or local"
        )
    try:
        socket.create_connection((host, int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"--ray {address}: expected a Ray cluster, found none ({error}); start one by "
            f"ray start --head --port {port}, or give --ray local"
        ) from error
