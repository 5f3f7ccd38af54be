"""How processes are started and watched, and when too many of them have died."""
