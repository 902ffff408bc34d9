#!/usr/bin/env bash
# test_cli.sh - the command line as a user meets it: exit codes, help of every command, misspellings. Usage: test_cli.sh PRLE MPIRUN
set -uo pipefail

prle=$1 mpirun=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failures=0
for name in $(compgen -e | grep '^PRLE_'); do unset "$name"; done

# expect CODE STDOUT-REGEX STDERR-REGEX COMMAND...: an empty expression wants an empty output, - any.
expect() {
    local code=$1 out=$2 err=$3 got
    shift 3
    "$@" > "$tmp/out" 2> "$tmp/err" < /dev/null
    got=$?
    if [ "$got" -ne "$code" ]; then
        complain "exit code $got, expected $code" "$@"
    elif ! matches "$tmp/out" "$out"; then
        complain "stdout is not /$out/" "$@"
    elif ! matches "$tmp/err" "$err"; then
        complain "stderr is not /$err/" "$@"
    fi
}

matches() { # FILE REGEX
    case $2 in
    -) true ;;
    '') [ ! -s "$1" ] ;;
    *) grep -qE -- "$2" "$1" ;;
    esac
}

complain() {
    echo "FAILED: $1: ${*:2}"
    sed 's/^/  stdout: /' "$tmp/out" | head -n 5
    sed 's/^/  stderr: /' "$tmp/err" | head -n 5
    failures=$((failures + 1))
}

# The program.
expect 2 '' '^Usage: prle COMMAND' "$prle"
expect 0 '^Usage: prle COMMAND' '' "$prle" --help
expect 0 '^  doctor ' '' "$prle" -h
expect 0 '^prle [0-9]+\.[0-9]+\.[0-9]+ \(git [0-9a-z+]+\)$' '' "$prle" --version
expect 2 '' '^prle: unknown command "doctr": did you mean doctor\?' "$prle" doctr
expect 2 '' '^prle: unknown command "xyzzy" \(prle --help lists all\)$' "$prle" xyzzy
expect 1 '' 'cannot write' sh -c '"$1" doctor > /dev/full' sh "$prle"

# Every command.
commands=$("$prle" --help | sed -nE '/^Commands/,/^$/s/^  ([a-z]+) .*/\1/p')
[ -n "$commands" ] || complain "prle --help lists no commands"
for command in $commands; do
    expect 0 "^Usage: prle $command" '' "$prle" "$command" --help
    for words in "^prle $command - " '^Common options' '--config FILE' '^Examples' '^Exit codes: 0 done' 'Later ones win'; do
        matches "$tmp/out" "$words" || complain "help does not show \"$words\"" "$prle" "$command" --help
    done
    [ "$(awk '{ if (length($0) > m) m = length($0) } END { print m }' "$tmp/out")" -le 130 ] ||
        complain "help is wider than 130 columns" "$prle" "$command" --help
    grep -q ' $' "$tmp/out" && complain "help has a line that ends with a space" "$prle" "$command" --help
    expect 2 '' "^prle $command: unknown option --thraeds=2: did you mean --threads\?" "$prle" "$command" --thraeds=2
    expect 2 '' "^prle $command: option threads = \"x\" \(command line\): expected an integer from 0" "$prle" "$command" --threads x
    expect 2 '' "^prle $command: option device = \"gpu\".*one of auto, cpu, cuda" "$prle" "$command" --device gpu
    [ "$(wc -l < "$tmp/err")" -eq 1 ] || complain "the error is not one line" "$prle" "$command"
done

# Where options come from.
printf 'json: true\ndoctor:\n  threads: 1\n' > "$tmp/good.yaml"
expect 0 '"threads": 1,' '' "$prle" doctor --config "$tmp/good.yaml"
expect 0 '"threads": 2,' '' env PRLE_THREADS=2 "$prle" doctor --config "$tmp/good.yaml"
expect 0 '"threads": 3,' '' env PRLE_THREADS=2 "$prle" doctor --config "$tmp/good.yaml" --threads=3
printf 'jsn: true\n' > "$tmp/bad.yaml"
expect 2 '' 'bad.yaml:1: unknown option "jsn" for prle doctor: did you mean json\?$' "$prle" doctor --config "$tmp/bad.yaml"
printf 'json: [true\n' > "$tmp/broken.yaml"
expect 3 '' 'broken.yaml:2: ' "$prle" doctor --config "$tmp/broken.yaml"
expect 1 '' 'nowhere.yaml: cannot open' "$prle" doctor --config "$tmp/nowhere.yaml"
expect 2 '' '^prle doctor: log level "loud" is unknown' "$prle" doctor --log-level loud
expect 2 '' '^prle doctor: log level "loud" is unknown' env PRLE_LOG=loud "$prle" doctor
expect 2 'libprle_cuda' '^prle doctor: option device = "cuda": /none/libprle_cuda.so is not there' env PRLE_CUDA_PLUGIN=/none/libprle_cuda.so "$prle" doctor --device cuda
expect 2 '' 'debug jobs: .*PRLE_EINVAL' "$prle" predict --device cuda --dtype f64 x.jpg --model x --log-level debug
expect 2 '' '^prle doctor: unexpected argument "x"' "$prle" doctor x
expect 0 '^libraries +onednn ' '' "$prle" doctor

# Under mpirun: what all ranks refuse alike is said once.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
expect 2 '' '^prle doctor: unknown option --jsn' "$mpirun" -n 2 "$prle" doctor --jsn
[ "$(grep -c '^prle doctor: ' "$tmp/err")" -eq 1 ] || complain "two ranks, not one line" "$mpirun" -n 2 "$prle" doctor --jsn
expect 0 '^ranks +launcher +mpirun' '' "$mpirun" -n 2 --bind-to none "$prle" doctor

[ "$failures" -eq 0 ] && echo "cli: all as expected"
exit $((failures > 0))
