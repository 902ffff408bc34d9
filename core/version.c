/* version.c - see version.h; PRLE_GIT_REVISION comes from core/CMakeLists.txt. */
#include "core/version.h"

const char *prle_version(void) { return PRLE_VERSION " (git " PRLE_GIT_REVISION ")"; }
