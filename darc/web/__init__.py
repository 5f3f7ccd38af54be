"""Pages for browsers; nothing else writes HTML."""
