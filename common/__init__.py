"""The consumer runtime that every Spindle service shares; it knows neither Neo4j nor PostgreSQL."""

VERSION = "0.1.0"
