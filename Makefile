# The image that docker-build, image and image-push build, and deploy installs.
IMG ?= controller:latest
CONTAINER_TOOL ?= docker
KUBECTL ?= kubectl

# What deploy installs and undeploy removes; config/default-before-1.36 on a Kubernetes that old.
CONFIG ?= config/default

# The namespaces to work in, separated by commas, for an operator that is to have rights in no others. All if it is empty.
WATCH_NAMESPACES ?=

# What the operator says with --version. A release has a tag.
VERSION ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),(devel))

# Tools are pinned in modules of their own, so that their dependencies never become the operator's, and are compiled
# into Go's build cache on first use. The linters are apart from the rest: they pull in two hundred modules.
CONTROLLER_GEN = go tool -modfile=$(CURDIR)/hack/tools/go.mod controller-gen
KUSTOMIZE      = go tool -modfile=$(CURDIR)/hack/tools/go.mod kustomize
GINKGO         = go tool -modfile=$(CURDIR)/hack/tools/go.mod ginkgo
GOLANGCI_LINT  = go tool -modfile=$(CURDIR)/hack/tools/lint/go.mod golangci-lint-kube-api-linter

# Modules to keep tidy, and those among them that hold code. The module that pins Kubernetes' own sources is left as it
# was resolved: tidying it would download the test dependencies of all of Kubernetes.
MODULES := $(filter-out ./hack/controlplane/build/%,$(patsubst %/,%,$(sort $(dir \
	$(shell find . -name go.mod -not -path './bin/*')))))
CODE_MODULES := $(filter-out ./hack/tools%,$(MODULES))

# Printed by the builder of the control plane on stdout; its progress goes to stderr.
CONTROL_PLANE = go -C hack/controlplane run .

# Targets run one after the other even under -j: go spreads each of them over all cores by itself.
.NOTPARALLEL:
.DEFAULT_GOAL := help

##@ General

.PHONY: help
help: ## Show this help.
	@awk 'BEGIN { FS = ":.*## "; print "Usage: make <target>" } \
		/^##@ / { print "\n" substr($$0, 5) } \
		/^[a-z][a-z0-9-]*:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: clean
clean: ## Remove what was built, but for the control plane, which takes minutes to build again.
	@if [ -d bin ]; then find bin -mindepth 1 -maxdepth 1 -not -name controlplane -exec rm -rf {} +; fi
	rm -f cover.out

##@ Try it: needs Go, make and git, no container engine and no cluster

.PHONY: demo
demo: ## Show the operator at work on a local control plane, then clean up.
	go build -o bin/demo ./hack/demo
	@KUBEBUILDER_ASSETS=$$($(CONTROL_PLANE)) && export KUBEBUILDER_ASSETS && exec bin/demo

.PHONY: playground
playground: ## Keep control plane, operator and in-memory Reporters running to play with, until Ctrl-C.
	go build -o bin/demo ./hack/demo
	@KUBEBUILDER_ASSETS=$$($(CONTROL_PLANE)) && export KUBEBUILDER_ASSETS && exec bin/demo --playground

.PHONY: controlplane
controlplane: ## Build etcd and Kubernetes from Go modules, once, in minutes, and print their directory.
	@$(CONTROL_PLANE)

##@ Develop

.PHONY: generate
generate: ## Generate the API types' deep copies.
	$(CONTROLLER_GEN) object:headerFile=hack/boilerplate.go.txt paths=./api/...

# The Helm chart has copies of what is generated, and of the admission policies, alerts and dashboard: a chart may reach for no file outside of it.
CHART = charts/reporter-operator

.PHONY: manifests
manifests: ## Generate the CRDs and the operator's role, and the chart's copies and README.
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir=config/crd/bases
	$(CONTROLLER_GEN) rbac:roleName=manager-role paths=./... output:rbac:dir=config/rbac
	cp config/crd/bases/*.yaml $(CHART)/files/crds
	cp config/admission/validating.yaml config/admission/mutating.yaml $(CHART)/files/admission
	cp config/rbac/role.yaml config/prometheus/alerts.yaml config/grafana/dashboard.json $(CHART)/files
	go -C hack/release run ./chartdocs $(CURDIR)/$(CHART)

.PHONY: tidy
tidy: ## Tidy every module.
	@for module in $(MODULES); do echo "go -C $$module mod tidy"; go -C $$module mod tidy || exit; done

.PHONY: fmt
fmt: ## Format the code.
	gofmt -s -w $(wildcard *.go api cmd config controllers internal hack)

.PHONY: vet
vet: ## Run go vet in every module.
	@for module in $(CODE_MODULES); do echo "go -C $$module vet ./..."; go -C $$module vet ./... || exit; done

# Two checkouts may be linted at the same time.
LINT_FLAGS = --allow-parallel-runners

.PHONY: lint
lint: ## Run golangci-lint, with kube-api-linter on the API types, in every module.
	@status=0; for module in $(CODE_MODULES); do echo "golangci-lint run in $$module"; \
		(cd $$module && $(GOLANGCI_LINT) run $(LINT_FLAGS)) || status=$$?; done; exit $$status

.PHONY: lint-fix
lint-fix: LINT_FLAGS += --fix
lint-fix: lint ## Run the linters and let them fix what they can.

.PHONY: build
build: ## Build the operator into bin/manager.
	CGO_ENABLED=0 go build -ldflags '-X "main.version=$(VERSION)"' -o bin/manager .

.PHONY: run
run: build ## Run the operator from this machine against the current KUBECONFIG. ARGS adds flags.
	@exec bin/manager $(ARGS)

##@ Test

# More flags for `go test`, such as TEST_FLAGS=-race, which needs a C compiler.
TEST_FLAGS ?=

# The stories run in PROCS processes, each with a control plane of its own. STORY_FLAGS are more flags of Ginkgo's, such as
# STORY_FLAGS='-v --focus=SecretNotFound'.
PROCS ?= 2
STORY_FLAGS ?=
STORIES = $(GINKGO) run --procs=$(PROCS) --timeout=40m $(STORY_FLAGS)

# What `make test` runs, in this order: what is cheap and often fails comes first.
TEST_STEPS = verify build lint controlplane test-go conformance demo

.PHONY: test
test: ## Run everything that must pass before a change is merged, and print the time of each step.
	@times=""; for step in $(TEST_STEPS); do \
		echo "==> make $$step"; start=$$(date +%s); status=0; \
		$(MAKE) --no-print-directory $$step || status=$$?; \
		times="$$times$$(printf '%6ds  make %s' $$(($$(date +%s) - start)) $$step)\n"; \
		if [ $$status -ne 0 ]; then printf '\n%bThe last one failed.\n' "$$times" >&2; exit $$status; fi; \
	done; printf '\n%bAll passed.\n' "$$times"

# One line per file of the tree: its checksum and its name. Ignored files are left out.
SNAPSHOT = git ls-files -z --cached --others --exclude-standard | xargs -0 sh -c \
	'for file; do if [ -f "$$file" ]; then cksum "$$file"; fi; done' snapshot

.PHONY: verify
verify: ## Regenerate, tidy and format everything; fail if that changes a file, committed or not.
	@git rev-parse --is-inside-work-tree >/dev/null && dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	$(SNAPSHOT) >"$$dir/before" && \
	$(MAKE) --no-print-directory generate manifests tidy fmt && \
	$(SNAPSHOT) >"$$dir/after" && \
	if changes=$$(diff "$$dir/before" "$$dir/after"); then :; else \
		echo "These files were not up to date; they are now, please commit them:" >&2; \
		echo "$$changes" | sed -n 's/^[<>] [0-9]* [0-9]* /  /p' | sort -u >&2; exit 1; \
	fi
	@for file in $$(grep -L '^kind: Component$$' config/*/kustomization.yaml); do dir=$${file%/*}; \
		echo "kustomize build $$dir"; $(KUSTOMIZE) build $$dir >/dev/null || exit; done

# Go's cache of test results does not see that tests on a control plane also depend on main.go and config/: never use it.
.PHONY: test-go
test-go: ## Run all Go tests of every module, the stories on a real API server among them.
	@KUBEBUILDER_ASSETS=$$($(CONTROL_PLANE)) && export KUBEBUILDER_ASSETS && \
	for module in $(CODE_MODULES); do echo "go -C $$module test ./..."; \
		go -C $$module test ./... -skip '^TestStories$$' -count=1 -timeout 40m $(TEST_FLAGS) || exit; done && \
	$(STORIES) ./controllers/stories

.PHONY: test-unit
test-unit: ## Run the tests that need no control plane: seconds.
	@for module in $(CODE_MODULES); do echo "go -C $$module test ./..."; \
		go -C $$module test ./... -skip '^TestStories$$|OnControlPlane$$' $(TEST_FLAGS) || exit; done

.PHONY: test-race
test-race: ## Run the tests of controllers and internal under the race detector, which needs a C compiler.
	go test -race ./controllers/... ./internal/... -skip '^TestStories$$|OnControlPlane$$' -count=1 -timeout 40m

.PHONY: test-stories
test-stories: ## Run the stories, on a real API server.
	@KUBEBUILDER_ASSETS=$$($(CONTROL_PLANE)) && export KUBEBUILDER_ASSETS && \
	$(STORIES) ./controllers/stories

.PHONY: test-repeat
test-repeat: REPEAT ?= 4
test-repeat: ## Run the stories in random order and REPEAT times more, to find those that fail at times.
	@KUBEBUILDER_ASSETS=$$($(CONTROL_PLANE)) && export KUBEBUILDER_ASSETS && \
	$(STORIES) --randomize-all --repeat=$(REPEAT) ./controllers/stories

# The oldest Kubernetes that is supported: its build module is committed beside that of the newest, which everything else runs on.
OLDEST = v1.33.13

.PHONY: test-oldest
test-oldest: ## Run the stories, the demo, and what installs and uninstalls, on the Kubernetes OLDEST, which is built once, in minutes.
	@unset KUBEBUILDER_ASSETS; KUBEBUILDER_ASSETS=$$(K8S_VERSION=$(OLDEST) $(CONTROL_PLANE)) && export KUBEBUILDER_ASSETS && \
	$(MAKE) --no-print-directory test-stories demo && \
	for module in cmd/kubectl-reporter hack/release; do echo "go -C $$module test ./..."; \
		go -C $$module test ./... -run 'OnControlPlane$$' -count=1 -timeout 40m $(TEST_FLAGS) || exit; done

.PHONY: conformance
conformance: ## Check what the operator relies on: in the in-memory Reporter, or at REPORTER_URL (REPORTER_TOKEN). Ends with a table.
	go test ./internal/reporter/reportertest -run TestConformance -count=1 -v

# Each history has a seed, which is printed when it fails and plays it again.
DURATION ?= 10m

.PHONY: simulate
simulate: ## Simulate histories of new seeds for DURATION, until one breaks a promise; then explore small worlds. `make test` runs some of both.
	go test ./controllers/simulation -run '^TestSimulation$$' -count=1 -v -timeout 0 -simulation.duration $(DURATION)
	go test ./controllers/simulation -run '^(TestSmallWorlds|TestDifferential)$$' -count=1 -v -timeout 0 -simulation.states $(STATES) -simulation.differential 3000

.PHONY: soak
soak: ## Have simulated users write and delete for DURATION; fail if memory, goroutines or maps have grown at the end.
	go test ./controllers/simulation -run '^TestSoak$$' -count=1 -v -timeout 0 -simulation.soak $(DURATION)

# How many states of each small world are explored at most.
STATES ?= 20000

.PHONY: mutants
mutants: ## Break the operator in one place after the other; fail if no test notices. MUTANTS chooses by words of their names.
	go run ./hack/mutants $(MUTANTS)

# How long each fuzz test runs; its seeds run with the other tests.
FUZZTIME ?= 1m

.PHONY: fuzz
fuzz: ## Feed hostile bytes to the client of Reporter's API, FUZZTIME for each kind of them.
	@for name in $$(go test -list '^Fuzz' ./internal/reporter | grep '^Fuzz'); do echo "fuzzing with $$name"; \
		go test ./internal/reporter -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 50x || exit; done

# Which rows of the table, all if empty, and how many runs of each; BENCH_FLAGS adds others, such as -scale 0.1.
ROWS ?=
RUNS ?= 5

.PHONY: bench
bench: ## Measure the operator against the limit of this machine: three quarters of an hour. ROWS=drain,idle RUNS=3 for less.
	@mkdir -p bin && go build -o bin/bench ./hack/bench
	@KUBEBUILDER_ASSETS=$$($(CONTROL_PLANE)) && export KUBEBUILDER_ASSETS && \
	exec bin/bench -rows '$(ROWS)' -runs $(RUNS) -json bin/bench.json -markdown bin/bench.md $(BENCH_FLAGS)

##@ Deploy: kubectl, and a container engine for docker-build and docker-push alone

# Tells the image's name with its digest on standard output.
IMAGE = go -C hack/release run ./image -version '$(VERSION)' -name '$(IMG)'

.PHONY: image
image: ## Build the image IMG for amd64 and arm64 without a container engine, into bin/image.tar.
	@mkdir -p bin
	@$(IMAGE) -output $(CURDIR)/bin/image.tar

.PHONY: image-push
image-push: ## Build the image IMG the same way, and push it.
	@$(IMAGE) -push

.PHONY: release
release: ## Write what is published of VERSION to dist/, with the image IMG. IMAGE_PUSH=-push pushes that, too.
	@mkdir -p dist && if [ -n "$$(ls dist)" ]; then echo "dist is not empty: what is there may be of another version" >&2; exit 1; fi
	@image=$$($(IMAGE) -output $(CURDIR)/dist/image.tar $(IMAGE_PUSH)) && \
	go -C hack/release run . -version '$(VERSION)' -image "$$image" -output $(CURDIR)/dist && ls dist

.PHONY: docker-build
docker-build: ## Build the image IMG with a container engine.
	$(CONTAINER_TOOL) build --build-arg VERSION='$(VERSION)' -t $(IMG) .

.PHONY: docker-push
docker-push: ## Push the image IMG.
	$(CONTAINER_TOOL) push $(IMG)

.PHONY: install
install: ## Install the CRDs into the cluster of the current KUBECONFIG.
	$(KUSTOMIZE) build config/crd | $(KUBECTL) apply -f -

# The plugin that `kubectl reporter` runs, where it is in the PATH.
KUBECTL_REPORTER = bin/kubectl-reporter

.PHONY: kubectl-reporter
kubectl-reporter: ## Build the plugin of kubectl's into bin/: `kubectl reporter` looks after an installation, and removes it.
	@CGO_ENABLED=0 go -C cmd/kubectl-reporter build -ldflags '-X "main.version=$(VERSION)"' -o $(CURDIR)/$(KUBECTL_REPORTER) .

# UNINSTALL_FLAGS adds flags, such as --keep-connections.
.PHONY: uninstall
uninstall: kubectl-reporter ## Remove the operator, its CRDs and all that it holds; waits for deletions, and refuses while there are resources that nobody has deleted.
	@$(KUBECTL_REPORTER) uninstall $(UNINSTALL_FLAGS)

# With WATCH_NAMESPACES, rights in the whole cluster from an earlier install are taken back. Where one namespace does not exist, the others get
# their RoleBinding all the same.
.PHONY: deploy
deploy: kubectl-reporter ## Install the CRDs and the operator with the image IMG, to work in WATCH_NAMESPACES alone if that is set.
	@$(KUBECTL_REPORTER) preflight --watch-namespaces='$(WATCH_NAMESPACES)'
	@mkdir -p bin/deploy
	@printf 'resources: [../../$(CONFIG)]\n' >bin/deploy/kustomization.yaml
	@if [ -n '$(WATCH_NAMESPACES)' ]; then printf '%s\n' 'components: [../../config/namespaced]' 'patches:' \
		'- target: {kind: Deployment, name: controller-manager}' '  patch: |-' \
		'    - {op: add, path: /spec/template/spec/containers/0/args/-, value: "--watch-namespaces=$(WATCH_NAMESPACES)"}' \
		>>bin/deploy/kustomization.yaml; fi
	cd bin/deploy && $(KUSTOMIZE) edit set image controller=$(IMG)
	$(KUSTOMIZE) build bin/deploy | $(KUBECTL) apply -f -
	@if [ -n '$(WATCH_NAMESPACES)' ]; then \
		$(KUBECTL) delete clusterrolebinding reporter-operator-manager-rolebinding --ignore-not-found || exit; fi; \
	status=0; for namespace in $$(echo '$(WATCH_NAMESPACES)' | tr , ' '); do echo "In namespace $$namespace:"; \
		$(KUBECTL) apply --namespace $$namespace -k config/watched-namespace || status=$$?; done; exit $$status

.PHONY: undeploy
undeploy: kubectl-reporter ## Remove the operator. The CRDs and their objects stay; deletions wait until it is back.
	@$(KUBECTL_REPORTER) uninstall --operator-only $(UNINSTALL_FLAGS)
