"""The table of services agrees with the classes and with the configuration."""

import pytest

from darc.base import DARCBase
from darc.config import SERVICES as CONFIGURED
from darc.config import load_config
from darc.config_files import PACKAGED
from darc.topology import SERVICES, module_names, service_class


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_a_class_and_a_section(name):
    assert issubclass(service_class(name), DARCBase)
    assert name in CONFIGURED


@pytest.mark.parametrize("name", SERVICES)
def test_messages_go_to_services_of_the_same_node(name):
    spec = SERVICES[name]
    for target in {spec.target, spec.second_target} - {None}:
        assert target in CONFIGURED
        assert target not in SERVICES or set(spec.roles) <= set(SERVICES[target].roles)


@pytest.mark.parametrize("role", ["master", "worker"])
def test_each_service_runs_by_default_where_the_table_says(role):
    settings = load_config(PACKAGED).darc_master
    by_default = {*getattr(settings, f"services_{role}_mix"), *getattr(settings, f"services_{role}_rt")}
    assert {name for name, spec in SERVICES.items() if role in spec.roles} <= by_default


def test_modules_are_named_for_services_that_there_are():
    assert module_names(["dada_trigger", "processor_of_the_future"]) == ["darc.dada_trigger"]
