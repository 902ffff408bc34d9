/* page.c - see page.h. */
#include "jobs/show/page.h"

#include <inttypes.h>
#include <string.h>

#include "core/text.h"

static const char style[] = "body{font:15px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
                            "img{max-width:100%;height:auto}figure{margin:2em 0}figcaption{color:#333}code{font-size:90%}";

static void add_escaped(prle_text *html, const char *text)
{
    for (; *text != '\0'; text++)
        switch (*text) {
        case '&': prle_text_add(html, "&amp;"); break;
        case '<': prle_text_add(html, "&lt;"); break;
        case '>': prle_text_add(html, "&gt;"); break;
        case '"': prle_text_add(html, "&quot;"); break;
        default: prle_text_add_bytes(html, text, 1);
        }
}

static void add_titles(prle_text *html, const prle_gallery *g, int64_t first, int64_t last)
{
    for (int64_t t = first; t < last; t++) {
        prle_text_add(html, "%s", t > first ? ", " : "");
        add_escaped(html, g->tile[t].title);
    }
}

static void add_legend(prle_text *html, const prle_gallery *g, int64_t columns)
{
    prle_text_add(html, "<p>Each row of the overview, from left to right: ");
    add_titles(html, g, 0, g->n_tiles);
    prle_text_add(html, ".</p>\n<p>Each sheet, %" PRId64 " pictures a row: first ", columns);
    add_titles(html, g, 0, g->n_looks);
    if (g->n_looks < g->n_tiles) {
        prle_text_add(html, "; then, from a new row on, ");
        add_titles(html, g, g->n_looks, g->n_tiles);
        prle_text_add(html, ": the share alpha of the primary region that is hidden");
    }
    prle_text_add(html, ".</p>\n<p>Attention runs from dark violet (none) over red and orange to pale yellow (most).</p>\n");
}

static void add_name(prle_text *html, const char *what, uint32_t identity, const prle_faces *faces)
{
    if (identity == PRLE_IDENTITY_UNKNOWN)
        return;
    prle_text_add(html, ", %s ", what);
    add_escaped(html, faces->identity_names[identity]);
}

static void add_image(prle_text *html, const prle_gallery *g, const prle_page_image *image)
{
    const prle_faces *faces = g->faces;
    const int64_t i = image->image;

    prle_text_add(html, "<figure><img src=\"");
    add_escaped(html, image->sheet);
    prle_text_add(html, "\" alt=\"\"><figcaption><b>%s", faces->label[i] == 1 ? "fake: " : "");
    add_escaped(html, faces->method_names[faces->method[i]]);
    prle_text_add(html, "</b>, video ");
    add_escaped(html, faces->video_names[faces->video[i]]);
    prle_text_add(html, ", frame %" PRIu32 ", %s, image %" PRId64, faces->frame[i], prle_split_name((prle_split)faces->split[i]),
                  i);
    add_name(html, "identity", faces->identity[i], faces);
    add_name(html, "face of", faces->source[i], faces);
    if (g->maps != NULL)
        prle_text_add(html, "; primary region %.1f %% of the image",
                      100 * (double)g->maps->area[i] / (double)(faces->height * faces->width));
    for (int64_t t = 0; t < g->n_tiles; t++)
        if (g->tile[t].kind == PRLE_TILE_MODEL) {
            prle_text_add(html, "; P(fake) by ");
            add_escaped(html, g->tile[t].title);
            prle_text_add(html, " %.4f", image->scores[g->tile[t].which]);
        }
    prle_text_add(html, "</figcaption></figure>\n");
}

prle_status prle_page_make(char **html, const prle_gallery *g, const prle_page_image *images, int64_t n, int64_t columns,
                           const char *about)
{
    prle_text text = {0};

    prle_text_add(&text, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    add_escaped(&text, g->faces->path);
    prle_text_add(&text, "</title><style>%s</style></head><body>\n<h1>What detectors look at</h1>\n", style);
    add_legend(&text, g, columns);
    prle_text_add(&text, "<figure><img src=\"overview.png\" alt=\"\"><figcaption>Overview, a row for each image below, in the "
                         "same order</figcaption></figure>\n");
    for (int64_t i = 0; i < n; i++)
        add_image(&text, g, &images[i]);
    prle_text_add(&text, "<p><code>");
    add_escaped(&text, about);
    prle_text_add(&text, "</code></p>\n</body></html>\n");
    return prle_text_take(&text, html);
}
