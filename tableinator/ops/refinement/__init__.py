"""Tables for people, made of the raw rows inside the server: definitions, statements, and the work by ranges of ids."""
