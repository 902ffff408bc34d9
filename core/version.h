/* version.h - what this build is, and what it runs on. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

#define PRLE_VERSION "0.1.0"

/** "0.1.0 (git 1234abc)" with "+dirty" where the tree had changes when it was configured. Static storage. */
const char *prle_version(void);
const char *prle_version_revision(void); /* "1234abc+dirty" */

/** "gcc 12.2.0", "clang 14.0.6". */
const char *prle_version_compiler(void);

/* Libraries, as they are at run time ("1.10.8"); each stands in its library's wrapper. Static storage, thread-safe. */
const char *prle_version_dnnl(void);
const char *prle_version_dnnl_isa(void); /* the instructions oneDNN uses here: "avx2" */
const char *prle_version_hdf5(void);
const char *prle_version_jansson(void);
const char *prle_version_jpeg(void); /* of the headers: the library does not say */
const char *prle_version_png(void);
const char *prle_version_yaml(void);

#ifdef __cplusplus
}
#endif
