"""The scripts that complete command lines."""

import pytest

from darc.commands.catalogue import ADDED, COMMANDS
from darc.commands.completion import SHELLS, script
from darc.commands.suggestions import service_names
from darc.config import SERVICES


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_knows_commands_options_and_services(shell):
    text = script(shell)
    for word in (*COMMANDS, *ADDED, "all-nodes", "follow", *SERVICES, "darc_master"):
        assert word in text


def test_every_service_is_known():
    assert sorted(service_names()) == sorted(SERVICES)
