#!/usr/bin/env bash
# `ray up` runs this on every node. It installs Python and the dependencies of raysmooth, in the versions that were tested
# together, unless they are installed already and neither pyproject.toml nor constraints.txt has changed. Jobs bring
# raysmooth itself.
set -euo pipefail
here=~/.raysmooth
cd "$here"
wanted=$(cat pyproject.toml constraints.txt setup.sh | sha256sum)
path="export PATH=\"$here/venv/bin:\$PATH\" RAY_AUTH_MODE=token"
grep -qxF "$path" ~/.bashrc || echo "$path" >> ~/.bashrc
chmod 600 ~/.ray/auth_token
if [ "$(cat installed 2> /dev/null)" = "$wanted" ]; then exit 0; fi

curl -LsSf https://astral.sh/uv/0.13.9/install.sh | env UV_INSTALL_DIR="$here/uv" UV_NO_MODIFY_PATH=1 sh
uv/uv venv --clear --managed-python --python 3.11 venv
uv/uv pip install --python venv/bin/python --constraints constraints.txt --requirements pyproject.toml "$@"
echo "$wanted" > installed
