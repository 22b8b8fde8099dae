#!/bin/sh
# Makes a virtual environment in .venv with this package in it, or with what is named: sh install.sh tox
# PYTHON says which interpreter; python3 unless said. Debian and Ubuntu keep the module venv in a package of its own, which
# is installed when it is missing (with sudo for who is not root).
set -eu
cd "$(dirname "$0")"
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "install.sh: Python 3.11 or newer is needed" >&2; exit 1; }
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" -eq 0 ]; then
        as_root=
    elif command -v sudo >/dev/null; then
        as_root=sudo
    else
        echo "install.sh: $python has no module venv; ask root for: apt-get install python3-venv" >&2
        exit 1
    fi
    $as_root apt-get update -qq
    $as_root apt-get install -y -qq python3-venv >/dev/null 2>&1
fi
rm -rf build rx_collector.egg-info # a build in the tree would bring back modules that are gone
"$python" -m venv .venv
.venv/bin/pip install -q --disable-pip-version-check "${@:-.}"
