# Everything that a fresh machine needs is installed by the targets that need it: `make image`, `make test`.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

IMAGE ?= debian-12
BUILDER ?= qemu
# Where BUILDER=alicloud-ecs builds: the account of the environment's credentials, or `sandbox`, which needs none.
CLOUD ?= account
OUT ?= build
ARGS ?=
# Of `make test-chaos`: how many runs of each kind, and of how many instances the rollout is that workers share.
RUNS ?= 200
INSTANCES ?= 200
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What runs a command as a client of the sandbox.
ifeq ($(CLOUD),sandbox)
IN_SANDBOX := $(BIN)/multieip sandbox exec --dir '$(OUT)/sandbox' --
endif

# Debian's names of what building and boot-testing need, and of what the tests need besides.
IMAGE_PACKAGES := e2fsprogs fdisk mmdebstrap openssh-client packer python3-venv qemu-system-x86 qemu-utils socat xorriso
SANDBOX_PACKAGES := dnsmasq-base iproute2 nftables slirp4netns systemd-container
TEST_PACKAGES := $(SANDBOX_PACKAGES) chromium postgresql shellcheck

.PHONY: help image demo test test-vm lint format bench disturbances doctor docs clean system system-sandbox test-system

##@ Use
help: ## Show this
	@awk 'BEGIN {FS = ":.*##"} \
		/^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*##/ {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nSettings: IMAGE=%s (a name of images/, or a file)  BUILDER=%s (or alicloud-ecs)  CLOUD=%s (or sandbox)  OUT=%s  ARGS=…\n' \
		'$(IMAGE)' '$(BUILDER)' '$(CLOUD)' '$(OUT)'

image: $(VENV)/.installed system $(if $(IN_SANDBOX),system-sandbox) ## Build the golden image IMAGE with BUILDER; one built here is boot-tested
ifneq ($(IN_SANDBOX),)
	$(BIN)/multieip sandbox up --dir '$(OUT)/sandbox' --image '$(IMAGE)'
endif
	$(IN_SANDBOX) $(BIN)/multieip image build '$(IMAGE)' --builder '$(BUILDER)' --out '$(OUT)' $(ARGS)
ifeq ($(BUILDER),qemu)
	$(BIN)/multieip image test '$(IMAGE)' --out '$(OUT)' --junit '$(OUT)/boot-test.xml'
endif

demo: $(VENV)/.installed system system-sandbox ## Launch a fleet on this machine, prove its EIPs by packets, remove it (root, no account)
	@tools/demo '$(BIN)' '$(OUT)/demo'

doctor: $(VENV)/.installed ## Show what this machine has and lacks
	$(BIN)/multieip doctor

##@ Develop
test: $(VENV)/.installed system test-system ## Run the tests; those of the guest need root and are skipped aloud without
	@# Two at a time, but for the lab: it goes by the clock. 5 is "nothing to run", as of --last-failed.
	@status=0; \
	$(BIN)/pytest -n 2 --dist loadfile -m 'not lab and not vm and not slow' $(ARGS) || [ $$? -eq 5 ] || status=1; \
	$(BIN)/pytest -m 'lab and not vm and not slow' $(ARGS) || [ $$? -eq 5 ] || status=1; \
	exit $$status

test-chaos: $(VENV)/.installed system test-system ## Kill launches, removals and rollouts at random, RUNS=200 times (an hour)
	MULTIEIP_CHAOS_RUNS='$(RUNS)' MULTIEIP_WORKERS_INSTANCES='$(INSTANCES)' $(BIN)/pytest \
		tests/sandbox/test_fleet_chaos.py tests/sandbox/test_rollout_chaos.py tests/sandbox/test_rollout_workers.py $(ARGS)

test-vm: $(VENV)/.installed system test-system ## Run the tests that take minutes each: virtual machines, the demo, a rollout
	$(BIN)/pytest -m 'vm or slow' $(ARGS)

lint: $(VENV)/.installed test-system ## ruff, mypy --strict, shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	git ls-files -z '*.sh' .ci/run tools templates/base templates/cloud-init/takeover templates/policy-routing | \
		xargs -0 shellcheck --severity=warning

format: $(VENV)/.installed ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed system ## Measure, as ratios in one run
	$(BIN)/python -m tests.bench

disturbances: $(VENV)/.installed system test-system ## Disturb our recipe and the vendor's in the lab (root); write docs/disturbances.md
	$(BIN)/python -m tests.lab.matrix

docs: $(VENV)/.installed ## Write the generated pages of docs/ and the first page of help anew
	UPDATE=1 $(BIN)/pytest -q tests/unit/test_docs.py tests/unit/test_spec_docs.py

clean: ## Remove what was built and installed here; the cache of bases stays
	rm -rf '$(OUT)' $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

system:
	@tools/system-packages $(IMAGE_PACKAGES)

system-sandbox:
	@tools/system-packages $(SANDBOX_PACKAGES)

test-system:
	@tools/system-packages $(TEST_PACKAGES)

$(VENV)/.installed: pyproject.toml
	@tools/system-packages python3-venv
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
