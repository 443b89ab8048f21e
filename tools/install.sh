#!/bin/sh
# Install one lock file into a virtual environment, then this project: install.sh PYTHON VENV LOCK
# Says what is missing and how to mend it.
set -eu
python=$1 venv=$2 lock=$3

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

echo "installing $lock into $venv (a few minutes the first time)"
log=$venv/install.log
if ! "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$lock" >"$log" 2>&1; then
    tail -5 "$log" >&2
    if grep -q 'torch==.*+cpu' "$log"; then
        echo "error: pip does not find PyTorch's CPU build. Name PyTorch's CPU wheel index (pytorch.org, 'Get started')" >&2
        echo "       in PIP_EXTRA_INDEX_URL and run the same command again." >&2
    elif grep -q 'No space left' "$log"; then
        echo "error: the disk is full: about 4 GB are needed. Free some and run the same command again." >&2
    else
        echo "error: the installation failed; its log is $log. Run the same command again to continue." >&2
    fi
    exit 1
fi
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . >>"$log" 2>&1 || {
    tail -5 "$log" >&2
    exit 1
}

# Ray guards every local cluster with a token that it keeps in the home folder. In this environment its commands
# (`serve deploy`, `serve status`) use that token without being told to.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "import os; os.environ.setdefault('RAY_AUTH_MODE', 'token')" >"$site/penstock_ray.pth"
