"""The one table of the services: which class each is, where its messages come from and where they go."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from darc.base import DARCBase


@dataclass(frozen=True)
class Service:
    """A service and its place in the flow of data.

    Attributes:
        class_name: class of the service, in the module that has the service's name
        target: service whose queue takes what this one finds out
        second_target: a second such service
        roles: roles of the nodes on which it runs
        overlapping: whether it works on several observations at once; others leave one for the next
    """

    class_name: str
    roles: tuple[str, ...]
    target: str | None = None
    second_target: str | None = None
    overlapping: bool = False


WORKER = ("worker",)
MASTER = ("master",)

SERVICES = {
    "amber_listener": Service("AMBERListener", WORKER, target="amber_clustering", second_target="processor"),
    "amber_clustering": Service("AMBERClustering", WORKER, target="dada_trigger"),
    "dada_trigger": Service("DADATrigger", WORKER),
    "processor": Service("ProcessorManager", WORKER, overlapping=True),
    "offline_processing": Service("OfflineProcessing", (*WORKER, *MASTER), overlapping=True),
    "lofar_trigger": Service("LOFARTrigger", MASTER),
    "voevent_generator": Service("VOEventGenerator", MASTER),
    "processor_master": Service("ProcessorMasterManager", MASTER, overlapping=True),
    "status_website": Service("StatusWebsite", MASTER),
}

#: Services that go on when an observation is stopped, since they work after it.
AFTER_OBSERVATION = ("offline_processing",)
#: Services that process an observation which has already ended.
FOR_ENDED_OBSERVATION = ("offline_processing", "processor", "processor_master")


def service_class(name: str) -> type[DARCBase]:
    """Import and return the class of a service.

    Args:
        name: name of the service, a key of `SERVICES`
    """
    module = importlib.import_module(f"darc.{name}")
    found: type[DARCBase] = getattr(module, SERVICES[name].class_name)
    return found


def module_names(names: list[str]) -> list[str]:
    """Return the modules of services, for preloading."""
    return [f"darc.{name}" for name in names if name in SERVICES]
