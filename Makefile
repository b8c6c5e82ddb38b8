# make demo    install, train and certify real images on this machine, in a few minutes
# make check   lint, types, and the tests that start no process: the inner loop
# make test    the whole test suite              make test-cluster    tests on whole clusters, as root
# make fuzz    malformed inputs of all kinds, for ten minutes: make fuzz FUZZ="--kinds parquet,logs --seed 1"
# make bench   speed against other tools and the limit: make bench DATA=FOLDER, which holds mnist, cifar10-jpeg and
#              imagenet-val-100
# make lint    ruff, codespell (our words, docs/words.txt) and mypy    make format    apply the fixes of ruff
# make hooks   run these before each commit
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Without its bytecode every process of the tests would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install browser demo check test test-cluster fuzz bench lint format hooks clean
.DEFAULT_GOAL := install

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("raysmooth needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + ": write make PYTHON=python3.11, say") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# The tests of the report's page open it in Debian's Chromium.
browser:
	@command -v chromium > /dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium > /dev/null; } \
	  || { echo "the tests need Chromium: sudo apt-get install chromium" >&2; exit 1; }

demo: install
	$(BIN)/raysmooth demo

check: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not processes" --hypothesis-profile inner-loop

test: install browser
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Machines with sshd, each in its own namespaces: as root, on Debian.
test-cluster: install
	@{ command -v sshd && command -v rsync && command -v ip && command -v curl; } > /dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends openssh-server openssh-client rsync iproute2 curl > /dev/null; } \
	  || { echo "these tests need sshd, rsync, ip and curl: sudo apt-get install openssh-server rsync iproute2 curl" >&2; exit 1; }
	$(BIN)/python -m pytest tests/cluster

fuzz: install
	$(BIN)/python -m tests.fuzz $(FUZZ)

bench: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python benchmarks/bench.py --data "$(DATA)" $(BENCH)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

hooks: install
	$(BIN)/pre-commit install

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
