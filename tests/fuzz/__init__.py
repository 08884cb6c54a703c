"""Functions that take any bytes and fail in documented ways only: a moment in the tests, long in `make fuzz`."""
