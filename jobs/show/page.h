/* page.h - index.html of `prle show`: says in words what the pictures, which have none, show. */
#pragma once
#include "jobs/show/gallery.h"

/** An image of the page. */
typedef struct prle_page_image {
    int64_t image;  /* in the store */
    char *sheet;    /* file name of its sheet */
    double *scores; /* [gallery->n_models] */
} prle_page_image;

/** *html is yours to prle_free. columns: of the sheets. */
PRLE_NODISCARD prle_status prle_page_make(char **html, const prle_gallery *gallery, const prle_page_image *images, int64_t n,
                                          int64_t columns, const char *about);
