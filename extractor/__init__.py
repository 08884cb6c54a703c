"""Discogs dumps, or synthetic records, as messages."""
