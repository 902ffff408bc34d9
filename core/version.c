/* version.c - see version.h; PRLE_GIT_REVISION comes from core/CMakeLists.txt. */
#include "core/version.h"

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

const char *prle_version(void) { return PRLE_VERSION " (git " PRLE_GIT_REVISION ")"; }
const char *prle_version_revision(void) { return PRLE_GIT_REVISION; }

const char *prle_version_compiler(void)
{
#ifdef __clang__
    return "clang " __clang_version__;
#else
    return "gcc " TEXT(__GNUC__) "." TEXT(__GNUC_MINOR__) "." TEXT(__GNUC_PATCHLEVEL__);
#endif
}
