"""Publish again what the tables hold, to one service."""
