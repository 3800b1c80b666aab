#!/usr/bin/env bash
# Everything that must hold before a change goes in; what CI runs. Needs Rust and Python 3.
#
#   ./test.sh                 all of it, about a quarter of an hour on two cores
#   ./test.sh rust            format, lints, tests, documentation
#   ./test.sh conformance     the test suite of Python's ZEO against the binary, both codecs
#   ./test.sh python          Python applications against the binary, files handed to and fro
#   ./test.sh mutants         breaks each promise about order and sees whether a test notices
#   ./test.sh venv            only makes .venv, with the Python packages that the above need
#
# A failed step does not hide the ones after it. The last line says how it ended; logs are in
# target/test-logs.
set -u
cd "$(dirname "$0")" || exit 2

readonly PYTHON=${PYTHON:-python3}
readonly LOGS=target/test-logs
readonly SERVER=${SERVER:-target/release/rzeo serve}
readonly JOBS=${JOBS:-2}
# What rzeo serves so far, in the words of conformance/groups.json.
readonly GROUPS_DONE='connect commit concurrency client-conflicts admin lifecycle iterate undo pack'

passed=0
failed=()

# step NAME COMMAND...: runs it with its output in a log, shows the end of it when it fails.
step() {
    local name=$1 log="$LOGS/$1.log" started=$SECONDS
    shift
    printf '%-28s' "$name"
    if "$@" >"$log" 2>&1 </dev/null; then
        passed=$((passed + 1))
        printf 'ok      %4d s  %s\n' $((SECONDS - started)) "$(tail -n 1 "$log" | cut -c1-90)"
    else
        failed+=("$name")
        printf 'FAILED  %4d s  %s\n' $((SECONDS - started)) "$log"
        tail -n "${TAIL:-60}" "$log" | sed 's/^/    /'
        return 1
    fi
}

make_venv() {
    local stamp=.venv/requirements.txt
    cmp -s conformance/requirements.txt "$stamp" && return
    rm -rf .venv
    "$PYTHON" -m venv .venv &&
        .venv/bin/python -m pip install --quiet --disable-pip-version-check \
            -r conformance/requirements.txt &&
        cp conformance/requirements.txt "$stamp"
}

# What the two parts that run the binary need; steps that were done before cost nothing.
prepare() {
    step venv make_venv && step build cargo build --release --locked -p rzeo
}

documentation() {
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
}

rust() {
    step fmt cargo fmt --all --check
    step clippy cargo clippy --workspace --all-targets --locked -- -D warnings
    step tests cargo test --workspace --locked
    step doc documentation
}

conformance() {
    local group groups=()
    for group in $GROUPS_DONE; do groups+=(--group "$group"); done
    for codec in pickle msgpack; do
        step "conformance-$codec" .venv/bin/python conformance/zeo_suite.py \
            --server "$SERVER" --codec "$codec" --jobs "$JOBS" --strict-stop --verbose \
            --logs "$LOGS/servers-$codec" "${groups[@]}"
    done
}

python() {
    local judge codec
    for codec in pickle msgpack; do
        step "app-$codec" .venv/bin/python fixtures/python/app.py \
            --server "$SERVER" --codec "$codec" --seconds 20
    done
    for judge in handover hostile metrics; do
        step "$judge" .venv/bin/python fixtures/python/$judge.py --server "$SERVER"
    done
    step filestorage-tool cargo build --locked -p rzeo-fixtures --example filestorage &&
        step both-ways .venv/bin/python fixtures/python/both_ways.py
}

mutants() {
    step mutants "$PYTHON" fixtures/mutants.py
}

case "${1:-all}" in
    all | rust | conformance | python | mutants | venv) mkdir -p "$LOGS" ;;
    *)
        sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0" >&2
        exit 2
        ;;
esac
case "${1:-all}" in
    venv) step venv make_venv ;;
    rust) rust ;;
    conformance) prepare && conformance ;;
    python) prepare && python ;;
    mutants) mutants ;;
    all)
        rust
        mutants
        prepare && conformance && python
        ;;
esac

if [ ${#failed[@]} -eq 0 ]; then
    echo "test.sh: all $passed steps passed in $((SECONDS / 60)) min $((SECONDS % 60)) s"
else
    echo "test.sh: FAILED: ${failed[*]} ($passed steps passed)"
    exit 1
fi
