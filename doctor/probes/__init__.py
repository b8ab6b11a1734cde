"""Probes: what is measured on the way from a client to a server."""
