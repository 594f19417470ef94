#!/usr/bin/env bash
# What does not fit the gate: the long forms of the harnesses, by name.
#
#   tests/long.sh                          every part, seed 1
#   tests/long.sh kill power               these parts
#   tests/long.sh power --seeds 5..8       once with each seed of the range
#   tests/long.sh --list                   the parts, with what each does
#   tests/long.sh --sum                    what ran so far, added up
#
# A part is a function below; its comment says what it runs and how long that takes on two cores. Each prints what it
# ran, and fails with the command that shows it again. What ran is written down, failed or not: a row for each part and
# seed in tests/LONG.md, of the fuzzing in tests/fuzz/README.md; commit it. A long run is resumed by giving the seeds that
# are left. To add a part, add a function named part_NAME.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
list=tests/LONG.md
hours=tests/fuzz/README.md

# system TEST VARIABLE=VALUE...: one test of the system tests, with its knobs, and all that it prints. Its rounds have
# seeds of their own, counted from the one it is given: those of two runs are far apart, or they would be the same rounds.
system() {
    local test=$1
    shift
    env "ENTENTE_SEED=$((1 + (seed - 1) * 1000000))" "$@" cargo test --workspace --locked --test system ${features:-} -- --exact "$test" --nocapture
}

# kill: 1,000 writers killed at any moment (4 minutes)
part_kill() { system durability::nothing_acknowledged_is_lost_by_kill ENTENTE_KILL_ROUNDS=1000; }

# power: 10,000 images of disks that lost power, some of them again while being opened (25 minutes; needs strace)
part_power() { system durability::nothing_acknowledged_is_lost_by_a_power_cut ENTENTE_POWER_IMAGES=10000; }

# flips: 10,000 stores with one changed byte (15 minutes)
part_flips() { system durability::a_changed_byte_is_never_silently_wrong ENTENTE_FLIPS=10000; }

# truncations: 1,000 stores with one file cut short (2 minutes)
part_truncations() { system durability::a_file_cut_short_is_never_silently_a_shorter_past ENTENTE_TRUNCATIONS=1000; }

# faults: every call to the store fails, reads too (40 minutes; no seed, for none is left out)
part_faults() { system faults::every_call_fails_once_in_every_way ENTENTE_FAULT_READS=1 ENTENTE_FAULT_WRITES=1; }

# simulation: 10,000 simulated worlds beyond those of the gate; another seed, other worlds (20 minutes)
part_simulation() {
    local from=$((1000 + (seed - 1) * 10000))
    cargo run --workspace --locked --bin entente-sim -- --seeds "$from..$((from + 10000))"
}

# unseen: 3,000 pairs of worlds that differ in what is hidden, beyond those of the gate (40 minutes)
part_unseen() {
    ENTENTE_SEED=$((50 + (seed - 1) * 3000)) ENTENTE_PAIRS=3000 cargo test --workspace --locked --test system -- \
        --exact unseen::two_worlds_that_differ_in_what_is_hidden_look_the_same --nocapture
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

# fuzz: every target for ten minutes, two at a time (2 hours 15 minutes)
part_fuzz() {
    cargo build --workspace --locked --bin entente-fuzz
    "${CARGO_TARGET_DIR:-target}/debug/entente-fuzz" --seconds "${ENTENTE_FUZZ_SECONDS:-600}" --seed "$seed"
}

# hostile: partners that keep to nothing, forgeries, hostile files (8 minutes; no seed)
part_hostile() {
    system hostile_peer::a_hostile_partner_gets_nowhere
    system forged::what_a_hostile_partner_forges_or_replays_is_not_taken
    cargo test --workspace --locked --test system -- hostile_files:: hostile:: mishaps:: --nocapture
}

# bench: every figure of the README at its full size, on a machine that does nothing else (2 hours with the build; no seed)
part_bench() {
    cargo build --release --workspace --bins --locked
    "${CARGO_TARGET_DIR:-target}/release/entente-bench" --table --strict
}

# load: 10,000 streams and 1,000 slow connections at a release build, memory and others' p99 (20 minutes with the build; no seed)
part_load() {
    cargo build --release --workspace --bins --locked
    "${CARGO_TARGET_DIR:-target}/release/entente-bench" --table --strict load-streams load-slow
}

# trace: the stories again, with every node logging all that it can and its log searched for its keys (30 minutes; no seed)
part_trace() { env ENTENTE_TEST_TRACE=1 cargo test --workspace --locked --test system; }

all() { declare -F | sed -n 's/^declare -f part_//p'; }

# The commit, with a + where something is changed that is not a list of what ran.
commit() {
    local changed
    changed=$(git status --porcelain -- . ":!$list" ":!$hours")
    printf '%s%s' "$(git rev-parse --short HEAD)" "${changed:++}"
}

# again PART SAID: the command that shows a failure again: the one that was printed, or the part with its seed.
again() {
    local command
    command=$(sed -n 's/^ *replay: //p' "$2" | tail -n 1)
    printf '%s' "${command:-tests/long.sh $1 --seeds $seed..$seed}"
}

# note PART CODE SECONDS SAID: rows of the list. Harnesses say `name, what: COUNT the rest, N s`.
note() {
    local part=$1 code=$2 seconds=$3 said=$4 row rows
    row="| $(date -u +%F) | $(commit) | $part | $seed |"
    if [ "$part" = fuzz ]; then
        # It makes its row itself, with what it found.
        rows=$(grep -E '^\| [0-9-]{10} \| [0-9]+ targets ' "$said" || true)
        if [ -n "$rows" ]; then printf '%s\n' "$rows" >>"$hours"; fi
        return
    fi
    if [ "$code" -ne 0 ]; then
        printf '%s - | %s | FAILED: `%s` |\n' "$row" "$seconds" "$(again "$part" "$said")" >>"$list"
        return
    fi
    # What the test says may stand behind its name.
    rows=$(sed -n -E -e 's/^test [^ ]+ \.\.\. //' \
        -e "s/^([a-z]+)(, [^:]*)?: ([0-9]+) (.*), ([0-9]+)(\.[0-9]+)? s$/$row \3 | \5 | \1\2: \3 \4 |/p" "$said")
    if [ "$part" = bench ] || [ "$part" = load ]; then
        rows="$row $(grep -c '^| `' "$said" || true) | $seconds | figures, each within its goal |"
    elif [ -z "$rows" ]; then
        rows=$(sed -n -E "s/^test result: ok\. ([0-9]+) passed.*/\1/p" "$said" | awk -v row="$row" -v s="$seconds" '
            { passed += $1 } END { print row, passed + 0, "|", s, "| tests passed |" }')
    fi
    printf '%s\n' "$rows" >>"$list"
}

# sum: what the lists add up to, part by part.
sum() {
    awk -F ' *[|] *' '
        $2 ~ /^[0-9][0-9-]+$/ && $6 == "-" { failed[$4]++ }
        $2 ~ /^[0-9][0-9-]+$/ && $6 != "-" {
            # `kill, fjall: ...` is of that engine; what else stands before the colon is no kind of its own.
            split($8, said, ":"); split(said[1], name, ", ")
            of = name[2] ~ /^(fjall|sled)$/ ? name[1] ", " name[2] : $4
            ran[of] += $6; seconds[of] += $7; rows[of]++
        }
        END {
            for (of in rows) printf "%s: %d in %d runs, %.1f hours\n", of, ran[of], rows[of], seconds[of] / 3600
            for (of in failed) printf "%s: %d runs FAILED\n", of, failed[of]
        }' "$list" | sort
    awk -F ' *[|] *' '
        $3 ~ /^[0-9]+ targets$/ { minutes += $4; inputs += $6; rows++ }
        END { printf "fuzz: %d inputs in %d runs, %.1f hours\n", inputs, rows, minutes / 60 }' "$hours"
}

parts=()
first=1
last=1
while [ $# -gt 0 ]; do
    case $1 in
        --list) sed -n "s/^# \([a-z]*: .*)\)$/\1/p" tests/long.sh; exit 0 ;;
        --sum) sum; exit 0 ;;
        --seeds) first=${2%%..*}; last=${2##*..}; shift 2 ;;
        *) if ! declare -F "part_$1" >/dev/null; then echo "no part \`$1\`; there are: $(all | tr '\n' ' ')"; exit 2; fi
           parts+=("$1"); shift ;;
    esac
done
if [ "${#parts[@]}" -eq 0 ]; then mapfile -t parts < <(all); fi

ran=()
said=$(mktemp)
trap 'rm -f "$said"; printf "\n"; printf "%s\n" "${ran[@]}"' EXIT
for seed in $(seq "$first" "$last"); do
    for part in "${parts[@]}"; do
        begun=$SECONDS
        printf '\n== %s, seed %s\n' "$part" "$seed"
        ran+=("FAILED: $part, seed $seed")
        # In a shell of its own, so that it ends at the first failure and this one goes on to write it down.
        set +e
        (set -e; "part_$part") 2>&1 | tee "$said"
        code=${PIPESTATUS[0]}
        set -e
        note "$part" "$code" "$((SECONDS - begun))" "$said"
        if [ "$code" -ne 0 ]; then
            ran[-1]+=": $(again "$part" "$said")"
            exit "$code"
        fi
        ran[-1]="ran: $part, seed $seed, $((SECONDS - begun)) s"
    done
done
