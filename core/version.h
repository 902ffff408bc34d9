/* version.h - what this build is. */
#pragma once

#define PRLE_VERSION "0.1.0"

/** "0.1.0 (git 1234abc)" with "+dirty" where the tree had changes when it was configured. Static storage. */
const char *prle_version(void);
