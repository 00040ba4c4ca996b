"""Queries of a run's tables that others may ask: the rules for them, and a server."""
