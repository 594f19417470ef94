#!/usr/bin/env bash
# What does not fit the gate: the long forms of the harnesses, by name.
#
#   tests/long.sh                          every part, seed 1
#   tests/long.sh kill power               these parts
#   tests/long.sh power --seeds 5..8       once with each seed of the range
#   tests/long.sh --list                   the parts, with what each does
#
# A part is a function below; its comment says what it runs and how long that takes on two cores. Each prints what it
# ran, and fails with the seed that shows it again: `tests/long.sh PART --seeds N..N`. A long run is resumed by giving the
# seeds that are left. To add a part, add a function named part_NAME.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# system TEST VARIABLE=VALUE...: one test of the system tests, with its knobs, and all that it prints.
system() {
    local test=$1
    shift
    env "ENTENTE_SEED=$seed" "$@" cargo test --workspace --locked --test system ${features:-} -- --exact "$test" --nocapture
}

# kill: 1,000 writers killed at any moment (4 minutes)
part_kill() { system durability::nothing_acknowledged_is_lost_by_kill ENTENTE_KILL_ROUNDS=1000; }

# power: 10,000 images of disks that lost power, some of them again while being opened (25 minutes; needs strace)
part_power() { system durability::nothing_acknowledged_is_lost_by_a_power_cut ENTENTE_POWER_IMAGES=10000; }

# flips: 10,000 stores with one changed byte (15 minutes)
part_flips() { system durability::a_changed_byte_is_never_silently_wrong ENTENTE_FLIPS=10000; }

# truncations: 1,000 stores with one file cut short (2 minutes)
part_truncations() { system durability::a_file_cut_short_is_never_silently_a_shorter_past ENTENTE_TRUNCATIONS=1000; }

# faults: every call to the store fails, reads too (10 minutes; no seed)
part_faults() { system faults::every_call_fails_once_in_every_way ENTENTE_FAULT_READS=1; }

# simulation: 10,000 simulated worlds beyond those of the gate; another seed, other worlds (20 minutes)
part_simulation() {
    local from=$((1000 + (seed - 1) * 10000))
    cargo run --workspace --locked --bin entente-sim -- --seeds "$from..$((from + 10000))"
}

# networks: records for minutes on a thin line, 100 interruptions of a bad one, 200 partitions of namespaces (60 minutes)
part_networks() {
    system networks::a_thin_line_carries_suspensions_and_receipts_then_records_then_pictures ENTENTE_THIN_RECORDS=600
    system networks::a_line_that_loses_doubles_and_reorders_carries_everything_once ENTENTE_CUTS=100
    system networks::nodes_in_namespaces_converge_after_every_partition ENTENTE_PARTITIONS=200
}

# sled: kill, power, flips and truncations with the second engine too, a tenth of the rounds (20 minutes)
part_sled() {
    local features="--features sled"
    system durability::nothing_acknowledged_is_lost_by_kill ENTENTE_KILL_ROUNDS=100
    system durability::nothing_acknowledged_is_lost_by_a_power_cut ENTENTE_POWER_IMAGES=1000
    system durability::a_changed_byte_is_never_silently_wrong ENTENTE_FLIPS=1000
    system durability::a_file_cut_short_is_never_silently_a_shorter_past ENTENTE_TRUNCATIONS=100
}

# fuzz: every target for ten minutes, two at a time; prints a row for tests/fuzz/README.md (2 hours 15 minutes)
part_fuzz() {
    cargo build --workspace --locked --bin entente-fuzz
    "${CARGO_TARGET_DIR:-target}/debug/entente-fuzz" --seconds 600 --seed "$seed"
}

# load: 10,000 streams and 1,000 slow connections at a release build, memory and others' p99 (20 minutes with the build; no seed)
part_load() {
    cargo build --release --workspace --bins --locked
    "${CARGO_TARGET_DIR:-target}/release/entente-bench" --strict load-streams load-slow
}

# trace: the stories again, with every node logging all that it can and its log searched for its keys (30 minutes; no seed)
part_trace() { env ENTENTE_TEST_TRACE=1 cargo test --workspace --locked --test system; }

all() { declare -F | sed -n 's/^declare -f part_//p'; }

parts=()
first=1
last=1
while [ $# -gt 0 ]; do
    case $1 in
        --list) sed -n "s/^# \([a-z]*: .*)\)$/\1/p" tests/long.sh; exit 0 ;;
        --seeds) first=${2%%..*}; last=${2##*..}; shift 2 ;;
        *) if ! declare -F "part_$1" >/dev/null; then echo "no part \`$1\`; there are: $(all | tr '\n' ' ')"; exit 2; fi
           parts+=("$1"); shift ;;
    esac
done
if [ "${#parts[@]}" -eq 0 ]; then mapfile -t parts < <(all); fi

ran=()
trap 'printf "\n"; printf "%s\n" "${ran[@]}"' EXIT
for seed in $(seq "$first" "$last"); do
    for part in "${parts[@]}"; do
        begun=$SECONDS
        printf '\n== %s, seed %s\n' "$part" "$seed"
        ran+=("FAILED: $part, seed $seed")
        "part_$part"
        ran[-1]="ran: $part, seed $seed, $((SECONDS - begun)) s"
    done
done
