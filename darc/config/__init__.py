"""The configuration, checked: one typed model per section of the configuration file.

    config = load_config()                 # the site's file over the packaged defaults
    config.role                            # 'master', 'worker' or 'unknown'
    config.amber_clustering.interval       # a typed value
    config.section("amber_clustering")     # the same section by name, for a service

`darc.config_files` says where files are looked for and how they are merged, `darc.config.sections` and
`darc.config.processing` have the models, `darc/config.yaml` the meaning and the default of every key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import PrivateAttr, ValidationError, ValidationInfo, field_validator

from darc import logs
from darc.config import processing, sections
from darc.config.problems import problems_of
from darc.config.types import Section, ServiceName, mistake
from darc.config_files import ConfigError, Problem, RawConfig, load_raw, read_layers
from darc.definitions import Instrument

__all__ = ["SERVICES", "Config", "ConfigError", "Problem", "Role", "check_config", "load_config"]

#: Names of all services; each has a section of its name.
SERVICES: tuple[str, ...] = get_args(ServiceName)

Role = Literal["master", "worker", "unknown"]


class Config(Section):
    """The configuration of one node; see `darc/config.yaml` for the meaning of every key.

    Nothing in it can be changed. Made by `load_config`.
    """

    instrument: sections.InstrumentSection
    nodes: sections.Nodes
    logging: sections.Logging
    mail: sections.Mail
    darc_master: sections.DARCMaster
    amber_listener: sections.AMBERListener
    amber_clustering: sections.AMBERClustering
    dada_trigger: sections.DADATrigger
    processor: processing.Processor
    offline_processing: processing.OfflineProcessing
    sb_generator: processing.SBGenerator
    lofar_trigger: sections.LOFARTrigger
    voevent_generator: sections.VOEventGenerator
    processor_master: processing.ProcessorMaster
    status_website: sections.StatusWebsite

    _path: Path | None = PrivateAttr(default=None)
    _node: sections.Node | None = PrivateAttr(default=None)

    @field_validator("nodes")
    @classmethod
    def _beams_exist(cls, nodes: sections.Nodes, info: ValidationInfo) -> sections.Nodes:
        instrument = info.data.get("instrument")
        if isinstance(instrument, Instrument):
            nbeam = instrument.ncompound_beam
            wrong = [node for node in nodes.workers if node.beam >= nbeam]
            if wrong:
                said = ", ".join(f"{node.name} has beam {node.beam}" for node in wrong)
                raise mistake(f"{said}: beams are 0 to {nbeam - 1} (instrument.ncompound_beam)", "workers")
        return nodes

    @property
    def path(self) -> Path | None:
        """The site's file; None if only the packaged defaults were read."""
        return self._path

    @property
    def node(self) -> sections.Node | None:
        """The node that this process is; None if it is none of the configured ones."""
        return self._node

    @property
    def beam(self) -> int | None:
        """Compound beam of this worker node; None on other nodes."""
        return self._node.beam if isinstance(self._node, sections.Worker) else None

    @property
    def role(self) -> Role:
        """Role of this node."""
        if self._node is None:
            return "unknown"
        return "worker" if isinstance(self._node, sections.Worker) else "master"

    @property
    def log_settings(self) -> logs.Settings:
        """How the processes of this node log."""
        return logs.Settings(self.logging.level, self.logging.format, self._node.name if self._node else "")

    @property
    def services(self) -> list[ServiceName]:
        """Services that this node runs in the configured mode, in the order in which they start."""
        return self.services_of(self.role)

    def services_of(self, role: Role) -> list[ServiceName]:
        """Return the services that nodes of a role run in the configured mode."""
        if role == "unknown":
            return []
        mode = {"real-time": "rt", "offline": "off", "mixed": "mix"}[self.darc_master.mode]
        services: list[ServiceName] = getattr(self.darc_master, f"services_{role}_{mode}")
        return services

    def section(self, name: str) -> Section:
        """Return the section of a service, or any other one, by its name.

        Raises:
            ConfigError: there is no such section.
        """
        found = getattr(self, name, None) if name in Config.model_fields else None
        if not isinstance(found, Section):
            raise ConfigError(Problem("no such section in the configuration", self.path, key=name))
        return found


def load_config(path: str | Path | None = None, node: str | None = None) -> Config:
    """Read and check the configuration of a node.

    Args:
        path: the site's file; if None, `$DARC_CONFIG`, else `~/darc/config.yaml` if it is there, else none.
        node: name of the node to be; if None, `$DARC_NODE`, else the node that has this host's name, if any.

    Raises:
        ConfigError: with every mistake that was found.
    """
    return _checked(load_raw(path, node))


def check_config(path: str | Path | None = None) -> list[Problem]:
    """Return every mistake in the configuration and in the overrides of each of its nodes, each once."""
    try:
        raw = read_layers(path)
    except ConfigError as error:
        return list(error.problems)
    found: dict[object, Problem] = {}
    for name in (None, *raw.nodes()):
        try:
            _checked(raw.for_node(name))
        except ConfigError as error:
            found |= {(problem.file, problem.key): problem for problem in error.problems}
    return list(found.values())


def _checked(raw: RawConfig) -> Config:
    """Return the models of a merged configuration."""
    try:
        config = Config.model_validate(raw.data)
    except ValidationError as error:
        raise ConfigError(*problems_of(error, raw, Config)) from error
    config._path = raw.path
    config._node = next((node for node in config.nodes.all_nodes if node.name == raw.node), None)
    return config
