/* main.c - finds the command and runs it. */
#include <stdio.h>

#include "core/alloc.h"
#include "core/version.h"

int main(void)
{
    prle_alloc_setup();
    printf("prle %s\n", prle_version());
    return 0;
}
