#!/bin/sh
# Runs all checks, or those that are named: ./test.sh --help
cd "$(dirname "$0")" && exec "${PYTHON:-python3}" tests/run.py "$@"
