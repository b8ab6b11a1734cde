"""Diagnose GitHub Copilot CLI servers and the clients that connect to them."""

__version__ = "0.1.0"
