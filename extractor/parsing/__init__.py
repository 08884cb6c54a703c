"""From a record's bytes to its message: in the process that cuts the dump, or in parsers beside it."""
