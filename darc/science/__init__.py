"""Arrays and numbers in, arrays and numbers out: no I/O, queue, log or clock."""
