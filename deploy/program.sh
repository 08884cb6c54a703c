#!/bin/sh
# Start the program after which this file is named.
exec python -m "${0##*/}" "$@"
