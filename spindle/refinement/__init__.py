"""Tables for people, made of the raw rows, from the command line."""
