"""Checks of this host: its folders and disks, its ports and its clock."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from darc.config import Config
from darc.formats.node_details import NodeDetails
from darc.installation.findings import Finding, ok, warning, wrong
from darc.log_rotation import log_files

#: Free space in bytes below which a folder of results, and any other, gets a warning.
RESULTS_FREE, OTHERS_FREE = 20 << 30, 1 << 30
#: Free space in bytes that the processes of a node need in shared memory.
SHARED_FREE = 64 << 20
#: File systems that are gone after a restart.
VOLATILE = ("tmpfs", "ramfs")
#: Largest error of the clock in s that the kernel may give; a ring buffer holds some 10 s.
CLOCK_ERROR_S = 0.1
#: Folder on the disk of the system.
ROOT = Path("/")
#: Where processes share memory: looked at, not written.
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 # nosec B108
#: State of the kernel's clock that nobody disciplines: TIME_ERROR of adjtimex(2).
_TIME_ERROR = 5


# --- folders -----------------------------------------------------------------------------------------------


def written_folders(config: Config) -> dict[Path, str]:
    """Return the folders that the services of this node write to, each with what is written there."""
    found = {
        config.darc_master.parset_dir: "parsets",
        config.darc_master.state_dir: "state",
    }
    found |= {path.parent: "logs" for path in log_files(config)}
    services = {
        "processor": {config.processor.result_dir: "results"},
        "offline_processing": {
            config.offline_processing.result_dir: "offline results",
            config.offline_processing.calibration_dir: "calibration results",
        },
        "voevent_generator": {config.voevent_generator.voevent_dir: "VOEvents"},
        "processor_master": {config.processor_master.webdir: "pages"},
        "status_website": {config.status_website.web_dir: "status page"},
    }
    for name in config.services:
        found |= services.get(name, {})
    return found


def folders(config: Config) -> Iterator[Finding]:
    """Check that what is written can be written, and has space."""
    for path, what in written_folders(config).items():
        yield folder(path, what)
    yield shared_memory()


def folder(path: Path, what: str) -> Finding:
    """Check a folder that services write to; they make it if it is not there."""
    subject = f"folder: {what}"
    place = next(each for each in (path, *path.parents) if each.exists())
    if not place.is_dir():
        return wrong(subject, f"{path}: {place} is no folder: move it away, or change the configuration")
    if not os.access(place, os.W_OK | os.X_OK):
        todo = "chown it" if place == path else "`darc install-service` makes the folder"
        return wrong(
            subject,
            f"{path}: {place} cannot be written by {user_name()}: {todo}, or run this as the user of the "
            "service",
        )
    space = os.statvfs(place)
    free, total = space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
    text = f"{path}: {size(free)} of {size(total)} free"
    needed = RESULTS_FREE if "results" in what else OTHERS_FREE
    if free < needed:
        return warning(subject, f"{text}: below {size(needed)}; make room, or choose another disk")
    if what == "state" and file_system(place) in VOLATILE:
        return wrong(subject, f"{path}: is in memory and lost in a restart of the host; choose a disk")
    if "results" in what and place.stat().st_dev == ROOT.stat().st_dev:
        return warning(subject, f"{text}, on the disk of the system, which results may fill")
    return ok(subject, text)


def shared_memory(path: Path = _SHARED_MEMORY) -> Finding:
    """Check the shared memory that processes coordinate themselves with."""
    if not os.access(path, os.W_OK | os.X_OK):
        return wrong("shared memory", f"{path} cannot be written; mount a tmpfs there with mode 1777")
    space = os.statvfs(path)
    free = space.f_bavail * space.f_frsize
    if free < SHARED_FREE:
        return wrong("shared memory", f"{path}: {size(free)} free, {size(SHARED_FREE)} are needed")
    return ok("shared memory", f"{path}: {size(free)} free")


def file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Return the type of the file system that a path is on; empty if the system does not tell."""
    found: tuple[int, str] = (0, "")
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        _, mount, kind, *_ = line.split(" ")
        if path.absolute().is_relative_to(mount) and len(mount) >= found[0]:
            found = len(mount), kind
    return found[1]


def size(number: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def user_name() -> str:
    """Return the name of the user of this process."""
    import pwd  # noqa: PLC0415

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"user {os.geteuid()}"


# --- ports -------------------------------------------------------------------------------------------------


def served_ports(config: Config) -> dict[str, tuple[str, int]]:
    """Return where this node listens, by what for."""
    master = config.darc_master
    found = {"command port": (master.address, config.node.port if config.node else master.port)}
    if master.metrics_port is not None:
        found["metrics"] = master.metrics_address, master.metrics_port
    for name in ("lofar_trigger", "voevent_generator"):
        if name in config.services:
            section = config.lofar_trigger if name == "lofar_trigger" else config.voevent_generator
            found[name] = str(section.server_address), section.server_port
    return found


def ports(config: Config, running: NodeDetails | None) -> Iterator[Finding]:
    """Check that what listens here can, or does already.

    Args:
        config: configuration of this node
        running: what answers on the command port of this node, if DARC does
    """
    ours = running is not None and (config.node is None or running.node == config.node.name)
    for what, (address, port) in served_ports(config).items():
        subject = f"port: {what}"
        where = f"{address}:{port}"
        reason = _bind(address, port)
        if reason is None:
            yield ok(subject, f"{where} is free")
        elif reason == errno.EADDRINUSE and ours:
            yield ok(subject, f"{where} is used by the DARC of this node, which runs")
        elif reason == errno.EADDRINUSE and running is not None:
            yield wrong(subject, f"{where} is used by the DARC of node {running.node}: stop that, or --node")
        elif reason == errno.EADDRINUSE:
            yield wrong(
                subject,
                f"{where} is used by another program: `ss -lptn sport = :{port}` names it; stop it, or "
                "configure another port",
            )
        else:
            yield wrong(subject, f"cannot listen on {where}: {os.strerror(reason)}; check address and port")


def _bind(address: str, port: int) -> int | None:
    """Return the number of the error of listening somewhere, None if that is possible."""
    try:
        kind, _, _, _, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            probe.listen(1)
    except OSError as error:
        # looking up a name fails with numbers of its own
        return error.errno if error.errno and error.errno > 0 else errno.EADDRNOTAVAIL
    return None


# --- clock -------------------------------------------------------------------------------------------------


class _NTPTime(ctypes.Structure):
    """`struct ntptimeval` of glibc's sys/timex.h; times in s and microseconds."""

    _fields_ = [
        ("seconds", ctypes.c_long),
        ("microseconds", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("rest", ctypes.c_long * 5),
    ]


def kernel_clock() -> tuple[bool, float] | None:
    """Return whether a daemon disciplines the clock, and its largest error in s; None: the system cannot say.

    The kernel knows whichever daemon does it (chrony, ntpd, systemd-timesyncd), and tells every user.
    """
    try:
        call = ctypes.CDLL(None, use_errno=True).ntp_gettimex
    except (OSError, AttributeError):
        return None
    time = _NTPTime()
    state = call(ctypes.byref(time))
    return None if state < 0 else (state != _TIME_ERROR, time.maxerror * 1e-6)


def clock(read: Callable[[], tuple[bool, float] | None] = kernel_clock) -> Finding:
    """Check that the clock is synchronised: dumps are asked for by the time of the data."""
    told = read()
    if told is None:
        return warning("clock", "this system does not say whether its clock is synchronised")
    synchronised, error_s = told
    if not synchronised:
        return wrong(
            "clock", "not synchronised: install and start chrony, and wait until `chronyc tracking` is normal"
        )
    if error_s > CLOCK_ERROR_S:
        return warning(
            "clock", f"synchronised, but may be wrong by {error_s:.2f} s: check the servers of chrony"
        )
    return ok("clock", f"synchronised, within {error_s * 1e3:.0f} ms")
