#!/usr/bin/env bash
# user_lib.sh - sourced by the tests of commands as a user meets them: runs one, looks at its exit code and what it says. Needs $tmp.
# shellcheck shell=bash disable=SC2034,SC2154

failures=0

complain() {
    echo "FAILED: $1"
    sed 's/^/  stdout: /' "$tmp/out" | head -n 5
    sed 's/^/  stderr: /' "$tmp/err" | head -n 5
    failures=$((failures + 1))
}

# The expression stands in one line of stdout or stderr.
said() { grep -qE -- "$1" "$tmp/out" "$tmp/err"; }

# run CODE REGEX COMMAND...
run() {
    local code=$1 regex=$2 got
    shift 2
    "$@" > "$tmp/out" 2> "$tmp/err" < /dev/null
    got=$?
    [ "$got" -eq "$code" ] || complain "$*: exit code $got, expected $code"
    said "$regex" || complain "$*: no /$regex/"
}
