"""The service that writes records to PostgreSQL."""
