"""A node beside its services: these are started and watched, observations kept in a book, its state told."""
