#!/usr/bin/env bash
# Everything that must hold before a change goes in; what CI runs. Needs Rust, Python 3 and
# openssl; with Chromium the status page is drawn, too, and with strace the power is cut.
#
#   ./test.sh                 all of it, about an hour on two cores
#   ./test.sh rust            format, lints, tests, documentation
#   ./test.sh conformance     the test suite of Python's ZEO against the binary: both codecs on
#                             both runtimes
#   ./test.sh python          Python applications, bad peers, big blobs, crowds, deployments, the
#                             client in Rust beside Python's
#   ./test.sh sim             2,000 worlds of every workload: whole systems in memory that fail
#   ./test.sh mutants         breaks each promise and sees whether a test notices
#   ./test.sh mutants-worlds  the same, and worlds alone must notice
#   ./test.sh venv            only makes .venv, with the Python packages that the above need
#   ./test.sh long            all of it in larger sizes, beside Python's server: blobs of 2 GB
#                             (needs 10 GB in $TMPDIR), every application in both codecs
#
# A failed step does not hide the ones after it. The last line says how it ended; logs are in
# target/test-logs.
set -u
cd "$(dirname "$0")" || exit 2

readonly PYTHON=${PYTHON:-python3}
readonly LOGS=target/test-logs
readonly SERVER=${SERVER:-target/release/rzeo serve}
readonly JOBS=${JOBS:-2}
readonly RUNTIMES='tokio smol'
readonly CODECS='pickle msgpack'
# What rzeo serves so far, in the words of conformance/groups.json: all but resolve.
readonly GROUPS_DONE='connect commit concurrency client-conflicts admin lifecycle iterate undo pack
    blob restore tls fan-out'

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

# One test gives the password of a key by the name of a Python function, which returns 1234; rzeo
# runs no Python and wants the password in the environment then. Other tests have keys without one.
conformance() {
    local group runtime codec groups=()
    for group in $GROUPS_DONE; do groups+=(--group "$group"); done
    for runtime in $RUNTIMES; do
        for codec in $CODECS; do
            step "conformance-$codec-$runtime" env RZEO_TLS_KEY_PASSWORD=1234 \
                .venv/bin/python conformance/zeo_suite.py --server "$SERVER --runtime $runtime" \
                --codec "$codec" --jobs "$JOBS" --strict-stop --verbose \
                --logs "$LOGS/servers-$codec-$runtime" "${groups[@]}"
        done
    done
}

# judge NAME SCRIPT ARGUMENTS...: a step with a program of fixtures/python.
judge() {
    local name=$1 script=$2
    shift 2
    step "$name" .venv/bin/python "fixtures/python/$script.py" "$@"
}

python() {
    local runtime codec seconds=20 seeds=4 certificates=100
    [ -n "$LONG" ] && seconds=120 seeds=24 certificates=400
    for runtime in $RUNTIMES; do
        for codec in $CODECS; do
            # In the short variant each runtime and each codec once.
            case "$LONG $runtime $codec" in ' tokio msgpack' | ' smol pickle') continue ;; esac
            judge "app-$codec-$runtime" app --server "$SERVER --runtime $runtime" \
                --codec "$codec" --seconds "$seconds"
        done
        judge "handover-$runtime" handover --server "$SERVER --runtime $runtime"
        judge "hostile-$runtime" hostile --server "$SERVER --runtime $runtime"
        judge "deployment-$runtime" deployment --server "$SERVER --runtime $runtime"
    done
    judge config config_judge --rzeo "${SERVER%% *}"
    judge logs logs --server "$SERVER"
    judge tools tools_judge "${SERVER%% *}" --seeds "$seeds"
    judge copy copy_judge --rzeo "${SERVER%% *}" --server "$SERVER"
    judge record record_judge --rzeo "${SERVER%% *}" --server "$SERVER"
    judge metrics metrics --server "$SERVER"
    judge tools-net tools_net_judge --server "$SERVER"
    judge top top_judge --rzeo "${SERVER%% *}" --server "$SERVER"
    judge status-page status_page --server "$SERVER" --keep "$LOGS/pages"
    # By strace; where that is not there they say so.
    judge power power --rzeo "${SERVER%% *}" --server "$SERVER" ${LONG:+--cuts 1000 --seconds 8}
    judge power-packs power --rzeo "${SERVER%% *}" --server "$SERVER --runtime smol" \
        --codec pickle --packs ${LONG:+--cuts 1000 --seconds 8}
    # Both runtimes, over TCP and TLS.
    judge crowd crowd --server "$SERVER" ${LONG:+--compare}
    # Over rzeo and over Python's server.
    judge fan-out fan_out --server "$SERVER" ${LONG:+--seconds 60 --deaths 5}
    judge big-blob big_blob --server "$SERVER" ${LONG:+--size 2048 --compare}
    step tls-examples cargo build --locked -p rzeo-tls --examples &&
        judge tls tls_judge ${LONG:+--random 200} &&
        judge tls-client tls_client_judge --random "$certificates"
    step filestorage-tool cargo build --locked -p rzeo-fixtures --example filestorage &&
        judge both-ways both_ways && judge blob-files blob_files
    step blob-cache-tool cargo build --locked -p rzeo-client --example blob_cache &&
        judge blob-cache blob_cache
    step client-judge cargo build --locked -p rzeo-client-judge && clients
}

# The client in Rust, beside Python's, with either server.
clients() {
    local runtime
    judge client client_judge --server "$SERVER" ${LONG:+--all}
    judge races races --server "$SERVER" ${LONG:+--seconds 600}
    judge races-msgpack races --server "$SERVER --runtime smol" --codec msgpack --seed 2
    judge races-python races --python ${LONG:+--seconds 120}
    for runtime in $RUNTIMES; do
        judge "kills-$runtime" kills --rzeo "${SERVER%% *}" \
            --server "$SERVER --runtime $runtime" ${LONG:+--cycles 200}
    done
}

# Whole systems in memory, from seeds. The long variant plays others each time.
sim() {
    step sim-build cargo build --release --locked -p rzeo-sim || return
    step sim target/release/rzeo-sim --seeds 2000
    [ -z "$LONG" ] || step sim-others target/release/rzeo-sim --hours 1 --from "$(date +%s)"
}

mutants() {
    step mutants "$PYTHON" fixtures/mutants.py
}

mutants_worlds() {
    step mutants-worlds "$PYTHON" fixtures/mutants.py --worlds
}

case "${1:-all}" in
    all | long | rust | conformance | python | sim | mutants | mutants-worlds | venv) mkdir -p "$LOGS" ;;
    *)
        sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0" >&2
        exit 2
        ;;
esac
# Not empty in the long variant.
LONG=
[ "${1:-all}" = long ] && LONG=1
readonly LONG
case "${1:-all}" in
    venv) step venv make_venv ;;
    rust) rust ;;
    conformance) prepare && conformance ;;
    python) prepare && python ;;
    sim) prepare && sim ;;
    mutants) mutants ;;
    mutants-worlds) mutants_worlds ;;
    all | long)
        rust
        mutants
        [ -z "$LONG" ] || mutants_worlds
        prepare && sim && conformance && python
        ;;
esac

if [ ${#failed[@]} -eq 0 ]; then
    echo "test.sh: all $passed steps passed in $((SECONDS / 60)) min $((SECONDS % 60)) s"
else
    echo "test.sh: FAILED: ${failed[*]} ($passed steps passed)"
    exit 1
fi
