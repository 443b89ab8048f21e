#!/bin/sh
# Install one lock file into a virtual environment, then this project: install.sh PYTHON VENV LOCK
# PENSTOCK_EDITABLE, set and empty: the project is copied into the environment, which then needs nothing of this folder.
# Says what is missing and how to mend it.
set -eu
python=$1 venv=$2 lock=$3

# PyTorch's CPU build (torch==...+cpu) is not on PyPI. Where pip's own indexes do not have it, it comes from this one,
# and nothing else does. PENSTOCK_TORCH_INDEX names another, such as a mirror.
torch_index=${PENSTOCK_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}

machine=$(uname -s -m)
if [ "$machine" != "Linux x86_64" ]; then
    echo "error: the lock files are for Linux on x86-64, and this machine is $machine. Run it on such a machine, or in a" >&2
    echo "       container of that kind: docker run --platform linux/amd64 -it -p 8000:8000 python:3.11 bash" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
    echo "error: $python is not Python 3.11 or 3.12. Install one and run: make PYTHON=/path/to/python3.11 serve" >&2
    exit 1
fi
if ! "$venv/bin/python" -c '' 2>/dev/null; then
    rm -rf "$venv"
    "$python" -m venv "$venv" || {
        echo "error: $python cannot make a virtual environment. On Debian: apt-get install python3-venv" >&2
        exit 1
    }
fi
log=$venv/install.log

pip_install() { "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "$@" >>"$log" 2>&1; }

failed() {
    tail -5 "$log" >&2
    if grep -q 'No space left' "$log"; then
        echo "error: the disk is full: about 4 GB are needed. Free some and run the same command again." >&2
    elif grep -q 'No matching distribution found for torch==' "$log"; then
        echo "error: pip finds $torch neither in its own indexes nor in $torch_index." >&2
        echo "       Where that one cannot be reached, name another in PENSTOCK_TORCH_INDEX (a mirror, or what pytorch.org" >&2
        echo "       lists under 'Get started' for CPU) and run the same command again." >&2
    else
        echo "error: the installation failed; its log is $log. Run the same command again to continue." >&2
    fi
    exit 1
}

echo "installing $lock into $venv (a few minutes the first time)"
: >"$log"
# First, and by itself: where it is not found that shows at once, not after everything else was downloaded.
torch=$(grep -E '^torch==[^ ]*\+cpu' "$lock" || true)
if [ -n "$torch" ] && ! pip_install "$torch"; then
    grep -q 'No matching distribution found for torch==' "$log" || failed
    echo "pip's own indexes do not have $torch; trying $torch_index"
    : >"$log"
    pip_install --extra-index-url "$torch_index" "$torch" || failed
fi
pip_install -r "$lock" || failed
# shellcheck disable=SC2086 - no word at all where it is empty
pip_install --no-build-isolation ${PENSTOCK_EDITABLE--e} . || failed

# Ray guards every local cluster with a token that it keeps in the home folder. In this environment its commands
# (`serve deploy`, `serve status`) use that token without being told to. And its proxy, a uvicorn, believes no
# X-Forwarded-For of whoever connects from this machine.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
{
    echo "import os; os.environ.setdefault('RAY_AUTH_MODE', 'token')"
    echo "import os; os.environ.setdefault('FORWARDED_ALLOW_IPS', '')"
} >"$site/penstock_ray.pth"
