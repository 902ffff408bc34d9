#!/usr/bin/env bash
# lint.sh - the house rules that a grep can check. Usage: tests/lint.sh. Exit 1 and one line per breach.
set -euo pipefail
cd "$(dirname "$0")/.."

code=$(mktemp -d) # the sources without comments, strings and characters, same names, same lines
trap 'rm -rf "$code"' EXIT
breaches=$code/.breaches
: > "$breaches"

mapfile -t sources < <(git ls-files --cached --others --exclude-standard -- '*.c' '*.h' '*.cu' '*.cuh')
mapfile -t headers < <(printf '%s\n' "${sources[@]}" | grep '\.h$')
mapfile -t scripts < <(git ls-files --cached --others --exclude-standard -- '*.sh' '*.sbatch')

perl -e '
    for my $path (@ARGV) {
        open(my $in, "<", $path) or next; # a file removed and not yet committed
        local $/;
        my $text = <$in>;
        $text =~ s{(/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\x27(?:\\.|[^\x27\\\n])*\x27)}{my $n = ($1 =~ tr/\n//); "\n" x $n . ($1 =~ /^["\x27]/ ? "S" : " ")}gse;
        my $to = "'"$code"'/$path";
        (my $folder = $to) =~ s{/[^/]*$}{};
        system("mkdir", "-p", $folder) unless -d $folder;
        open(my $out, ">", $to) or die "$to: $!";
        print $out $text;
    }' "${sources[@]}"

# breach MESSAGE: each line of stdin, "file:line:text", is a breach.
breach() {
    message=$1 awk 'match($0, /^[^:]*:[0-9]+/) {print substr($0, 1, RLENGTH) ": " ENVIRON["message"]}' >> "$breaches"
}

# forbid MESSAGE REGEX PATH...: the expression stands nowhere in the code of these files.
forbid() {
    local message=$1 regex=$2
    shift 2
    [ $# -eq 0 ] || (cd "$code" && grep -nHP -- "$regex" "$@" 2> /dev/null || true) | breach "$message"
}

# select REGEX / reject REGEX: of the sources
select_sources() { printf '%s\n' "${sources[@]}" | grep -E -- "$1" || true; }
reject_sources() { printf '%s\n' "${sources[@]}" | grep -vE -- "$1" || true; }

# 1. Vendor headers only in their wrappers.
vendor() { # HEADERS WRAPPERS
    local files
    mapfile -t files < <(reject_sources "$2")
    grep -nHE "^ *# *include *[<\"]($1)[>\"]" "${files[@]}" /dev/null | breach "vendor header outside of its wrapper ($2)" || true
}
vendor 'mpi[^>]*\.h' '_mpi\.[ch]$|^tests/(dist|cudasim)/'
vendor 'oneapi/dnnl/[^>]*|dnnl[^>]*' '_dnnl\.[ch]$'
while read -r name regex; do # the wrapper in core and its test; the simulator stands alone
    vendor "$regex" "^(core/|tests/core/test_)$name\.c\$|^tests/cudasim/"
done << 'END'
hdf5 (hdf5|H5[A-Z][a-z]*|H5public)\.h
jpeg (turbojpeg|jpeglib|jconfig)\.h
png png\.h
yaml yaml\.h|cyaml/[^>]*
json jansson\.h
zip zip\.h
cairo cairo[^>]*
threads omp\.h
END
vendor 'cuda[^>]*' '_(cuda|cudnn|cublas|nccl)\.(c|cu|cuh|h)$|^tests/cudasim/'
vendor 'cudnn[^>]*' '_cudnn\.[ch]$|^tests/cudasim/'
vendor 'cublas[^>]*' '_cublas\.c$|^tests/cudasim/'
vendor 'nccl[^>]*' '_nccl\.c$|^tests/cudasim/'

# 2. The include graph: no upward include.
declare -A may_include=(
    [core]='core'
    [nets]='core|nets'
    [augment]='core|augment'
    [dist]='core|dist'
    [cam]='core|nets|augment|dist|cam'
    [fusion]='core|nets|augment|dist|cam|fusion'
)
for room in "${!may_include[@]}"; do
    mapfile -t files < <(select_sources "^$room/")
    grep -nHE '^ *# *include *"' "${files[@]}" /dev/null | grep -vE ":[0-9]+: *# *include *\"(${may_include[$room]})/" |
        breach "include that $room may not have (it may: ${may_include[$room]})" || true
done

# 3. Memory through core/alloc.h; nothing ends the process or prints but jobs/ and prle_fatal.
mapfile -t files < <(reject_sources '^core/alloc\.c$|^tests/')
forbid 'use core/alloc.h' '(?<![\w.>])(malloc|calloc|realloc|reallocarray|free|strdup|strndup|asprintf|vasprintf|aligned_alloc|posix_memalign|memalign|alloca|open_memstream)\s*\(' "${files[@]}"
mapfile -t files < <(reject_sources '^core/status\.c$|^jobs/|^tests/')
forbid 'only jobs/ prints and ends the process' '(?<![\w.>])(printf|vprintf|puts|putchar|perror|exit|_exit|_Exit|quick_exit|abort|assert)\s*\(|\bstdout\b' "${files[@]}"
mapfile -t files < <(reject_sources '^core/(log|progress)\.c$|^core/status\.c$|^jobs/|^tests/')
forbid 'log through prle_log' '\bstderr\b' "${files[@]}"

# 4. Checks that would change what they check; unsafe calls; settings that change results.
forbid 'PRLE_ASSERT with a side effect' 'PRLE_ASSERT\([^;]*(\+\+|--|[^=!<>]=[^=])' "${sources[@]}"
forbid 'unsafe or not thread-safe call' '(?<![\w.>])(gets|strcpy|strcat|sprintf|vsprintf|strtok|rand|srand|drand48|localtime|gmtime|ctime|asctime|readdir_r|tmpnam|mktemp)\s*\(' "${sources[@]}"
mapfile -t builds < <(git ls-files --cached --others --exclude-standard -- '*CMakeLists.txt' '*.cmake' 'CMakePresets.json')
grep -nHE -- '-Ofast|-ffast-math|--use_fast_math|file *\( *GLOB|^ *(add_compile_options|include_directories|link_libraries|add_definitions) *\(' \
    "${builds[@]}" | breach 'fast-math, glob or global setting' || true

# 5. Files say why they exist; headers are guarded; nothing is left for later.
for path in "${sources[@]}"; do
    name=${path##*/}
    [ -e "$path" ] || continue
    head -n 1 "$path" | grep -qE "^/\* ${name//./\\.} - " || echo "$path:1: first line must be \"/* $name - why it exists\"" >> "$breaches"
done
for path in "${headers[@]}"; do
    [ ! -e "$path" ] || grep -qE '^#pragma once$' "$path" || echo "$path:1: no #pragma once" >> "$breaches"
done
for path in "${headers[@]}"; do # struct layouts depend on no feature macro
    awk -v path="$path" '/^(typedef )?(struct|union)[^;]*\{$/ {inside = 1} /^\}/ {inside = 0}
        inside && /^ *# *if/ {print path ":" FNR ": struct layout depends on a macro"}' "$code/$path" >> "$breaches" 2> /dev/null || true
done
mapfile -t tracked < <(git ls-files --cached --others --exclude-standard -- '*.c' '*.h' '*.cu' '*.cuh' '*.sh' '*.sbatch' '*.py' '*.txt' '*.cmake' '*.md')
grep -nHE '\b(TO''DO|FIX''ME|XX''X|HA''CK)\b' "${tracked[@]}" 2> /dev/null | breach 'unfinished: do it or write an issue' || true
grep -nHE '[[:space:]]+$' "${tracked[@]}" 2> /dev/null | grep -v '\.md:' | breach 'trailing space' || true
grep -nHP '\t' "${sources[@]}" 2> /dev/null | breach 'tab' || true

# 6. Headers compile alone, as C11 and as C++17 (tests and a module's own headers are C only). GPU code's want CUDA's: without the
# toolkit they are left out.
cuda=$(dirname "$(dirname "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")")
wants_cuda='_(cuda|cudnn|cublas|nccl)\.h$|^tests/gpu\.h$|^tests/cudasim/(sim|ptx)\.h$'
[ -e "$cuda/include/cuda_runtime_api.h" ] || mapfile -t headers < <(printf '%s\n' "${headers[@]}" | grep -vE "$wants_cuda")
compiles_alone() { # LANGUAGE STANDARD
    xargs -P "$(nproc)" -I{} sh -c "echo '#include \"{}\"' | ${CC:-cc} -x $1 -std=$2 -I. -isystem '$cuda/include' -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only - \
        || echo '{}:1: does not compile alone as $2' >> '$breaches'"
}
printf '%s\n' "${headers[@]}" | compiles_alone c c11
printf '%s\n' "${headers[@]}" | grep -vE '^tests/|_(impl|internal)\.h$' | compiles_alone c++ c++17

# 7. Format and shell.
clang_format=$(command -v clang-format-14 || true)
if [ -n "$clang_format" ]; then
    "$clang_format" --dry-run "${sources[@]}" 2>&1 | sed -nE 's/^([^:]+:[0-9]+):[0-9]+: warning.*/\1: not as clang-format-14 writes it/p' |
        sort -u -t: -k1,1 >> "$breaches"
else
    echo "lint: clang-format-14 is not here: format not checked" >&2
fi
for path in "${scripts[@]}"; do
    bash -n "$path" || echo "$path:1: not valid shell" >> "$breaches"
    ! command -v shellcheck > /dev/null || shellcheck -S warning "$path" >&2 || echo "$path:1: shellcheck" >> "$breaches"
done

sort -u "$breaches"
n=$(sort -u "$breaches" | wc -l)
echo "lint: ${#sources[@]} files, $n breaches"
[ "$n" -eq 0 ]
