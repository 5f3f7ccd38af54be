"""Sockets and queues: between our processes, between nodes, to mail servers and brokers."""
