"""The service that writes records to Neo4j."""
