# Run Record Archiver. `make demo` shows it, `make test` checks it; both set up what they need in .venv.
VENV ?= .venv
DEMO ?= demo
RECORDS ?=
SOAK_SECONDS ?= 1800
FUZZ_SECONDS ?= 120
BENCH ?=
# -I: neither this directory nor the environment decides what is imported; the project itself is installed.
PYTHON := "$(VENV)/bin/python" -I
# Three processes on two cores: tests wait for servers and processes for a third of their time.
PYTEST := $(PYTHON) -m pytest -n 3 --dist worksteal
PIP := $(PYTHON) -m pip --quiet --disable-pip-version-check
RESOLVE := $(PYTHON) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml

.PHONY: help setup lock debian demo demo-start demo-stop test test-long test-newest test-deploy wheelhouse soak fuzz lint lint-ansible audit docs bench bench-long clean

help:           ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(VENV)/.ready   ## Make the environment in .venv

$(VENV)/.ready: pyproject.toml requirements-dev.lock
	python3 -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	test -x "$(VENV)/bin/python" || python3 -m venv "$(VENV)"
	$(PIP) install --use-pep517 --require-hashes --requirement requirements-dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch "$@"

lock: setup     ## Resolve the newest dependencies that pyproject.toml allows: of hosts, and of this checkout
	$(RESOLVE) --upgrade --extra dask --extra mongodb --output-file requirements.lock
	$(RESOLVE) --upgrade --all-extras --constraint requirements.lock --output-file requirements-dev.lock

debian: setup   ## Unpack Debian's packages of programs that tests need and this machine lacks, below .venv
	@scripts/unpack_debian_packages.sh "$(abspath $(VENV))/debian"

demo: setup     ## Archive 60 made-up runs (or those in RECORDS=DIR) end to end, and show what went where
	@$(PYTHON) -m scripts.demo --directory "$(DEMO)" run $(if $(RECORDS),--records "$(RECORDS)")

demo-start: setup   ## Bring the demo's servers back on the same data
	@$(PYTHON) -m scripts.demo --directory "$(DEMO)" start

demo-stop: setup    ## Stop the demo's servers
	@$(PYTHON) -m scripts.demo --directory "$(DEMO)" stop

test: setup debian  ## Run all tests
	$(PYTEST)

test-long: setup debian ## The same with many more examples of the model-based tests
	HYPOTHESIS_PROFILE=long $(PYTEST) --timeout 7200

test-newest:    ## Run all tests with the newest dependencies that pyproject.toml allows, not those of the lock file
	rm -rf build/newest && python3 -m venv build/newest
	build/newest/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch build/newest/.ready
	$(MAKE) test VENV=build/newest

wheelhouse: setup ## Put the archiver and all it needs as wheels into build/wheelhouse, for hosts without a package index
	rm -rf build/wheelhouse
	$(PIP) wheel --require-hashes --requirement requirements.lock --wheel-dir build/wheelhouse
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir build/wheelhouse .

test-deploy: setup wheelhouse ## Roll out to two booted Debian systems, upgrade, roll back, reboot, remove (root; half an hour)
	@scripts/install_deploy_packages.sh
	RRA_TEST_DEPLOY=1 $(PYTHON) -m pytest tests/deploy -v --exitfirst

soak: setup     ## Weeks of bad luck in SOAK_SECONDS (half an hour), with an audit at the end
	$(PYTHON) -m tests.reliability.soak $(SOAK_SECONDS)

fuzz: setup     ## Look for inputs that break FHiCL, converters or blobs for FUZZ_SECONDS (2 minutes), led by coverage
	$(PIP) install atheris
	$(PYTHON) -m tests.reliability.fuzz $(FUZZ_SECONDS)

lint: setup lint-ansible ## Check style, types, security and generated files
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	"$(VENV)/bin/snakefmt" --check workflow rules
	"$(VENV)/bin/codespell"
	$(PYTHON) -m mypy
	"$(VENV)/bin/lint-imports" --no-cache --no-logo
	$(PYTHON) -m bandit --quiet --configfile pyproject.toml --recursive rra_state workflow scripts
	$(PYTHON) -m scripts.make_config_docs --check
	$(PYTHON) -m scripts.make_role_docs --check
	$(PYTHON) -m scripts.make_command_docs --check

lint-ansible: setup
	PATH="$$(cd "$(VENV)/bin" && pwd):$$PATH" && cd ansible && ansible-lint -q

audit: setup    ## Look for known holes in what the environment holds (asks pypi.org)
	$(PIP) install pip-audit
	$(PYTHON) -m pip freeze --exclude-editable > "$(VENV)/installed.txt"
	$(PYTHON) -m pip_audit --strict --no-deps --disable-pip --requirement "$(VENV)/installed.txt" --progress-spinner off

docs: setup     ## Build the documentation as a site in build/docs
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --quiet --strict

bench: setup    ## Measure against the targets of docs/design/performance.md
	$(PYTHON) -m tests.bench $(BENCH)

bench-long: setup ## The same for stores of 20,000 runs
	$(PYTHON) -m tests.bench --long $(BENCH)

clean:          ## Remove what make made (stop the demo first)
	rm -rf "$(VENV)" .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
