"""Asking a worker node whether it still works on an observation."""

from __future__ import annotations

from pathlib import Path

from darc.config.sections import Worker
from darc.network.command_client import CommandError, send_command
from darc.network.command_protocol import Reply, Request

#: The node's master strikes an observation out when it ends; its processor has it until all is done.
_QUESTION = Request(service="processor", command="get_attr observations")


def problem_of(worker: Worker, task_id: str, timeout_s: float, key_file: Path | None = None) -> str:
    """Ask a node for what its processor works on.

    Args:
        worker: the node
        task_id: task ID of the observation
        timeout_s: longest wait for its answer
        key_file: file of the key that lets us ask other hosts

    Returns:
        why it does not work on this observation; empty if it does
    """
    try:
        reply = send_command(worker.address, worker.port, _QUESTION, timeout_s, key_file)
    except CommandError as error:
        return str(error)
    return problem_in(reply, task_id)


def problem_in(reply: Reply, task_id: str) -> str:
    """Return why a node does not work on an observation, from its answer; empty if it does."""
    if reply.status != "Success" or not isinstance(reply.message, dict):
        return f"its processor does not answer: {reply.message}"
    if not any(f"{task_id!r}:" in str(observations) for observations in reply.message.values()):
        return f"its processor runs, but does not work on task {task_id}"
    return ""
