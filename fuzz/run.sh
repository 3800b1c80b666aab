#!/usr/bin/env bash
# Fuzzes every parser of untrusted input. Needs nightly Rust and cargo-fuzz; README.md describes the targets.
#
#   ./run.sh [SECONDS [TARGET...]]   checks that the canary crashes, then fuzzes each target for SECONDS (60),
#                                    JOBS (2) targets at a time, and prints a line for each
#   ./run.sh keep [TARGET...]        saves in kept/ the inputs that cover code which no seed covers
#
# Inputs that reach new code are in corpus/, crashing inputs in artifacts/, the output of libFuzzer in logs/.
# Exit status: 0 if the canary crashed and nothing else did, 1 otherwise, 2 if the fuzzer cannot be built.
set -u
cd "$(dirname "$0")" || exit 2

readonly JOBS=${JOBS:-2}
readonly BINARIES=target/x86_64-unknown-linux-gnu/release
readonly LIMITS=(-timeout=25 -rss_limit_mb=2048)
# Maximum number and size of the inputs that are kept of each target.
readonly KEPT_FILES=60 KEPT_FILE_BYTES=3000

targets() {
    for line in fuzz_targets/*.rs; do basename "$line" .rs; done | grep -vx canary
}

prepare() {
    if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
        cat >&2 <<'TEXT'
error: this needs nightly Rust and cargo-fuzz; install them with
    rustup toolchain install nightly
    cargo +nightly install --locked cargo-fuzz
TEXT
        return 1
    fi
    # Without the address sanitizer: no code here is unsafe, and the sanitizer halves the speed. memory.rs
    # limits memory.
    cargo +nightly fuzz build --sanitizer none &&
        cargo run --quiet --manifest-path ../Cargo.toml -p rzeo-fixtures --example fuzz_seeds -- seeds
}

# fuzz SECONDS TARGET: starts from the inputs in corpus/, kept/, found/ and seeds/.
fuzz() {
    local seconds=$1 target=$2 directory
    mkdir -p "corpus/$target" "artifacts/$target" logs
    local inputs=("corpus/$target")
    for directory in "kept/$target" "found/$target" "seeds/$target"; do
        [ -d "$directory" ] && inputs+=("$directory")
    done
    nice -n 19 "$BINARIES/$target" "${inputs[@]}" "${LIMITS[@]}" -max_total_time="$seconds" \
        -artifact_prefix="artifacts/$target/" -print_final_stats=1 >"logs/$target.log" 2>&1
    local status=$?
    report "$target" "$status"
    return "$status"
}

# report TARGET STATUS: one line of the table.
report() {
    local log="logs/$1.log" executions coverage features verdict='nothing found'
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
    coverage=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1)
    features=$(grep -o 'ft: [0-9]*' "$log" | tail -n 1)
    [ "$2" -eq 0 ] || verdict="FOUND  $(grep -o 'artifacts/[^ ]*' "$log" | tail -n 1)"
    printf '%-16s %12s executions  %-11s %-12s %s\n' \
        "$1" "${executions:-?}" "${coverage:-cov: ?}" "${features:-ft: ?}" "$verdict"
}

canary() {
    rm -rf corpus/canary artifacts/canary
    if fuzz 120 canary >/dev/null; then
        echo 'error: the canary did not crash, so this fuzzer finds no mistakes' >&2
        return 1
    fi
    grep -q 'the canary sings' logs/canary.log || { tail -n 20 logs/canary.log >&2; return 1; }
    echo 'the canary crashed, as it must'
}

# keep TARGET: the fewest inputs that cover all the code which no seed covers.
keep() {
    local target=$1 new="logs/new-$1" file
    rm -rf "$new" && mkdir -p "$new" "kept/$target"
    cp "seeds/$target"/* "$new" 2>/dev/null
    "$BINARIES/$target" "$new" "corpus/$target" "kept/$target" "${LIMITS[@]}" -merge=1 \
        >"logs/keep-$target.log" 2>&1
    rm -f "$new"/seed-* "kept/$target"/*
    find "$new" -type f -size "-$((KEPT_FILE_BYTES))c" -printf '%s %p\n' | sort -rn |
        awk -v files="$KEPT_FILES" '{ paths[NR] = $2 }
            END { step = NR > files ? NR / files : 1; for (i = 1; i <= NR; i += step) print paths[int(i)] }' |
        while read -r file; do cp "$file" "kept/$target"; done
    rm -rf "$new"
    echo "$target: $(find "kept/$target" -type f | wc -l) files, $(du -bs "kept/$target" | cut -f1) bytes"
}

seconds=60
mode=fuzz
case "${1:-}" in
    keep) mode=keep && shift ;;
    '' | *[!0-9]*) ;;
    *) seconds=$1 && shift ;;
esac
mapfile -t names < <([ $# -gt 0 ] && printf '%s\n' "$@" || targets)

prepare || exit 2
if [ "$mode" = keep ]; then
    for name in "${names[@]}"; do keep "$name"; done
    exit
fi
canary || exit 1
failed=0
for name in "${names[@]}"; do
    while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do wait -n || failed=1; done
    fuzz "$seconds" "$name" &
done
for job in $(jobs -p); do wait "$job" || failed=1; done
exit "$failed"
