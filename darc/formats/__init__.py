"""What crosses the border of the system: bytes or text to dataclasses and back. No sockets."""
