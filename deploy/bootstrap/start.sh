#!/bin/sh
# Set up VENV, unless it is set up: start.sh PYTHON VENV [quiet]. Written for a machine of which nothing is known.
python=$1 venv=$2 quiet=${3:+--quiet}

# What is set up already answers for itself: the Python that it was made with may be called otherwise today.
"$venv/bin/python" -m deploy.bootstrap --is-ready $quiet "$venv" 2>/dev/null && exit 0

fail() {
    for other in python3.14 python3.13 python3.12 python3.11; do
        if "$other" -c 'import ensurepip' 2>/dev/null; then
            echo "$1 This machine has $other: make setup PYTHON=$other" >&2
            exit 1
        fi
    done
    echo "$1 Install one (Debian, Ubuntu: sudo apt install python3 python3-venv), or name it: make setup PYTHON=/path/to/python3" >&2
    exit 1
}

# $python may be a command with arguments.
found=$($python -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) ||
    fail "MedSync needs Python 3.11 or newer, and there is no '$python' that runs."
$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "MedSync needs Python 3.11 or newer; $(command -v $python) is $found."
exec $python -m deploy.bootstrap $quiet "$venv"
