"""The consumer runtime that every Spindle service shares; it knows neither Neo4j nor PostgreSQL."""
