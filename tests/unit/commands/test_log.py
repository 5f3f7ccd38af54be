"""What `darc log` prints, and what it takes for new."""

from argparse import Namespace
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darc.commands import log
from darc.commands.catalogue import command_parser
from darc.commands.log import added_lines
from darc.errors import DARCError
from darc.network import command_client
from darc.network.command_client import CommandError
from darc.network.command_protocol import Reply, Request


@given(st.integers(0, 50), st.integers(0, 20), st.integers(1, 60))
def test_of_a_log_that_grows_each_line_is_new_once(before, added, window):
    lines = [f"line {n}" for n in range(before + added)]
    new = added_lines(lines[:before][-window:], lines[-window:])
    assert list(new) == lines[before:][-window:]


@pytest.mark.parametrize(
    ("seen", "lines", "new"),
    [
        (["a", "b"], ["c"], ["c"]),
        (["a", "b"], [], []),
        ([], ["a"], ["a"]),
        (["a", "x", "x"], ["x", "x", "x"], ["x"]),
    ],
)
def test_after_a_rotation_all_is_new(seen, lines, new):
    assert added_lines(seen, lines) == new


class Log:
    """A node that tells one log after the other, and then the reader has seen enough."""

    def __init__(self, *looks):
        self.looks = list(looks)
        self.waits = []

    def __call__(self, host, port, request, timeout_s, key_file=None):
        self.request = request
        look = self.looks.pop(0)
        if isinstance(look, BaseException):
            raise look
        return Reply("Success", {"path": "/log", "lines": look}) if isinstance(look, list) else look

    def wait(self, seconds):
        self.waits.append(seconds)
        if not self.looks:
            raise KeyboardInterrupt


@pytest.fixture
def read(monkeypatch, capsys):
    """Run the command with these looks at the log; return exit code, output, errors and the node.

    The exit code is None where it was interrupted.
    """

    def run(line, *looks):
        node, code = Log(*looks), None
        monkeypatch.setattr(command_client, "send_command", node)
        options = Namespace(host="127.0.0.1", port=5, timeout=None, service=None)
        options = command_parser("log").parse_intermixed_args(line.split(), options)
        with suppress(KeyboardInterrupt):
            code = log.run(options, wait=node.wait)
        return code, *capsys.readouterr(), node

    return run


@pytest.mark.parametrize(
    ("line", "service", "shown"),
    [
        ("processor", "processor", "a\nb\nc\n"),
        ("processor --lines 2", "processor", "b\nc\n"),
        ("--lines 9", None, "a\nb\nc\n"),
        ("--service processor", "processor", "a\nb\nc\n"),
        ("darc_master", None, "a\nb\nc\n"),
    ],
)
def test_the_last_lines_of_a_log(read, line, service, shown):
    code, out, err, node = read(line, ["a", "b", "c"])
    assert (code, out, err) == (0, shown, "")
    assert node.request == Request(command="log", service=service)


def test_a_log_is_followed_also_over_its_rotation(read):
    code, out, _, node = read(
        "processor --follow --lines 1", ["a", "b"], ["b", "c"], ["b", "c"], [], ["d"], ["d", "e"]
    )
    assert (code, out) == (None, "b\nc\nd\ne\n")
    assert set(node.waits) == {log.POLL_S}


def test_a_log_is_followed_while_its_node_starts_again(read):
    gone = CommandError("nobody listens there")
    refused = Reply("Error", {"error": "it is stopping"})
    code, out, err, _ = read("processor --follow", ["a"], gone, refused, ["a", "b"])
    assert (code, out) == (None, "a\nb\n")
    assert err == "darc: nobody listens there; trying again\n"


def test_a_log_that_is_not_there_is_an_error(read):
    refused = Reply("Error", {"error": "Invalid service: procesor"})
    with pytest.raises(DARCError, match=r"\AInvalid service: procesor; did you mean 'processor'\?\Z"):
        read("procesor --follow", refused)


def test_lines_of_a_log_run_nothing_in_a_terminal(read):
    assert read("processor", ["\x1b[2Jevil\r", "tab\tstays"])[1] == "\\x1b[2Jevil\\r\ntab\tstays\n"
