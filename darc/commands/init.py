"""`darc init`: the first configuration of a site and its keys, asked for or taken from options."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from darc.commands.catalogue import UsageError
from darc.config_files import ConfigError, find_config, host_name
from darc.errors import DARCError

if TYPE_CHECKING:
    from darc.config import Config
    from darc.installation.site_file import Site

MODES = ("mixed", "real-time", "offline")
#: What is asked for on a terminal: option, question, and what is taken when nothing is typed.
QUESTIONS: tuple[tuple[str, str, str], ...] = (
    ("master", "Name of the master node", "{host}"),
    ("workers", "Worker nodes, such as arts001-arts040 (beams 0 to 39) or arts001:7,arts002:9", ""),
    ("addresses", "Addresses of nodes that are not reached by their name, as NAME=ADDRESS,...", ""),
    ("mode", "What the cluster does: mixed, real-time or offline", "mixed"),
    ("parset_dirs", "Folders of the parsets that the scheduler names from another host, with commas", ""),
    ("data_dir", "Folder for results, on a large disk (nothing: below the home folder)", ""),
    ("web_dir", "Folder for the pages, below the site's web root (nothing: below the home folder)", ""),
    ("web_url", "Address of that folder on the web", ""),
    ("mail_server", "Mail server as HOST or HOST:PORT", "localhost"),
    ("mail_to", "Mail addresses for results and triggers, with commas between them", ""),
)


def run(options: argparse.Namespace, ask: Callable[[str], str] = input) -> int:
    """Write the site's file and the keys."""
    path = Path(options.file).absolute() if options.file else find_config(options.site_config) or _default()
    if path.exists() and not options.force:
        raise DARCError(f"{path} is there already: --force replaces it and keeps it as {path.name}.previous")
    given = {name: getattr(options, name) for name, _, _ in QUESTIONS}
    if not any(given.values()) and sys.stdin.isatty():
        given = _answers(ask)
    site = _site(given)
    config = _write(path, site)
    print(f"wrote {path}")
    for key in _make_keys(config, site):
        print(f"wrote {key}: for the owner only; copy it to all other nodes")
    print("\nnext:")
    for step in _steps(path, site):
        print(f"  {step}")
    return 0


def _default() -> Path:
    from darc.config_files import default_path  # noqa: PLC0415

    return default_path()


def _answers(ask: Callable[[str], str]) -> dict[str, str | None]:
    """Ask for everything, and again for what cannot be: a slip costs one question, not all of them.

    Raises:
        DARCError: nobody answers any more
    """
    given: dict[str, str | None] = dict.fromkeys(name for name, _, _ in QUESTIONS)
    for name, question, default in QUESTIONS:
        while True:
            given[name] = _answer(ask, question, default.format(host=host_name()))
            try:
                _check(_site(given))
            except DARCError as error:
                print(f"  {error}")
            else:
                break
    return given


def _answer(ask: Callable[[str], str], question: str, default: str) -> str:
    try:
        return ask(f"{question}{f' [{default}]' if default else ''}: ").strip() or default
    except EOFError as error:
        raise DARCError("no more answers: nothing was written") from error


def _check(site: Site) -> None:
    """Look for mistakes in what a site told.

    Raises:
        DARCError: something cannot be
    """
    from darc.installation.site_file import site_file  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.yaml"
        path.write_text(site_file(site), encoding="utf-8")
        _refuse_mistakes(path)


def _refuse_mistakes(path: Path) -> None:
    from darc.config import check_config  # noqa: PLC0415 (loads pydantic)

    if problems := check_config(path):
        raise ConfigError(*(f"{problem.key} = {problem.value}: {problem.allowed}" for problem in problems))


def _site(given: dict[str, str | None]) -> Site:
    """Return the site that the answers describe.

    Raises:
        DARCError: they cannot be understood
    """
    from darc.installation.site_file import Site, parse_addresses, parse_workers  # noqa: PLC0415

    text = {name: value or "" for name, value in given.items()}
    if text["mode"] not in ("", *MODES):
        raise UsageError(f"--mode {text['mode']}: one of {', '.join(MODES)}")
    workers = parse_workers(text["workers"])
    site = Site(
        master=text["master"] or ("" if workers else host_name()),
        workers=workers,
        addresses=parse_addresses(text["addresses"]),
        mode=text["mode"] or MODES[0],
        parset_dirs=_parts(text["parset_dirs"]),
        mail_to=_parts(text["mail_to"]),
        **{name: text[name] for name in ("data_dir", "web_dir", "web_url", "mail_server")},
    )
    assert {field.name for field in fields(site)} == set(given)
    return site


def _parts(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def _write(path: Path, site: Site) -> Config:
    """Write the file, once it is known to be right; return what it says for this host.

    Raises:
        ConfigError: something that was told cannot be
    """
    from darc.config import load_config  # noqa: PLC0415 (loads pydantic)
    from darc.formats.files import written_aside  # noqa: PLC0415
    from darc.installation.site_file import site_file  # noqa: PLC0415

    with written_aside(path, DARCError, durable=True) as aside:
        aside.write_text(site_file(site), encoding="utf-8")
        _refuse_mistakes(aside)
        if path.exists():
            path.replace(path.with_name(f"{path.name}.previous"))
    return load_config(path)


def _make_keys(config: Config, site: Site) -> list[Path]:
    """Make the keys of the cluster if this is its master node; return those that are new."""
    from darc.network.key_file import read_key  # noqa: PLC0415

    if config.role != "master" and site.master:
        return []
    wanted = {config.darc_master.key_file: "the command port"}
    if site.master:
        for name, section in (
            ("lofar_trigger", config.lofar_trigger),
            ("voevent_generator", config.voevent_generator),
        ):
            if section.server_auth is None and section.server_auth_file is not None:
                wanted[section.server_auth_file] = f"the trigger queue of {name}"
    new = [key for key in wanted if not key.exists()]
    for key, purpose in wanted.items():
        read_key(key, purpose, make=True)
    return new


def _steps(path: Path, site: Site) -> list[str]:
    """Return what remains to be done."""
    nodes = [*([site.master] if site.master else []), *(name for name, _ in site.workers)]
    here = host_name().partition(".")[0]
    others = [name for name in nodes if name.partition(".")[0] != here]
    steps = ["darc check                 what is still missing on this host"]
    if others:
        steps.append(f"copy {path} and the keys of the master node to {', '.join(_shortened(others))}")
    return [*steps, "darc install-service       let systemd start DARC on this host"]


def _shortened(names: list[str]) -> list[str]:
    return names if len(names) <= 4 else [*names[:2], "...", names[-1]]
