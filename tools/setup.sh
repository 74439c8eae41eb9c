#!/bin/sh
# Make the virtual environment, and see that a C compiler is there for the virtual camera.
# usage: tools/setup.sh VENV
set -eu

need() { # need COMMAND DEBIAN_PACKAGE
    if command -v "$1" >/dev/null 2>&1; then return 0; fi
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq && apt-get install -y -qq --no-install-recommends "$2"
    else
        echo "setup: '$1' is missing; run: sudo apt-get install $2" >&2
        exit 1
    fi
}

need cc gcc
echo '#include <stdio.h>' | cc -E - >/dev/null 2>&1 || need libc6-headers-are-missing libc6-dev

python=$(command -v python3.11 || command -v python3) || { need python3 python3; python=$(command -v python3); }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "setup: $python is older than 3.11; install python3.11 and run this again" >&2
    exit 1
}
"$python" -c 'import ensurepip' 2>/dev/null || need venv-is-missing python3-venv
"$python" -m venv "$1"
