/* threshold.c - see threshold.h. */
#include "jobs/threshold.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

prle_status prle_share_parse(const char *option, const char *text, double *out)
{
    char *end = NULL;
    const double value = strtod(text, &end);

    PRLE_CHECK(end != text && *end == '\0' && value >= 0 && value <= 1, PRLE_EINVAL,
               "option %s = \"%s\": expected a number in [0,1]", option, text);
    *out = value;
    return PRLE_OK;
}

static bool is_eer(const char *text) { return strcmp(text, "eer") == 0; }

prle_status prle_threshold_check(const char *text)
{
    double value;

    if (!is_eer(text) && prle_share_parse("threshold", text, &value) != PRLE_OK)
        return PRLE_FAIL(PRLE_EINVAL, "option threshold = \"%s\": expected a number in [0,1] or eer", text);
    return PRLE_OK;
}

prle_status prle_threshold_choose(double *out, const char *text, const char *model, const prle_checkpoint_info *info)
{
    if (!is_eer(text))
        return prle_share_parse("threshold", text, out);
    PRLE_CHECK(!isnan(info->threshold_eer), PRLE_EFORMAT,
               "%s: has no threshold of its own (trained without validation images of both classes); give --threshold a number",
               model);
    *out = info->threshold_eer;
    return PRLE_OK;
}
