"""Whether a node works on an observation."""

import pytest

from darc.config.sections import Worker
from darc.network.command_client import CommandError
from darc.network.command_protocol import Reply
from darc.observation_manager import Running
from darc.reporting import inquiry

TASK = "190518009"


def answer(*tasks):
    observations = {task: Running(None, "2019-05-18-23:51:13.B1933+16") for task in tasks}
    return Reply("Success", {"ProcessorManager.observations": str(observations)})


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (answer(TASK), ""),
        (answer("190518008", TASK), ""),
        (answer(), "does not work on task 190518009"),
        (answer("1905180091", "0190518009"), "does not work on task 190518009"),
        (Reply("Error", {"error": "processor is not running"}), "processor is not running"),
        (Reply("Success", "what?"), "what?"),
    ],
)
def test_a_node_works_on_what_its_processor_says(reply, problem):
    said = inquiry.problem_in(reply, TASK)
    assert problem in said and bool(problem) == bool(said)


# asking the local host instead of the node whether the node is alive
def test_the_node_itself_is_asked_at_its_own_address_and_port(monkeypatch):
    asked = []

    def send_command(host, port, request, timeout_s, key_file=None):
        asked.append((host, port, request.service, timeout_s))
        return answer(TASK)

    monkeypatch.setattr(inquiry, "send_command", send_command)
    worker = Worker(name="arts008", address="10.0.0.8", port=51008, beam=7, config={})
    assert inquiry.problem_of(worker, TASK, 7.0) == ""
    assert asked == [("10.0.0.8", 51008, "processor", 7.0)]


def test_a_node_that_does_not_answer_is_a_problem(monkeypatch):
    def send_command(*_):
        raise CommandError("arts008:51000 did not answer: no route to host")

    monkeypatch.setattr(inquiry, "send_command", send_command)
    worker = Worker(name="arts008", address="arts008", port=51000, beam=7, config={})
    assert "no route to host" in inquiry.problem_of(worker, TASK, 7.0)
