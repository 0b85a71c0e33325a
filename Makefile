# The two commands: make demo, make check. Everything they need is installed by make setup.
PYTHON ?= /usr/bin/python3
VENV   := .venv
BIN    := $(VENV)/bin
SUDO   := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Files of tests side by side: most of them wait for a machine, a master or a server, not for us.
SIDE_BY_SIDE ?= -n auto --maxprocesses 4 --dist loadfile
PYTEST := $(BIN)/pytest --durations=15 $(SIDE_BY_SIDE)

.PHONY: help setup setup-tests demo check check-full bench soak newest lock clean

help:
	@echo "make demo        the whole way of three pushes through Buildbot; KEEP=1 keeps its page up"
	@echo "make check       lint, types and every test that this machine can run"
	@echo "make setup       packages and $(VENV) alone; can be repeated"
	@echo "make bench       figures against named baselines, into build/bench.json"
	@echo "make newest      the tests with the newest of everything but Buildbot; every night"
	@echo "make check-full  heavier suites; make soak: long campaigns, resumable in parts"

setup: $(VENV)/.done
setup-tests: $(VENV)/.packages-of-tests setup

# Installs what a file of names has and the machine has not.
define install
	@missing=$$(grep -v '^#' $(1) | while read -r p; do \
	    dpkg-query -W -f='$${Status}' "$$p" 2>/dev/null | grep -q ' installed' || echo "$$p"; done); \
	if [ -n "$$missing" ]; then \
	    echo "setup: installing" $$missing; \
	    $(SUDO) apt-get update -qq && \
	    $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing \
	        > build-apt.log 2>&1 || { tail -n 20 build-apt.log; rm -f build-apt.log; exit 1; }; \
	    rm -f build-apt.log; \
	fi
endef

$(VENV)/.packages: packages.txt
	$(call install,$<)
	@# The account that libvirt runs root's QEMU as; an ordinary user's QEMU runs as that user.
	@# The package that makes it brings a daemon and networks.
	@[ -n "$(SUDO)" ] || getent passwd libvirt-qemu > /dev/null || useradd --system --user-group \
	    --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin libvirt-qemu
	@[ -n "$(SUDO)" ] || ! getent group kvm > /dev/null || usermod --append --groups kvm libvirt-qemu
	@# Who builds and boots for a root's ostci up; useradd gives it the subordinate ids that this takes.
	@[ -n "$(SUDO)" ] || getent passwd ostci-worker > /dev/null || useradd --create-home \
	    --home-dir /var/lib/ostci-worker --shell /usr/sbin/nologin ostci-worker
	@[ -n "$(SUDO)" ] || ! getent group kvm > /dev/null || usermod --append --groups kvm ostci-worker
	@mkdir -p $(VENV) && touch $@

$(VENV)/.packages-of-tests: packages-of-tests.txt $(VENV)/.packages
	$(call install,$<)
	@mkdir -p $(VENV) && touch $@

$(VENV)/.done: $(VENV)/.packages requirements.lock pyproject.toml
	@[ -x $(BIN)/python ] || { echo "setup: making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "setup: installing the locked Python packages"
	@$(BIN)/pip install --quiet --disable-pip-version-check --use-pep517 --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --use-pep517 --no-build-isolation --editable .
	@touch $@

demo: setup
	$(BIN)/python -m pipeline.cli.demo $(if $(KEEP),--keep) $(if $(NO_BUILDBOT),--no-buildbot)

check: setup-tests
	$(PYTEST) -m "not full and not soak"

check-full: setup-tests
	$(PYTEST) -m "not soak"

bench: setup
	$(BIN)/python -m tests.bench

soak: setup
	$(BIN)/python -m tests.soak

newest: setup
	$(BIN)/python -m tests.newest

lock:
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-annotate --no-header \
	    --all-extras --no-emit-index-url --output-file requirements.lock pyproject.toml

clean:
	rm -rf build .mypy_cache .ruff_cache .pytest_cache
