#!/usr/bin/env bash
# The gate. What passes here may be merged; nothing else decides.
#
# Works from a fresh clone on a fresh Debian, as root or with sudo, and ends at the first step that fails.
# Budget: 40 minutes on two cores with nothing built yet. Say `CARGO_TARGET_DIR=... tests/check.sh` to build elsewhere.
#
# Vectors and real tables that may not be copied into the repository are read from ENTENTE_TEST_DATA, or from a
# folder `shared` beside the repository. Where neither is at hand, the tests that need them say `skipped:`,
# and the closing lines repeat each of them: skipped is not passed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

say() { printf '%s\n' "$*"; }

current="preparation"
skipped=()
ended=no
closing() {
    local code=$?
    say
    if [ "${#skipped[@]}" -gt 0 ]; then printf '%s\n' "${skipped[@]}"; fi
    # A shell that a signal ends may have come here with the code of a step that went well.
    if [ "$code" -eq 0 ] && [ "$ended" = yes ]; then
        say "the gate passed in ${SECONDS} s"
    else
        say "the gate FAILED at \"$current\" after ${SECONDS} s"
        # A full disk ends a linker with a bus error, which says nothing of a disk.
        df -h "${CARGO_TARGET_DIR:-$root/target}" 2>/dev/null || df -h "$root"
    fi
}
trap closing EXIT

# step NAME COMMAND...: a heading, the command, the time it took.
step() {
    current=$1
    shift
    local begun=$SECONDS
    say
    say "== $current"
    "$@"
    say "-- $current: $((SECONDS - begun)) s"
}

skip() {
    say
    say "== $1"
    say "skipped: $2"
    skipped+=("skipped: $1: $2")
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        say "this needs root and there is no sudo; run as root: $*"
        return 1
    fi
}

# need COMMAND PACKAGE...: installs Debian packages where the command is missing, and only there.
need() {
    local command=$1
    shift
    if command -v "$command" >/dev/null; then return; fi
    if ! command -v apt-get >/dev/null; then
        say "\`$command\` is missing; install it (on Debian: $*)"
        return 1
    fi
    fetch "$@"
}

fetch() {
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

has_cbor2() { python3 -c 'import cbor2' 2>/dev/null || /usr/bin/python3 -c 'import cbor2' 2>/dev/null; }

# The solver of `agreement prove`, as Python bindings in a folder of their own: Debian's program is too old.
has_cvc5() { "$1" -c 'import cvc5' 2>/dev/null; }
fetch_cvc5() {
    local folder=${CARGO_TARGET_DIR:-$root/target}/check/cvc5
    export ENTENTE_TEST_CVC5_PYTHON=${ENTENTE_TEST_CVC5_PYTHON:-$folder/bin/python}
    if has_cvc5 "$ENTENTE_TEST_CVC5_PYTHON"; then return; fi
    # Where it cannot be had, the tests that ask a solver say `skipped:`.
    if command -v apt-get >/dev/null && ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
        fetch python3 python3-venv || say "no python3-venv"
    fi
    if ! { rm -rf "$folder" && python3 -m venv "$folder" && "$folder/bin/pip" install -q cvc5==1.4.2; }; then
        say "cvc5 cannot be had from PyPI: proofs by a solver are not tested"
    fi
}

# The library of the second verifier of packages, in a folder of its own.
has_cryptography() { "$1" -c 'from cryptography.hazmat.primitives.asymmetric import ed25519' 2>/dev/null; }
fetch_cryptography() {
    local folder=${CARGO_TARGET_DIR:-$root/target}/check/cryptography
    export ENTENTE_TEST_CRYPTOGRAPHY_PYTHON=${ENTENTE_TEST_CRYPTOGRAPHY_PYTHON:-$folder/bin/python}
    if has_cryptography "$ENTENTE_TEST_CRYPTOGRAPHY_PYTHON"; then return; fi
    # Where it cannot be had, the test that asks it says `skipped:`.
    if ! { rm -rf "$folder" && python3 -m venv "$folder" && "$folder/bin/pip" install -q cryptography==48.0.0; }; then
        say "cryptography cannot be had from PyPI: packages are not verified a second time"
    fi
}

prepare() {
    # What cargo keeps to go on from when a file changes is of no use here, and is half of what a build takes of the disk.
    export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}
    need cc build-essential
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then export PATH="$HOME/.cargo/bin:$PATH"; fi
    need cargo rustup ca-certificates
    # Records what a process writes, for the power cuts.
    need strace strace
    # A second reader of CBOR; where there is no Debian to fetch it from, the test that asks it is skipped.
    if ! has_cbor2 && command -v apt-get >/dev/null; then fetch python3 python3-cbor2; fi
    fetch_cvc5
    fetch_cryptography
    # Makes the terminals at which people are asked.
    need script bsdutils
    # Sends signals, and makes networks of their own.
    need ps procps
    need ip iproute2
    # rust-toolchain.toml names the compiler; rustup may have been told not to fetch it by itself.
    if ! cargo --version 2>/dev/null || ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
        local channel
        channel=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
        rustup toolchain install "$channel" --profile minimal --component rustfmt --component clippy
        cargo --version
    fi
    if [ -n "${ENTENTE_TEST_DATA:-}" ]; then
        ENTENTE_TEST_DATA=$(cd "$ENTENTE_TEST_DATA" && pwd)
        export ENTENTE_TEST_DATA
    elif [ -d "$root/../shared" ]; then
        ENTENTE_TEST_DATA=$(cd "$root/../shared" && pwd)
        export ENTENTE_TEST_DATA
    fi
}

# Passing tests are silent unless asked; asked, they say what they skipped.
log=${CARGO_TARGET_DIR:-$root/target}/check/tests.log
run_tests() {
    mkdir -p "$(dirname "$log")"
    name_what_hangs 2>/dev/null &
    local watcher=$! code=0
    timeout --kill-after=10 $((longest + 20)) cargo test --workspace --locked -- --show-output 2>&1 | tee "$log" || code=$?
    pkill -P "$watcher" || true
    wait "$watcher" || true
    return "$code"
}

# A test that hangs fails the gate, and is named, while somebody still waits for it.
longest=${ENTENTE_TESTS_LONGEST:-2400}
name_what_hangs() {
    # Nobody who reads the gate's output is to wait for this process.
    sleep "$longest" >/dev/null 2>&1 || return 0
    say "the tests have not ended after $longest s; what runs:"
    ps -eo pid,ppid,stat,etimes,wchan:24,args --sort=pid | grep -v ' \[' | cut -c1-200
    local name
    sed -n 's/^test \(.*\) has been running for over 60 seconds$/\1/p' "$log" | while read -r name; do
        grep -qF "test $name ... " "$log" || say "hangs: $name"
    done
}

# Conformance and short harnesses of the engine that the default build lacks.
run_sled() {
    # A test run does not build the program for the system tests.
    cargo build --workspace --bins --locked --features sled
    env ENTENTE_KILL_ROUNDS=15 ENTENTE_POWER_IMAGES=60 ENTENTE_FLIPS=60 ENTENTE_TRUNCATIONS=20 \
        cargo test --workspace --all-targets --locked --features sled -- store:: durability:: --show-output
}

run_docs() {
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
}

step "preparation" prepare
if [ -z "${ENTENTE_TEST_DATA:-}" ]; then skip "test data" "no test data"; fi
step "format" cargo fmt --all --check
step "build" cargo build --workspace --all-targets --locked
step "lints, zero warnings" cargo clippy --workspace --all-targets --locked -- -D warnings
step "tests" run_tests
while IFS= read -r line; do skipped+=("$line"); done < <(grep -h '^skipped:' "$log" | sort -u)
step "the engine sled" run_sled
step "documentation, zero warnings" run_docs
if cargo deny --version >/dev/null 2>&1; then
    step "dependencies: bans, licences, sources" cargo deny --locked check bans licenses sources
    if [ -d "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs" ]; then
        step "dependencies: advisories" cargo deny --locked check --disable-fetch advisories
    else
        skip "dependencies: advisories" "no advisory database is at hand"
    fi
else
    # The system tests have read deny.toml's lists against the resolved graph all the same.
    skip "dependencies" "cargo-deny is not at hand"
fi
ended=yes
