"""Exceptions that mean "this cannot be done as asked", as opposed to a defect of the program."""


class DARCError(Exception):
    """A request, a file or a peer is not as it has to be.

    The message says what was wrong, where, and what to do. Whoever serves the request turns it into a
    refusal; every other exception is a defect and ends the process with its traceback in the log.
    """
