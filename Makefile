# Start with `make demo` and `make test`; `make help` lists all targets.

CARGO   ?= cargo
TARGET  := $(or $(CARGO_TARGET_DIR),target)
PREFIX  ?= /usr
DESTDIR ?=
# Directory of the programs that `make install` installs.
BUILT   ?= $(TARGET)/release
# Directories of shell completions; Debian's zsh uses another one.
BASH_COMPLETIONS ?= $(PREFIX)/share/bash-completion/completions
ZSH_COMPLETIONS  ?= $(PREFIX)/share/zsh/site-functions
FISH_COMPLETIONS ?= $(PREFIX)/share/fish/vendor_completions.d

# Namespaces, tunnels and users need root. Building does not.
SUDO    := $(if $(filter 0,$(shell id -u)),,sudo)
# Test programs are built by the user and run by root.
RUNNER  := sudo --preserve-env=RUST_BACKTRACE,RUST_TEST_THREADS,FIREZONE_TEST_LOGS,FIREZONE_SOAK
RUN_AS_ROOT := --config "target.'cfg(unix)'.runner='$(RUNNER)'"
AS_ROOT := $(if $(SUDO),$(RUN_AS_ROOT))
# All commands select the whole workspace and its tests: for a part of it cargo would enable other features of the
# dependencies and build them again. Stories are integration tests, which are ignored by default.
# Each builds a network of its own; more in parallel than this make slow machines miss their deadlines.
STORIES := RUST_TEST_THREADS=2

.DEFAULT_GOAL := help
.PHONY: help demo test soak check tools build fmt clippy deny unit integration story test-machine screenshots bench release install install-headless install-daemon install-ctl install-gtk install-gtk-data deb image clean

help: ## Show this list
	@echo "Firezone for Linux. What you can make:"
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-16s %s\n' "$$name" "$$text"; done

demo: tools ## Demonstrate: a private server, reached by name, in network namespaces
	@echo "Building; the first time takes some minutes."
	@$(CARGO) build --workspace
	@$(SUDO) "$(TARGET)/debug/demo"

test: tools fmt clippy build unit integration ## Run everything that a change must pass

check: fmt clippy deny unit ## The part of `make test` that needs neither root nor other programs

tools: ## Install missing packages for building and testing (Debian, Ubuntu)
	@scripts/install-tools

build: ## Build all programs and tests for development
	$(CARGO) build --workspace --all-targets

fmt: ## Check the formatting
	$(CARGO) fmt --all --check

clippy: ## Check for mistakes
	$(CARGO) clippy --workspace --all-targets --quiet -- --deny warnings

deny: ## Check licences and advisories of dependencies, if cargo-deny is installed
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check; else echo "cargo-deny is not installed; skipped"; fi

unit: ## Run the tests that need no other programs
	$(CARGO) test --workspace --tests

integration: build ## Run the integration tests: all programs in network namespaces (root)
	$(STORIES) $(CARGO) test --workspace --tests --no-fail-fast $(AS_ROOT) -- --ignored --skip ::every_
	$(if $(SUDO),$(CARGO) test --workspace --lib $(AS_ROOT))  # tests that `unit` skips without root

story: build ## Run one integration test: make story STORY=name (root)
	$(STORIES) $(CARGO) test --workspace --tests $(AS_ROOT) -- --ignored $(STORY)

test-machine: tools build ## Run the tests on booted machines, and the long ones too (root; some minutes)
	$(STORIES) $(CARGO) test --workspace --tests --no-fail-fast $(AS_ROOT) -- --ignored machine_

screenshots: tools ## Take screenshots of the desktop app, into target/screenshots
	$(CARGO) build --workspace --all-targets
	scripts/screenshots "$(TARGET)"

bench: ## Run the benchmarks: many resources, look-ups, the packet path
	$(CARGO) bench --workspace --bench '*'

soak: ## Run the long versions of tests: 500 random runs of 10 000 events each, and 20 changes of network (root)
	$(CARGO) test --release --package sim --test random -- --ignored --nocapture
	FIREZONE_SOAK=1 $(CARGO) test --workspace --test roaming $(AS_ROOT) -- --ignored --nocapture
	FIREZONE_SEEDS=2000 $(CARGO) test --package tunnel --test naive_client
	scripts/deb-reproducible "$(TARGET)/reproducible"

release: ## Build the programs for use
	$(CARGO) build --locked --release --package firezoned --package firezonectl --package firezone-gtk

install: install-daemon install-ctl install-gtk ## Install what `make release` built into DESTDIR under PREFIX

install-headless: install-daemon install-ctl ## The same for a server: service mode, no desktop app
	install -D -m 0644 systemd/headless.conf "$(DESTDIR)$(PREFIX)/lib/systemd/system/firezone-client.service.d/headless.conf"

install-daemon: # The daemon, its helper, and their system files.
	@test -x "$(BUILT)/firezoned" || { echo "Nothing is built yet; run: make release" >&2; exit 1; }
	install -D -m 0755 "$(BUILT)/firezoned" "$(DESTDIR)$(PREFIX)/bin/firezoned"
	install -D -m 0755 "$(BUILT)/firezone-resolv-conf" "$(DESTDIR)$(PREFIX)/libexec/firezone-resolv-conf"
	install -D -m 0644 dbus-policy/dev.firezone.Client.conf "$(DESTDIR)$(PREFIX)/share/dbus-1/system.d/dev.firezone.Client.conf"
	install -d "$(DESTDIR)$(PREFIX)/share/dbus-1/interfaces"
	install -m 0644 crates/dbus-api/xml/*.xml "$(DESTDIR)$(PREFIX)/share/dbus-1/interfaces/"
	install -D -m 0644 polkit/dev.firezone.Client.policy "$(DESTDIR)$(PREFIX)/share/polkit-1/actions/dev.firezone.Client.policy"
	install -d "$(DESTDIR)$(PREFIX)/share/polkit-1/rules.d"
	install -m 0644 polkit/*.rules "$(DESTDIR)$(PREFIX)/share/polkit-1/rules.d/"
	install -d "$(DESTDIR)$(PREFIX)/lib/systemd/system"
	install -m 0644 $(wildcard systemd/*.service systemd/*.socket systemd/*.target) "$(DESTDIR)$(PREFIX)/lib/systemd/system/"
	install -D -m 0644 systemd/sysusers.conf "$(DESTDIR)$(PREFIX)/lib/sysusers.d/firezone-client.conf"
	install -D -m 0644 systemd/tmpfiles.conf "$(DESTDIR)$(PREFIX)/lib/tmpfiles.d/firezone-client.conf"
	install -D -m 0644 systemd/networkd.network "$(DESTDIR)$(PREFIX)/lib/systemd/network/20-firezone-client.network"
	install -D -m 0644 systemd/NetworkManager.conf "$(DESTDIR)$(PREFIX)/lib/NetworkManager/conf.d/20-firezone-client.conf"
	$(call install_pages,$(filter-out man/firezonectl% man/firezone-gtk%,$(wildcard man/*.[1-8])))

install-ctl: # The command line.
	@test -x "$(BUILT)/firezonectl" || { echo "Nothing is built yet; run: make release" >&2; exit 1; }
	install -D -m 0755 "$(BUILT)/firezonectl" "$(DESTDIR)$(PREFIX)/bin/firezonectl"
	install -d "$(DESTDIR)$(PREFIX)/share/firezone-client/schemas"
	install -m 0644 firezonectl/schemas/*.json "$(DESTDIR)$(PREFIX)/share/firezone-client/schemas/"
	install -d "$(DESTDIR)$(BASH_COMPLETIONS)" "$(DESTDIR)$(ZSH_COMPLETIONS)" "$(DESTDIR)$(FISH_COMPLETIONS)"
	"$(BUILT)/firezonectl" completions bash > "$(DESTDIR)$(BASH_COMPLETIONS)/firezonectl"
	"$(BUILT)/firezonectl" completions zsh > "$(DESTDIR)$(ZSH_COMPLETIONS)/_firezonectl"
	"$(BUILT)/firezonectl" completions fish > "$(DESTDIR)$(FISH_COMPLETIONS)/firezonectl.fish"
	$(call install_pages,$(wildcard man/firezonectl*.[1-8]))

install-gtk: install-gtk-data # The desktop app.
	@test -x "$(BUILT)/firezone-gtk" || { echo "Nothing is built yet; run: make release" >&2; exit 1; }
	install -D -m 0755 "$(BUILT)/firezone-gtk" "$(DESTDIR)$(PREFIX)/bin/firezone-gtk"

install-gtk-data: # The data files of the desktop app.
	install -D -m 0644 firezone-gtk/data/dev.firezone.Gtk.desktop "$(DESTDIR)$(PREFIX)/share/applications/dev.firezone.Gtk.desktop"
	install -D -m 0644 firezone-gtk/data/dev.firezone.Gtk.metainfo.xml "$(DESTDIR)$(PREFIX)/share/metainfo/dev.firezone.Gtk.metainfo.xml"
	install -D -m 0644 firezone-gtk/data/dev.firezone.Gtk.gschema.xml "$(DESTDIR)$(PREFIX)/share/glib-2.0/schemas/dev.firezone.Gtk.gschema.xml"
	install -D -m 0644 firezone-gtk/data/icons/dev.firezone.Gtk.svg "$(DESTDIR)$(PREFIX)/share/icons/hicolor/scalable/apps/dev.firezone.Gtk.svg"
	for icon in firezone-gtk/data/icons/*-symbolic.svg; do install -D -m 0644 "$$icon" "$(DESTDIR)$(PREFIX)/share/icons/hicolor/scalable/status/$${icon##*/}"; done
	$(call install_pages,$(wildcard man/firezone-gtk*.[1-8]))
	for text in firezone-gtk/po/*.po; do language=$${text##*/} && install -d "$(DESTDIR)$(PREFIX)/share/locale/$${language%.po}/LC_MESSAGES" && msgfmt --output-file="$(DESTDIR)$(PREFIX)/share/locale/$${language%.po}/LC_MESSAGES/firezone-gtk.mo" "$$text" || exit; done
	$(if $(DESTDIR),,$(call update_desktop_caches,"$(PREFIX)/share"))

# Updates caches of schemas, links and icons. Packages leave that to triggers.
define update_desktop_caches
	glib-compile-schemas $(1)/glib-2.0/schemas
	if command -v update-desktop-database >/dev/null; then update-desktop-database --quiet $(1)/applications; fi
	if command -v gtk-update-icon-cache >/dev/null; then gtk-update-icon-cache --quiet --force --ignore-theme-index $(1)/icons/hicolor; fi
endef

# Installs manual pages, each into its section.
install_pages = $(foreach page,$(1),install -D -m 0644 $(page) "$(DESTDIR)$(PREFIX)/share/man/man$(subst .,,$(suffix $(page)))/$(notdir $(page))" &&) true

deb: ## Build Debian packages into target/deb; BUILT=target/debug packs these programs
	scripts/build-deb "$(TARGET)/deb" $(if $(filter command environment,$(origin BUILT)),"$(BUILT)")
	@# Packages of debug symbols are made by debhelper, without a place for lintian overrides.
	@if command -v lintian >/dev/null; then find "$(TARGET)/deb" -maxdepth 1 -name '*.deb' ! -name '*-dbgsym_*' -exec lintian --fail-on error,warning {} +; else echo "lintian is not installed; skipped"; fi

image: ## Build a container image without a container engine, into target/firezone.tar
	$(CARGO) build --locked --release --package firezoned --package firezonectl
	scripts/container-image "$(TARGET)/release" "$(TARGET)/firezone.tar"

clean: ## Remove the build
	@test ! -d "$(TARGET)/machines" || $(SUDO) rm -rf --one-file-system "$(TARGET)/machines"
	$(CARGO) clean
