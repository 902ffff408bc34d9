#!/usr/bin/env bash
# install.sh PREFIX - what `cmake --install` left there works from there: prle runs, and a program builds against the library.
set -euo pipefail
prefix=$(cd "$1" && pwd)
"$prefix/bin/prle" --version | grep -q '^prle '
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/user.c" <<'C'
#include <stdio.h>
#include <prle/nets/model.h>
int main(void)
{
    prle_model *model = NULL;
    const prle_net_opts opts = PRLE_NET_OPTS_DEFAULT;
    if (prle_model_create(&model, "resnet50", &opts, PRLE_F32) != PRLE_OK)
        return 1;
    printf("%lld\n", (long long)model->graph->n_weights);
    prle_model_destroy(model);
    return 0;
}
C
flags=$(PKG_CONFIG_PATH="$(dirname "$(find "$prefix" -name prle.pc)")" pkg-config --cflags --libs prle)
# shellcheck disable=SC2086
gcc "$folder/user.c" -o "$folder/user" $flags -Wl,-rpath,"$(dirname "$(find "$prefix" -name libprle.so)")"
[ "$("$folder/user")" = 23512130 ]
if [ -e build/dev/tests/cudasim/libcudasim.so ]; then # built where the CUDA toolkit is: the plugin was installed too, and opens
    PRLE_CUDASIM=$PWD/build/dev/tests/cudasim/libcudasim.so PRLE_CUDASIM_DRIVER=$PWD/build/dev/tests/cudasim/driver \
        bash tests/simulate.sh lazy "$prefix/bin/prle" doctor --device cuda >/dev/null
fi
echo "installed prle, libprle.so, headers and prle.pc work"
