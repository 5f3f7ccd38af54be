"""Models of the sections of the configuration file: the type and the limits of every key.

What a key means, its unit and its default stand in `darc/config.yaml` and nowhere else: that file is always
read first, so that no key is missing here. The services that process data are in `darc.config.processing`.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    GetCoreSchemaHandler,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from darc.config.types import (
    Beams,
    Count,
    FilePath,
    Flag,
    Fraction,
    GroupingMethod,
    Index,
    IvornPart,
    MailAddress,
    MailAddresses,
    NetworkOrHost,
    NodeName,
    NotNegative,
    Number,
    Port,
    Positive,
    Secret,
    Section,
    Services,
    Text,
    mistake,
)
from darc.definitions import Instrument

_TYPES: dict[Any, Any] = {"str": Text, "int": Count, "float": Positive}
_SPECIAL_TYPES: dict[str, Any] = {
    "itrf_x_m": Number,
    "itrf_y_m": Number,
    "itrf_z_m": Number,
    "aperture_efficiency": Fraction,
}


class _Overrides:
    """Reads an `Instrument` from a mapping of the values that differ from its defaults, with limits."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        keys: dict[str, Any] = {
            field.name: (_SPECIAL_TYPES.get(field.name, _TYPES[field.type]), field.default)
            for field in fields(Instrument)
        }
        schema = handler.generate_schema(create_model("Overrides", __base__=Section, **keys))
        return core_schema.no_info_after_validator_function(lambda model: Instrument(**dict(model)), schema)


InstrumentSection = Annotated[Instrument, _Overrides]


class Node(Section):
    """A node: where its command port is reached, and what it sets differently from the other nodes."""

    name: NodeName
    address: Text
    port: Port
    config: dict[str, Any] = Field(default_factory=dict, repr=False)  # may hold keys

    @field_validator("config")
    @classmethod
    def _no_second_place(cls, config: dict[str, Any]) -> dict[str, Any]:
        if "nodes" in config:
            raise mistake("the nodes are the same for every node", "nodes")
        master = config.get("darc_master")
        if isinstance(master, dict) and "port" in master:
            raise mistake("stands beside the name of the node, as 'port'", "darc_master", "port")
        return config


class Worker(Node):
    """A worker node, which processes one compound beam."""

    beam: Index


class Nodes(Section):
    """All nodes of the cluster."""

    master: Node | None
    workers: list[Worker]

    @property
    def all_nodes(self) -> list[Node]:
        """The master, if there is one, then the workers."""
        return [*([self.master] if self.master else []), *self.workers]

    @model_validator(mode="after")
    def _distinct(self) -> Nodes:
        for what, values in (
            ("name", [node.name for node in self.all_nodes]),
            ("beam", [str(worker.beam) for worker in self.workers]),
            ("address and port", [f"{node.address}:{node.port}" for node in self.all_nodes]),
        ):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise mistake(f"every node has its own {what}, but {', '.join(twice)} stands more than once")
        return self


class Logging(Section):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"]
    format: Literal["text", "json"]
    rotate_size: Count | None
    rotate_keep: Count


class Mail(Section):
    """The server that mails are handed to."""

    host: Text
    port: Port
    login_file: FilePath | None
    tls: Literal["none", "starttls", "tls"]
    sender: MailAddress
    timeout: Positive
    retry_interval: Positive
    max_age: Positive

    @field_validator("tls")
    @classmethod
    def _no_password_in_clear(cls, tls: str, info: ValidationInfo) -> str:
        if tls == "none" and info.data.get("login_file"):
            raise mistake("has to be starttls or tls when there is a login_file")
        return tls


class Recipients(Section):
    """Who receives a service's mails."""

    to: MailAddresses


class DARCMaster(Section):
    """The master process of a node."""

    log_file: FilePath
    parset_dir: FilePath
    state_dir: FilePath
    metrics_port: Port | None
    metrics_address: Text
    address: Text
    port: Port
    key_file: FilePath
    max_connections: Count
    max_request_size: Count
    socket_timeout: Positive
    setup_time: NotNegative
    stop_timeout: Positive
    control_timeout: Positive
    mode: Literal["real-time", "offline", "mixed"]
    services_master_rt: Services
    services_worker_rt: Services
    services_master_off: Services
    services_worker_off: Services
    services_master_mix: Services
    services_worker_mix: Services
    master_commands: list[Text]
    service_commands: list[Text]
    unauthenticated_clients: dict[NetworkOrHost, list[Text]]
    payload_dirs: list[FilePath] | None
    editor: Text
    start_method: Literal["forkserver", "spawn"]
    restart_backoff_min: Positive
    restart_backoff_max: Positive
    restart_limit: Index
    restart_window: Positive
    email_settings: Recipients

    @field_validator("restart_backoff_max")
    @classmethod
    def _not_below_min(cls, backoff_max: float, info: ValidationInfo) -> float:
        if backoff_max < info.data.get("restart_backoff_min", 0):
            raise mistake("has to be restart_backoff_min or more")
        return backoff_max

    @field_validator("unauthenticated_clients")
    @classmethod
    def _served(cls, clients: dict[str, list[str]], info: ValidationInfo) -> dict[str, list[str]]:
        served = {"all", "details", "log"}
        served.update(info.data.get("master_commands", ()), info.data.get("service_commands", ()))
        unknown = sorted({command for commands in clients.values() for command in commands} - served)
        if unknown:
            raise mistake(f"{', '.join(unknown)}: not served; there are {', '.join(sorted(served))}")
        return clients


class StatusWebsite(Section):
    """The page that shows the state of all services."""

    log_file: FilePath
    web_dir: FilePath
    interval: Positive
    timeout: Positive
    log_lines: Count
    colour_good: Text
    colour_bad: Text
    colour_unknown: Text
    service_to_name: dict[str, Text]


class AMBERListener(Section):
    """Reads the files of AMBER."""

    log_file: FilePath
    interval: Positive
    start_timeout: Positive


class ThreshIQUV(Section):
    """Limits of triggers to the ring buffer of this node."""

    dm_frac_min: NotNegative
    width_max: NotNegative
    snr_min: NotNegative
    interval: NotNegative


class ThreshLOFAR(Section):
    """Limits of triggers to LOFAR and of VOEvents."""

    max_cands_per_cluster: Count
    dm_frac_min: NotNegative
    width_max: NotNegative
    snr_min: NotNegative


class ThreshLOFAROverride(Section):
    """Limits for the sources of lofar_trigger_sources."""

    snr_min: NotNegative
    width_max: NotNegative
    cb: Beams
    trigger_on_new_sources: Flag


class SbFilter(Section):
    """The filter on the periodicity over synthesised beams."""

    sb_filter: Flag
    sb_filter_period_min: NotNegative
    sb_filter_period_max: NotNegative

    @field_validator("sb_filter_period_max")
    @classmethod
    def _above_period_min(cls, period_max: float, info: ValidationInfo) -> float:
        if period_max <= info.data.get("sb_filter_period_min", -1):
            raise mistake("has to be above sb_filter_period_min")
        return period_max


class AMBERClustering(SbFilter):
    """Groups and selects triggers in real time."""

    log_file: FilePath
    source_file: FilePath
    interval: Positive
    settling_time: NotNegative
    clustering_method: GroupingMethod
    clustering_window: Positive
    dm_range: Positive
    dm_min_global: NotNegative
    snr_min_global: NotNegative
    galaxy_model: Literal["ymw16", "none"]
    galactic_dm_max: NotNegative | None
    thresh_iquv: ThreshIQUV
    thresh_lofar: ThreshLOFAR
    lofar_trigger_sources: list[Text]
    thresh_lofar_override: ThreshLOFAROverride

    @field_validator("galactic_dm_max")
    @classmethod
    def _without_model(cls, dm_max: float | None, info: ValidationInfo) -> float | None:
        if dm_max is None and info.data.get("galaxy_model") == "none":
            raise mistake("has to be a number, 0 or more, when galaxy_model is none")
        return dm_max


def _needed_to_send(host: str | None, info: ValidationInfo) -> str | None:
    """Refuse to be without a receiver when there is something to send."""
    if host is None and info.data.get("send_events"):
        raise mistake("has to be the name of a host when send_events is true")
    return host


class QueueServer(Section):
    """A service on the master node that the workers hand triggers to."""

    log_file: FilePath
    test: Flag
    interval: NotNegative
    send_events: Flag
    keep_switch: Flag
    min_spacing: NotNegative
    max_per_hour: Count | None
    server_address: Text
    server_port: Port
    server_auth: Secret | None
    server_auth_file: FilePath | None
    max_trigger_age: Positive


class VOEventGenerator(QueueServer):
    """Sends VOEvents to the broker."""

    voevent_dir: FilePath
    broker_host: Annotated[Text | None, AfterValidator(_needed_to_send)]
    broker_port: Port
    broker_timeout: Positive
    retries: Index
    institute: IvornPart
    instrument_name: IvornPart
    contact_name: Text | None
    contact_email: MailAddress | None
    short_name: Text


class LOFARTrigger(QueueServer):
    """Asks LOFAR to freeze its buffers."""

    lofar_host: Annotated[Text | None, AfterValidator(_needed_to_send)]
    lofar_port: Port
    lofar_freq: Positive
    lofar_tbb_buffer_size: NotNegative
    waterfall_sb: Index
    email_settings: Recipients


class DADATrigger(Section):
    """Sends triggers to dada_dbevent."""

    log_file: FilePath
    host: Text
    port_i: Port
    port_iquv: Port
    send_timeout: Positive
    min_window_size: Positive
    delay_end: NotNegative
    polcal_dump_size: Positive
    polcal_interval: Positive
    polcal_max_dumps: Index
